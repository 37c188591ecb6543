# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the user wants, with every default once. Checked when made; nothing here asks the cloud."""

from __future__ import annotations

import ipaddress
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from attrs import Attribute, asdict, field, frozen

from scherbelberg.errors import BadInput
from scherbelberg.spec.licence import check_licence, check_licence_of_spec
from scherbelberg.spec.urls import has_secrets

#: A network holds 100 members and the scheduler is one of them.
MOST_WORKERS = 99
#: Labels take 63 characters, and so does a server name with a role behind the prefix.
LONGEST_PREFIX = 40
#: Hetzner's networks are apart from each other, so all clusters can have the same range.
DEFAULT_RANGE = "10.0.0.0/16"
#: Most Dask worker processes on one machine, and most threads of one of them.
MOST_PROCESSES = 64
MOST_THREADS = 1024
#: What lives longer than ten years has no end.
LONGEST_TTL_S = 10 * 366 * 86400
AUTO = "auto"
ANYWHERE = ("0.0.0.0/0", "::/0")
_MEMORY = re.compile(r"(0?\.[0-9]+|1\.0|[1-9][0-9]*(\.[0-9]+)? ?([kMGT]i?)?B)\Z")
#: A host's name and port, perhaps as a URL.
_ORIGIN = re.compile(r"(?:(https?)://)?([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::([0-9]{1,5}|\*))?/?")
_RESOURCE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
#: Before a requirement that is fulfilled from the Python package index.
PYPI = "pypi:"
#: An address is none: it may hold secrets, and a channel has a place of its own.
_PACKAGE = re.compile(r"(?!.*://)[A-Za-z0-9_][^\x00-\x1f]*\Z")
_CHANNEL = re.compile(r"(https?://[!-~]+|[a-z0-9][a-z0-9_./-]*)\Z")
_PREFIX = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?\Z")
_SPELLED_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa"})


def suggest_prefix(text: str) -> str:
    """Turn any text into the nearest prefix that is allowed, or ``cluster`` if nothing of it can stay."""
    spelled = unicodedata.normalize("NFC", text).lower().translate(_SPELLED_OUT)
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain).lstrip("-0123456789")[:LONGEST_PREFIX].strip("-")
    return words or "cluster"


def check_prefix(text: str) -> str:
    """Check a prefix.

    Args:
        text: What the user calls the cluster.

    Returns:
        The same text.

    Raises:
        BadInput: It cannot be part of host names and labels; another one is suggested.
    """
    if len(text) > LONGEST_PREFIX or not _PREFIX.match(text):
        raise BadInput(
            f"The prefix '{text}' cannot name a cluster: use at most {LONGEST_PREFIX} lower-case letters a to z, digits"
            f" and dashes, beginning with a letter, for example '{suggest_prefix(text)}'."
        )
    return text


def _check_prefix(instance: object, attribute: object, value: str) -> None:
    check_prefix(value)


def _check_workers(instance: object, attribute: object, value: int) -> None:
    if not isinstance(value, int) or not 1 <= value <= MOST_WORKERS:
        raise BadInput(
            f"Invalid number of workers: {value}. Use 1 to {MOST_WORKERS} (a Hetzner network holds"
            f" {MOST_WORKERS + 1} machines, one of which is the scheduler)."
        )


def _check_time(instance: object, attribute: Attribute[Any], value: int | None) -> None:
    if value is not None and (not isinstance(value, int) or not 0 < value <= LONGEST_TTL_S):
        what = {"ttl_s": "time to live", "idle_s": "idle timeout", "wait_s": "waiting time"}[attribute.name]
        raise BadInput(
            f"Invalid {what}: {value} s. Use a whole number of seconds above 0 and up to ten years, or none."
        )


def _read_amount(value: Decimal | str | float | None) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount <= 0:
        raise BadInput(f"Invalid amount '{value}'. Use a number above 0, such as 2.50.")
    return amount


def check_network_range(text: str) -> str:
    """Check the IPv4 range of the private network.

    Args:
        text: A network in CIDR notation.

    Returns:
        The same text.

    Raises:
        BadInput: It is not a network, or too small.
    """
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise BadInput(f"The network range '{text}' is not an IPv4 network such as 10.0.0.0/16: {error}.") from None
    if str(network) != text or not network.is_private:
        raise BadInput(f"The network range '{text}' is not a private IPv4 network such as 10.0.0.0/16.")
    if network.prefixlen > 24:
        raise BadInput(f"The network range {text} is too small. Use at least a /24 network, such as 10.0.0.0/16.")
    return text


@frozen(kw_only=True)
class Ports:
    """TCP ports on the nodes.

    Args:
        scheduler: Dask's TLS port, on the private address.
        dashboard: The dashboard, on the scheduler's loopback.
        worker: The worker process, on the private address; the first of as many ports as there are processes.
        nanny: The worker's nanny, on the private address; likewise.

    Raises:
        BadInput: One is no port, or two are the same.
    """

    scheduler: int = 8786
    dashboard: int = 8787
    worker: int = 9000
    nanny: int = 9100

    def __attrs_post_init__(self) -> None:
        ports = (self.scheduler, self.dashboard, self.worker, self.nanny)
        if len(set(ports)) < len(ports) or not all(isinstance(port, int) and 1024 <= port < 2**16 for port in ports):
            raise BadInput(f"Invalid ports {ports}. Use four different numbers from 1024 to 65535.")


@frozen(kw_only=True)
class Timeouts:
    """Deadlines in seconds.

    Args:
        request: Until the cloud has answered one request.
        cloud: Until repeated tries at one request are given up.
        rent: Until all servers run and have their private address.
        reach: Until a node takes our SSH connection.
        bootstrap: Until the script has ended on a node.
        node_wait: For each single wait inside the script.
        join: Until all workers are seen by the client.
        delete: Until a cluster is proven gone.
        solve: Until a channel of packages or an index has answered one question.
        logs: For collecting the last log lines of what failed.

    Raises:
        BadInput: One is no number of seconds.
    """

    request: float = 30
    cloud: float = 120
    rent: float = 300
    reach: float = 300
    bootstrap: float = 1200
    node_wait: float = 120
    join: float = 120
    delete: float = 240
    solve: float = 120
    logs: float = 5

    def __attrs_post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise BadInput(f"Invalid timeout {name}: {value!r}. Use a number of seconds.")


def _check_processes(instance: object, attribute: object, value: int | str) -> None:
    if value != AUTO and (not isinstance(value, int) or not 1 <= value <= MOST_PROCESSES):
        raise BadInput(f"Invalid number of processes: {value}. Use 1 to {MOST_PROCESSES}, or '{AUTO}'.")


def _check_threads(instance: object, attribute: object, value: int | None) -> None:
    if value is not None and (not isinstance(value, int) or not 1 <= value <= MOST_THREADS):
        raise BadInput(f"Invalid number of threads: {value}. Use 1 to {MOST_THREADS}.")


def _check_memory(instance: object, attribute: object, value: str | None) -> None:
    if value is not None and not (isinstance(value, str) and _MEMORY.match(value)):
        raise BadInput(f"Invalid memory limit '{value}'. Use bytes, such as 4GiB or 3500MB, or a share, such as 0.5.")


def _read_resources(value: Mapping[str, float]) -> dict[str, float]:
    try:
        resources = {str(name): float(amount) for name, amount in dict(value).items()}
    except (TypeError, ValueError):
        raise BadInput(f"Invalid resources {value!r}. Use names with numbers, such as GPU=2.") from None
    for name, amount in resources.items():
        if not _RESOURCE.match(name) or not 0 <= amount < math.inf:
            raise BadInput(f"Invalid resource '{name}={amount:g}'. Use a name with a number, such as GPU=2.")
    return resources


def check_cidr(text: str) -> str:
    """Check a range of addresses that is let in.

    Args:
        text: An IPv4 or IPv6 network in CIDR notation; a single address is taken as a network of its own.

    Returns:
        It in CIDR notation.

    Raises:
        BadInput: It is none.
    """
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise BadInput(f"'{text}' is not a range of addresses such as 203.0.113.7/32: {error}.") from None


def _read_cidrs(value: str | Iterable[str]) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value)
    return tuple(dict.fromkeys(check_cidr(text) for text in texts))


def check_origin(text: str) -> str:
    """Check whose pages may show a dashboard.

    Args:
        text: A host's name, perhaps with a port behind it (``*`` for any), and perhaps as a URL.

    Returns:
        Name and port; where no port was given, any will do.

    Raises:
        BadInput: It is none.
    """
    match = _ORIGIN.fullmatch(text.strip().lower())
    if not match:
        raise BadInput(
            f"'{text}' is not the name of a host whose pages may show the dashboard: write hub.example.org, or"
            " hub.example.org:8000."
        )
    scheme, host, port = match.groups()
    if port is None and scheme is not None:
        port = {"http": "80", "https": "443"}[scheme]
    return f"{host}:{port or '*'}"


def _read_origins(value: str | Iterable[str]) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value)
    return tuple(dict.fromkeys(check_origin(text) for text in texts))


def _read_texts(value: str | Iterable[str]) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value)
    return tuple(dict.fromkeys(texts))


def _read_names(value: str | Iterable[str] | None) -> tuple[str, ...]:
    return () if value is None else _read_texts(value)


def _check_env(instance: object, attribute: object, value: str | None) -> None:
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise BadInput(f"Invalid environment {value!r}. Use main, science, or the path of a file.")


def _check_packages(instance: object, attribute: object, value: tuple[str, ...]) -> None:
    for text in value:
        if not _PACKAGE.match(text.removeprefix(PYPI)):
            raise BadInput(f"Invalid package '{text}'. Use NAME, 'NAME >=1.2', or {PYPI}NAME.")
        check_licence_of_spec(text, what=f"The channel of '{text}'")


def _check_channels(instance: object, attribute: object, value: tuple[str, ...]) -> None:
    for text in value:
        check_channel(text)


def check_channel(text: str) -> None:
    """Check the name or URL of a channel.

    Args:
        text: What the user wrote.

    Raises:
        BadInput: It is neither, has a password or token in it, or is Anaconda's own.
    """
    if has_secrets(text):
        raise BadInput(
            "The URL of a channel contains a password or token, which others could read. Put it into ~/.netrc or the"
            " keyring."
        )
    check_licence(text, what=f"The channel '{text}'")
    if not _CHANNEL.match(text):
        raise BadInput(f"Invalid channel '{text}'. Use a name such as conda-forge, or an http(s) URL.")


def _check_somebody(instance: object, attribute: object, value: tuple[str, ...]) -> None:
    if not value:
        raise BadInput("Nobody could reach the nodes over SSH. Allow at least one range of addresses.")


@frozen(kw_only=True)
class ClusterSpec:
    """A cluster as the user wants it.

    Args:
        prefix: Its name.
        workers: Number of worker machines, 1 to 99.
        min_workers: Number of them that is accepted where others failed or could not be had, or None for all.
        worker: Server types of the workers in the order in which they are tried, or one; the cheapest that fit if none.
        scheduler: Server type of the scheduler, or None for the cheapest that fits.
        location: Locations of one network zone, such as ``fsn1``, in the order in which they are tried, or one; any in
            eu-central if none.
        image: Image name, or None for the pinned one, or the newest Ubuntu LTS where that is gone.
        network_range: IPv4 range of the private network.
        max_hourly: The most that all of it may cost an hour, gross, in the account's currency, or None for any amount.
        wait_s: Seconds for which machines that there are none of are asked for again and again, or None not to wait.
        ttl_s: Seconds after which the cluster counts as forgotten, or None for never.
        idle_s: Seconds without work after which it does, too, or None for never.
        warden: Whether its scheduler gets the API token and gives the cluster back by itself when it is forgotten.
        max_total: The most that it may cost until then, gross, in the account's currency, or None for any amount.
        processes: Dask worker processes on each worker machine, or ``auto`` for Dask's own choice by its cores.
        threads: Threads of each of them, or None for an equal share of the cores.
        memory_limit: Memory of each of them as Dask writes it (``4GiB``, ``0.5``), or None for an equal share.
        resources: Abstract resources of each of them, name to amount.
        ssh_from: Ranges of addresses from which SSH is let in.
        direct: Ranges of addresses from which Dask's TLS port of the scheduler is let in; none by default.
        dashboard_origin: Names, each with a port if need be, whose pages may show the dashboard besides those of this
            computer's loopback, such as ``hub.example.org`` of a JupyterHub.
        ports: Ports on the nodes.
        env: Environment of the nodes: ``main``, ``science``, the path of a file, or None for the client's versions.
        packages: What is added to it: match specs of conda packages, or requirements with ``pypi:`` before them.
        channels: Where conda packages come from, by name or URL, in the order in which they count; conda-forge if none.
        allow_mismatch: Whether the environment may differ from the client in everything.
        timeouts: Deadlines.

    Raises:
        BadInput: A value that cannot be; one sentence says which.
    """

    prefix: str = field(default="cluster", validator=_check_prefix)
    workers: int = field(default=2, validator=_check_workers)
    min_workers: int | None = None
    worker: tuple[str, ...] = field(default=(), converter=_read_names)
    scheduler: str | None = None
    location: tuple[str, ...] = field(default=(), converter=_read_names)
    image: str | None = None
    network_range: str = field(default=DEFAULT_RANGE, converter=check_network_range)
    max_hourly: Decimal | None = field(default=None, converter=_read_amount)
    wait_s: int | None = field(default=None, validator=_check_time)
    ttl_s: int | None = field(default=12 * 3600, validator=_check_time)
    idle_s: int | None = field(default=None, validator=_check_time)
    warden: bool = False
    max_total: Decimal | None = field(default=None, converter=_read_amount)
    processes: int | Literal["auto"] = field(default=1, validator=_check_processes)
    threads: int | None = field(default=None, validator=_check_threads)
    memory_limit: str | None = field(default=None, validator=_check_memory)
    resources: Mapping[str, float] = field(factory=dict, converter=_read_resources, hash=False)
    ssh_from: tuple[str, ...] = field(default=ANYWHERE, converter=_read_cidrs, validator=_check_somebody)
    direct: tuple[str, ...] = field(default=(), converter=_read_cidrs)
    dashboard_origin: tuple[str, ...] = field(default=(), converter=_read_origins)
    env: str | None = field(default=None, validator=_check_env)
    packages: tuple[str, ...] = field(default=(), converter=_read_texts, validator=_check_packages)
    channels: tuple[str, ...] = field(default=(), converter=_read_texts, validator=_check_channels)
    allow_mismatch: bool = False
    ports: Ports = Ports()
    timeouts: Timeouts = Timeouts()

    def __attrs_post_init__(self) -> None:
        if not (isinstance(self.min_workers_effective, int) and 1 <= self.min_workers_effective <= self.workers):
            raise BadInput(
                f"Invalid minimum of {self.min_workers} workers out of {self.workers}. Use 1 to {self.workers}."
            )
        if self.wait_s is not None and self.ttl_s is not None and self.wait_s >= self.ttl_s:
            raise BadInput(
                f"The waiting time of {self.wait_s} s is not shorter than the time to live of {self.ttl_s} s, which"
                " starts before. Wait for less time, or choose a longer time to live."
            )
        most = MOST_PROCESSES if self.processes == AUTO else int(self.processes)
        taken = [self.ports.scheduler, self.ports.dashboard]
        taken += [first + number for first in (self.ports.worker, self.ports.nanny) for number in range(most)]
        if len(set(taken)) < len(taken) or max(taken) >= 2**16:
            raise BadInput(
                f"{most} worker processes need as many ports from {self.ports.worker} and {self.ports.nanny} on."
            )

    @property
    def min_workers_effective(self) -> int:
        """How many workers there must be in the end."""
        return self.workers if self.min_workers is None else self.min_workers
