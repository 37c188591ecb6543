# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
{
  description = "Stands in for nixpkgs: what is used of it, with the same arguments, made of the computer's own programs";
  outputs = { self }: {
    lib = import ./lib.nix;
  };
}
