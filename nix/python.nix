# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# For nixpkgs' set of Python 3.13 packages: what must match the locks or must be recent, pinned in pins.json, and the
# tool itself.
{ revision }:
final: prev:
let
  inherit (prev) lib stdenv pkgs;
  inherit (stdenv.hostPlatform) system;
  pins = lib.importJSON ./pins.json;

  name = "main-py313-linux-64";
  lock = builtins.readFile (../scherbelberg/share/env + "/${name}.lock");

  # What is built here is what nodes have, or it is not built.
  matching =
    package: pin:
    if lib.hasInfix "/${package}-${pin.version}-" lock then
      pin
    else
      throw "nix/pins.json is stale: it has ${package} ${pin.version}, and ${name} has another one; run 'python tools/nix_pins.py' in a clone.";

  build =
    pname: pin:
    {
      dependencies ? [ ],
      module ? pname,
    }:
    let
      wheel = pin.wheels.any or pin.wheels.${system};
      isCompiled = stdenv.hostPlatform.isLinux && !(pin.wheels ? any);
    in
    final.buildPythonPackage {
      inherit pname dependencies;
      inherit (pin) version;
      # Those that others in nixpkgs ask for by name.
      optional-dependencies = prev.${pname}.optional-dependencies or { };
      pyproject = false;
      src = pkgs.fetchPypi wheel;
      nativeBuildInputs = [
        final.pypaInstallHook
        final.wheelUnpackHook
      ]
      ++ lib.optionals isCompiled [ pkgs.autoPatchelfHook ];
      buildInputs = lib.optionals isCompiled [ stdenv.cc.cc.lib ];
      pythonImportsCheck = [ module ];
      doCheck = false;
    };

  # conda's name where it is another one
  locked = pname: conda: build pname (matching conda pins.${pname});
  recent = pname: build pname pins.${pname};
in
lib.optionalAttrs prev.isPy313 {
  cloudpickle = locked "cloudpickle" "cloudpickle" { };
  msgpack = locked "msgpack" "msgpack-python" { };
  toolz = locked "toolz" "toolz" { };
  tornado = locked "tornado" "tornado" { };

  dask = locked "dask" "dask-core" {
    dependencies = [
      final.click
      final.cloudpickle
      final.fsspec
      final.packaging
      final.partd
      final.pyyaml
      final.toolz
    ];
  };

  distributed = locked "distributed" "distributed" {
    dependencies = [
      final.click
      final.cloudpickle
      final.dask
      final.jinja2
      final.locket
      final.msgpack
      final.packaging
      final.psutil
      final.pyyaml
      final.sortedcontainers
      final.tblib
      final.toolz
      final.tornado
      final.urllib3
      final.zict
    ];
  };

  asyncssh = recent "asyncssh" {
    dependencies = [
      final.cryptography
      final.typing-extensions
    ];
  };

  hcloud = recent "hcloud" {
    dependencies = [
      final.python-dateutil
      final.requests
    ];
  };

  py-rattler = recent "py-rattler" { module = "rattler"; };

  scherbelberg = final.toPythonModule (final.callPackage ./package.nix { inherit revision; });
}
