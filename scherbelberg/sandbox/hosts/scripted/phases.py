# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The script's main command, ``up``, as a scripted host plays it: the same phases, words, files and answers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import platform
import re
from pathlib import Path

from scherbelberg.concurrency.waiting import until
from scherbelberg.errors import WaitTimeout
from scherbelberg.sandbox.faults import ScriptPhase
from scherbelberg.sandbox.hosts import fake_programs
from scherbelberg.sandbox.hosts.scripted.host import HostState, NodeSettings
from scherbelberg.sandbox.hosts.scripted.session import ScriptFailed, ScriptHopeless, Session
from scherbelberg.sandbox.hosts.system import write_private

_LOOK_S = 0.05
#: Files of the payload that do not stay there. Nothing else is done with them here: the workers of all scripted hosts
#: share one process and one environment.
_TAKEN_IN = ("work.env", "work.yaml")
#: Dask that ended more often than this does not answer any more.
_MOST_ENDS = 2
#: How much of its log is shown then.
_SAID_LINES = 20

#: The script itself says what it consists of.
_PARTS = re.compile(r'^NODE_FILES="([^"]*)"', re.MULTILINE)
_BYTES = re.compile(r"^# bytes: (\d+)$", re.MULTILINE)
_EXPLICIT = "@EXPLICIT\n"


class Phases:
    """One run through all of them.

    Args:
        host: Where.
        session: With whom.
        settings: The node's, as pushed.
    """

    def __init__(self, host: HostState, session: Session, settings: NodeSettings) -> None:
        self._host = host
        self._session = session
        self._settings = settings

    async def run(self) -> None:
        """Go through them; what is done already is skipped.

        Raises:
            ScriptFailed: As the script would.
        """
        if self._host.faults.has("no_program"):
            raise ScriptHopeless("this machine's image lacks nft, and no node can do without")
        verify_script(self._host.payload, self._settings["SCRIPT_DIGEST"])
        for folder, mode in (("etc", 0o755), ("etc/tls", 0o700)):
            (self._host.base / folder).mkdir(mode=mode, exist_ok=True)
        await self._hostkey()
        await self._environment()
        await self._tls()
        await self._service()

    async def _begin(self, phase: ScriptPhase) -> None:
        self._session.send_phase(phase)
        trouble = self._host.faults.in_phase(phase)
        if trouble is None:
            return
        if trouble == "fails":
            raise ScriptFailed("the sandbox was told to fail here")
        if trouble == "dies":
            self._host.die()
        await asyncio.Event().wait()  # until the host is switched off

    async def _hostkey(self) -> None:
        await self._begin("hostkey")
        host = self._host
        if not (host.host_key.exists() and host.host_key_words()[2:] == [self._settings.mark]):
            words = ["-q", "-t", "ed25519", "-N", "", "-C", self._settings.mark, "-f", str(host.host_key)]
            fake_programs.ssh_keygen(words)
        public = " ".join(host.host_key_words()[:2])
        self._session.send(f"hostkey {public}")
        await self._session.receive("pinned", within_s=self._settings.wait_s)
        if self._is_loaded(public):
            self._session.send_phase("hostkey", "skipped sshd has it already")
            return
        await host.pause(host.timing.hostkey_s)
        self._load(public)
        self._session.send_phase("hostkey", "done")

    def _is_loaded(self, public: str) -> bool:
        wanted = (self._host.payload / self._host.drop_in.name).read_bytes()
        loaded = self._host.root / "run/scherbelberg/hostkey"
        with contextlib.suppress(OSError):
            return self._host.drop_in.read_bytes() == wanted and loaded.read_text(encoding="utf-8") == public
        return False

    def _load(self, public: str) -> None:
        host = self._host
        write_private(host.drop_in, (host.payload / host.drop_in.name).read_bytes(), mode=0o644)
        try:
            fake_programs.load_host_keys(host.root)
        except ValueError:
            host.drop_in.unlink()
            raise ScriptFailed("sshd did not accept its new configuration") from None
        (host.root / "run/scherbelberg").mkdir(exist_ok=True)
        write_private(host.root / "run/scherbelberg/hostkey", public.encode(), mode=0o644)

    async def _environment(self) -> None:
        installation = Installation(self._host, self._session, self._settings["ENV_DIGEST"])
        outcome = "skipped already there"
        if not installation.is_there:
            self._session.phase, outcome = "environment", "done"
            total = installation.check_lock()
            await self._begin("download")
            await self._begin("miniforge")
            await installation.fetch(total)
        await self._begin("environment")
        await installation.finish()
        await self._await_address()
        for name, value in self._facts().items():
            self._session.send(f"fact {name} {value}")
        self._session.send_phase("environment", outcome)

    async def _await_address(self) -> None:
        address, wait_s = self._settings["PRIVATE_IP"], self._settings.wait_s

        async def has_it() -> bool | None:
            return self._host.lan.has(self._host.number, address) or None

        try:
            await until(has_it, every_s=_LOOK_S, within_s=wait_s, what="The private address")
        except WaitTimeout:
            raise ScriptFailed(f"the private address {address} did not appear within {wait_s:g} s") from None

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
        identity = self._host.identity(self._settings)
        valid_until = identity.valid_until()
        if valid_until is not None:
            self._session.send_phase("tls", f"skipped valid until {valid_until}")
            return
        await self._host.pause(self._host.timing.tls_s)
        self._session.send(f"csr {identity.request(self._settings['NODE_NAME'])}")
        certificate = await self._session.receive("certificate", within_s=self._settings.wait_s)
        try:
            identity.install(certificate)
        except ValueError as error:
            raise ScriptFailed(str(error)) from None
        self._session.send_phase("tls", "done")

    async def _service(self) -> None:
        await self._begin("service")
        host, running = self._host, self._host.base / "etc/running"
        self._install_files()
        wanted = self._fingerprint()
        same = host.service.running and running.read_text(encoding="utf-8") == wanted
        if not same:
            await host.service.stop()
            write_private(running, wanted.encode())
            host.start_service(self._settings)
        await self._await_service()
        self._session.send_phase("service", "skipped" if same else "done")

    def _install_files(self) -> None:
        for name in _TAKEN_IN:
            (self._host.payload / name).replace(self._host.base / "etc" / name)
        write_private(self._host.installed, (self._host.payload / "node.env").read_bytes(), mode=0o644)

    def _fingerprint(self) -> str:
        """Of what runs: other settings, other provisions or another certificate ask for a restart."""
        identity = self._host.identity(self._settings)
        taken_in = (self._host.base / "etc" / name for name in _TAKEN_IN)
        parts = (self._host.installed, identity.authority, identity.certified, *taken_in)
        return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()

    async def _await_service(self) -> None:
        service = self._host.service
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
                self._session.note(line)
            role = self._settings["NODE_ROLE"]
            port = self._settings["SCHEDULER_PORT" if role == "scheduler" else "NANNY_PORT"]
            raise ScriptFailed(f"Dask's {role} does not answer at {self._settings['PRIVATE_IP']}:{port}")


def verify_script(payload: Path, wanted: str) -> None:
    """See that the pushed script is the one that was sent.

    Args:
        payload: Where pushed files lie.
        wanted: Its digest.

    Raises:
        ScriptFailed: It is another one.
    """
    parts = _PARTS.search((payload / "environment.sh").read_text(encoding="utf-8"))
    names = parts.group(1).split() if parts else ()
    digest = hashlib.sha256(b"".join((payload / name).read_bytes() for name in names)).hexdigest()
    if digest != wanted:
        raise ScriptFailed(f"the pushed script has the digest {digest} where {wanted} was sent")


class Installation:
    """An environment that is there, or comes to be.

    Args:
        host: Where.
        session: With whom.
        digest: Which.
    """

    def __init__(self, host: HostState, session: Session, digest: str) -> None:
        self._host = host
        self._session = session
        self._digest = digest

    @property
    def is_there(self) -> bool:
        """Whether it is in use already."""
        return self._link.readlink() == self._target

    @property
    def _link(self) -> Path:
        return self._host.base / "env"

    @property
    def _target(self) -> Path:
        return Path("envs") / self._digest

    def check_lock(self) -> int:
        """See that the lock is the one that was asked for.

        Returns:
            How many bytes its packages have, or 0.

        Raises:
            ScriptHopeless: There is none, or another one.
        """
        try:
            head, _, body = (self._host.payload / "env.lock").read_text(encoding="utf-8").partition(_EXPLICIT)
        except FileNotFoundError:
            holds = f"this machine's image does not hold the environment {self._digest}"
            raise ScriptHopeless(f"{holds}, and none was sent") from None
        digest = hashlib.sha256(body.encode()).hexdigest()
        if digest != self._digest:
            raise ScriptHopeless(f"env.lock has the digest {digest} where {self._digest} was asked for")
        size = _BYTES.search(head)
        return int(size.group(1)) if size else 0

    async def fetch(self, total: int) -> None:
        """Play Miniforge's installation and the downloads, of which both have begun.

        Args:
            total: How many bytes there are to download.
        """
        timing = self._host.timing
        await self._host.pause(timing.miniforge_s)
        self._session.send_phase("miniforge", "done")
        await self._host.pause(max(0.0, timing.download_s - timing.miniforge_s))
        if total:
            self._session.send_phase("download", f"progress {total} {total}")
        self._session.send_phase("download", "done")

    async def finish(self) -> None:
        """Look at it if it is there, or put it in its place."""
        timing = self._host.timing
        await self._host.pause(timing.environment_s if self.is_there else timing.install_s)
        new = self._link.with_name("env.new")
        new.unlink(missing_ok=True)
        new.symlink_to(self._target)
        new.replace(self._link)
