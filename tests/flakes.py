# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Nix with a store of its own, a clone of this project as a flake sees it, and the stand-in for nixpkgs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[1]
WITHIN_S = 300
#: Both versions of Nix that are tested want it so: no daemon, no users to build, nothing from a network.
CONFIGURATION = """build-users-group =
sandbox = false
substituters =
flake-registry =
experimental-features = nix-command flakes
"""
#: Equal content shall be an equal revision, for whoever makes the clone.
_COMMITTER = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "anna"), ("EMAIL", "anna@example.org"), ("DATE", "2026-01-01T00:00:00Z"))
}


@frozen(kw_only=True)
class Result:
    """How a command of Nix's ended.

    Args:
        code: Its exit code.
        output: What it printed.
        log: What else it told.
    """

    code: int
    output: str
    log: str


@frozen(kw_only=True)
class Flake:
    """A flake and the Nix that works on it.

    Args:
        folder: Of the flake, which is a git repository.
        nixpkgs: Folder of the stand-in.
        environ: For Nix.
    """

    folder: Path
    nixpkgs: Path
    environ: dict[str, str]

    def __call__(self, *words: str, after: tuple[str, ...] = (), override: str = "nixpkgs") -> Result:
        """Run Nix in the flake's folder.

        Args:
            words: Of the command.
            after: What stands behind all options, such as a command for a shell.
            override: The input in whose place the stand-in is.
        """
        options = ["--offline", "--no-write-lock-file", "-L", "--override-input", override, f"path:{self.nixpkgs}"]
        return self.run("nix", *words, *options, *after)

    def run(self, *words: str) -> Result:
        """Run any command in the flake's folder, with Nix' environment."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            encoding="utf-8",
            timeout=WITHIN_S,
            check=False,
        )
        return Result(code=done.returncode, output=done.stdout, log=done.stderr)

    def evaluate(self, output: str) -> dict[str, dict[str, object]]:
        """Evaluate one of the flake's outputs: system to name to what is there."""
        result = self("eval", "--json", f".#{output}")
        assert result.code == 0, result.log
        found: dict[str, dict[str, object]] = json.loads(result.output)
        return found

    def copy(self, folder: Path) -> Flake:
        """Make another clone, to be changed.

        Args:
            folder: Where; it does not exist yet.
        """
        assert self.run("git", "clone", "--quiet", str(self.folder), str(folder)).code == 0
        return Flake(folder=folder, nixpkgs=self.nixpkgs, environ=self.environ)


def path() -> str:
    """Where this computer's programs are: first those beside the interpreter that tests run with, such as linters."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def environment(root: Path) -> dict[str, str]:
    """Environment variables for a Nix that keeps everything in one folder.

    Args:
        root: The folder; several processes may share it.
    """
    for name in ("conf", "home", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    configuration = root / "conf" / "nix.conf"
    if not configuration.exists():  # somebody may be reading it
        configuration.write_text(CONFIGURATION, encoding="utf-8")
    places = {"STORE": "store", "STATE": "state", "LOG": "log", "LOCALSTATE": "var", "CONF": "conf"}
    own = {f"NIX_{name}_DIR": str(root / folder) for name, folder in places.items()}
    own |= {"HOME": str(root / "home"), "TMPDIR": str(root / "tmp"), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    return own | _COMMITTER


def clone(folder: Path, environ: dict[str, str]) -> Path:
    """Copy what git tracks here into a repository of its own, committed.

    Args:
        folder: Where.
        environ: For git.
    """
    git = ["git", "-C", str(ROOT)]
    listed = subprocess.run([*git, "ls-files", "-z"], capture_output=True, encoding="utf-8", check=True).stdout
    for name in listed.split("\0")[:-1]:
        if (ROOT / name).is_file():  # deleted and not committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "All"]):
        subprocess.run(["git", *words], cwd=folder, env=environ, check=True)
    return folder


def stand_in(folder: Path) -> Path:
    """Copy the stand-in for nixpkgs, and tell it where this computer's programs are.

    Args:
        folder: Where.
    """
    shutil.copytree(ROOT / "tests" / "nix" / "nixpkgs", folder)
    host = json.loads((folder / "host.json").read_text(encoding="utf-8"))
    host |= {"python": sys.executable, "path": path()}
    (folder / "host.json").write_text(json.dumps(host), encoding="utf-8")
    return folder


def by_hand(folder: Path) -> list[str]:
    """Prepare Nix and the stand-in for who tries things by hand; returns lines for a shell.

    Args:
        folder: Where; what is there is used again, and the stand-in is copied anew.
    """
    shutil.rmtree(folder / "nixpkgs", ignore_errors=True)
    wanted = {name: value for name, value in environment(folder).items() if name.startswith("NIX_")}
    wanted["NIXPKGS"] = f"path:{stand_in(folder / 'nixpkgs')}"
    return [f"export {name}={shlex.quote(value)}" for name, value in wanted.items()]


if __name__ == "__main__":
    print("\n".join(by_hand(Path(sys.argv[1]).resolve())))
