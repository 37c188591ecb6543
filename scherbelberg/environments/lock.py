# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Locks: the files that make up a node's environment, each with its hash; their text and the records beside it.

The text is an explicit list as conda and mamba read it. Records say what the packages need, so that a lock can be
checked and added to without asking a channel.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from scherbelberg.environments.versions import OPTIONAL, REQUIRED, Versions
from scherbelberg.errors import BadInput
from scherbelberg.spec.licence import check_licence

#: Where channels are that have but a name. A mirror stands in its place.
CHANNELS = "https://conda.anaconda.org"
SCHEMA = 1
#: Our own name, under which an index has a program of others.
_OURS = "scherbelberg"
#: What the header of a lock of ours says.
_HEAD = ("profile", "python", "platform", "specs", "digest", "bytes")
#: The line by which a lock of ours is known from anybody's explicit list.
BANNER = "# scherbelberg environment"
#: Platforms that nodes can have, and how the cloud calls their architecture.
PLATFORMS = {"x86": "linux-64", "arm": "linux-aarch64"}
#: What conda calls otherwise than PyPI, among what is compared.
CONDA_NAMES = {"dask": "dask-core", "msgpack": "msgpack-python"}
_FILE = re.compile(r"(?P<name>[a-z0-9_.-]+)-(?P<version>[^-/]+)-(?P<build>[^-/]+)\.(conda|tar\.bz2)\Z")
_LINE = re.compile(r"(?P<url>(https?|file)://\S+)#(sha256:)?(?P<sha256>[0-9a-f]{64})\Z")
_MD5_LINE = re.compile(r"\S+#(md5:)?[0-9a-f]{32}\Z")
_WHEEL = re.compile(r"# pip (?P<name>\S+?)==(?P<version>\S+) @ (?P<url>\S+?) --hash=sha256:(?P<sha256>[0-9a-f]{64})\Z")
#: The same as conda-lock writes it; the version is in the file's name.
_WHEEL_OF_OTHERS = re.compile(
    r"#\s*pip\s+(?P<name>[\w.-]+)\s+@\s+(?P<url>\S+?/[^/\s-]+-(?P<version>[^/\s-]+)-[^/\s]+\.whl)"
    r"(#sha256[=:]|\s+--hash=sha256:)(?P<sha256>[0-9a-f]{64})\Z"
)
#: What is meant for pip, though it may not be in a form that we know.
_FOR_PIP = re.compile(r"#\s*pip\s+(install\s.*|[\w.,\[\]-]+\s*([@=<>!~#;].*)?)\Z")
_BEGIN = re.compile(r"^@EXPLICIT[ \t]*$", re.MULTILINE)


@frozen(kw_only=True)
class Package:
    """A conda package.

    Args:
        url: Where its channel has it, never a mirror and without credentials.
        sha256: Of the file, hexadecimal.
        size: Of the file in bytes, or None if nobody said.
        depends: What it needs, as match specs.
        constrains: What others have to be where they are there, likewise.
        is_recorded: Whether the former two are known.
    """

    url: str
    sha256: str
    size: int | None = None
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    is_recorded: bool = True

    def __attrs_post_init__(self) -> None:
        if not _FILE.match(self.file_name):
            raise BadInput(f"{self.url} is no conda package: its name is not NAME-VERSION-BUILD.conda or .tar.bz2.")
        check_licence(self.url, what=self.url)

    @property
    def file_name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]

    @property
    def subdir(self) -> str:
        """Part of the channel that it is in."""
        return self.url.rsplit("/", 2)[-2]

    @property
    def name(self) -> str:
        """Its name."""
        return self._part("name")

    @property
    def version(self) -> str:
        """Its version."""
        return self._part("version")

    @property
    def build(self) -> str:
        """Its build string."""
        return self._part("build")

    def _part(self, part: str) -> str:
        match = _FILE.match(self.file_name)
        if match is None:
            raise ValueError("checked when it was made")
        return match[part]


@frozen(kw_only=True)
class Wheel:
    """A wheel from a Python package index.

    Args:
        name: Normalized name.
        version: Version.
        url: Where the index has it, without credentials.
        sha256: Of the file, hexadecimal.
        size: Of the file in bytes, or None if nobody said.
    """

    name: str
    version: str
    url: str
    sha256: str
    size: int | None = None

    def __attrs_post_init__(self) -> None:
        check_licence(self.url, what=self.url)

    @property
    def file_name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


@frozen(kw_only=True)
class EnvLock:
    """All files of an environment.

    Args:
        profile: What it was made from: ``main``, ``science``, or a word for what the user gave.
        platform: conda's name of the nodes' platform.
        packages: In an order in which each comes after what it needs.
        wheels: What is installed over them.
        specs: What was asked for, as match specs.
    """

    profile: str
    platform: str
    packages: tuple[Package, ...]
    wheels: tuple[Wheel, ...] = ()
    specs: tuple[str, ...] = ()
    digest: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha256(_body(self).encode()).hexdigest())

    @property
    def files(self) -> tuple[Package | Wheel, ...]:
        """Packages and wheels."""
        return (*self.packages, *self.wheels)

    @property
    def size(self) -> int | None:
        """Bytes to download, or None if not all sizes are known."""
        sizes = [file.size for file in self.files]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    @property
    def versions(self) -> Versions:
        """The compared versions; wheels win over packages.

        Raises:
            BadInput: There is no Python in it.
        """
        packages = {package.name: package.version for package in self.packages}
        wheels = {wheel.name: wheel.version for wheel in self.wheels}
        if "python" not in packages:
            raise BadInput(f"The environment '{self.profile}' for {self.platform} has no Python in it.")
        found = {name: wheels.get(name) or packages.get(CONDA_NAMES.get(name, name)) for name in REQUIRED + OPTIONAL}
        return Versions(
            python=packages["python"], packages={name: version for name, version in found.items() if version}
        )

    @property
    def name(self) -> str:
        """Its file's name without ending, such as ``main-py313-linux-64``."""
        return lock_name(self.profile, self.versions.python_minor, self.platform)


def check_foreign(name: str, *, source: str) -> None:
    """Refuse what would put a program of our name, and not ours, on nodes.

    Args:
        name: Of a package of an index, in any spelling.
        source: Where it stands, for the error.

    Raises:
        BadInput: It has our name.
    """
    if name.lower() == _OURS:
        raise BadInput(
            f"{source} asks for {_OURS}, of which nodes need nothing, and which is another, dead program on PyPI: leave"
            " it out."
        )


def lock_name(profile: str, python_minor: str, platform: str) -> str:
    """Name a lock.

    Args:
        profile: Such as ``main``.
        python_minor: Such as ``3.13``.
        platform: Such as ``linux-64``.
    """
    return f"{profile}-py{python_minor.replace('.', '')}-{platform}"


def _body(lock: EnvLock) -> str:
    lines = [f"{package.url}#sha256:{package.sha256}" for package in lock.packages]
    lines += [f"# pip {one.name}=={one.version} @ {one.url} --hash=sha256:{one.sha256}" for one in lock.wheels]
    return "".join(f"{line}\n" for line in lines)


def write_lock(lock: EnvLock) -> str:
    """Write a lock as text, which `read_lock` and, but for wheels, conda and mamba read."""
    head = {
        "profile": lock.profile,
        "python": lock.versions.python,
        "platform": lock.platform,
        "specs": json.dumps(list(lock.specs)),
        "digest": lock.digest,
    }
    if lock.size is not None:
        head["bytes"] = str(lock.size)
    lines = [BANNER, *(f"# {name}: {value}" for name, value in head.items()), "@EXPLICIT"]
    return "".join(f"{line}\n" for line in lines) + _body(lock)


def read_lock(text: str, *, source: str, platform: str = "linux-64", records: str | None = None) -> EnvLock:
    """Read an explicit list, one of ours or anybody's.

    Args:
        text: The list.
        source: What it is called in errors.
        platform: For a list that does not say for which platform it is.
        records: What `write_records` wrote of it, or None.

    Raises:
        BadInput: It is none, a line has no SHA-256 or cannot be read, something is in it twice, or it is not what its
            header or its records say.
    """
    begin = _BEGIN.search(text)
    if begin is None:
        raise BadInput(f"{source} is no explicit list: it has no line @EXPLICIT.")
    said = _read_head(text[: begin.start()], source)
    known = _read_records(records, source)
    before = text.count("\n", 0, begin.end()) + 1
    rows = [
        (number, _read_line(line.strip(), number, known, source))
        for number, line in enumerate(text[begin.end() :].split("\n"), before)
        if _says_something(line.strip())
    ]
    packages = [(number, row) for number, row in rows if isinstance(row, Package)]
    wheels = [(number, row) for number, row in rows if isinstance(row, Wheel)]
    if not packages:
        raise BadInput(f"{source} lists no package.")
    _check_once([(number, one.name) for number, one in packages], source)
    _check_once([(number, re.sub(r"[-_.]+", "-", one.name).lower()) for number, one in wheels], source)
    lock = EnvLock(
        profile=said.get("profile", "file"),
        platform=said.get("platform", platform),
        packages=tuple(one for _, one in packages),
        wheels=tuple(one for _, one in wheels),
        specs=_read_specs(said.get("specs", "[]"), source),
    )
    if said.get("digest", lock.digest) != lock.digest:
        raise BadInput(f"{source} was changed: its digest is not the one that it says; make it anew.")
    return lock


def _says_something(line: str) -> bool:
    """Whether a line is more than a comment; some comments are for pip."""
    return bool(line) and (not line.startswith("#") or _FOR_PIP.match(line) is not None)


def _read_head(head: str, source: str) -> dict[str, str]:
    """Read what stands before the mark, where there is no package."""
    said: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(head.split("\n"), 1):
        if _says_something(line.strip()):
            raise BadInput(f"{source} has a line before @EXPLICIT that would count for nothing (line {number}).")
        name, colon, value = line.rstrip().removeprefix("# ").partition(": ")
        if colon and line.startswith("# "):
            if name in said and name in _HEAD:
                raise BadInput(
                    f"{source} has '{name}' twice in its header, in line {lines[name]} and in line {number}."
                )
            said[name], lines[name] = value, number
    return said


def _check_once(rows: Iterable[tuple[int, str]], source: str) -> None:
    seen: dict[str, int] = {}
    for number, name in rows:
        if name in seen:
            raise BadInput(
                f"{source} has {name} twice, in line {seen[name]} and in line {number}, and only one of them can be"
                " installed: take one out."
            )
        seen[name] = number


def _read_line(line: str, number: int, known: Mapping[str, Mapping[str, Any]], source: str) -> Package | Wheel:
    try:
        if line.startswith("#"):
            return _read_wheel(line, number, source)
        return _read_package(line, number, known, source)
    except BadInput as error:
        if error.message.startswith(source):
            raise
        raise BadInput(f"{source}, line {number}: {error.message}") from None


def _read_package(line: str, number: int, known: Mapping[str, Mapping[str, Any]], source: str) -> Package:
    match = _LINE.match(line)
    if match is None:
        raise BadInput(_no_package(line, number, source))
    url = match["url"]
    record = known.get("/".join(url.rsplit("/", 2)[-2:]))
    if record is None:
        return Package(url=url, sha256=match["sha256"], is_recorded=False)
    return Package(url=url, sha256=match["sha256"], **record)


def _no_package(line: str, number: int, source: str) -> str:
    words = f"{source} has in line {number} '{line[:200]}', which is no URL with #sha256:HASH behind it"
    if _MD5_LINE.match(line):
        return (
            f"{words}, but with an MD5, which verifies nothing: write the list with 'conda list --explicit --sha256'."
        )
    return f"{words}."


def _read_wheel(line: str, number: int, source: str) -> Wheel:
    match = _WHEEL.match(line) or _WHEEL_OF_OTHERS.match(line)
    if match is None:
        raise BadInput(
            f"{source} has in line {number} '{line[:200]}', which is for pip, and names no wheel with its SHA-256: lock"
            " a wheel of it ('# pip NAME @ URL.whl#sha256=HASH'), or take the line out."
        )
    check_foreign(match["name"], source=source)
    return Wheel(name=match["name"], version=match["version"], url=match["url"], sha256=match["sha256"])


def _read_specs(text: str, source: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(spec, str) for spec in found):
        raise BadInput(f"{source} has specs in its header that are no JSON list of texts.")
    return tuple(found)


def _read_records(text: str | None, source: str) -> dict[str, dict[str, Any]]:
    if text is None:
        return {}
    try:
        document = json.loads(text)
        if document.get("schema") != SCHEMA:
            raise BadInput(f"The records of {source} were written by another version of scherbelberg; make them anew.")
        return {name: _read_record(row) for name, row in document["packages"].items()}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise BadInput(f"The records of {source} cannot be read: {error!r}.") from None


def _read_record(row: Mapping[str, Any]) -> dict[str, Any]:
    size, depends, constrains = row["size"], tuple(row["depends"]), tuple(row["constrains"])
    if size is not None and (type(size) is not int or size < 0):
        raise ValueError("a size is no number of bytes")
    if not all(isinstance(one, str) for one in (*depends, *constrains)):
        raise ValueError("what a package needs is no text")
    return {"size": size, "depends": depends, "constrains": constrains}


def write_records(lock: EnvLock) -> str:
    """Write what the packages of a lock need, as JSON, one package a line."""
    rows = [
        f"{json.dumps(f'{one.subdir}/{one.file_name}')}:"
        + json.dumps({"size": one.size, "depends": one.depends, "constrains": one.constrains}, separators=(",", ":"))
        for one in lock.packages
        if one.is_recorded
    ]
    lines = ",\n".join(rows)
    return f'{{"schema":{SCHEMA},"packages":{{\n{lines}\n}}}}\n'
