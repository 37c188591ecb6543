# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""One machine."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any, ClassVar

from scherbelberg.concurrency.waiting import until
from scherbelberg.sandbox.faults import HostFaults
from scherbelberg.sandbox.hosts.driver import HostPlan
from scherbelberg.sandbox.hosts.machine.cgroups import GROUPED, end_group
from scherbelberg.sandbox.hosts.machine.network import (
    MOUNTS,
    end_of_silence,
    join_network,
    leave_network,
    make_namespace,
    mounted_machines,
    remove_namespace,
    ruleset,
    silence,
)
from scherbelberg.sandbox.hosts.machine.programs import run, spawn
from scherbelberg.sandbox.hosts.system import write_private

_BOOT_S = 60.0
_LOOK_S = 0.02
_SSH_PORT = 22
#: nspawn's exit code when the machine inside wants to boot again.
_REBOOT = 133
_SEED = "var/lib/cloud/seed/nocloud"


class Machine:
    """A booted systemd on a file system of its own, over the one that all have.

    Args:
        name: Of its namespace, control group and mount.
        folder: For its disk and its log.
        base: What its disk begins with.
        plan: What it is.
        faults: What is wrong with it.
    """

    #: Folders of this computer that machines see, unchangeable: for programs that stand in for what is not to be had.
    shared: ClassVar[tuple[Path, ...]] = ()

    def __init__(self, name: str, folder: Path, *, base: Path, plan: HostPlan, faults: HostFaults) -> None:
        self.name = name
        self.plan = plan
        self.address: str | None = None
        self._folder = folder
        self._base = base
        self._faults = faults
        self._mount = MOUNTS / name
        self._nspawn: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._places: dict[int, IPv4Interface] = {}
        self._rules: str | None = None
        self._is_silent = False
        self._wiring = asyncio.Lock()

    @property
    def disk(self) -> Path:
        """What of its disk is its own."""
        return self._folder / "disk"

    async def prepare(self, snapshot: Path | None) -> None:
        """Make its disk.

        Args:
            snapshot: What it begins with, over the base; None for nothing.
        """
        self._folder.mkdir(parents=True, mode=0o700)
        if snapshot is None:
            self.disk.mkdir(mode=0o755)
        else:
            await run("cp", "--archive", str(snapshot), str(self.disk))
            shutil.rmtree(self.disk / _SEED, ignore_errors=True)
        (self._folder / "work").mkdir()
        seed = self.disk / _SEED
        seed.mkdir(parents=True, mode=0o755)
        identity = {
            "instance-id": f"i-{self.plan.number}",
            "local-hostname": self.plan.name,
            "public-keys": list(self.plan.authorized_keys),
        }
        write_private(seed / "meta-data", json.dumps(identity).encode())
        write_private(seed / "user-data", _unwrapped(self.plan.user_data or "#cloud-config\n{}\n"))

    async def boot(self) -> None:
        """Switch it on; when this returns, there is who takes SSH, if it has a public address."""
        address = self.address
        self._mount.mkdir(parents=True, exist_ok=True)
        layers = f"lowerdir={self._base},upperdir={self.disk},workdir={self._folder / 'work'}"
        await run("mount", "-t", "overlay", "overlay", "-o", layers, str(self._mount))
        await make_namespace(self.name, address)
        await self._filter()
        await self._start()
        self._watch = asyncio.create_task(self._boot_again())
        if address is not None:
            await self._await_ssh(f"SSH of machine {self.plan.name}")

    async def _await_ssh(self, what: str) -> None:
        # By looking and not by asking: what is not followed by a login counts against this computer's address.
        await until(self._listens, every_s=_LOOK_S, within_s=_BOOT_S, what=what)
        if self._is_silent:
            await self._nft(end_of_silence())
            self._is_silent = False

    async def _start(self) -> None:
        self._is_silent = self._faults.has("silent")
        if self._is_silent:
            await self._nft(silence(port=_SSH_PORT))
        with (self._folder / "console.log").open("ab") as log:
            self._nspawn = await spawn(*self._words(), log=log.fileno())

    def _words(self) -> list[str]:
        return [
            *("sh", "-c", GROUPED, "sh", self.name),
            # Control groups of version 2 alone, whatever this computer has: newer systemds know no others.
            *("env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"),
            *("setpriv", "--pdeathsig", "KILL"),  # a machine does not outlive its sandbox
            *("systemd-nspawn", "--boot", "--quiet", "--register=no", "--keep-unit", "--console=pipe"),
            *("--resolv-conf=off", "--timezone=off", "--link-journal=no", "--capability=CAP_NET_ADMIN"),
            f"--network-namespace-path=/run/netns/{self.name}",
            f"--directory={self._mount}",
            *(f"--bind-ro={folder}" for folder in self.shared),
            f"--machine={self.name}",
        ]

    async def _boot_again(self) -> None:
        """A machine may reboot by itself."""
        while self._nspawn is not None and await self._nspawn.wait() == _REBOOT:
            await self._start()
            await self._await_ssh(f"SSH of machine {self.plan.name} after its reboot")

    async def wire(self, places: Mapping[int, IPv4Interface], rules: Sequence[Mapping[str, Any]] | None) -> None:
        """Connect it as the API says, if it runs.

        Args:
            places: Its address in each private network.
            rules: Those of its firewalls, or None if it has none.
        """
        async with self._wiring:
            wanted = ruleset(rules)
            if wanted != self._rules:
                self._rules = wanted
                if self._nspawn is not None:
                    await self._filter()
            if self._nspawn is None:
                return
            for network in self._places.keys() - places.keys():
                await leave_network(self.name, network)
                del self._places[network]
            for network in places.keys() - self._places.keys():
                await join_network(self.name, network, places[network])
                self._places[network] = places[network]

    async def _filter(self) -> None:
        if self._rules is not None:
            await self._nft(self._rules)

    async def _nft(self, script: str) -> None:
        await run("ip", "netns", "exec", self.name, "nft", "-f", "-", stdin=script)

    async def _listens(self) -> bool | None:
        """Whether sshd listens, or systemd for it."""
        words = ("ss", "--no-header", "--listening", "--numeric", "--tcp", f"sport = :{_SSH_PORT}")
        return bool((await run("ip", "netns", "exec", self.name, *words)).strip()) or None

    async def halt(self) -> None:
        """Pull the plug; nothing of it runs afterwards."""
        async with self._wiring:
            nspawn, self._nspawn = self._nspawn, None
            if self._watch is not None:
                self._watch.cancel()
                await asyncio.wait((self._watch,))
                self._watch = None
            if nspawn is not None and nspawn.returncode is None:
                nspawn.kill()
                await nspawn.wait()
            self._places.clear()
            await self._take_down()

    async def _take_down(self) -> None:
        await end_group(self.name)
        await remove_namespace(self.name)
        if self._mount in mounted_machines():
            await run("umount", str(self._mount))
        with contextlib.suppress(FileNotFoundError):
            self._mount.rmdir()

    async def remove(self) -> None:
        """Halt it, then delete its disk."""
        await self.halt()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def metadata(self) -> dict[str, str]:
        """What the cloud tells it about itself, by path."""
        networks = "".join(f"- ip: {place.ip}\n  network: {place.network}\n" for place in self._places.values())
        return {
            "metadata/hostname": self.plan.name,
            "metadata/instance-id": str(self.plan.number),
            "metadata/public-ipv4": self.address or "",
            "metadata/private-networks": networks,
            "userdata": self.plan.user_data or "",
        }


def _unwrapped(data: str) -> bytes:
    """User data as cloud-init reads it from a disk: not in base64, which only the API takes."""
    if data.startswith("#"):
        return data.encode()
    try:
        return base64.b64decode(data)
    except ValueError:
        return data.encode()  # whatever it is, cloud-init says so in its log
