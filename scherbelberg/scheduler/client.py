# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dask's client, through the tunnel. The only module that knows distributed, and the one that hands out its Client."""

from __future__ import annotations

import asyncio
import logging
import operator
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Security
from distributed.client import FutureCancelledError
from distributed.comm.core import FatalCommClosedError
from distributed.diagnostics.plugin import SchedulerUploadFile, UploadFile

from scherbelberg.concurrency.exhaustion import exhaustion_error, is_local_exhaustion
from scherbelberg.concurrency.waiting import Deadline, pause, timeout_after, until
from scherbelberg.environments.fit import Environment
from scherbelberg.environments.versions import Allowed, Versions, compare, versions_in
from scherbelberg.errors import BadInput, NodeUnreachable, StateDamaged, VersionMismatch, WaitTimeout
from scherbelberg.events import Event, Listener, Phase, ignore_events
from scherbelberg.scheduler.endpoint import SchedulerEndpoint, difference
from scherbelberg.share import openssl_errors

#: How long a client tries to find its scheduler again after its connection was lost, in seconds.
RECONNECT_S = 300
_CONNECT_S = 30
#: How long a scheduler may be away that was killed, or whose machine is rebooted, in seconds, and how soon it is asked.
_RETURN_S, _AGAIN_S = 15, 0.2
_CLOSE_S = 5
_LOST = (
    "Dask cancels the futures of a lost client: submit them again, and keep what must outlive a connection with"
    " client.publish_dataset or in storage."
)
_LOG = logging.getLogger("scherbelberg")


#: Nodes have no scherbelberg: what they are asked has to be text.
_TELL = f"""(lambda sys, ssl, streams: (
    sys.version.split()[0], ssl.OPENSSL_VERSION, getattr(streams.SSLIOStream, {openssl_errors.ANSWER!r}, None)
))(__import__("sys"), __import__("ssl"), __import__("tornado.iostream", fromlist=["SSLIOStream"]))"""
#: Under which Dask passes it on.
TOPIC = "scherbelberg-disk"


class TunnelClient(Client):  # type: ignore[misc] # distributed is typed in part only
    """A client behind a tunnel: its dashboard is the tunnel's, and it is patient when the tunnel is opened again.

    Args:
        endpoint: Where the scheduler is found.
        listener: Is told of disks that are full, as long as this is connected.
        asynchronous: Whether it is used with await, on the loop it is made on.
        set_as_default: Whether Dask collections use it unasked.
    """

    def __init__(
        self,
        endpoint: SchedulerEndpoint,
        *,
        listener: Listener = ignore_events,
        asynchronous: bool = False,
        set_as_default: bool = True,
    ) -> None:
        self._endpoint = endpoint
        self._listener = listener
        openssl_errors.protect()
        super().__init__(
            endpoint.address,
            security=_security(endpoint),
            timeout=_CONNECT_S,
            asynchronous=asynchronous,
            set_as_default=set_as_default,
            direct_to_workers=False,
        )

    @property
    def dashboard_link(self) -> str:
        """The dashboard's URL on this computer."""
        return self._endpoint.dashboard_link

    def _repr_html_(self) -> str:
        """What notebooks show: Dask would make a link of the address that the scheduler has for itself."""
        with dask.config.set({"distributed.dashboard.link": self._endpoint.dashboard_link}):
            return str(super()._repr_html_())

    async def _ensure_connected(self, timeout: float | None = None) -> None:
        deadline = Deadline(_RETURN_S)
        while True:
            try:
                await super()._ensure_connected(timeout=timeout)
            except (ValueError, FatalCommClosedError) as error:
                # So a stream ends that is cut before or during its handshake, which the tunnel does while there is no
                # scheduler: one that was killed is back in seconds. Dask itself tries again after other errors only.
                if isinstance(error, FatalCommClosedError) and not isinstance(error.__cause__, ssl.SSLEOFError):
                    raise
                if deadline.left_s == 0:
                    raise ConnectionAbortedError(str(error) or "cut off during the handshake") from error
            else:
                self.subscribe_topic(TOPIC, self._hear_of_disk)
                return
            await pause(_AGAIN_S)

    async def _shutdown(self) -> None:
        try:
            await super()._shutdown()
        finally:
            self._tell_of_bill("shutdown")

    def retire_workers(self, workers: list[str] | None = None, close_workers: bool = True, **kwargs: Any) -> Any:
        """Retire workers, as Dask does; where they are closed, say that their machines still cost.

        Args:
            workers: Their addresses; all of them if nobody says which.
            close_workers: Whether their processes are ended, too.
            kwargs: What else Dask's scheduler takes.
        """
        return self.sync(self._retire, workers=workers, close_workers=close_workers, **kwargs)

    async def _retire(self, *, close_workers: bool, **kwargs: Any) -> Any:
        try:
            return await self.scheduler.retire_workers(close_workers=close_workers, **kwargs)
        finally:
            if close_workers:
                self._tell_of_bill("retire_workers")

    def _tell_of_bill(self, call: str) -> None:
        """Say that no machine was given back: elsewhere, what was called is how paying ends."""
        _LOG.warning(
            "client.%s() ends Dask's processes, which the machines start again, and no bill: cluster '%s' costs until"
            " its destroy(), or '%s', gives all of it back.",
            call,
            self._endpoint.prefix,
            self._endpoint.destroy_command,
        )

    def _hear_of_disk(self, told: tuple[float, Mapping[str, Any]]) -> None:
        event = disk_event(told[1])
        if event.state == "failed":
            _LOG.warning("%s: %s.", event.node, event.detail)
        self._listener(event)

    async def _reconnect(self) -> None:
        if self._endpoint.shut.is_set():
            _LOG.info("A Dask client was still connected when its cluster was closed or destroyed; it is closed too.")
            await self._close()
            return
        self._give_futures_up()
        self._timeout: float = RECONNECT_S
        try:
            await super()._reconnect()
        finally:
            self._timeout = _CONNECT_S
        if self.status == "running":
            _LOG.info("The Dask client is connected to its scheduler again.")
        elif not self._endpoint.shut.is_set():
            _LOG.error(
                "The Dask client found its scheduler no more within %.0f s and is closed: once that runs again ('%s'"
                " shows its log), get_client() makes a new one.",
                RECONNECT_S,
                self._endpoint.log_command,
            )

    def _give_futures_up(self) -> None:
        """Cancel all futures, as Dask would without a word: the scheduler forgets what a lost client asked for."""
        futures = list(self.futures.values())
        self.futures.clear()
        for future in futures:
            future.cancel(reason="scheduler-connection-lost", msg=_LOST)
        _LOG.warning(
            "The Dask client lost its connection to the scheduler, and with it %d futures. %s"
            " The client itself goes on once the connection is there again, for which it tries %.0f s.",
            len(futures),
            _LOST,
            RECONNECT_S,
        )


def _security(endpoint: SchedulerEndpoint) -> Security:
    """Whom the client trusts and who it is; the files are this computer's, and what is wrong with them, too."""
    security = Security(
        require_encryption=True,
        tls_ca_file=str(endpoint.authority),
        tls_client_cert=str(endpoint.certificate),
        tls_client_key=str(endpoint.key),
    )
    try:
        for file in (endpoint.authority, endpoint.certificate, endpoint.key):
            file.open("rb").close()  # what OpenSSL says of a file that is not there names none
        security.get_connection_args("client")
    except OSError as error:
        raise StateDamaged(
            f"The keys of cluster '{endpoint.prefix}' in {endpoint.key.parent} cannot be read ({error});"
            f" '{endpoint.destroy_command}' still gives it back."
        ) from None
    return security


def connect(
    endpoint: SchedulerEndpoint, *, ours: Versions, allowed: Allowed, listener: Listener = ignore_events
) -> Client:
    """Connect a client for blocking use, with a loop of its own; blocks while it connects.

    Args:
        endpoint: Where the scheduler is found.
        ours: The client's versions.
        allowed: In what the nodes may differ from them.
        listener: Is told what nodes tell.

    Raises:
        NodeUnreachable: The scheduler does not answer as it should.
        VersionMismatch: Scheduler or workers have other versions; the rows say where.
    """
    with _dask_errors(_where_its_log_is(endpoint)):
        client = TunnelClient(endpoint, listener=listener)
        try:
            compare(ours, _by_node(client.scheduler_info(n_workers=-1), client.get_versions()), allowed=allowed)
        except BaseException:
            client.close(timeout=_CLOSE_S)
            raise
        return client


async def connect_async(
    endpoint: SchedulerEndpoint, *, ours: Versions, allowed: Allowed, listener: Listener = ignore_events
) -> Client:
    """Connect a client for use with await, on the running loop.

    Args:
        endpoint: Where the scheduler is found.
        ours: The client's versions.
        allowed: In what the nodes may differ from them.
        listener: Is told what nodes tell.

    Raises:
        NodeUnreachable: The scheduler does not answer as it should.
        VersionMismatch: Scheduler or workers have other versions; the rows say where.
    """
    client = TunnelClient(endpoint, listener=listener, asynchronous=True)
    try:
        with _dask_errors(_where_its_log_is(endpoint)):
            await client
            theirs = _by_node(await client.scheduler.identity(n_workers=-1), await client.get_versions())
        compare(ours, theirs, allowed=allowed)
    except BaseException:
        await _close(client)
        raise
    return client


@asynccontextmanager
async def _closing(client: Client) -> AsyncIterator[Client]:
    """Connect a client for a while; its own context manager forgets it when connecting is interrupted."""
    try:
        yield await client
    finally:
        await _close(client)


async def _close(client: Client) -> None:
    with suppress(TimeoutError):
        await client.close(timeout=_CLOSE_S)


def is_connection_error(error: Exception) -> bool:
    """Whether an error is that of a connection, and not one that Dask has carried here from a node.

    Args:
        error: It; what a node's own disk says has a number.
    """
    if isinstance(error, (ConnectionError, TimeoutError, ssl.SSLError)):
        return True
    return isinstance(error, OSError) and error.errno is None


def _where_its_log_is(endpoint: SchedulerEndpoint) -> str:
    return f"; look at its log: '{endpoint.log_command}'"


@contextmanager
def _dask_errors(advice: str = "") -> Iterator[None]:
    """Turn distributed's errors, which often say nothing, into ours; logs of a create that fails are kept anyway."""
    try:
        yield
    except (OSError, TimeoutError, FutureCancelledError) as error:
        if is_local_exhaustion(error):
            raise exhaustion_error(error) from error
        reason = str(error).strip("()'\" ") or type(error).__name__
        raise NodeUnreachable(
            f"Dask's scheduler does not answer through the tunnel as it should ({reason}){advice}.",
            node="scheduler",
        ) from error


async def prove(
    endpoint: SchedulerEndpoint, *, workers: tuple[str, ...], environment: Environment, within_s: float
) -> None:
    """Show that a cluster computes: exactly the planned workers, the client's versions everywhere, and a sum on each.

    Args:
        endpoint: Where the scheduler is found.
        workers: Names of the planned workers.
        environment: What client and nodes must have.
        within_s: Deadline in seconds for the workers to be there, and again for the sums.

    Raises:
        NodeUnreachable: The scheduler does not answer as it should.
        WaitTimeout: Workers are missing, or do not compute.
        VersionMismatch: Versions differ; the rows say where.
    """
    with _dask_errors():
        async with _closing(TunnelClient(endpoint, asynchronous=True, set_as_default=False)) as client:
            addresses = await _wait_for_workers(client, workers, within_s)
            try:
                async with timeout_after(max(within_s, _CONNECT_S)):
                    await _check_versions(client, addresses, environment)
                    await _check_sums(client, workers)
            except TimeoutError:
                last = f"missing {', '.join(workers)}"
                raise WaitTimeout(what="A sum on each worker", within_s=within_s, last=last) from None


async def _check_versions(client: Client, addresses: Mapping[str, str], environment: Environment) -> None:
    versions = await client.get_versions()
    theirs = {"scheduler": versions_in(versions["scheduler"])}
    theirs |= {name: versions_in(versions["workers"].get(address)) for name, address in addresses.items()}
    compare(environment.client.versions, theirs, allowed=environment.allowed)


async def _check_sums(client: Client, workers: tuple[str, ...]) -> None:
    futures = [client.submit(operator.add, 1, 1, workers=[name], pure=False) for name in workers]
    # Not client.gather, which leaves tasks behind that complain when this is cancelled.
    if await asyncio.gather(*(future.result() for future in futures)) != [2] * len(workers):
        raise VersionMismatch("A worker did not find that 1 + 1 is 2.", differences=())


async def _wait_for_workers(client: Client, workers: tuple[str, ...], within_s: float) -> dict[str, str]:
    seen: Mapping[str, str] = {}

    async def all_there() -> dict[str, str] | None:
        nonlocal seen
        identity = await client.scheduler.identity(n_workers=-1)
        seen = {str(row["name"]): address for address, row in identity["workers"].items()}
        return dict(seen) if set(seen) == set(workers) else None

    try:
        return await until(
            all_there,
            every_s=0.1,
            growth=1.3,
            longest_s=2,
            within_s=within_s,
            what=f"The joining of {len(workers)} workers",
            last=lambda: difference(workers, seen),
        )
    except WaitTimeout as error:
        error.missing = tuple(sorted(set(workers) - set(seen)))
        raise


def _by_node(identity: Mapping[str, Any], versions: Mapping[str, Any]) -> dict[str, Versions]:
    """Versions of scheduler and workers by name; of workers that came or went meanwhile there is nothing to say."""
    found = {"scheduler": versions_in(versions["scheduler"])}
    for address, row in identity["workers"].items():
        if address in versions["workers"]:
            found[str(row["name"])] = versions_in(versions["workers"][address])
    return found


async def upload(endpoint: SchedulerEndpoint, *, file: Path, modules: tuple[str, ...], within_s: float) -> None:
    """Put something to import on the scheduler and all workers, those that join or restart later included.

    Args:
        endpoint: Where the scheduler is found.
        file: A module, or an archive that Dask imports from.
        modules: Names of what is imported; what the cluster has loaded of them is forgotten first.
        within_s: Deadline in seconds.

    Raises:
        BadInput: It cannot be imported there.
        NodeUnreachable: The scheduler does not answer as it should.
        WaitTimeout: The deadline passed.
    """
    with _dask_errors(_where_its_log_is(endpoint)):
        async with _closing(TunnelClient(endpoint, asynchronous=True, set_as_default=False)) as client:
            limit: asyncio.Timeout | None = None
            try:
                async with timeout_after(within_s) as limit:
                    await _forget(client, modules)
                    await _register(client, file)
            except TimeoutError:
                if limit is None or not limit.expired():
                    raise
                raise WaitTimeout(what=f"The upload of {file.name}", within_s=within_s) from None


async def ask_for_tls(endpoint: SchedulerEndpoint, *, within_s: float) -> dict[str, tuple[str, str, str | None]]:
    """Ask all of Dask's processes on a cluster's nodes what they speak TLS with.

    Args:
        endpoint: Where the scheduler is found.
        within_s: Deadline in seconds.

    Returns:
        By the name of the process: versions of Python and OpenSSL, and what `openssl_errors` did there, if it is there.

    Raises:
        NodeUnreachable: The scheduler does not answer as it should.
        WaitTimeout: The deadline passed.
    """
    with _dask_errors(_where_its_log_is(endpoint)):
        try:
            async with (
                timeout_after(within_s),
                _closing(TunnelClient(endpoint, asynchronous=True, set_as_default=False)) as client,
            ):
                rows = (await client.scheduler.identity(n_workers=-1))["workers"]
                found: dict[str, Any] = {"scheduler": await client.run_on_scheduler(eval, _TELL)}
                workers, nannies = await client.run(eval, _TELL), await client.run(eval, _TELL, nanny=True)
        except TimeoutError:
            raise WaitTimeout(what="The answer of Dask's processes", within_s=within_s) from None
    names = {address: str(row["name"]) for address, row in rows.items()}
    found |= {names[address]: answer for address, answer in workers.items() if address in names}
    found |= {f"{names[address]}'s nanny": answer for address, answer in nannies.items() if address in names}
    return found


async def _forget(client: Client, modules: tuple[str, ...]) -> None:
    """Let the next import read the file: Dask itself would load a changed package anew, but not what is in it."""
    code = (
        f"import sys\nfor name in [*sys.modules]:\n    if name.partition('.')[0] in {modules!r}: del sys.modules[name]"
    )
    # A function of ours could not go there: the nodes have no scherbelberg.
    await client.run(exec, code, {})
    await client.run_on_scheduler(exec, code, {})


async def _register(client: Client, file: Path) -> None:
    name = f"scherbelberg-upload-{file.name}"
    try:
        for_scheduler, for_workers = SchedulerUploadFile(str(file)), UploadFile(str(file))
    except OSError as error:
        raise BadInput(f"{file} cannot be read for the upload: {error}.") from None
    try:
        await client.register_plugin(for_scheduler, name=name)
        await client.register_plugin(for_workers, name=name)
    except Exception as error:
        if is_connection_error(error):
            raise
        # Whichever was registered before the other one failed.
        for unregister in (client.unregister_scheduler_plugin, client.unregister_worker_plugin):
            with suppress(Exception):
                await unregister(name)
        raise BadInput(f"{file.name} cannot be imported on the cluster: {type(error).__name__}: {error}.") from error


def disk_event(words: Mapping[str, Any]) -> Event:
    """What a worker said, as an event.

    Args:
        words: ``name`` is its name, ``full`` whether its disk is, ``free`` and ``total`` are bytes.
    """
    room = f"{words['free'] / 2**30:.1f} of {words['total'] / 2**30:.1f} GiB are free"
    node = str(words["name"]).partition("-")[0]  # behind which comes a number where a node has several workers
    if not words["full"]:
        return Event(phase=Phase.DISK, state="done", node=node, detail=f"the disk has room again, {room}")
    detail = f"the disk is full, {room}; what memory has no room for cannot go there"
    return Event(phase=Phase.DISK, state="failed", node=node, detail=detail)
