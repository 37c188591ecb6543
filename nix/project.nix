# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# What pyproject.toml says of the project, and the packages that it needs, which nixpkgs calls as PyPI does.
{ lib, pythonPackages }:
let
  inherit (lib.importTOML ../pyproject.toml) project;
  name = requirement: builtins.head (builtins.match "([a-z0-9-]+).*" requirement);
in
project
// {
  dependencies = map (requirement: pythonPackages.${name requirement}) project.dependencies;
}
