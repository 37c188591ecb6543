# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# The command, run from an environment of its own. nixpkgs' usual wrapper of Python programs would put its bare Python
# first on the path of all that 'scherbelberg with' starts, and let the sandbox start a Python that lacks scherbelberg.
{
  lib,
  runCommand,
  makeWrapper,
  openssh,
  python313,
}:
let
  inherit (python313.pkgs) scherbelberg;
  environment = python313.withPackages (ps: [ ps.scherbelberg ]);
in
runCommand "scherbelberg-${scherbelberg.version}"
  {
    nativeBuildInputs = [ makeWrapper ];
    passthru = {
      inherit environment;
    };
    meta = {
      inherit (scherbelberg.meta) description license mainProgram;
    };
  }
  ''
    # OpenSSH stands behind the user's own, which knows the user's configuration.
    makeWrapper ${environment}/bin/scherbelberg $out/bin/scherbelberg --suffix PATH : ${lib.makeBinPath [ openssh ]}
    ln -s ${scherbelberg}/share $out/share
  ''
