# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What one scripted host has: how long it takes over what, its files, its settings, its Dask."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import shlex
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from attrs import frozen

from scherbelberg.sandbox.faults import HostFaults
from scherbelberg.sandbox.hosts.scripted.logs import Log
from scherbelberg.sandbox.hosts.scripted.network import Lan
from scherbelberg.sandbox.hosts.scripted.service import Service, ServiceSpec
from scherbelberg.sandbox.hosts.scripted.session import ScriptFailed
from scherbelberg.sandbox.hosts.scripted.tls import TlsIdentity

#: The script itself says what it insists on.
_INSISTS = re.compile(r'^SETTINGS="([^"]*)"', re.MULTILINE)
_NONE, _AUTO = "none", "auto"

#: Below root's home.
PAYLOAD = "scherbelberg-payload"


@frozen(kw_only=True)
class Timing:
    """How long a host takes over what; all seconds are those at time scale 1, and of work that is not skipped.

    Args:
        hostkey_s: For making the host's own key and sshd's reload.
        download_s: For all packages of an environment that the image does not hold.
        miniforge_s: For installing Miniforge, which happens meanwhile.
        install_s: For making that environment of them.
        environment_s: For looking at the environment that the image holds.
        tls_s: For a key, a request and the look at the certificate.
        service_s: Until Dask answers.
        again_s: Until Dask that has ended is started again.
    """

    hostkey_s: float = 0.3
    download_s: float = 8.0
    miniforge_s: float = 6.0
    install_s: float = 8.0
    environment_s: float = 0.3
    tls_s: float = 0.2
    service_s: float = 1.5
    again_s: float = 1.0


#: A machine whose image was baked.
BAKED = Timing()


class NodeSettings:
    """What the client decided for a node.

    Args:
        file: Lines of ``NAME=value``, quoted for a shell.
        script: The pushed script.

    Raises:
        ScriptFailed: It cannot be read, or lacks what the script insists on.
    """

    def __init__(self, file: Path, script: Path) -> None:
        try:
            words = shlex.split(file.read_text(encoding="utf-8"))
            insists = _INSISTS.search(script.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ScriptFailed(f"{file.name} cannot be read: {error}") from None
        self._values = dict(word.split("=", 1) for word in words if "=" in word)
        for name in insists.group(1).split() if insists else ():
            if not self._values.get(name):
                raise ScriptFailed(f"node.env lacks {name}")

    def __getitem__(self, name: str) -> str:
        try:
            return self._values[name]
        except KeyError:
            raise ScriptFailed(f"node.env lacks {name}") from None

    @property
    def mark(self) -> str:
        """Tells the node from any other."""
        return f"{self['NODE_NAME']}.{self['CLUSTER_UID']}"

    @property
    def wait_s(self) -> float:
        """Deadline for each single wait, in seconds."""
        return float(self["WAIT_S"])

    @property
    def threads(self) -> str:
        """Threads of each worker."""
        wanted = self["PROCESS_THREADS"]
        return str(max(1, int(self["CORES"]) // int(self["PROCESSES"]))) if wanted == _AUTO else wanted

    @property
    def memory_limit(self) -> str:
        """Memory of each worker."""
        wanted = self["PROCESS_MEMORY"]
        usable = int(self["MEMORY_BYTES"]) * int(self["MEMORY_PERCENT"]) // 100
        return str(usable // int(self["PROCESSES"])) if wanted == _AUTO else wanted

    @property
    def servers(self) -> tuple[str, ...]:
        """Names of what runs there, numbered where there are several."""
        name, count = self["NODE_NAME"], int(self["PROCESSES"])
        return (name,) if count == 1 else tuple(f"{name}-{number}" for number in range(count))

    @property
    def resources(self) -> dict[str, float]:
        """What each worker has of whatever a client counts."""
        text = self["RESOURCES"]
        pairs = [] if text == _NONE else [word.split("=", 1) for word in text.split()]
        return {name: float(amount) for name, amount in pairs}

    @property
    def direct(self) -> str | None:
        """Where the scheduler listens besides, for who needs no tunnel."""
        host = self["DIRECT_HOST"].partition(",")[0]
        return None if host == _NONE else f"tls://{host}:{self['SCHEDULER_PORT']}"


@frozen(kw_only=True)
class HostState:
    """What one host has.

    Args:
        number: The server's number.
        root: The host's root.
        timing: How long it takes over what.
        faults: What is wrong with it.
        lan: The private networks.
        service: The host's Dask.
        record: What is kept of the script's runs.
        busy: Held while the script changes anything.
        pause: Waits for so many seconds at time scale 1.
        die: Switches the host off.
    """

    number: int
    root: Path
    timing: Timing
    faults: HostFaults
    lan: Lan
    service: Service
    record: Log
    busy: asyncio.Lock
    pause: Callable[[float], Coroutine[Any, Any, None]]
    die: Callable[[], None]

    @property
    def home(self) -> Path:
        """Root's home."""
        return self.root / "root"

    @property
    def payload(self) -> Path:
        """Where pushed files lie."""
        return self.home / PAYLOAD

    @property
    def base(self) -> Path:
        """Where the script keeps its own."""
        return self.root / "opt/scherbelberg"

    @property
    def installed(self) -> Path:
        """The settings of the node that this host has become."""
        return self.base / "etc/node.env"

    @property
    def host_key(self) -> Path:
        """The host key that was born here."""
        return self.root / "etc/ssh/scherbelberg_host_ed25519_key"

    @property
    def drop_in(self) -> Path:
        """Where sshd's configuration names it."""
        return self.root / "etc/ssh/sshd_config.d/10-scherbelberg.conf"

    def read_settings(self, file: Path) -> NodeSettings:
        """Read a node's settings.

        Raises:
            ScriptFailed: They are not as the script wants them.
        """
        return NodeSettings(file, self.payload / "bootstrap.sh")

    def host_key_words(self) -> list[str]:
        """The public half of that key: its type, the key, whose it is; nothing where there is none."""
        try:
            return self.host_key.with_name(f"{self.host_key.name}.pub").read_text(encoding="utf-8").split()
        except OSError:
            return []

    def identity(self, settings: NodeSettings) -> TlsIdentity:
        """The node's TLS key and certificate."""
        return TlsIdentity(self.base / "etc/tls", self.payload / "ca.pem", settings.mark)

    @property
    def activity(self) -> Path:
        """Where Dask's scheduler notes when it had something to do."""
        return self.root / "var/lib/scherbelberg/activity"

    async def _watch(self, scheduler: object) -> None:
        module = self._load_pushed("activity")
        self.activity.parent.mkdir(parents=True, exist_ok=True)
        await module.watch(scheduler, self.activity, rest=lambda: self.pause(module.EVERY_S))

    def _load_pushed(self, name: str) -> Any:
        """The very module that was pushed: who judges by what it does judges the product's."""
        spec = importlib.util.spec_from_file_location(name, self.payload / f"{name}.py")
        if spec is None or spec.loader is None:
            raise ScriptFailed(f"{name}.py cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def start_service(self, settings: NodeSettings) -> None:
        """Start Dask."""
        if settings["NODE_ROLE"] == "scheduler":
            self._load_pushed("openssl_errors").protect()
        identity = self.identity(settings)
        spec = ServiceSpec(
            role=settings["NODE_ROLE"],
            names=settings.servers,
            authority=identity.authority,
            certified=identity.certified,
            scheduler=(settings["SCHEDULER_IP"], int(settings["SCHEDULER_PORT"])),
            dashboard=(settings["DASHBOARD_HOST"], int(settings["DASHBOARD_PORT"])),
            direct=settings.direct,
            resources=settings.resources,
            joins=lambda: not self.faults.has("never_joins"),
            watch=self._watch,
        )
        self.service.start(
            spec,
            first=lambda: self.pause(self.timing.service_s),
            again=lambda: self.pause(self.timing.again_s),
        )
