# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# What 'nix flake check' builds.
{
  lib,
  runCommand,
  python313,
  nixfmt,
  ruff,
  shellcheck,
  shfmt,
  scherbelberg,
  scherbelberg-bootstrap,
}:
let
  # What is checked, and what it is checked with.
  source = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../.ci
      ../bench
      ../constraints.txt
      ../docs
      ../flake.nix
      ../nix
      ../pyproject.toml
      ../scherbelberg
      ../tests
      ../tools
    ];
  };
  python = python313.withPackages (ps: [ ps.scherbelberg ] ++ import ./tests.nix ps);

  scripts = "scherbelberg/share/*.sh nix/*.sh .ci/run .ci/debian tools/constraints";

  check =
    name: tools: script:
    runCommand "scherbelberg-${name}" { nativeBuildInputs = tools; } ''
      cp -r ${source} source
      chmod -R u+w source
      cd source
      ${script}
      touch $out
    '';
in
{
  package = scherbelberg;
  bootstrap = scherbelberg-bootstrap;

  # The tool carries what was verified, byte for byte, and nothing else.
  agreement = check "agreement" [ ] ''
    diff -r --exclude=__pycache__ ${scherbelberg-bootstrap} ${python313.pkgs.scherbelberg}/${python313.sitePackages}/scherbelberg/share
  '';

  # Its own build runs the tests, against what it installed.
  tests = python313.pkgs.scherbelberg;

  mypy = check "mypy" [ python ] "mypy --cache-dir=/dev/null scherbelberg tools";
  nixfmt = check "nixfmt" [ nixfmt ] "nixfmt --check flake.nix nix/*.nix nix/template/*.nix";
  pins = check "pins" [ python ] "python tools/derive.py --check";
  ruff = check "ruff" [ ruff ] "ruff check --no-cache && ruff format --no-cache --check";
  shellcheck = check "shellcheck" [ shellcheck ] "shellcheck ${scripts}";
  shfmt = check "shfmt" [ shfmt ] "shfmt -i 2 -ci -s -d ${scripts}";
}
