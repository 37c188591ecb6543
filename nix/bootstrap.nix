# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# What runs on nodes, the pins and the locks, as they are shipped: nothing leaves here whose digest is not pinned.
{
  lib,
  runCommand,
  shellcheck,
}:
let
  source = lib.fileset.toSource {
    root = ../scherbelberg/share;
    fileset = ../scherbelberg/share;
  };
in
runCommand "scherbelberg-bootstrap"
  {
    nativeBuildInputs = [ shellcheck ];
    meta = {
      description = "Scripts, unit files, pins and locks that scherbelberg brings to nodes";
      license = lib.licenses.bsd3;
    };
  }
  ''
    cd ${source}
    shellcheck *.sh
    bash ${./verify.sh}
    cp -r . $out
  ''
