# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# The tool as Python has it, with exactly the files for nodes that bootstrap.nix has verified. It is not wrapped: it is
# run from an environment that it is in (program.nix), since it starts Python anew and must find itself there.
{
  lib,
  buildPythonApplication,
  pythonPackages,
  installShellFiles,
  openssh,
  scherbelberg-bootstrap,
  revision,
}:
let
  project = import ./project.nix { inherit lib pythonPackages; };
  # What the tests read, none of which is shipped.
  tests = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../docs
      ../pyproject.toml
      ../tests
    ];
  };
in
buildPythonApplication {
  pname = project.name;
  inherit (project) version dependencies;
  pyproject = true;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../LICENSE
      ../README.md
      ../pyproject.toml
      (lib.fileset.difference ../scherbelberg ../scherbelberg/share)
    ];
  };

  postPatch = ''
    cp -r ${scherbelberg-bootstrap} scherbelberg/share
    chmod -R u+w scherbelberg/share
    echo ${revision} >scherbelberg/revision
  '';

  build-system = [ pythonPackages.setuptools ];
  nativeBuildInputs = [ installShellFiles ];
  dontWrapPythonPrograms = true;

  postInstall = ''
    installShellCompletion --cmd scherbelberg \
      --bash <($out/bin/scherbelberg completion bash) \
      --fish <($out/bin/scherbelberg completion fish) \
      --zsh <($out/bin/scherbelberg completion zsh)
  '';

  # Against what was installed: all that neither needs a network nor an installed system.
  nativeCheckInputs = [ openssh ] ++ import ./tests.nix pythonPackages;
  checkPhase = ''
    cp -r ${tests} ../tested
    chmod -R u+w ../tested
    pushd ../tested
    HOME=$PWD PATH=$out/bin:$PATH python -m pytest -p no:cacheprovider ${lib.concatStringsSep " " (import ./tested.nix)}
    popd
  '';
  pythonImportsCheck = [ "scherbelberg.cli.main" ];

  meta = {
    inherit (project) description;
    license = lib.licenses.bsd3;
    mainProgram = "scherbelberg";
  };
}
