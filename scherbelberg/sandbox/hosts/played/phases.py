# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The script's main command, ``up``, as a scripted host plays it: the same phases, words, files and answers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import platform

from scherbelberg.errors import WaitTimeout
from scherbelberg.sandbox.faults import ScriptPhase
from scherbelberg.sandbox.hosts import fake_programs
from scherbelberg.sandbox.hosts.played.conversation import Conversation, Failed, Hopeless
from scherbelberg.sandbox.hosts.played.installation import Installation, verify_script
from scherbelberg.sandbox.hosts.played.stage import NodeSettings, Stage
from scherbelberg.sandbox.hosts.system import write_private
from scherbelberg.waiting import until

_LOOK_S = 0.05
#: Files of the payload that do not stay there. Nothing else is done with them here: the workers of all scripted hosts
#: share one process and one environment.
_TAKEN_IN = ("work.env", "work.yaml")
#: Dask that ended more often than this does not answer any more.
_MOST_ENDS = 2
#: How much of its log is shown then.
_SAID_LINES = 20


class Phases:
    """One run through all of them.

    Args:
        stage: Where.
        talk: With whom.
        settings: The node's, as pushed.
    """

    def __init__(self, stage: Stage, talk: Conversation, settings: NodeSettings) -> None:
        self._stage = stage
        self._talk = talk
        self._settings = settings

    async def run(self) -> None:
        """Go through them; what is done already is skipped.

        Raises:
            Failed: As the script would.
        """
        if self._stage.faults.has("no_program"):
            raise Hopeless("this machine's image lacks nft, and no node can do without")
        verify_script(self._stage.payload, self._settings["SCRIPT_DIGEST"])
        for folder, mode in (("etc", 0o755), ("etc/tls", 0o700)):
            (self._stage.base / folder).mkdir(mode=mode, exist_ok=True)
        await self._hostkey()
        await self._environment()
        await self._tls()
        await self._service()

    async def _begin(self, phase: ScriptPhase) -> None:
        self._talk.tell(phase)
        trouble = self._stage.faults.in_phase(phase)
        if trouble is None:
            return
        if trouble == "fails":
            raise Failed("the sandbox was told to fail here")
        if trouble == "dies":
            self._stage.die()
        await asyncio.Event().wait()  # until the host is switched off

    async def _hostkey(self) -> None:
        await self._begin("hostkey")
        stage = self._stage
        if not (stage.host_key.exists() and stage.host_key_words()[2:] == [self._settings.mark]):
            words = ["-q", "-t", "ed25519", "-N", "", "-C", self._settings.mark, "-f", str(stage.host_key)]
            fake_programs.ssh_keygen(words)
        public = " ".join(stage.host_key_words()[:2])
        self._talk.speak(f"hostkey {public}")
        await self._talk.listen("pinned", within_s=self._settings.wait_s)
        if self._is_loaded(public):
            self._talk.tell("hostkey", "skipped sshd has it already")
            return
        await stage.pause(stage.scenario.hostkey_s)
        self._load(public)
        self._talk.tell("hostkey", "done")

    def _is_loaded(self, public: str) -> bool:
        wanted = (self._stage.payload / self._stage.drop_in.name).read_bytes()
        loaded = self._stage.root / "run/scherbelberg/hostkey"
        with contextlib.suppress(OSError):
            return self._stage.drop_in.read_bytes() == wanted and loaded.read_text(encoding="utf-8") == public
        return False

    def _load(self, public: str) -> None:
        stage = self._stage
        write_private(stage.drop_in, (stage.payload / stage.drop_in.name).read_bytes(), mode=0o644)
        try:
            fake_programs.load_host_keys(stage.root)
        except ValueError:
            stage.drop_in.unlink()
            raise Failed("sshd did not accept its new configuration") from None
        (stage.root / "run/scherbelberg").mkdir(exist_ok=True)
        write_private(stage.root / "run/scherbelberg/hostkey", public.encode(), mode=0o644)

    async def _environment(self) -> None:
        installation = Installation(self._stage, self._talk, self._settings["ENV_DIGEST"])
        outcome = "skipped already there"
        if not installation.is_there:
            self._talk.phase, outcome = "environment", "done"
            total = installation.check_lock()
            await self._begin("download")
            await self._begin("miniforge")
            await installation.fetch(total)
        await self._begin("environment")
        await installation.finish()
        await self._await_address()
        for name, value in self._facts().items():
            self._talk.speak(f"fact {name} {value}")
        self._talk.tell("environment", outcome)

    async def _await_address(self) -> None:
        address, wait_s = self._settings["PRIVATE_IP"], self._settings.wait_s

        async def has_it() -> bool | None:
            return self._stage.lan.has(self._stage.number, address) or None

        try:
            await until(has_it, every_s=_LOOK_S, within_s=wait_s, what="The private address")
        except WaitTimeout:
            raise Failed(f"the private address {address} did not appear within {wait_s:g} s") from None

    def _facts(self) -> dict[str, object]:
        return {
            "python": platform.python_version(),
            "digest": self._settings["ENV_DIGEST"],
            "script_digest": self._settings["SCRIPT_DIGEST"],
            "tool": self._settings["TOOL_VERSION"],
            "cores": self._settings["CORES"],
            "memory_bytes": self._settings["MEMORY_BYTES"],
            "threads": self._settings.threads,
            "memory_limit_bytes": self._settings.memory_limit,
        }

    async def _tls(self) -> None:
        await self._begin("tls")
        identity = self._stage.identity(self._settings)
        valid_until = identity.valid_until()
        if valid_until is not None:
            self._talk.tell("tls", f"skipped valid until {valid_until}")
            return
        await self._stage.pause(self._stage.scenario.tls_s)
        self._talk.speak(f"csr {identity.request(self._settings['NODE_NAME'])}")
        certificate = await self._talk.listen("certificate", within_s=self._settings.wait_s)
        try:
            identity.install(certificate)
        except ValueError as error:
            raise Failed(str(error)) from None
        self._talk.tell("tls", "done")

    async def _service(self) -> None:
        await self._begin("service")
        stage, running = self._stage, self._stage.base / "etc/running"
        self._install_files()
        wanted = self._fingerprint()
        same = stage.service.running and running.read_text(encoding="utf-8") == wanted
        if not same:
            await stage.service.stop()
            write_private(running, wanted.encode())
            stage.start_service(self._settings)
        await self._await_service()
        self._talk.tell("service", "skipped" if same else "done")

    def _install_files(self) -> None:
        for name in _TAKEN_IN:
            (self._stage.payload / name).replace(self._stage.base / "etc" / name)
        write_private(self._stage.installed, (self._stage.payload / "node.env").read_bytes(), mode=0o644)

    def _fingerprint(self) -> str:
        """Of what runs: other settings, other provisions or another certificate ask for a restart."""
        identity = self._stage.identity(self._settings)
        taken_in = (self._stage.base / "etc" / name for name in _TAKEN_IN)
        parts = (self._stage.installed, identity.authority, identity.certified, *taken_in)
        return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()

    async def _await_service(self) -> None:
        service = self._stage.service
        most = service.ends + _MOST_ENDS

        async def answers_or_breaks() -> bool | None:
            return True if service.answers else (False if service.ends > most else None)

        answers = False
        with contextlib.suppress(WaitTimeout):
            answers = await until(
                answers_or_breaks, every_s=_LOOK_S, within_s=self._settings.wait_s, what="Dask's answer"
            )
        if not answers:
            for line in service.log.last(_SAID_LINES):
                self._talk.note(line)
            role = self._settings["NODE_ROLE"]
            port = self._settings["SCHEDULER_PORT" if role == "scheduler" else "NANNY_PORT"]
            raise Failed(f"Dask's {role} does not answer at {self._settings['PRIVATE_IP']}:{port}")
