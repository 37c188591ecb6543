# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The environment of a scripted host: the image's, or one that it plays the installation of."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from scherbelberg.sandbox.hosts.played.conversation import Conversation, Failed, Hopeless
from scherbelberg.sandbox.hosts.played.stage import Stage

#: The script itself says what it consists of.
_PARTS = re.compile(r'^NODE_FILES="([^"]*)"', re.MULTILINE)
_BYTES = re.compile(r"^# bytes: (\d+)$", re.MULTILINE)
_EXPLICIT = "@EXPLICIT\n"


def verify_script(payload: Path, wanted: str) -> None:
    """See that the pushed script is the one that was sent.

    Args:
        payload: Where pushed files lie.
        wanted: Its digest.

    Raises:
        Failed: It is another one.
    """
    parts = _PARTS.search((payload / "environment.sh").read_text(encoding="utf-8"))
    names = parts.group(1).split() if parts else ()
    digest = hashlib.sha256(b"".join((payload / name).read_bytes() for name in names)).hexdigest()
    if digest != wanted:
        raise Failed(f"the pushed script has the digest {digest} where {wanted} was sent")


class Installation:
    """An environment that is there, or comes to be.

    Args:
        stage: Where.
        talk: With whom.
        digest: Which.
    """

    def __init__(self, stage: Stage, talk: Conversation, digest: str) -> None:
        self._stage = stage
        self._talk = talk
        self._digest = digest

    @property
    def is_there(self) -> bool:
        """Whether it is in use already."""
        return self._link.readlink() == self._target

    @property
    def _link(self) -> Path:
        return self._stage.base / "env"

    @property
    def _target(self) -> Path:
        return Path("envs") / self._digest

    def check_lock(self) -> int:
        """See that the lock is the one that was asked for.

        Returns:
            How many bytes its packages have, or 0.

        Raises:
            Hopeless: There is none, or another one.
        """
        try:
            head, _, body = (self._stage.payload / "env.lock").read_text(encoding="utf-8").partition(_EXPLICIT)
        except FileNotFoundError:
            holds = f"this machine's image does not hold the environment {self._digest}"
            raise Hopeless(f"{holds}, and none was sent") from None
        digest = hashlib.sha256(body.encode()).hexdigest()
        if digest != self._digest:
            raise Hopeless(f"env.lock has the digest {digest} where {self._digest} was asked for")
        size = _BYTES.search(head)
        return int(size.group(1)) if size else 0

    async def fetch(self, total: int) -> None:
        """Play Miniforge's installation and the downloads, of which both have begun.

        Args:
            total: How many bytes there are to download.
        """
        scenario = self._stage.scenario
        await self._stage.pause(scenario.miniforge_s)
        self._talk.tell("miniforge", "done")
        await self._stage.pause(max(0.0, scenario.download_s - scenario.miniforge_s))
        if total:
            self._talk.tell("download", f"progress {total} {total}")
        self._talk.tell("download", "done")

    async def finish(self) -> None:
        """Look at it if it is there, or put it in its place."""
        scenario = self._stage.scenario
        await self._stage.pause(scenario.environment_s if self.is_there else scenario.install_s)
        new = self._link.with_name("env.new")
        new.unlink(missing_ok=True)
        new.symlink_to(self._target)
        new.replace(self._link)
