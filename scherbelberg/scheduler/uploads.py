# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The user's own modules and packages on their way to a cluster: every kind as a file that Dask can import from."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path

from attrs import frozen

from scherbelberg.errors import BadInput
from scherbelberg.scheduler.endpoint import SchedulerEndpoint

_ARCHIVES = {".zip", ".egg", ".whl"}
#: A zip archive knows no earlier time; a fixed one makes equal folders equal archives.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@frozen(kw_only=True)
class Upload:
    """Something to import.

    Args:
        file: A module, or an archive with a name that Dask takes for one.
        modules: Names of the modules that it brings at the top.
    """

    file: Path
    modules: tuple[str, ...]


async def send(endpoint: SchedulerEndpoint, path: Path, *, within_s: float) -> None:
    """Put something to import on the scheduler and all workers; see `scheduler.client.upload`.

    Args:
        endpoint: Where the scheduler is found.
        path: What to send.
        within_s: Deadline in seconds.

    Raises:
        BadInput: It cannot be imported there.
    """
    await load_client()
    from scherbelberg.scheduler import client  # noqa: PLC0415 - heavy

    with pack_modules(path) as upload:
        await client.upload(endpoint, file=upload.file, modules=upload.modules, within_s=within_s)


async def load_client() -> None:
    """Load Dask's client, which takes a second of computing, in a thread: no loop stands still for it."""
    await asyncio.to_thread(import_module, "scherbelberg.scheduler.client")


@contextmanager
def pack_modules(path: Path) -> Iterator[Upload]:
    """Pack a module file, a package folder, a wheel, an egg or a zip archive.

    Args:
        path: Where it is on this computer.

    Yields:
        A file to send, which exists while this is open.

    Raises:
        BadInput: It is none of these, has compiled parts, or cannot be read or packed on this computer.
    """
    path = path.absolute()
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="scherbelberg-", ignore_cleanup_errors=True)
            )
            upload = _pack(path, Path(folder))
            upload.file.open("rb").close()
        except OSError as error:
            raise BadInput(f"{path} cannot be packed for the upload: {error}.") from None
        yield upload


def _pack(path: Path, folder: Path) -> Upload:
    if path.is_dir():
        return _pack_folder(path, folder)
    if not path.is_file():
        raise BadInput(f"There is no file or folder {path} to upload.")
    if path.suffix == ".py" and path.stem.isidentifier():
        return Upload(file=path, modules=(path.stem,))
    if path.suffix not in _ARCHIVES or not zipfile.is_zipfile(path):
        raise BadInput(f"{path} is no Python module, package folder, wheel, egg or zip archive.")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith((".so", ".pyd", ".dylib")) for name in names):
        raise BadInput(f"{path} has compiled parts, which cannot be imported from an archive: they need an image.")
    if path.suffix != ".whl":
        return Upload(file=path, modules=_modules(names, path))
    modules = _modules(names, path)
    # Dask imports from no other suffix; without a version in the name, a wheel takes the place of an earlier one.
    copy = folder / f"{modules[0]}.zip"
    shutil.copyfile(path, copy)
    return Upload(file=copy, modules=modules)


def _modules(names: list[str], path: Path) -> tuple[str, ...]:
    tops = [name.removesuffix(".py") for name in names if name.endswith(".py") and "/" not in name]
    tops += [name.removesuffix("/__init__.py") for name in names if name.endswith("/__init__.py")]
    modules = tuple(sorted(name for name in set(tops) if name.isidentifier()))
    if not modules:
        raise BadInput(f"{path} holds no module and no package at its top.")
    return modules


def _pack_folder(path: Path, folder: Path) -> Upload:
    if not path.name.isidentifier() or not (path / "__init__.py").is_file():
        raise BadInput(f"{path} is no Python package: its name must be one that is imported, and it has __init__.py.")
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and _is_wanted(file.relative_to(path))]
    if any(file.suffix in {".so", ".pyd", ".dylib"} for file in files):
        raise BadInput(f"{path} has compiled parts, which cannot be imported from an archive: they need an image.")
    target = folder / f"{path.name}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(path.parent).as_posix(), _EPOCH)
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return Upload(file=target, modules=(path.name,))


def _is_wanted(file: Path) -> bool:
    return file.suffix != ".pyc" and not any(part == "__pycache__" or part.startswith(".") for part in file.parts)
