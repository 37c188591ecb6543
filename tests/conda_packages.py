# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Makes conda packages of distributions that are installed here: each is a wheel that somebody has unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any

from attrs import frozen
from conda_archives import PLACEHOLDER, Member
from conda_python import Interpreter, compiled
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

#: Names that differ in the channel. There, ``dask`` is a package without files that brings Dask with all it needs.
_NAMES = {"msgpack": "msgpack-python", "dask": "dask-core"}
#: Who installed it and from where; tests do not run in the environment either.
_LEFT_OUT = {"INSTALLER", "direct_url.json", "REQUESTED", "__pycache__", "tests"}


@frozen(kw_only=True)
class Package:
    """A package before it is written: what its index says, and from what it is made."""

    index: dict[str, Any]
    members: list[Member]


def conda_name(name: str) -> str:
    """Say how a distribution is called in the channel."""
    canonical = canonicalize_name(name)
    return _NAMES.get(canonical, canonical)


def packages(interpreter: Interpreter, roots: list[str], *, subdir: str) -> Iterator[Package]:
    """Make packages of distributions and of all that they need.

    Args:
        interpreter: Where they are installed.
        roots: Distributions' names.
        subdir: The machine's platform, as conda calls it.

    Yields:
        Packages, one at a time, since some are big.
    """
    for distribution in _closure(interpreter, roots):
        yield _package(interpreter, distribution, subdir)
        if canonicalize_name(distribution.name) == "dask":
            yield _whole_dask(distribution.version)


def _closure(interpreter: Interpreter, roots: list[str]) -> list[Distribution]:
    here = {canonicalize_name(found.name): found for found in Distribution.discover(path=interpreter.path)}
    found, pending = {}, [canonicalize_name(name) for name in roots]
    while pending:
        name = pending.pop()
        if name not in found:
            assert name in here, f"{name} is not installed"
            found[name] = here[name]
            pending += [canonicalize_name(need.name) for need in _needs(here[name], interpreter)]
    return list(found.values())


def _needs(distribution: Distribution, interpreter: Interpreter) -> list[Requirement]:
    surroundings = {"extra": "", "python_version": interpreter.minor, "python_full_version": interpreter.version}
    needs = [Requirement(line) for line in distribution.requires or []]
    return [need for need in needs if need.marker is None or need.marker.evaluate(surroundings)]


def _whole_dask(version: str) -> Package:
    index: dict[str, Any] = {
        "name": "dask",
        "version": version,
        "build": "pyhd8ed1ab_0",
        "noarch": "python",
        "subdir": "noarch",
    }
    needs = ["python >=3.10", f"dask-core {version}.*", f"distributed {version}.*"]
    return Package(index=index | {"depends": needs}, members=[])


def _package(interpreter: Interpreter, distribution: Distribution, subdir: str) -> Package:
    is_pure = not any(".so" in file.suffixes for file in distribution.files or [])
    needs = sorted(
        f"{conda_name(need.name)} {_versions(need.specifier)}".strip() for need in _needs(distribution, interpreter)
    )
    programs = [point for point in distribution.entry_points if point.group == "console_scripts"]
    index: dict[str, Any] = {"name": conda_name(distribution.name), "version": distribution.version}
    if is_pure:
        index |= {"build": "pyhd8ed1ab_0", "subdir": "noarch", "noarch": "python"}
        index |= {"depends": ["python >=3.10", *needs]}
        index |= {"entry_points": [f"{point.name} = {point.value}" for point in programs]}
        return Package(index=index, members=list(_files(distribution, "site-packages", interpreter.cache_tag)))
    index |= {"build": f"py{interpreter.minor.replace('.', '')}_0", "subdir": subdir}
    index |= {"depends": [f"python {interpreter.minor}.*", *needs]}
    files = _files(distribution, interpreter.site_packages, interpreter.cache_tag)
    return Package(index=index, members=[*files, *(_script(point) for point in programs)])


def _versions(specifier: SpecifierSet) -> str:
    """Translate; conda writes ``==1.*`` without the signs of equality."""
    return ",".join(
        sorted(str(part).removeprefix("==") if str(part).endswith("*") else str(part) for part in specifier)
    )


def _files(distribution: Distribution, folder: str, cache_tag: str) -> Iterator[Member]:
    for file in distribution.files or []:
        source = Path(str(file.locate()))
        if ".." in file.parts or _LEFT_OUT & set(file.parts) or not source.is_file():
            continue
        path = f"{folder}/{file.as_posix()}"
        yield Member(path=path, data=source.read_bytes(), executable=".so" in source.suffixes)
        yield from compiled(source, path, cache_tag)


def _script(point: EntryPoint) -> Member:
    module, _, name = point.value.partition(":")
    lines = [f"#!{PLACEHOLDER}/bin/python", "import sys", f"from {module} import {name}", f"sys.exit({name}())", ""]
    return Member(path=f"bin/{point.name}", data="\n".join(lines).encode(), executable=True)
