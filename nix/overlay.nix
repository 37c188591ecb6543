# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# What this flake adds to nixpkgs: the tool, what runs on nodes, and Python 3.13 packages that match the locks.
{ revision }:
final: prev: {
  scherbelberg = final.callPackage ./program.nix { };
  scherbelberg-bootstrap = final.callPackage ./bootstrap.nix { };
  pythonPackagesExtensions = prev.pythonPackagesExtensions ++ [
    (import ./python.nix { inherit revision; })
  ];
}
