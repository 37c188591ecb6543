# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which wheel of a resolution is the one for the nodes, and whether those of a lock can be installed there. Pure."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

from scherbelberg.environments.lock import EnvLock, Wheel, check_foreign
from scherbelberg.environments.pypi import normalize_name, without_secrets
from scherbelberg.errors import BadInput, EnvironmentUnavailable

#: Of the C library, 2.x, that the oldest image for nodes has: Ubuntu 22.04.
GLIBC_MINOR = 35
#: The same for each image for nodes, by Ubuntu's version.
_GLIBC_MINORS = {"22.04": 35, "24.04": 39, "26.04": 43}
#: What wheels call conda's platforms.
MACHINES = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}
#: The build of a Python without a global lock, which takes other wheels.
_FREE_THREADED = re.compile(r"_cp3[0-9]+t\Z")
#: Tags from before the C library's version was in them.
_OLD_TAGS = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17, "linux": GLIBC_MINOR}
#: Name, version, and the tags for Python, ABI and system.
_LEAST_PARTS = 5


def read_full_pylock(text: str, *, source: str, python: str, platform: str) -> tuple[Wheel, ...]:
    """Read the wheels of a lock of the user's, all that is for nodes.

    Args:
        text: A pylock.toml (PEP 751).
        source: Its name, for errors.
        python: Full version of the nodes' Python.
        platform: conda's name of the nodes' platform.

    Raises:
        BadInput: It cannot be read, is newer than what is known, contradicts itself, or is for another Python or
            system.
        EnvironmentUnavailable: There is a package without a wheel that nodes can download and verify.
    """
    try:
        return _read_full_pylock(tomllib.loads(text), text, source, python, platform)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{source} cannot be read as TOML: {error}.") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadInput(f"{source} is no pylock.toml: what it says makes no sense ({error!r:.200}).") from None


def _read_full_pylock(
    found: Mapping[str, Any], text: str, source: str, python: str, platform: str
) -> tuple[Wheel, ...]:
    if not re.fullmatch(r"1(\.[0-9]+)?", str(found["lock-version"])):
        raise BadInput(
            f"{source} is a pylock.toml of version {found['lock-version']}, and this scherbelberg knows 1: take another"
            " scherbelberg, or lock with another program."
        )
    around = _around(python, platform, found.get("default-groups", ()))
    environments = found.get("environments", [])
    if environments and not any(_holds(one, around) for one in environments):
        raise BadInput(f"{source} is not for Python {python} on {platform}: it is for {'; '.join(environments)[:300]}.")
    _check_python(source, found, python)
    chosen: dict[str, Mapping[str, Any]] = {}
    for row in found.get("packages", []):
        if "marker" in row and not _holds(row["marker"], around):
            continue
        name = normalize_name(row["name"])
        check_foreign(name, source=source)
        _check_python(f"{source} has {name}, which", row, python)
        if name in chosen:
            lines = _lines_of(name, text)
            raise BadInput(f"{source} has {name} twice for the same nodes, in line {' and in line '.join(lines)}.")
        chosen[name] = row
    return tuple(_wheel({**row, "name": name}, python, MACHINES[platform]) for name, row in chosen.items())


def _lines_of(name: str, text: str) -> list[str]:
    rows = (
        (number, re.match(r"""name\s*=\s*["']([^"']+)""", line)) for number, line in enumerate(text.splitlines(), 1)
    )
    return [str(number) for number, match in rows if match and normalize_name(match[1]) == name]


def _holds(marker: str, around: Mapping[str, Any]) -> bool:
    return Marker(marker).evaluate(dict(around), context="lock_file")


def _around(python: str, platform: str, groups: Iterable[str]) -> dict[str, Any]:
    """What markers ask for, as nodes would answer."""
    return {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "implementation_name": "cpython",
        "implementation_version": python,
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": MACHINES[platform],
        "extras": frozenset(),
        "dependency_groups": frozenset(groups),
    }


def _check_python(words: str, row: Mapping[str, Any], python: str) -> None:
    wanted = row.get("requires-python")
    if wanted and not SpecifierSet(wanted).contains(python, prereleases=True):
        raise BadInput(f"{words} is for Python {wanted}, and nodes would have the client's, {python}.")


def read_pylock(text: str, *, python: str, machine: str, having: Iterable[str]) -> tuple[Wheel, ...]:
    """Read which wheels a resolution has found.

    Args:
        text: A pylock.toml (PEP 751); wheels for other platforms may be in it.
        python: Version of the nodes' Python, such as ``3.13`` or ``3.13.14``.
        machine: What wheels call the nodes' CPU, such as ``x86_64``.
        having: Normalized names that are there already, and left out.

    Raises:
        EnvironmentUnavailable: There is a package without a wheel that nodes can download and verify.
    """
    known = set(having)
    packages = tomllib.loads(text).get("packages", [])
    return tuple(_wheel(package, python, machine) for package in packages if package["name"] not in known)


def _wheel(package: Mapping[str, Any], python: str, machine: str) -> Wheel:
    name, version = package["name"], package.get("version", "?")
    rows = {_url(row): row for row in package.get("wheels", []) if "url" in row}
    ranks = {url: fit(url.rpartition("/")[2], python=python, machine=machine) for url in rows}
    fitting = [(rank, url) for url, rank in ranks.items() if rank is not None]
    if not fitting:
        raise EnvironmentUnavailable(f"{name} {version} has no wheel for Python {python} on {machine} in an index.")
    url = max(fitting)[1]
    sha256 = rows[url].get("hashes", {}).get("sha256")
    if not url.startswith(("https://", "http://")) or not sha256:
        raise EnvironmentUnavailable(
            f"{name} {version} cannot be put on nodes: its wheel must be on an index and have a SHA-256 ({url})."
        )
    return Wheel(name=name, version=version, url=url, sha256=sha256, size=rows[url].get("size"))


def _url(row: Mapping[str, Any]) -> str:
    return without_secrets(str(row["url"])).partition("#")[0]


def check_wheels(lock: EnvLock, *, ubuntu: str | None = None) -> None:
    """Refuse a lock with a wheel that nodes cannot install, as far as its name tells.

    Args:
        lock: The lock.
        ubuntu: Version of Ubuntu on the nodes, such as ``24.04``; None, or one that nobody knows, for any.

    Raises:
        BadInput: There is one.
    """
    if any(one.name == "python" and _FREE_THREADED.search(one.build) for one in lock.packages):
        return
    for wheel in lock.wheels:
        _check_wheel(wheel, lock, ubuntu)


def _check_wheel(wheel: Wheel, lock: EnvLock, ubuntu: str | None) -> None:
    python, machine, newest = lock.versions.python, MACHINES[lock.platform], max(_GLIBC_MINORS.values())
    glibc_minor = _GLIBC_MINORS.get(ubuntu or "", newest)
    if normalize_name(wheel.file_name.partition("-")[0]) != normalize_name(wheel.name):
        raise BadInput(
            f"The environment '{lock.profile}' has {wheel.file_name} as the wheel of {wheel.name}, which its name"
            " contradicts: lock anew."
        )
    if fit(wheel.file_name, python=python, machine=machine, glibc_minor=glibc_minor) is not None:
        return
    system = f"Python {python} on {lock.platform}"
    if fit(wheel.file_name, python=python, machine=machine, glibc_minor=newest) is not None:
        system = f"an image with Ubuntu {ubuntu}, whose C library is glibc 2.{glibc_minor}"
    raise BadInput(
        f"The environment '{lock.profile}' has the wheel {wheel.file_name}, which nodes cannot install, since they have"
        f" {system}: lock another wheel of {wheel.name}."
    )


def fit(file_name: str, *, python: str, machine: str, glibc_minor: int = GLIBC_MINOR) -> tuple[int, ...] | None:
    """Tell how well a wheel fits, as its name says: https://packaging.python.org/en/latest/specifications/.

    Args:
        file_name: Its name.
        python: Version of CPython, such as ``3.13``.
        machine: What wheels call the CPU.
        glibc_minor: Of the C library, 2.x, that is there.

    Returns:
        The higher the better, or None if it does not fit.
    """
    parts = file_name.removesuffix(".whl").split("-")
    if not file_name.endswith(".whl") or len(parts) < _LEAST_PARTS:
        return None
    tags = [part.split(".") for part in parts[-3:]]
    own = int("".join(python.split(".")[:2]))
    ranks = [
        (special, glibc, number)
        for tag, abi, system in itertools.product(*tags)
        if abi == "none" or system != "any"
        if (special := _python_fit(tag, abi, own)) is not None
        if (glibc := _system_fit(system, machine, glibc_minor)) is not None
        for number in [_number(tag)]
    ]
    return max(ranks, default=None)


def _python_fit(tag: str, abi: str, own: int) -> int | None:
    """Rank what is made for this very Python over its stable ABI, and that over Python in general."""
    if abi == tag == f"cp{own}":
        return 2
    if abi == "abi3" and tag.startswith("cp3") and _number(tag) <= own:
        return 1
    if abi == "none" and (tag == f"cp{own}" or (tag.startswith("py3") and _number(tag) <= own)):
        return 0
    return None


def _system_fit(tag: str, machine: str, glibc_minor: int) -> int | None:
    if tag == "any":
        return 0
    family = tag.removesuffix(f"_{machine}")
    match = re.fullmatch("manylinux_2_([0-9]+)", family)
    glibc = int(match[1]) if match else _OLD_TAGS.get(family)
    return None if family == tag or glibc is None or glibc > glibc_minor else glibc


def _number(tag: str) -> int:
    return int(re.sub("[^0-9]", "", tag) or 0)
