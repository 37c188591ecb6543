#!/usr/bin/env python3
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Writes ``nix/pins.json``, the wheels that Nix takes from PyPI; pip asks whatever index it uses.

``derive.py`` checks it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from repository import ROOT, locks_in, read, write

from scherbelberg.environments.versions import REQUIRED

#: nixpkgs has one version of a package, so all locks of its Python have to agree.
LOCK = "main-py313-linux-64"
_PYTHON = "3.13"
#: What must be recent: as constraints.txt has it. What must match comes from the lock.
RECENT = ("asyncssh", "hcloud", "py-rattler")
#: Nix' word for a platform to those of wheels, best first; pip knows the older ones of macOS by itself.
_LINUX = [f"manylinux_2_{minor}" for minor in range(34, 4, -1)] + ["manylinux2014", "manylinux2010", "manylinux1"]
PLATFORMS = {
    "x86_64-linux": [f"{tag}_x86_64" for tag in _LINUX],
    "aarch64-linux": [f"{tag}_aarch64" for tag in _LINUX],
    "aarch64-darwin": ["macosx_14_0_arm64"],
}
Constraints = dict[str, dict[str, set[str]]]


def locked_versions(root: Path) -> dict[str, dict[str, str]]:
    """Versions of what must match, by name of a lock.

    Args:
        root: The clone.
    """
    return {
        name: {package: version for package, version in lock.versions.packages.items() if package in REQUIRED}
        for name, lock in locks_in(root).items()
        if lock.versions.python_minor == _PYTHON
    }


def constrained(root: Path) -> Constraints:
    """Name to version to hashes, as constraints.txt has them.

    Args:
        root: The clone.
    """
    found: Constraints = {}
    text = read(root / "constraints.txt")
    for name, version, rest in re.findall(r"^([a-z0-9-]+)==(\S+)(.*\n(?:    .*\n)*)", text, flags=re.MULTILINE):
        found.setdefault(name, {})[version] = set(re.findall(r"sha256:([0-9a-f]{64})", rest))
    return found


def wanted_versions(root: Path) -> dict[str, str]:
    """The version of each package that is to be pinned.

    Args:
        root: The clone.
    """
    constraints = constrained(root)
    recent = {name: next(iter(constraints[name])) for name in RECENT}
    return dict(sorted((locked_versions(root)[LOCK] | recent).items()))


def complaints(pins: dict[str, Any], root: Path = ROOT) -> list[str]:
    """Say what is wrong with pins.

    Args:
        pins: The content of pins.json.
        root: The clone.
    """
    constraints, locked = constrained(root), locked_versions(root)
    for name, versions in locked.items():
        if versions != locked[LOCK]:
            return [f"{name} and {LOCK} have other versions, of which Nix can have but one"]
    if missing := [name for name in RECENT if name not in constraints]:
        return [f"constraints.txt has no {', '.join(missing)}"]
    wanted = wanted_versions(root)
    if set(pins) != set(wanted):
        return [f"it pins {', '.join(pins)} and should pin {', '.join(wanted)}"]
    wrong = [
        f"it has {name} {pins[name]['version']}, and {LOCK if name in REQUIRED else 'constraints.txt'} has {version}"
        for name, version in wanted.items()
        if pins[name]["version"] != version
    ]
    return wrong + [
        f"a hash of {name} {pin['version']} for {where} is not among those in constraints.txt"
        for name, pin in pins.items()
        for where, wheel in pin["wheels"].items()
        if _hex(wheel["hash"]) not in constraints.get(name, {}).get(pin["version"], set())
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


def main(root: Path = ROOT) -> None:
    """Write the pins.

    Args:
        root: The clone.
    """
    pins = {name: {"version": one, "wheels": wheels(name, one)} for name, one in wanted_versions(root).items()}
    write(root / "nix" / "pins.json", json.dumps(pins, indent=2) + "\n")
    if wrong := complaints(pins, root):
        sys.exit(f"nix/pins.json is still wrong: {wrong[0]} ({len(wrong)} in all).")


if __name__ == "__main__":
    main()
