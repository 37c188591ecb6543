# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Wheels for nodes, found before anything is rented, by the program uv, which knows the user's own index."""

from __future__ import annotations

import asyncio
import shutil
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from scherbelberg.concurrency.subprocess import run_child
from scherbelberg.environments.lock import Wheel
from scherbelberg.environments.pylock import GLIBC_MINOR, MACHINES, read_pylock
from scherbelberg.environments.pypi import normalize_name, pinnable, read_requirement, uv_error
from scherbelberg.errors import EnvironmentUnavailable
from scherbelberg.settings import environment_with

#: Variables for uv that are about somebody's project, or would loosen what is held fast.
_NOT_PASSED = {"UV_PROJECT", "UV_WORKING_DIR", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE"}
_STUBS = "there"


async def resolve_wheels(
    requirements: Iterable[str],
    *,
    python: str,
    platform: str,
    having: Mapping[str, str],
    within_s: float,
    environ: Mapping[str, str] | None = None,
    source: str = "--package",
) -> tuple[Wheel, ...]:
    """Find wheels for nodes, and for what these wheels need.

    Args:
        requirements: Such as ``rioxarray>=0.19``.
        python: Version of the nodes' Python, such as ``3.13.14``, or ``3.13``.
        platform: conda's name of the nodes' platform.
        having: Version by name, as an index has them, of what the environment has: kept, and not among the wheels.
        within_s: Deadline in seconds.
        environ: Environment variables for uv, among them those that name an index; None for this program's own.
        source: Where the requirements stand, for errors.

    Returns:
        In the order of their names.

    Raises:
        BadInput: A requirement is not a package of an index.
        ChannelUnreachable: The index does not answer, or wants credentials.
        EnvironmentUnavailable: There is no uv, or no wheel of a package, or what is wanted contradicts the environment.
        WaitTimeout: The deadline passed.
    """
    wanted = [read_requirement(text, source=source) for text in requirements]
    if not wanted:
        return ()
    around = environment_with({}) if environ is None else dict(environ)
    uv = find_uv(around)
    with TemporaryDirectory(prefix="scherbelberg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        await asyncio.to_thread(_prepare, folder, wanted, pinnable(having))
        line = command(uv, python=python, platform=platform)
        done = await run_child(
            line,
            what=f"Finding wheels for {', '.join(wanted)}",
            within_s=within_s,
            folder=folder,
            environ=_environment(around),
        )
        if done.code:
            raise uv_error(done.err.decode(errors="replace"), wanted)
        found = (folder / "pylock.toml").read_text(encoding="utf-8")
    return read_pylock(found, python=python, machine=MACHINES[platform], having=map(normalize_name, having))


def find_uv(environ: Mapping[str, str]) -> str:
    """Find the program uv: the one beside this Python, or else the one on the path.

    Args:
        environ: Environment variables.

    Raises:
        EnvironmentUnavailable: There is none.
    """
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - an extra, which not everybody has

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv", path=environ.get("PATH", ""))
    if found is None:
        raise EnvironmentUnavailable(
            "Packages from a Python index need the program uv, which is not here: pip install uv."
        )
    return found


def command(uv: str, *, python: str, platform: str, interpreter: str = sys.executable) -> list[str]:
    """Make the command line, in which nothing is secret.

    Args:
        uv: The program.
        python: Version of the nodes' Python.
        platform: conda's name of the nodes' platform.
        interpreter: This program's Python, which uv asks about Python in general.
    """
    options = ["--constraints", "constraints.txt", "--output-file", "pylock.toml", "--no-build"]
    options += ["--no-python-downloads", "--no-progress"]
    options += ["--python-platform", f"{MACHINES[platform]}-manylinux_2_{GLIBC_MINOR}", "--python-version", python]
    # Programs that embed Python may be called otherwise, and would start a second time.
    if Path(interpreter).name.startswith("python"):
        options += ["--python", interpreter]
    return [uv, "pip", "compile", "requirements.txt", *options, "--color", "never"]


def _environment(around: Mapping[str, str]) -> dict[str, str]:
    links = ",".join(filter(None, [_STUBS, around.get("UV_FIND_LINKS")]))
    return {name: value for name, value in around.items() if name not in _NOT_PASSED} | {"UV_FIND_LINKS": links}


def _prepare(folder: Path, wanted: Iterable[str], having: Mapping[str, str]) -> None:
    """Write what uv reads; an empty uv.toml ends its search for somebody's project in the folders above."""
    texts = {
        "uv.toml": "",
        "requirements.txt": "".join(f"{one}\n" for one in wanted),
        "constraints.txt": "".join(f"{name}=={version}\n" for name, version in having.items()),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / _STUBS).mkdir()
    for name, version in having.items():
        _write_stub(folder / _STUBS, name.replace("-", "_"), version)


def _write_stub(folder: Path, name: str, version: str) -> None:
    """Write an empty wheel for what conda has and the index may lack, or have as source only.

    It fits less than any real one, so that the index is believed where it knows the package and its extras.
    """
    with zipfile.ZipFile(folder / f"{name}-{version}-py30-none-any.whl", "w") as wheel:
        info = f"{name}-{version}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py30-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
