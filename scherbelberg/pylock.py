# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which wheel of a resolution is the one for the nodes. Pure."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from scherbelberg.envlock import Wheel
from scherbelberg.errors import EnvironmentUnavailable
from scherbelberg.pypi import without_secrets

#: Of the C library, 2.x, that the oldest image for nodes has: Ubuntu 22.04.
GLIBC_MINOR = 35
#: Tags from before the C library's version was in them.
_OLD_TAGS = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17, "linux": GLIBC_MINOR}


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


def fit(file_name: str, *, python: str, machine: str) -> tuple[int, ...] | None:
    """Tell how well a wheel fits, as its name says: https://packaging.python.org/en/latest/specifications/.

    Args:
        file_name: Its name.
        python: Version of CPython, such as ``3.13``.
        machine: What wheels call the CPU.

    Returns:
        The higher the better, or None if it does not fit.
    """
    tags = [part.split(".") for part in file_name.removesuffix(".whl").split("-")[-3:]]
    own = int("".join(python.split(".")[:2]))
    ranks = [
        (special, glibc, number)
        for tag, abi, system in itertools.product(*tags)
        if abi == "none" or system != "any"
        if (special := _python_fit(tag, abi, own)) is not None
        if (glibc := _system_fit(system, machine)) is not None
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


def _system_fit(tag: str, machine: str) -> int | None:
    if tag == "any":
        return 0
    family = tag.removesuffix(f"_{machine}")
    match = re.fullmatch("manylinux_2_([0-9]+)", family)
    glibc = int(match[1]) if match else _OLD_TAGS.get(family)
    return None if family == tag or glibc is None or glibc > GLIBC_MINOR else glibc


def _number(tag: str) -> int:
    return int(re.sub("[^0-9]", "", tag) or 0)
