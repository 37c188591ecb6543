# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is pinned: installer, image, scripts and shipped locks, in one file that is read here, on nodes and by Nix."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from scherbelberg.errors import BadInput

PINS = "pins.toml"
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
