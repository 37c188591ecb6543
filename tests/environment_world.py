# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A world without internet: a mirror stands for conda channels and for Miniforge, whose stand-in is what is pinned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from conda_channel import Channel
from miniforge_standin import place
from mirror import Mirror
from sandbox_helpers import Api
from shells import Shell

from scherbelberg.environments import shipped
from scherbelberg.environments.shipped import PINS
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.spec.toml import write_toml


def isolated(
    settings: Settings, channel: Channel, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, share: Path
) -> Settings:
    """Let all environments come from a mirror; nothing else than the pinned installer is another one.

    Args:
        settings: Settings that lead to a cloud.
        channel: What the mirror serves.
        mirror: The mirror.
        monkeypatch: Puts other pins in the place of the shipped ones.
        share: A new folder for the package's files with these pins.
    """
    pins = shipped.shipped_pins()
    digest = place(channel.root, pins.miniforge_tag)
    pinned = evolve(pins, miniforge_sha256=dict.fromkeys(pins.miniforge_sha256, digest))
    original = shipped._share()
    assert isinstance(original, Path)
    share.mkdir()
    for entry in original.iterdir():
        if entry.name != PINS:
            (share / entry.name).symlink_to(entry)
    (share / PINS).write_text(write_toml(pinned.tables), encoding="utf-8")
    monkeypatch.setattr(shipped, "_share", lambda: share)
    return evolve(settings, channel_mirror=mirror.url, miniforge_mirror=f"{mirror.url}/miniforge")


@frozen(kw_only=True)
class World:
    """A cloud, and a mirror from which all environments of its nodes come.

    Args:
        settings: Settings that lead there.
        sandbox: The cloud.
        channel: What the mirror has.
        mirror: The mirror.
        share: The package's files for nodes.
        commands: The command line.
        folder: For files of the user's.
    """

    settings: Settings
    sandbox: SandboxThread
    channel: Channel
    mirror: Mirror
    share: Path
    commands: Shell
    folder: Path

    @property
    def mirrors(self) -> tuple[str, str]:
        """The options that lead the command line to the mirror."""
        return f"--channel-mirror={self.mirror.url}", f"--miniforge-mirror={self.mirror.url}/miniforge"

    def shell(self, *words: str) -> tuple[int, str, str]:
        """Run a command that knows the mirror; returns exit code, output and complaints."""
        return self.commands(*words, *self.mirrors)

    def answer(self, *words: str) -> Any:
        """The document with which a command answers."""
        code, output, complaints = self.commands(*words, "--json")
        assert code == 0, complaints
        return json.loads(output)

    def lock(self) -> Path:
        """Have the running interpreter's versions locked by the command line."""
        path = self.folder / "mein env.lock"
        assert self.shell("env", "lock", "-o", str(path))[0] == 0
        return path

    @property
    def fetched(self) -> list[str]:
        """What nodes asked for; the client asks for no more than a first byte, to see whether they may have it."""
        return [seen.path for seen in self.mirror.seen if seen.headers["user-agent"].startswith("curl/")]

    def snapshot(self, node: str) -> str:
        """Save a node as an image; returns its number."""
        api = Api(self.sandbox.settings)
        (server,) = [row for row in api("GET", "/servers").body["servers"] if row["name"].endswith(node)]
        made = api("POST", f"/servers/{server['id']}/actions/create_image", {}).body
        api.done(made["action"])
        api.close()
        return str(made["image"]["id"])
