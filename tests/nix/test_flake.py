# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the flake offers, evaluated by a real Nix with a stand-in for nixpkgs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from flakes import ROOT, Flake

from scherbelberg.cli.destroy import gc

SYSTEMS = {"x86_64-linux", "aarch64-linux", "aarch64-darwin"}
CHECKS = {"agreement", "bootstrap", "mypy", "nixfmt", "package", "pins", "ruff", "shellcheck", "shfmt", "tests"}
OUTPUTS = {
    "apps": {"default", "scherbelberg"},
    "checks": CHECKS,
    "devShells": {"client", "default"},
    "packages": {"bootstrap", "default", "scherbelberg"},
}


def test_lock_agrees_with_flake() -> None:
    """The one input of flake.nix is the one that flake.lock has, from the branch that flake.nix names."""
    text = (ROOT / "flake.nix").read_text(encoding="utf-8")
    lock = json.loads((ROOT / "flake.lock").read_text(encoding="utf-8"))
    ((name, owner, repository, branch),) = re.findall(r'inputs\.(\w+)\.url = "github:(.+?)/(.+?)/(.+?)"', text)
    assert lock["version"] == 7
    assert set(lock["nodes"]) == {"root", name}
    assert lock["nodes"]["root"] == {"inputs": {name: name}}
    node = lock["nodes"][name]
    assert node["original"] == {"type": "github", "owner": owner, "repo": repository, "ref": branch}
    assert {key: node["locked"][key] for key in ("type", "owner", "repo")} == {
        "type": "github",
        "owner": owner,
        "repo": repository,
    }


def test_nix_takes_the_lock(flake: Flake) -> None:
    """Nix has nothing to add to flake.lock."""
    result = flake.run("nix", "flake", "metadata", "--json", "--offline", "--no-update-lock-file")
    assert result.code == 0, result.log
    assert json.loads(result.output)["locks"] == json.loads((ROOT / "flake.lock").read_text(encoding="utf-8"))


def test_show(flake: Flake) -> None:
    """Each output is there for each system."""
    # Newer ones show only the computer's own system otherwise, and older ones do not know the option.
    options = ["--all-systems"] if "--all-systems" in flake.run("nix", "flake", "show", "--help").output else []
    result = flake("flake", "show", "--json", *options)
    assert result.code == 0, result.log
    shown = json.loads(result.output)
    assert set(shown) == {*OUTPUTS, "formatter", "nixosModules", "overlays", "templates"}
    for output, names in OUTPUTS.items():
        assert {system: set(found) for system, found in shown[output].items()} == dict.fromkeys(SYSTEMS, names)
    assert (set(shown["formatter"]), set(shown["overlays"]), set(shown["templates"])) == (
        SYSTEMS,
        {"default"},
        {"default"},
    )


def test_module(flake: Flake) -> None:
    """The module for NixOS makes a service that gets the token as a credential, and a timer; words are quoted."""
    expression = (
        "module: let lib = import %s/lib.nix; at = module { inherit lib; pkgs.stdenv.hostPlatform.system = "
        '"x86_64-linux"; config.services.scherbelberg-gc = values; }; defaults = builtins.mapAttrs '
        "(name: option: option.default) at.options.services.scherbelberg-gc; values = defaults // { enable = true; "
        'tokenFile = "/run/secrets/token"; owner = "anna\'s"; }; in { inherit (at.config) condition; '
        "inherit (at.config.content.systemd) services timers; types = builtins.mapAttrs (name: option: option.type) "
        "at.options.services.scherbelberg-gc; }"
    )
    result = flake("eval", "--impure", "--json", ".#nixosModules.default", "--apply", expression % flake.nixpkgs)
    assert result.code == 0, result.log
    found = json.loads(result.output)
    service, timer = found["services"]["scherbelberg-gc"], found["timers"]["scherbelberg-gc"]
    assert found["condition"] is True
    assert found["types"]["tokenFile"] == "str"
    assert service["serviceConfig"]["LoadCredential"] == "token:/run/secrets/token"
    assert service["serviceConfig"]["DynamicUser"] is True
    program, _, options = service["script"].strip().partition(" gc ")
    assert re.fullmatch(r"exec /\S+-scherbelberg-\S+/bin/scherbelberg", program)
    wanted = ["--token-file", "TOKEN", "--progress", "plain", "--owner", "anna's"]
    assert shlex.split(options.replace('"$CREDENTIALS_DIRECTORY/token"', "TOKEN")) == wanted
    assert gc.make_context("gc", wanted).params["owner"] == "anna's"
    assert timer["timerConfig"]["OnCalendar"] == "*:0/15"
    assert timer["wantedBy"] == ["timers.target"]


def test_check(flake: Flake) -> None:
    """Nix finds nothing wrong with the outputs."""
    result = flake("flake", "check", "--no-build")
    assert result.code == 0, result.log


@pytest.mark.parametrize("output", [*OUTPUTS, "formatter"])
def test_evaluates(flake: Flake, output: str) -> None:
    """All that is offered can be evaluated for all systems; 'flake check' does not look at all of it."""
    found = flake.evaluate(output)
    assert set(found) == SYSTEMS
    for system, one in found.items():
        if output == "formatter":
            assert str(one).endswith("-nixfmt"), system
        elif output == "apps":
            assert {(app["type"], Path(app["program"]).name) for app in one.values()} == {("app", "scherbelberg")}  # type: ignore[index]
        else:
            assert set(one) == OUTPUTS[output]


@pytest.mark.parametrize(
    ("file", "wrong", "complaint"),
    [
        ("package.nix", ("  build-system =", "  dependecies = [ ];\n  build-system ="), "'dependecies'"),
        ("python.nix", ("      doCheck", "      noCheck = true;\n      doCheck"), "'noCheck'"),
        ("python.nix", ("final.partd", "final.parted"), "'parted'"),
        ("shell.nix", ("  shfmt,", "  shfmt,\n  shftm,"), "'shftm'"),
        ("bootstrap.nix", ("    meta =", "    metta = 1;\n    meta ="), "'metta'"),
        ("package.nix", ("fileset.unions", "fileset.union"), "'union'"),
    ],
)
def test_stand_in_is_strict(changed_flake: Flake, file: str, wrong: tuple[str, str], complaint: str) -> None:
    """What nixpkgs does not know, the stand-in does not know either."""
    path = changed_flake.folder / "nix" / file
    text = path.read_text(encoding="utf-8")
    assert wrong[0] in text
    path.write_text(text.replace(*wrong), encoding="utf-8")
    result = changed_flake("flake", "check", "--no-build")
    assert result.code != 0
    assert complaint in result.log


def test_licence() -> None:
    """Each file of Nix's begins with the two lines that say whose it is and under which licence."""
    files = [ROOT / "flake.nix", *(ROOT / "nix").rglob("*.*"), *(ROOT / "tests" / "nix" / "nixpkgs").glob("*.nix")]
    texts = {path: path.read_text(encoding="utf-8") for path in files if path.suffix in {".nix", ".py", ".sh"}}
    mark = "# SPDX-FileCopyrightText: The scherbelberg authors\n# SPDX-License-Identifier: BSD-3-Clause\n"
    begins = {path: re.sub(r"\A#!.*\n", "", text)[: len(mark)] for path, text in texts.items()}
    assert [path for path, text in begins.items() if text != mark] == []


def test_stand_in_is_small() -> None:
    """It is read in one sitting: under 160 lines that are neither empty nor comments."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "nix" / "nixpkgs").glob("*.nix")]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    assert len([line for line in lines if line and not line.startswith("#")]) < 160
