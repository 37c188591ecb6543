#!/usr/bin/env python3
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks ``nix/pins.json`` against locks, extras and constraints; ``--write`` makes it anew, with pip.

Needs nothing but Python and, for writing, its pip: it runs inside of Nix, too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PINS = ROOT / "nix" / "pins.json"
LOCKS = ROOT / "scherbelberg" / "share" / "env"
LOCK = "main-py313-linux-64"
ADVICE = "run 'python nix/pins.py --write' in a clone"
#: What must be as the lock has it, and conda's name for it.
LOCKED = {
    "cloudpickle": "cloudpickle",
    "dask": "dask-core",
    "distributed": "distributed",
    "msgpack": "msgpack-python",
    "toolz": "toolz",
    "tornado": "tornado",
}
#: What must be recent: as constraints.txt has it.
RECENT = ("asyncssh", "hcloud", "py-rattler")
#: Nix' word for a platform to those of wheels, best first; pip knows the older ones of macOS by itself.
_LINUX = [f"manylinux_2_{minor}" for minor in range(34, 4, -1)] + ["manylinux2014", "manylinux2010", "manylinux1"]
PLATFORMS = {
    "x86_64-linux": [f"{tag}_x86_64" for tag in _LINUX],
    "aarch64-linux": [f"{tag}_aarch64" for tag in _LINUX],
    "aarch64-darwin": ["macosx_14_0_arm64"],
}


def locked_versions(lock: str = LOCK) -> dict[str, str]:
    """Versions that a lock has.

    Args:
        lock: Its name.
    """
    text = (LOCKS / f"{lock}.lock").read_text(encoding="utf-8")
    found = dict(re.findall(r"^https://\S+/([a-z0-9_.-]+)-([^-/\s]+)-[^-/\s]+#", text, flags=re.MULTILINE))
    return {name: found[conda] for name, conda in LOCKED.items()}


def constrained() -> dict[str, dict[str, set[str]]]:
    """Name to version to hashes, as constraints.txt has them."""
    found: dict[str, dict[str, set[str]]] = {}
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for name, version, rest in re.findall(r"^([a-z0-9-]+)==(\S+)(.*\n(?:    .*\n)*)", text, flags=re.MULTILINE):
        found.setdefault(name, {})[version] = set(re.findall(r"sha256:([0-9a-f]{64})", rest))
    return found


def wanted_versions() -> dict[str, str]:
    """The version of each package that is to be pinned."""
    constraints = constrained()
    return dict(sorted((locked_versions() | {name: next(iter(constraints[name])) for name in RECENT}).items()))


def complaints(pins: dict[str, Any]) -> list[str]:
    """Say what is wrong with pins.

    Args:
        pins: The content of pins.json.
    """
    wanted, constraints = wanted_versions(), constrained()
    for path in sorted(LOCKS.glob("*-py313-*.lock")):
        if locked_versions(path.stem) != locked_versions():
            return [f"{path.stem} and {LOCK} have other versions, of which Nix can have but one"]
    if set(pins) != set(wanted):
        return [f"it pins {', '.join(pins)} and should pin {', '.join(wanted)}"]
    wrong = [
        f"it has {name} {pins[name]['version']}, and {LOCK if name in LOCKED else 'constraints.txt'} has {version}"
        for name, version in wanted.items()
        if pins[name]["version"] != version
    ]
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    pinned = {line.partition(";")[0] for line in extra["main"]}
    wrong += [
        f"it has {name} {pins[name]['version']}, and pyproject.toml's extra main has another one"
        for name in LOCKED
        if f"{name}=={pins[name]['version']}" not in pinned
    ]
    return wrong + [
        f"a hash of {name} {pin['version']} for {where} is not among those in constraints.txt"
        for name, pin in pins.items()
        for where, wheel in pin["wheels"].items()
        if _hex(wheel["hash"]) not in constraints[name].get(pin["version"], set())
    ]


def _hex(sri: str) -> str:
    return base64.b64decode(sri.removeprefix("sha256-")).hex()


def download(name: str, version: str, system: str) -> dict[str, str]:
    """Download a wheel and describe it as nixpkgs' fetchPypi wants it.

    Args:
        name: The package.
        version: Its version.
        system: Nix' word for the platform.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version=3.13", "--implementation=cp", "--abi=cp313", "--abi=abi3", "--abi=none"]
        command += [f"--platform={tag}" for tag in PLATFORMS[system]]
        subprocess.run([*command, f"--dest={folder}", f"{name}=={version}"], check=True)
        (path,) = Path(folder).iterdir()
        digest = base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
    pname, _, python, abi, platform = path.stem.split("-")
    # The index keeps a wheel under the Python that it is for.
    tags = {"dist": python, "python": python, "abi": abi}
    return {
        "format": "wheel",
        "pname": pname,
        "version": version,
        **tags,
        "platform": platform,
        "hash": f"sha256-{digest}",
    }


def wheels(name: str, version: str) -> dict[str, dict[str, str]]:
    """Describe the wheels of a package: one for all platforms, or one for each.

    Args:
        name: The package.
        version: Its version.
    """
    found = {system: download(name, version, system) for system in PLATFORMS}
    first = next(iter(found.values()))
    return {"any": first} if first["platform"] == "any" else found


def main() -> None:
    """Check, or write."""
    if sys.argv[1:] == ["--write"]:
        pins = {
            name: {"version": version, "wheels": wheels(name, version)} for name, version in wanted_versions().items()
        }
        PINS.write_text(json.dumps(pins, indent=2) + "\n", encoding="utf-8", newline="\n")
    if wrong := complaints(json.loads(PINS.read_text(encoding="utf-8"))):
        sys.exit(f"nix/pins.json is stale: {wrong[0]} ({len(wrong)} findings); {ADVICE}.")


if __name__ == "__main__":
    main()
