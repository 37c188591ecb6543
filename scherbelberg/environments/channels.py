# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Channels of conda packages: what they have, and what of it makes an environment for nodes.

A configuration of our own keeps that of the user's other tools out; proxies, SSL_CERT_FILE and the places where tools
of this kind keep credentials (netrc, keyring) count all the same. Solutions name a channel's own addresses even where
a mirror answered.
"""

from __future__ import annotations

import asyncio
import atexit
import bisect
import datetime as dt
import itertools
import re
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from rattler import Gateway, MatchSpec, PackageName, PackageRecord, RepoDataRecord, Version, solve
from rattler.exceptions import GatewayError, InvalidMatchSpecError, IoError, SolverError
from rattler.networking import AuthenticationMiddleware, Client, MirrorMiddleware, RetryMiddleware
from rattler.package import BuildString
from rattler.package_streaming import download_to_path
from rattler.repo_data.gateway import SourceConfig
from rattler.virtual_package.generic import GenericVirtualPackage

from scherbelberg.concurrency.waiting import Deadline, pause, until
from scherbelberg.environments.lock import CHANNELS, Package
from scherbelberg.environments.pypi import without_secrets
from scherbelberg.errors import BadInput, ChannelUnreachable, WaitTimeout

#: What they call, and whose frame is therefore their first.
_CALLED = "call_soon_threadsafe"
_LOOK_EVERY_S = 0.001
_WITHIN_S = 2.0


#: What nodes are at the least: Ubuntu 22.04, the oldest that can be rented, on any processor of its kind.
_NODE = (("__unix", "0", "0"), ("__linux", "5.15", "0"), ("__glibc", "2.35", "0"))
_PROCESSOR = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}
#: At each question, within seconds.
_RETRIES = 3
#: A server that is busy is asked again for so many seconds: after the first pause, and at most after the longest.
_PATIENCE_S, _REST_S, _LONGEST_REST_S = 120.0, 2.0, 30.0
#: How errors tell of an HTTP status that says so.
_BUSY = re.compile(r"\((?:408|425|429|5\d\d) ", re.ASCII)
_NOT_MODIFIED = "(304 "
T = TypeVar("T")


def _wait_for_rattler_threads() -> None:
    """See to it that the interpreter does not end before such threads have left it."""
    atexit.register(_wait)


def _wait() -> None:
    # To have a look, a thread needs the interpreter; between two looks the others get it.
    with suppress(WaitTimeout):
        asyncio.run(until(_is_empty, every_s=_LOOK_EVERY_S, within_s=_WITHIN_S, what="the end of others' threads"))


async def _is_empty() -> bool | None:
    own = {thread.ident for thread in threading.enumerate()}
    frames = [frame for ident, frame in sys._current_frames().items() if ident not in own]  # noqa: SLF001 - documented
    return None if any(_first(frame).f_code.co_name == _CALLED for frame in frames) else True


def _first(frame: FrameType) -> FrameType:
    while frame.f_back is not None:
        frame = frame.f_back
    return frame


_wait_for_rattler_threads()


class Unsolvable(Exception):
    """What was asked for cannot be had together; the text says why, over several lines."""


class Channels:
    """Some channels, in the order in which they count: a package comes from the first that knows its name.

    Args:
        names: Names or URLs.
        mirror: URL that stands for the place where channels with but a name are, or None.
        cache: Folder for what channels say.
        within_s: Deadline in seconds for each question.
    """

    def __init__(self, names: tuple[str, ...], *, mirror: str | None, cache: Path, within_s: float) -> None:
        self._names = names
        self._within_s = within_s
        self._mirror = mirror
        self._cache = cache
        self._gateway = Gateway(cache_dir=cache, client=_client(mirror))

    async def solve(
        self, specs: Iterable[str], *, platform: str, pinned: Iterable[Package] = ()
    ) -> tuple[Package, ...]:
        """Find packages that make an environment.

        Args:
            specs: What is asked for, as match specs.
            platform: Of the nodes.
            pinned: Packages that stay as they are where they are needed.

        Returns:
            Packages, each after what it needs.

        Raises:
            BadInput: A match spec makes no sense.
            ChannelUnreachable: A channel does not answer.
            Unsolvable: There is no such environment.
            WaitTimeout: It was not found in time.
        """
        async with self._channel_errors("a solution"):
            solving = partial(
                solve,
                self._names,
                self._with_bare_names([_match_spec(spec) for spec in specs]),
                platforms=[platform, "noarch"],  # type: ignore[list-item] # rattler knows more of them than a literal
                pinned_packages=[_record(package) for package in pinned],
                virtual_packages=[_virtual(*row) for row in _node(platform)],
                timeout=dt.timedelta(seconds=self._within_s),
                channel_relations="disabled",  # nobody else's channels than those that were named
            )
            found = await self._ask_gateway(lambda gateway: solving(gateway=gateway))
        by_name = {record.name.normalized: record for record in found}
        order = PackageRecord.sort_topologically(list(found))
        return tuple(_package(by_name[record.name.normalized]) for record in order)

    def _with_bare_names(self, specs: list[MatchSpec]) -> list[MatchSpec]:
        """Ask for bare names, too: a channel whose versions do not fit would else seem not to know a package at all."""
        names = [_name_of(spec) for spec in specs] if len(self._names) > 1 else []
        return [*(MatchSpec(name) for name in dict.fromkeys(names)), *specs]

    async def versions(self, name: str, *, platform: str) -> tuple[str, ...]:
        """List the versions that the first channel which knows a package has of it, the newest first.

        Args:
            name: As conda has it.
            platform: Of the nodes.

        Raises:
            ChannelUnreachable: A channel does not answer.
            WaitTimeout: There was no answer in time.
        """
        async with self._channel_errors(f"the versions of {name}"):
            for channel in self._names:
                rows = await self._ask_gateway(partial(_query, channel=channel, platform=platform, name=name))
                found = {str(record.version): record.version for records in rows for record in records}
                if found:
                    return tuple(sorted(found, key=lambda text: found[text], reverse=True))
        return ()

    async def _ask_gateway(self, ask: Callable[[Gateway], Awaitable[T]]) -> T:
        """Ask, and ask anew without what was kept where a server cannot tell whether that still counts.

        Servers of plain folders, Python's among them, compare times alone. That something is not modified is no answer
        where the library asks by content.
        """
        try:
            return await _with_retries(lambda: ask(self._gateway), within_s=self._within_s)
        except GatewayError as error:
            if _NOT_MODIFIED not in str(error):
                raise
        fresh = SourceConfig(cache_action="no-cache")
        self._gateway = Gateway(cache_dir=self._cache, client=_client(self._mirror), default_config=fresh)
        return await _with_retries(lambda: ask(self._gateway), within_s=self._within_s)

    @asynccontextmanager
    async def _channel_errors(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._within_s):
                yield
        except TimeoutError:
            what = f"An answer of {', '.join(self._names)} to the question for {what}"
            raise WaitTimeout(what=what, within_s=self._within_s) from None
        except GatewayError as error:
            raise ChannelUnreachable(
                f"The channel does not answer as it should ({_one_line(error)}): check its name, your connection, or"
                " name a mirror with --channel-mirror."
            ) from None
        except SolverError as error:
            raise Unsolvable(str(error)) from None


async def _query(gateway: Gateway, *, channel: str, platform: str, name: str) -> list[list[RepoDataRecord]]:
    return await gateway.query([channel], [platform, "noarch"], [name], recursive=False)  # type: ignore[list-item]


async def download(url: str, target: Path, *, mirror: str | None, within_s: float) -> None:
    """Download a file with the credentials that this computer has for its address.

    Args:
        url: Where.
        target: Where to.
        mirror: As for `Channels`.
        within_s: Deadline in seconds.

    Raises:
        ChannelUnreachable: It could not be had.
        WaitTimeout: It took too long.
    """
    try:
        async with asyncio.timeout(within_s):
            await _with_retries(partial(download_to_path, _client(mirror), url, target), within_s=within_s)
    except TimeoutError:
        raise WaitTimeout(what=f"The download of {url}", within_s=within_s) from None
    except (OSError, RuntimeError, IoError) as error:
        raise ChannelUnreachable(f"{url} could not be downloaded ({_one_line(error)}).") from None


async def _with_retries(ask: Callable[[], Awaitable[T]], *, within_s: float) -> T:
    """Ask a server that is busy again, less and less often, as long as there is time to hear why it is in vain."""
    deadline, rest_s = Deadline(min(within_s, _PATIENCE_S)), _REST_S
    while True:
        try:
            return await ask()
        except (GatewayError, IoError, OSError, RuntimeError) as error:
            if not _BUSY.search(str(error)) or deadline.left_s <= rest_s:
                raise
        await pause(rest_s)
        rest_s = min(rest_s * 2, _LONGEST_REST_S)


def nearest_first(versions: Iterable[str], wanted: str) -> tuple[str, ...]:
    """Sort the versions that have the same first number as one: the fewest releases away first, then the newer.

    Args:
        versions: Any.
        wanted: The one.
    """
    own = Version(wanted)
    known = {text: Version(text) for text in versions}
    same = sorted((text for text in known if known[text].segments()[:1] == own.segments()[:1]), key=known.__getitem__)
    place = bisect.bisect_left(same, own, key=known.__getitem__)
    newer, older = same[place:], same[:place][::-1]
    pairs = itertools.zip_longest(newer, older)
    return tuple(version for pair in pairs for version in pair if version is not None)


def unmet_dependencies(packages: Iterable[Package], *, platform: str, asked: Iterable[str] = ()) -> tuple[str, ...]:
    """Say what packages need, or forbid, that the others do not fulfil; each in a few words.

    Args:
        packages: All of an environment.
        platform: Of the nodes.
        asked: What was asked for, as match specs.

    Raises:
        BadInput: A platform, a version or a match spec in it makes no sense.
    """
    chosen = tuple(packages)
    if platform not in _PROCESSOR:
        raise BadInput(f"The lock is for {platform}, which no node can be: lock for {' or '.join(_PROCESSOR)}.")
    records: dict[str, PackageRecord] = {package.name: _understood(_record, package) for package in chosen}
    records |= {name: _bare(name, version, build) for name, version, build in _node(platform)}

    def lacks(text: str) -> bool:
        spec = _understood(MatchSpec, text)
        other = records.get(_name_of(spec))
        return other is None or not spec.matches(other)

    found = [f"{text} was asked for, and is not there" for text in asked if lacks(text)]
    for package in chosen:
        found += [f"{package.file_name} needs {text}" for text in package.depends if lacks(text)]
        for text in package.constrains:
            spec = _understood(MatchSpec, text)
            other = records.get(_name_of(spec))
            if other is not None and not spec.matches(other):
                found.append(f"{package.file_name} forbids {other} by {text}")
    return tuple(found)


def _understood(read: Callable[[Any], T], what: Package | str) -> T:
    """Have the library read what a file says, which may be anything."""
    try:
        return read(what)
    except Exception as error:  # noqa: BLE001 - the library has many classes for what it does not understand
        name = what if isinstance(what, str) else what.file_name
        raise BadInput(f"The lock has '{name[:200]}' in it, which makes no sense ({_one_line(error)}).") from None


def _name_of(spec: MatchSpec) -> str:
    name = spec.name.as_package_name()
    return "" if name is None else str(name.normalized)


def _match_spec(text: str) -> MatchSpec:
    if "://" in text:
        shown = without_secrets(text)
        raise BadInput(f"'{shown}' has an address in it: name its channel with --channel, and write NAME.")
    try:
        return MatchSpec(text)
    except InvalidMatchSpecError as error:
        raise BadInput(
            f"'{text}' asks for no conda package ({_one_line(error)}); write NAME or 'NAME >=1.2'."
        ) from None


def _client(mirror: str | None) -> Client:
    # In this order, credentials are those for the mirror's address; from a configuration they would be its original's.
    mirrors = [] if mirror is None else [MirrorMiddleware({CHANNELS: [mirror]})]
    return Client([RetryMiddleware(_RETRIES), *mirrors, AuthenticationMiddleware()])


def _node(platform: str) -> tuple[tuple[str, str, str], ...]:
    """What stands for the machine itself among packages: name, version, build."""
    return (*_NODE, ("__archspec", "1", _PROCESSOR[platform]))


def _virtual(name: str, version: str, build: str) -> GenericVirtualPackage:
    return GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))


def _bare(name: str, version: str, build: str, **more: Any) -> PackageRecord:
    number = build.rpartition("_")[2]
    build_number = int(number) if number.isdecimal() else 0
    return PackageRecord(name, version, BuildString(build), build_number, more.pop("subdir", "noarch"), **more)


def _record(package: Package) -> RepoDataRecord:
    bare = _bare(
        package.name,
        package.version,
        package.build,
        subdir=package.subdir,
        depends=list(package.depends),
        constrains=list(package.constrains),
        sha256=bytes.fromhex(package.sha256),
        size=package.size,
    )
    channel = package.url.rsplit("/", 2)[0]
    return RepoDataRecord(bare, package.file_name, package.url, channel)


def _package(record: RepoDataRecord) -> Package:
    if record.sha256 is None:
        raise Unsolvable(f"{record.url} has no SHA-256 in its channel")
    return Package(
        url=record.url,
        sha256=record.sha256.hex(),
        size=record.size,
        depends=tuple(record.depends),
        constrains=tuple(record.constrains),
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
