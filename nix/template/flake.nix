# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
{
  description = "Computes on a cluster of scherbelberg's";

  inputs.scherbelberg.url = "github:pleiszenburg/scherbelberg";
  inputs.nixpkgs.follows = "scherbelberg/nixpkgs";
}
