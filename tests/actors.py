# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Scripted hosts without a cloud around them, and a client that pushes, answers questions and looks on."""

from __future__ import annotations

import asyncio
import base64
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
from attrs import evolve, frozen
from process_node import Ended, script_digest
from sandbox_helpers import WITHIN_S, cloud_config, new_key, public

from scherbelberg.concurrency.waiting import pause, until
from scherbelberg.environments.interpreter import own_versions
from scherbelberg.environments.shipped import shipped_files
from scherbelberg.environments.versions import baked_digest
from scherbelberg.nodes.payload import FOLDER, RemoteFile, command, pack, payload, unpack_command
from scherbelberg.sandbox.addresses import claim, free_port
from scherbelberg.sandbox.faults import HostFault
from scherbelberg.sandbox.hosts.cloudinit import CloudConfig, read_user_data
from scherbelberg.sandbox.hosts.driver import HostPlan
from scherbelberg.sandbox.hosts.scripted.driver import ScriptedHosts
from scherbelberg.sandbox.hosts.scripted.host import BAKED, Timing
from scherbelberg.state.keys import Certified, make_authority, sign_request

UID = "u1"
DIGEST = baked_digest(own_versions())
SCHEDULER_IP, WORKER_IP = "10.0.0.2", "10.0.0.3"
#: How long a second takes.
_SCALE = 0.02


@frozen(kw_only=True)
class Actor:
    """A scripted host that is on.

    Args:
        hosts: Its driver.
        root: Its files.
        address: Where it takes SSH.
        port: There.
        key: What lets us in.
        host_key: What it proved to be at first.
        authority: The cluster's authority.
        settings: The node's settings.
    """

    hosts: ScriptedHosts
    root: Path
    address: str
    port: int
    key: asyncssh.SSHKey
    host_key: asyncssh.SSHKey
    authority: Certified
    settings: dict[str, str]

    def having(self, **settings: str) -> Actor:
        """The same with other settings."""
        return evolve(self, settings=self.settings | settings)

    async def connect(self, *host_keys: asyncssh.SSHKey) -> asyncssh.SSHClientConnection:
        """Log in.

        Args:
            host_keys: Which are accepted; the first one when not given.
        """
        trusted = [key.convert_to_public() for key in host_keys or (self.host_key,)]
        return await asyncssh.connect(
            self.address,
            self.port,
            username="root",
            client_keys=[self.key],
            known_hosts=(trusted, [], []),
            config=None,
            agent_path=None,
            connect_timeout=WITHIN_S,
        )

    async def run(self, line: str, *, stdin: bytes = b"", born: bool = False) -> Ended:
        """Run a command line.

        Args:
            line: It.
            stdin: What it reads.
            born: Whether the host proves itself by the key that was born on it by now.
        """
        async with asyncio.timeout(WITHIN_S), await self.connect(*self._keys(born=born)) as connection:
            # asyncssh takes no input for one that goes on.
            given = {"input": stdin} if stdin else {"stdin": asyncssh.DEVNULL}
            done = await connection.run(line, encoding=None, **given)
        assert isinstance(done.stdout, bytes)
        assert isinstance(done.stderr, bytes)
        code = -1 if done.exit_status is None else done.exit_status
        return Ended(code=code, said=done.stdout.decode().splitlines(), log=done.stderr.decode())

    def _keys(self, *, born: bool) -> list[asyncssh.SSHKey]:
        path = self.root / "etc/ssh/scherbelberg_host_ed25519_key.pub"
        return [asyncssh.read_public_key(str(path))] if born else []

    def files(self, *, lock: str = "") -> tuple[RemoteFile, ...]:
        """What the product pushes, with a lock or without."""
        files = payload(self.settings, authority=self.authority.certificate, share=shipped_files())
        more = [RemoteFile(path=f"{FOLDER}/env.lock", content=lock.encode(), mode=0o644)] if lock else []
        return (*files, *more)

    async def push(self, *, born: bool = False, lock: str = "") -> Ended:
        """Push what the product pushes."""
        files = self.files(lock=lock)
        return await self.run(unpack_command(), stdin=pack(files), born=born)

    def sign(self, request: bytes) -> bytes:
        """Sign the node's request as the client does."""
        name = self.settings["NODE_NAME"]
        role = "scheduler" if name == "scheduler" else "worker"
        return sign_request(
            self.authority,
            request,
            node=name,
            role=role,  # type: ignore[arg-type] # one of two words
            uid=UID,
            now_s=time.time(),
        )

    async def up(
        self,
        *,
        sign: Callable[[bytes], bytes] | None = None,
        pinned: str = "pinned",
        certificate: str | None = None,
        born: bool = False,
    ) -> Ended:
        """Run ``up`` and answer its questions.

        Args:
            sign: Answers the request.
            pinned: What is said when the host key is pinned.
            certificate: What is sent instead of any certificate.
            born: As of `run`.
        """
        said: list[str] = []
        async with asyncio.timeout(WITHIN_S), await self.connect(*self._keys(born=born)) as connection:
            process = await connection.create_process(command("up"))
            async for line in process.stdout:
                if line:
                    said.append(line.rstrip("\n"))
                if line.startswith("@hostkey"):
                    process.stdin.write(pinned + "\n")
                elif line.startswith("@csr"):
                    signed = (sign or self.sign)(base64.b64decode(line.split()[1]))
                    process.stdin.write(f"certificate {certificate or base64.b64encode(signed).decode()}\n")
            done = await process.wait()
        code = -1 if done.exit_status is None else done.exit_status
        return Ended(code=code, said=said, log=str(done.stderr))

    async def make(self) -> None:
        """Push and bootstrap, all the way."""
        assert (await self.push()).code == 0
        ended = await self.up()
        assert ended.code == 0, ended


def settings_of(name: str, address: str) -> dict[str, str]:
    """The settings of a node."""
    return {
        "NODE_NAME": name,
        "NODE_ROLE": name.rstrip("0123456789"),
        "CLUSTER_UID": UID,
        "ENV_DIGEST": DIGEST,
        "PRIVATE_IP": address,
        "SCHEDULER_IP": SCHEDULER_IP,
        "SCHEDULER_PORT": "8786",
        "DASHBOARD_HOST": "127.0.0.1",
        "DASHBOARD_PORT": "8787",
        "WORKER_PORT": "8788",
        "NANNY_PORT": "8789",
        "CORES": "2",
        "MEMORY_BYTES": "4000000000",
        "MEMORY_PERCENT": "85",
        "PROCESSES": "1",
        "PROCESS_THREADS": "auto",
        "PROCESS_MEMORY": "auto",
        "RESOURCES": "none",
        "DIRECT_HOST": "none",
        "DASHBOARD_ORIGINS": "none",
        "WAIT_S": "5",
        "BOOTSTRAP_S": "1200",
        "CHANNEL_MIRROR": "none",
        "MINIFORGE_MIRROR": "none",
        "SCRIPT_DIGEST": script_digest(shipped_files()),
        "TOOL_VERSION": "1.2.3",
    }


@asynccontextmanager
async def acting(
    folder: Path, *names: str, timing: Timing = BAKED, wrong: tuple[HostFault, ...] = ()
) -> AsyncIterator[list[Actor]]:
    """Scripted hosts on the running loop, in one network; all is over in the end.

    Args:
        folder: Where their files are; absent.
        names: Names of the nodes, the scheduler first.
        timing: How long all of them take over what.
        wrong: What is wrong with all of them.
    """
    private = (SCHEDULER_IP, WORKER_IP)
    addresses, port = claim(), free_port()
    hosts = ScriptedHosts(
        folder,
        port=port,
        places=lambda number: {1: private[number]} if number < len(private) else {},
        pause=lambda seconds: pause(seconds * _SCALE),
        find_faults=lambda _: wrong,
        timing=timing,
    )
    authority, actors = make_authority(uid=UID, now_s=time.time()), []
    try:
        for number, name in enumerate(names):
            key, host_key = new_key(), new_key()
            plan = HostPlan(number=number, name=name, authorized_keys=(public(key),), config=_planted(host_key))
            await hosts.prepare(plan)
            actor = Actor(
                hosts=hosts,
                root=folder / str(number),
                address=str(addresses.take_public()),
                port=port,
                key=key,
                host_key=host_key,
                authority=authority,
                settings=settings_of(name, private[number]),
            )
            await hosts.power_on(number, actor.address)
            await hosts.boot(number)
            actors.append(actor)
        yield actors
    finally:
        await hosts.close()
        addresses.close()


@asynccontextmanager
async def alone(folder: Path) -> AsyncIterator[Actor]:
    """A host that is to be a scheduler, and that leaves neither a task nor a file.

    Args:
        folder: Where its files are; absent.
    """
    before = asyncio.all_tasks()
    async with acting(folder, "scheduler") as (scheduler,):
        yield scheduler
    assert is_gone(folder)
    await nothing_runs_but(before)


def is_gone(folder: Path) -> bool:
    """Whether there is no such folder any more."""
    return not folder.exists()


async def nothing_runs_but(tasks: set[asyncio.Task[object]]) -> None:
    """Wait until no other tasks are left; what was forgotten in the middle complains now."""

    def left() -> set[asyncio.Task[object]]:
        return {task for task in asyncio.all_tasks() - tasks if task is not asyncio.current_task()}

    async def none_left() -> bool | None:
        gc.collect()
        return None if left() else True

    await until(none_left, every_s=0.01, within_s=WITHIN_S, what="The end of all tasks", last=lambda: str(left()))


def _planted(key: asyncssh.SSHKey) -> CloudConfig:
    pair = {"ed25519_private": key.export_private_key().decode(), "ed25519_public": public(key)}
    return read_user_data(cloud_config(ssh_keys=pair))
