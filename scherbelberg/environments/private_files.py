# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Files of an environment that nodes cannot get by themselves: fetched here, verified, and sent along.

Those are files for which credentials are needed, which no node ever sees, files behind plain http, and files of this
computer.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from scherbelberg.concurrency.waiting import gather_or_cancel
from scherbelberg.environments.channels import download
from scherbelberg.environments.fit import CHANNEL
from scherbelberg.environments.lock import CHANNELS, EnvLock, Package, Wheel
from scherbelberg.errors import ChannelUnreachable, EnvironmentUnavailable, pluralize
from scherbelberg.events import Event, Listener, Phase, ignore_events
from scherbelberg.settings import Settings

#: Some servers say of what only members may see that it is not there.
_DENIED = {401, 403, 404, 407}


File = Package | Wheel
#: Until one file is here.
_FILE_S = 1800.0
_AT_ONCE = 8


async def is_open(url: str, *, authorities: str | None, within_s: float) -> bool:
    """Whether a file can be had without credentials. Where there is no answer at all, the node shall find out.

    Args:
        url: Where it is.
        authorities: File of the certificate authorities to trust instead of the usual ones, or None.
        within_s: Deadline in seconds for the connection and for each part of the answer.
    """
    return await asyncio.to_thread(_ask, url, authorities, within_s)


def _ask(url: str, authorities: str | None, within_s: float) -> bool:
    # The first byte is asked for, since a HEAD may be denied where a GET is not.
    request = urllib.request.Request(url, headers={"Range": "bytes=0-0", "User-Agent": "scherbelberg"})  # noqa: S310
    try:
        is_folder = authorities is not None and Path(authorities).is_dir()
        context = ssl.create_default_context(
            cafile=None if is_folder else authorities, capath=authorities if is_folder else None
        )
        with urllib.request.urlopen(request, timeout=within_s, context=context):  # noqa: S310 - http(s), as checked before
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code not in _DENIED
    except (OSError, ValueError):
        return True


async def fetch_private(
    locks: Iterable[EnvLock], settings: Settings, *, within_s: float, listener: Listener = ignore_events
) -> dict[str, Path]:
    """Fetch what nodes cannot get.

    Args:
        locks: The environment's, of all platforms.
        settings: The ambient configuration.
        within_s: Deadline in seconds for the question whether a place is open to all.
        listener: Is told of what is fetched.

    Returns:
        Path on this computer by the file's SHA-256; files for different platforms may have the same name.

    Raises:
        ChannelUnreachable: A file could not be had.
        EnvironmentUnavailable: A file is not the one that the lock names.
        WaitTimeout: It took too long.
    """
    files = {file.url: file for lock in locks for file in lock.files}
    by_place: dict[str, list[File]] = {}
    for file in files.values():
        by_place.setdefault(_place(file), []).append(file)
    mirror = settings.channel_mirror
    asked = [place for place in by_place if mirror is not None or place != f"{CHANNELS}/{CHANNEL}"]
    answers = await gather_or_cancel(*(_is_open(by_place[place][0], settings, within_s) for place in asked))
    private = [file for place, open_ in zip(asked, answers, strict=True) if not open_ for file in by_place[place]]
    if not private:
        return {}
    limit = asyncio.Semaphore(_AT_ONCE)
    folder = settings.cache / "packages"
    listener(
        Event(phase=Phase.DOWNLOAD, state="start", detail=f"{pluralize(len(private), 'file')} that nodes cannot get")
    )
    paths = await gather_or_cancel(*(_fetch(file, folder, mirror, limit) for file in private))
    listener(Event(phase=Phase.DOWNLOAD, state="done", detail=f"{pluralize(len(private), 'file')} to send along"))
    return {file.sha256: path for file, path in zip(private, paths, strict=True)}


def mirror_url(url: str, mirror: str | None) -> str:
    """Where a file is fetched from.

    Args:
        url: Where its channel has it.
        mirror: URL that stands for the place of channels, or None.
    """
    return mirror + url.removeprefix(CHANNELS) if mirror and url.startswith(f"{CHANNELS}/") else url


def _place(file: File) -> str:
    """A channel, or the host of an index."""
    if isinstance(file, Package):
        return file.url.rsplit("/", 2)[0]
    parts = urlsplit(file.url)
    return f"{parts.scheme}://{parts.netloc}"


async def _is_open(file: File, settings: Settings, within_s: float) -> bool:
    url = mirror_url(file.url, settings.channel_mirror)
    if url == file.url and (not url.startswith("https:") or settings.access.authorities is not None):
        # Nodes fetch nothing over plain http but from a mirror that was named for it, and know no authority of a
        # company's own but for such a mirror.
        return False
    return await is_open(url, authorities=settings.access.authorities, within_s=within_s)


async def _fetch(file: File, folder: Path, mirror: str | None, limit: asyncio.Semaphore) -> Path:
    target = folder / f"{file.sha256}-{file.file_name}"
    async with limit:
        if await asyncio.to_thread(_is_whole, target, file):
            return target
        aside = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
        try:
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            if file.url.startswith("file:"):
                await asyncio.to_thread(shutil.copyfile, url2pathname(urlsplit(file.url).path), aside)
            else:
                await download(file.url, aside, mirror=mirror, within_s=_FILE_S)
            if not await asyncio.to_thread(_is_whole, aside, file):
                raise EnvironmentUnavailable(
                    f"{file.url} has another SHA-256 than its lock says: it was changed, or came spoiled."
                )
            aside.replace(target)
        except OSError as error:
            raise ChannelUnreachable(f"{file.url} could not be fetched to {target}: {error}.") from None
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
    return target


def _is_whole(path: Path, file: File) -> bool:
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
    except OSError:
        return False
