# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the flake builds and runs, really built and run with this computer's programs in place of nixpkgs'."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from flakes import Flake, path

import scherbelberg
from scherbelberg.environments.shipped import shipped_pins, tool_version

SHARE = "scherbelberg/share"
PINS = "nix/pins.json"
CHECK = "if that is wanted, run 'python tools/derive.py' in a clone; if not, 'git checkout scherbelberg/share'"
LOCK_ANEW = "if that is wanted, run 'python tools/refresh_locks.py' in a clone"
STALE = "run 'python tools/nix_pins.py' in a clone"


def content(folder: Path) -> dict[str, bytes]:
    """Files by path, without what Python compiled."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def built(flake: Flake, output: str, link: Path) -> Path:
    """Build an output; returns where it is."""
    result = flake("build", f".#{output}", "-o", str(link))
    assert result.code == 0, result.log
    return link.resolve()


def edit(path: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    """A change of a file's text that does change it."""

    def apply(folder: Path) -> None:
        before = (folder / path).read_text(encoding="utf-8")
        after = change(before)
        assert after != before
        (folder / path).write_text(after, encoding="utf-8")

    return apply


def replace(path: str, old: str, new: str) -> Callable[[Path], None]:
    """A change of all places that match."""
    return edit(path, lambda text: re.sub(old, new, text, flags=re.MULTILINE))


def test_bootstrap(flake: Flake, tmp_path: Path) -> None:
    """What nodes get from Nix users is, byte for byte, what they get from those who installed by pip."""
    assert content(built(flake, "bootstrap", tmp_path / "result")) == content(
        Path(scherbelberg.__file__).parent / "share"
    )


def test_check(flake: Flake) -> None:
    """'nix flake check' builds all there is; without nixfmt on this computer that check alone fails, and says so."""
    result = flake("flake", "check", "--keep-going")
    failed = set(re.findall(r"builder for '\S+?-([^/']+)\.drv' failed", result.log))
    if shutil.which("nixfmt", path=path()):
        assert (result.code, failed) == (0, set()), result.log
    else:
        assert (result.code != 0, failed) == (True, {"scherbelberg-nixfmt"}), result.log
        assert "nixfmt is not on this computer." in result.log


@pytest.mark.parametrize("name", ["agreement", "mypy", "package", "pins", "ruff", "shellcheck", "shfmt", "tests"])
def test_checks(flake: Flake, name: str) -> None:
    """All checks are built but that of nixfmt, which no package of Debian's or PyPI's brings."""
    result = flake("build", "--no-link", f".#checks.x86_64-linux.{name}")
    assert result.code == 0, result.log


def test_program(flake: Flake, tmp_path: Path) -> None:
    """The program has completions, and finds OpenSSH behind the user's own."""
    place = built(flake, "default", tmp_path / "result")
    completions = {"scherbelberg.bash", "scherbelberg.fish", "_scherbelberg"}
    assert {path.name for path in (place / "share").rglob("*") if path.is_file()} == completions
    assert re.search(r'PATH="\$PATH:\S+-openssh/bin"', (place / "bin" / "scherbelberg").read_text(encoding="utf-8"))
    assert flake("run", ".", after=("--", "--version")).output == f"scherbelberg {tool_version()}\n"


def test_revision(changed_flake: Flake) -> None:
    """The program knows from which revision it is; Nix knows none where an input is overridden."""
    overridden = changed_flake("run", ".#scherbelberg", after=("--", "--version", "--json"))
    assert json.loads(overridden.output)["revision"] == "unknown"
    replace("flake.nix", "github:NixOS/nixpkgs/nixos-26.05", f"path:{changed_flake.nixpkgs}")(changed_flake.folder)
    assert changed_flake.run("nix", "flake", "lock", "--offline").code == 0
    assert changed_flake.run("git", "commit", "--quiet", "--all", "--message", "Lock the stand-in").code == 0
    result = changed_flake.run("nix", "run", "--offline", ".#scherbelberg", "--", "--version", "--json")
    assert result.code == 0, result.log
    document = json.loads(result.output)
    assert document["revision"] == changed_flake.run("git", "rev-parse", "HEAD").output.strip()
    assert (document["script"], document["locks"]) == (shipped_pins().script, dict(shipped_pins().locks))


def test_demo(flake: Flake) -> None:
    """'nix run' computes on a cluster of the sandbox's."""
    result = flake("run", ".#scherbelberg", after=("--", "demo"))
    assert result.code == 0, result.log
    assert "The cluster's result and this computer's own are equal." in result.output + result.log


def test_shell_for_contributors(flake: Flake) -> None:
    """In the shell, tests run on the clone's files, from wherever in it."""
    result = flake("develop", after=("-c", "pytest", "-n", "0", "tests/cloud/test_pricing.py"))
    assert (result.code, " passed" in result.output) == (0, True), result.log
    code = "import scherbelberg; print(scherbelberg.__file__)"
    place = flake("develop", after=("-c", "bash", "-c", f"cd tests && python -P -c '{code}'"))
    assert Path(place.output.strip()).parents[1] == flake.folder, place.log


def test_shell_for_users(flake: Flake) -> None:
    """In the shell, Python has the built package, and the program is there."""
    code = "import scherbelberg, dask, numpy; print(scherbelberg.__file__)"
    result = flake(
        "develop", ".#client", after=("-c", "bash", "-c", f"cd / && scherbelberg --version && python -c '{code}'")
    )
    version, place = result.output.splitlines()
    assert version.startswith("scherbelberg ")
    assert Path(place).is_relative_to(flake.environ["NIX_STORE_DIR"])


def test_flake_of_ones_own(flake: Flake, tmp_path: Path) -> None:
    """The template makes a project whose Python has the tool, by way of the overlay."""
    own = Flake(folder=tmp_path / "own", nixpkgs=flake.nixpkgs, environ=flake.environ)
    own.folder.mkdir()
    assert own.run("nix", "flake", "init", "-t", f"git+file://{flake.folder}").code == 0
    assert own.run("git", "init", "--quiet").code == own.run("git", "add", "--all").code == 0
    ours = ("--override-input", "scherbelberg", f"git+file://{flake.folder}")
    result = own("develop", *ours, override="scherbelberg/nixpkgs", after=("-c", "python", "-c", "import scherbelberg"))
    assert result.code == 0, result.log


LOCK = f"{SHARE}/env/main-py313-linux-64.lock"


#: What is built, what is done before, and the sentence that comes of it.
TAMPERED: list[tuple[str, Callable[[Path], None], str]] = [
    ("bootstrap", replace(f"{SHARE}/service.sh", r"\Z", "# more\n"), f"What runs on nodes has the digest .*: {CHECK}"),
    (
        "bootstrap",
        replace(f"{SHARE}/pins.toml", '^digest = "...', 'digest = "abc'),
        f"and pins.toml says abc.*: {CHECK}",
    ),
    ("bootstrap", replace(f"{SHARE}/service.sh", r"\Z", "cd $1\n"), "SC2086"),
    (
        "bootstrap",
        replace(LOCK, "sha256:a", "sha256:b"),
        f"The lock main-py313-linux-64 has the digest .*: {LOCK_ANEW}",
    ),
    ("bootstrap", replace(LOCK, "# digest: .", "# digest: "), f"main-py313-linux-64 .* of itself: {LOCK_ANEW}"),
    (
        "bootstrap",
        replace(f"{SHARE}/pins.toml", '(py313-linux-64 = ").', r"\g<1>"),
        f"main-py313-linux-64 has the.*: {CHECK}",
    ),
    ("bootstrap", lambda folder: (folder / LOCK).unlink(), f"main-py313-linux-64, and there is no such file: {CHECK}"),
    ("default", replace(PINS, '"2026.7.1"', '"2026.6.0"'), f"stale: it has [a-z-]+ 2026.6.0, and main-.*; {STALE}"),
    ("default", replace(LOCK, "toolz-1.1.0-", "toolz-1.1.1-"), f"stale: it has toolz 1.1.0, and main-.*; {STALE}"),
    (
        "checks.x86_64-linux.pins",
        replace(PINS, "sha256-m", "sha256-n"),
        f"a hash of .* is not among those in .*; {STALE}",
    ),
    ("checks.x86_64-linux.pins", replace("constraints.txt", "^hcloud==2", "hcloud==3"), f"has hcloud 2.*; {STALE}"),
]


@pytest.mark.parametrize(("output", "tamper", "sentence"), TAMPERED)
def test_tampering(changed_flake: Flake, output: str, tamper: Callable[[Path], None], sentence: str) -> None:
    """What does not agree is not built, and one sentence says what to run."""
    tamper(changed_flake.folder)
    result = changed_flake("build", "--no-link", f".#{output}")
    assert result.code != 0
    assert re.search(sentence, result.log), result.log
