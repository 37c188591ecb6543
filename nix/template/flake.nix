# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
{
  description = "Computes on a cluster of scherbelberg's";

  # Where your clone is, or where you have it from.
  inputs.scherbelberg.url = "git+file:///path/to/scherbelberg";

  outputs =
    { scherbelberg, ... }:
    let
      inherit (scherbelberg.inputs) nixpkgs;
      systems = builtins.attrNames scherbelberg.packages;
    in
    {
      devShells = nixpkgs.lib.genAttrs systems (
        system:
        let
          pkgs = import nixpkgs {
            inherit system;
            overlays = [ scherbelberg.overlays.default ];
          };
        in
        {
          default = pkgs.mkShell {
            packages = [
              (pkgs.python313.withPackages (ps: [
                ps.scherbelberg
                ps.dask
                ps.numpy
              ]))
            ];
          };
        }
      );
    };
}
