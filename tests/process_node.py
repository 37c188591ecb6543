# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A machine for bootstrap.sh: a folder that stands for its root file system, and a client that answers questions."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from attrs import evolve, field, frozen

from scherbelberg.environments.shipped import shipped_files
from scherbelberg.sandbox.hosts.filesystem import write_fake_programs
from scherbelberg.sandbox.hosts.process.sessions import PYTHON_NEEDS
from scherbelberg.state.keys import Certified, make_authority, sign_request

UID = "u1"
DIGEST = "d1"
#: Any loopback address will do, but macOS has just one by default.
ADDRESS = "127.33.0.1" if sys.platform == "linux" else "127.0.0.1"
#: For whatever a test waits for, in seconds.
WITHIN_S = 60.0
_BASH = shutil.which("bash") or "bash"
_MARK = "SCHERBELBERG_TEST_NODE"
#: What the script's main part sets up.
SOURCED = (
    "source scherbelberg-payload/bootstrap.sh; set -Eeuo pipefail; umask 077; choose_supervision; "
    'load_settings "$PAYLOAD/node.env"; exec 3>&1 4<&0; install -d "$RUN" "$BASE/bin" "$TLS"; '
)
_SYSTEMCTL = """#!/bin/sh
cd "$SCHERBELBERG_SYSROOT" || exit
[ "$*" != "--quiet is-active ssh.socket" ] || { test -e ssh.socket; exit; }
echo "$*" >>systemctl.calls
[ ! -e systemctl.fails.once ] || { rm systemctl.fails.once; exit 1; }
test ! -e systemctl.fails
"""


@frozen(kw_only=True)
class Ended:
    """What a run of the script did."""

    code: int
    said: list[str]
    log: str


def script_digest(share: Mapping[str, bytes]) -> str:
    """What names the script: the digest of all its parts."""
    parts = [f"{name}.sh" for name in ("bootstrap", "service", "record", "watch", "environment", "downloads", "logs")]
    parts += ["direct.py", "scratch.py", "preloads.py", "activity.py", "dashboard_guard.py", "openssl_errors.py"]
    parts += ["warden.py", "10-scherbelberg.conf"]
    parts += [f"units/scherbelberg-{name}" for name in ("dask@.service", "watch.service", "watch.timer")]
    return hashlib.sha256(b"".join(share[part] for part in parts)).hexdigest()


def free_port() -> int:
    """Find a port of ADDRESS that nobody listens at."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


@frozen(kw_only=True)
class Node:
    """A machine, or what passes for one."""

    root: Path
    settings: dict[str, str]
    authority: Certified
    mark: str = field(factory=lambda: uuid.uuid4().hex)
    work_env: str = ""
    work_yaml: str = ""
    #: The only programs that it has; None for all of this computer's.
    programs: Path | None = None

    @property
    def payload(self) -> Path:
        """Where pushed files lie."""
        return self.root / "root" / "scherbelberg-payload"

    @property
    def base(self) -> Path:
        """Where the script keeps its own."""
        return self.root / "opt" / "scherbelberg"

    def path(self, name: str) -> Path:
        """Name a file by its path on the machine."""
        return self.root / name

    def read(self, name: str) -> str:
        """Read a file by its path on the machine; it is empty when there is none."""
        path = self.path(name)
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def hold(self, digest: str) -> None:
        """Have the running interpreter's environment under a digest, as an image has it that was made with it."""
        (self.base / "envs").mkdir(exist_ok=True)
        (self.base / "envs" / digest).symlink_to(sys.prefix)
        (self.base / "env").unlink(missing_ok=True)
        (self.base / "env").symlink_to(f"envs/{digest}")

    def push(self, **settings: str) -> None:
        """Push files and settings."""
        self.settings.update(settings)
        lines = "".join(f"{name}='{value}'\n" for name, value in self.settings.items())
        files = shipped_files() | {"node.env": lines.encode(), "ca.pem": self.authority.certificate}
        files |= {"work.env": self.work_env.encode(), "work.yaml": self.work_yaml.encode()}
        for name, content in files.items():
            (self.payload / name).parent.mkdir(parents=True, exist_ok=True)
            (self.payload / name).write_bytes(content)

    def sign(self, request: bytes) -> bytes:
        """Sign the node's request as the client does."""
        return sign_request(self.authority, request, node="n", role="worker", uid=UID, now_s=time.time())

    def pid(self, name: str) -> int:
        """Read the id of a process from the script's notes."""
        return int(self.read(f"run/scherbelberg/{name}.pid").split()[0])

    def processes(self) -> list[psutil.Process]:
        """List what was started here and is still there."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(_MARK) == self.mark:
                    found.append(process)
        return found

    @property
    def _usual_path(self) -> str:
        return f"{self.root}/usr/bin:{os.environ['PATH']}:{self.root}/fake-programs"

    def having(self, *programs: str) -> Node:
        """The same machine with no other programs than these, and those that need not be what they seem."""
        folder = self.path("few")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in programs:
            found = shutil.which(name, path=self._usual_path)
            if found is not None:
                (folder / name).symlink_to(found)
        return evolve(self, programs=folder)

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        """Start bash as sshd would."""
        environment = {
            "PATH": str(self.programs or self._usual_path),
            "HOME": str(self.root / "root"),
            "TMPDIR": str(self.root / "tmp"),
            "LC_ALL": "C.UTF-8",
            "SCHERBELBERG_SYSROOT": str(self.root),
            _MARK: self.mark,
        }
        environment |= {name: os.environ[name] for name in PYTHON_NEEDS if name in os.environ}
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            _BASH, *words, cwd=self.root / "root", env=environment, stdin=pipe, stdout=pipe, stderr=pipe
        )

    async def run(self, *words: str, stdin: str = "") -> Ended:
        """Run a command of the script to its end."""
        return await self._finish("scherbelberg-payload/bootstrap.sh", *words, stdin=stdin)

    async def source(self, snippet: str, *, stdin: str = "") -> Ended:
        """Source the script as its main part would set it up, then run a snippet."""
        return await self._finish("-c", SOURCED + snippet, stdin=stdin)

    async def watch(self, snippet: str, *, heard: Callable[[str], bool]) -> Ended:
        """Source the script and run a snippet; kill it at the first line that ``heard`` asks for that."""
        process = await self.start("-c", SOURCED + snippet)
        assert process.stdout is not None
        said: list[str] = []
        async with asyncio.timeout(WITHIN_S):
            while line := (await process.stdout.readline()).decode().rstrip("\n"):
                said.append(line)
                if heard(line):
                    process.kill()
            _, log = await process.communicate()
        return Ended(code=await process.wait(), said=said, log=log.decode())

    async def _finish(self, *words: str, stdin: str) -> Ended:
        process = await self.start(*words)
        async with asyncio.timeout(WITHIN_S):
            out, log = await process.communicate(stdin.encode())
        return Ended(code=await process.wait(), said=out.decode().splitlines(), log=log.decode())

    async def up(self, *, sign: Callable[[bytes], bytes] | None = None, stop_at: str | None = None) -> Ended:
        """Run ``up`` and answer its questions; at a line that begins with ``stop_at`` kill it instead."""
        process = await self.start("scherbelberg-payload/bootstrap.sh", "up")
        assert process.stdin is not None
        assert process.stdout is not None
        said: list[str] = []
        async with asyncio.timeout(WITHIN_S):
            while line := (await process.stdout.readline()).decode().rstrip("\n"):
                said.append(line)
                if stop_at is not None and line.startswith(stop_at):
                    process.kill()
                elif line.startswith("@hostkey"):
                    process.stdin.write(b"pinned\n")
                elif line.startswith("@csr"):
                    certificate = (sign or self.sign)(base64.b64decode(line.split()[1]))
                    process.stdin.write(b"certificate " + base64.b64encode(certificate) + b"\n")
            _, log = await process.communicate()
        return Ended(code=await process.wait(), said=said, log=log.decode())

    async def end(self) -> None:
        """Leave no process, whatever happened."""
        with suppress(TimeoutError):
            await self.run("stop")
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()


def make_node(folder: Path, *, role: str, scheduler_port: int, authority: Certified | None = None) -> Node:
    """Make a machine whose image holds the running interpreter's environment, and push to it.

    Args:
        folder: Where its root file system begins; the name gets a space and an umlaut.
        role: scheduler or worker.
        scheduler_port: Port of the scheduler.
        authority: The cluster's authority; a new one is made for None.
    """
    name = "scheduler" if role == "scheduler" else "worker000"
    node = Node(
        root=folder / f"Gehäuse von {name}",
        authority=authority or make_authority(uid=UID, now_s=time.time()),
        settings={
            "NODE_NAME": name,
            "NODE_ROLE": role,
            "CLUSTER_UID": UID,
            "ENV_DIGEST": DIGEST,
            "PRIVATE_IP": ADDRESS,
            "SCHEDULER_IP": ADDRESS,
            "SCHEDULER_PORT": str(scheduler_port),
            "DASHBOARD_HOST": ADDRESS,
            "DASHBOARD_PORT": str(free_port()),
            "WORKER_PORT": str(free_port()),
            "NANNY_PORT": str(free_port()),
            "CORES": "1",
            "MEMORY_BYTES": "1000000000",
            "MEMORY_PERCENT": "85",
            "PROCESSES": "1",
            "PROCESS_THREADS": "auto",
            "PROCESS_MEMORY": "auto",
            "RESOURCES": "none",
            "DIRECT_HOST": "none",
            "DASHBOARD_ORIGINS": "none",
            "WAIT_S": "10",
            "BOOTSTRAP_S": "1200",
            "CHANNEL_MIRROR": "none",
            "MINIFORGE_MIRROR": "none",
            "SCRIPT_DIGEST": script_digest(shipped_files()),
            "TOOL_VERSION": "1.2.3",
        },
    )
    for part in ("root", "etc/ssh", "opt/scherbelberg", "run", "tmp", "var/log", "usr/bin"):
        node.path(part).mkdir(parents=True)
    node.hold(DIGEST)
    node.path("etc/ssh/ssh_host_ed25519_key").write_text("planted", encoding="utf-8")
    node.path("usr/bin/systemctl").write_text(_SYSTEMCTL, encoding="utf-8")
    node.path("usr/bin/systemctl").chmod(0o755)
    write_fake_programs(node.path("fake-programs"))
    node.push()
    return node
