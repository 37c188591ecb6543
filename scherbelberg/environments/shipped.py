# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the package ships: files for nodes, pins of all that nodes get, and locks with their records."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from attrs import evolve, field, frozen

from scherbelberg.environments.lock import EnvLock, lock_name, read_lock
from scherbelberg.errors import BadInput

PINS = "pins.toml"
#: The folder of locks, below that of all files.
LOCKS = "env"
#: What runs on nodes, in the order in which it is digested.
SCRIPT_FILES = (
    "bootstrap.sh",
    "service.sh",
    "record.sh",
    "watch.sh",
    "environment.sh",
    "downloads.sh",
    "logs.sh",
    "direct.py",
    "scratch.py",
    "preloads.py",
    "activity.py",
    "dashboard_guard.py",
    "openssl_errors.py",
    "warden.py",
    "10-scherbelberg.conf",
    "units/scherbelberg-dask@.service",
    "units/scherbelberg-watch.service",
    "units/scherbelberg-watch.timer",
)


_PACKAGE = files("scherbelberg")
#: Written by nix/package.nix.
_REVISION = "revision"


@frozen(kw_only=True)
class Pins:
    """All pins.

    Args:
        miniforge_tag: Release of Miniforge, conda-forge's installer.
        miniforge_url: Where it is, with ``{tag}`` and ``{machine}`` in it.
        miniforge_sha256: By machine as ``uname -m`` has it.
        image: Name of the image that nodes begin with.
        script: Digest of what runs on nodes.
        locks: Digest by name of a shipped lock.
    """

    miniforge_tag: str
    miniforge_url: str
    miniforge_sha256: Mapping[str, str] = field(hash=False)
    image: str
    script: str
    locks: Mapping[str, str] = field(hash=False)

    @property
    def tables(self) -> dict[str, Any]:
        """The same as the file has it."""
        miniforge = {"tag": self.miniforge_tag, "url": self.miniforge_url, "sha256": dict(self.miniforge_sha256)}
        return {
            "miniforge": miniforge,
            "image": {"name": self.image},
            "script": {"digest": self.script},
            "env": dict(self.locks),
        }


def read_pins(text: str) -> Pins:
    """Read the file of pins.

    Args:
        text: TOML.

    Raises:
        BadInput: It is damaged.
    """
    try:
        found = tomllib.loads(text)
        miniforge = found["miniforge"]
        return Pins(
            miniforge_tag=miniforge["tag"],
            miniforge_url=miniforge["url"],
            miniforge_sha256=dict(miniforge["sha256"]),
            image=found["image"]["name"],
            script=found["script"]["digest"],
            locks=dict(found["env"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"The pins of this installation, {PINS}, cannot be read ({error!r}); install it anew.") from None


def script_digest(files: Mapping[str, bytes]) -> str:
    """Digest what runs on nodes: hexadecimal SHA-256 of the files behind each other.

    Args:
        files: Shipped files by path.
    """
    return hashlib.sha256(b"".join(files[name] for name in SCRIPT_FILES)).hexdigest()


def shipped_files(share: Traversable | None = None) -> dict[str, bytes]:
    """Read all that nodes get, by its path below ``share/``, with slashes.

    Args:
        share: The folder; this package's where none is named.
    """
    return dict(_walk(share or _share(), ""))


def tool_version() -> str:
    """The version of this package."""
    return version("scherbelberg")


def flake_revision() -> str | None:
    """The revision of the Nix flake that this package was built from, or None if it was none."""
    written = _PACKAGE / _REVISION
    return written.read_text(encoding="utf-8").strip() if written.is_file() else None


def shipped_pins(share: Traversable | None = None) -> Pins:
    """Read the pins.

    Args:
        share: The folder; this package's where none is named.

    Raises:
        BadInput: They are damaged.
    """
    return read_pins(((share or _share()) / PINS).read_text(encoding="utf-8"))


def shipped_locks(share: Traversable | None = None) -> dict[str, EnvLock]:
    """Read all shipped locks, by name.

    Args:
        share: The folder; this package's where none is named.

    Raises:
        BadInput: One is damaged.
    """
    folder = (share or _share()) / LOCKS
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir()}
    names = sorted(name.removesuffix(".lock") for name in texts if name.endswith(".lock"))
    return {name: _read(name, texts[f"{name}.lock"], texts.get(f"{name}.json")) for name in names}


def shipped_lock(profile: str, python_minor: str, platform: str) -> EnvLock | None:
    """Read a shipped lock, or None if there is none.

    Args:
        profile: Such as ``main``.
        python_minor: Such as ``3.13``.
        platform: Such as ``linux-64``.

    Raises:
        BadInput: It is damaged.
    """
    name = lock_name(profile, python_minor, platform)
    folder = _share() / LOCKS
    if not (folder / f"{name}.lock").is_file():
        return None
    text, records = ((folder / f"{name}.{ending}").read_text(encoding="utf-8") for ending in ("lock", "json"))
    return _read(name, text, records)


def _read(name: str, text: str, records: str | None) -> EnvLock:
    return read_lock(text, source=f"The shipped lock {name}", records=records)


def _share() -> Traversable:
    return _PACKAGE / "share"


def _walk(folder: Traversable, below: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.name in {"__pycache__", LOCKS}:
            continue  # pip compiles every Python file that it installs; of the locks, a node gets its own
        path = f"{below}{entry.name}"
        if entry.is_dir():
            found += _walk(entry, f"{path}/")
        else:
            found.append((path, entry.read_bytes()))
    return found


def current_pins(share: Traversable | None = None) -> Pins:
    """The pins as they would have to be: with the digests that scripts and locks have now.

    Args:
        share: The folder; this package's where none is named.

    Raises:
        BadInput: A file is damaged.
    """
    digests = {name: lock.digest for name, lock in shipped_locks(share).items()}
    return evolve(shipped_pins(share), script=script_digest(shipped_files(share)), locks=digests)
