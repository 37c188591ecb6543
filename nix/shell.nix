# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Shells: for who works on scherbelberg, and for who computes with it.
{
  lib,
  mkShell,
  python313,
  hcloud,
  nixfmt,
  openssh,
  ruff,
  shellcheck,
  shfmt,
  uv,
}:
let
  project = import ./project.nix {
    inherit lib;
    pythonPackages = python313.pkgs;
  };
  editable = python313.pkgs.mkPythonEditablePackage {
    pname = project.name;
    inherit (project) version scripts dependencies;
    root = "$SCHERBELBERG_ROOT";
  };
in
{
  default = mkShell {
    packages = [
      (python313.withPackages (ps: [ editable ] ++ import ./tests.nix ps))
      hcloud
      nixfmt
      openssh
      ruff
      shellcheck
      shfmt
      uv
    ];
    shellHook = ''
      export SCHERBELBERG_ROOT=$(git rev-parse --show-toplevel 2>/dev/null || pwd)
    '';
  };

  client = mkShell {
    packages = [
      (python313.withPackages (ps: [
        ps.scherbelberg
        ps.dask
        ps.distributed
        ps.jupyterlab
        ps.numpy
        ps.pandas
      ]))
    ];
    # Behind the user's own.
    shellHook = "export PATH=$PATH:${lib.makeBinPath [ openssh ]}";
  };
}
