# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
{
  description = "Dask clusters on Hetzner Cloud: one command rents one, one command gives it back";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
      pkgsFor = lib.genAttrs systems (
        system:
        import nixpkgs {
          inherit system;
          overlays = [ self.overlays.default ];
        }
      );
      eachSystem = make: lib.genAttrs systems (system: make pkgsFor.${system});
    in
    {
      overlays.default = import ./nix/overlay.nix {
        revision = self.rev or self.dirtyRev or "unknown";
      };

      packages = eachSystem (pkgs: {
        inherit (pkgs) scherbelberg;
        default = pkgs.scherbelberg;
        bootstrap = pkgs.scherbelberg-bootstrap;
      });

      apps = eachSystem (pkgs: rec {
        default = scherbelberg;
        scherbelberg = {
          type = "app";
          program = lib.getExe pkgs.scherbelberg;
          meta = { inherit (pkgs.scherbelberg.meta) description; };
        };
      });

      devShells = eachSystem (pkgs: pkgs.callPackages ./nix/shell.nix { });

      checks = eachSystem (pkgs: pkgs.callPackages ./nix/checks.nix { });

      formatter = eachSystem (pkgs: pkgs.nixfmt);

      nixosModules.default = import ./nix/module.nix { inherit self; };

      templates.default = {
        path = ./nix/template;
        description = "A project of one's own that computes on a cluster";
      };
    };
}
