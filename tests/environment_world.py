# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A world without internet: a mirror stands for conda channels and for Miniforge, whose stand-in is what is pinned."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from conda_channel import Channel
from miniforge_standin import place
from mirror import Mirror

from scherbelberg import shipped
from scherbelberg.pins import PINS
from scherbelberg.settings import Settings
from scherbelberg.specfile import write_toml


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
