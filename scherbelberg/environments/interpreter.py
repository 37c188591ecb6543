# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reads the versions that a client's interpreter has: the running one's, or another's by asking it."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

from scherbelberg.environments import installed
from scherbelberg.environments.versions import OPTIONAL, REQUIRED, SCIENCE, Client, Versions
from scherbelberg.errors import BadInput
from scherbelberg.settings import environment_with

#: What a client loads that is not ours: where a broken connection would break others, it keeps it from doing so.
PRELOAD = Path(__file__).parents[1] / "share" / "openssl_errors.py"
_WITHIN_S = 60.0
_NAMES = [*REQUIRED, *OPTIONAL, *SCIENCE]


def own_versions() -> Versions:
    """Read the compared versions of the running interpreter from its installed metadata."""
    return own_client().versions


def own_client() -> Client:
    """Describe the running interpreter."""
    return _client(installed.installed(_NAMES), Path(sys.executable), "this program's own")


def folder_digest(python: str | Path) -> str:
    """What stands for the folder that a Python's program is in, where its path is nobody's business.

    Args:
        python: Its program, which is looked for nowhere and not followed: a link to it is in an environment of its own.
    """
    return hashlib.sha256(os.path.realpath(Path(python).absolute().parent).encode()).hexdigest()[:32]


def client_of(given: Client | str | os.PathLike[str] | None) -> Client:
    """The client that somebody named, by its program or as it was read before; the running one for None.

    Raises:
        BadInput: It is none that can be asked, or has no Dask.
    """
    if given is None:
        return own_client()
    return given if isinstance(given, Client) else read_client(Path(given), "the argument")


def read_client(path: Path, source: str) -> Client:
    """Describe an interpreter.

    Args:
        path: Its program.
        source: Who named it, for people.

    Raises:
        BadInput: It is none that can be asked, or has no Dask.
    """
    path = path.absolute()
    command = [str(path), "-c", inspect.getsource(installed), *_NAMES]
    environ = environment_with({"PYTHONSAFEPATH": "1"})  # nothing is imported from the folder where we happen to be
    try:
        done = subprocess.run(
            command, capture_output=True, check=True, timeout=_WITHIN_S, stdin=subprocess.DEVNULL, env=environ
        )
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise BadInput(f"The Python {path} (from {source}) does not tell its versions: {_reason(error)}.") from None
    client = _client(found, path, source)
    missing = [name for name in REQUIRED if name not in client.versions.packages]
    if missing:
        raise BadInput(
            f"The Python {path} (from {source}) has no {missing[0]}: install what it needs (in a clone of"
            f" scherbelberg: {path} -m pip install '.[main]'), or name another one with --client PYTHON."
        )
    return client


def read_tls(client: Client) -> tuple[str, str]:
    """Ask an interpreter what it speaks TLS with.

    Args:
        client: The interpreter, which has Dask.

    Returns:
        Its OpenSSL's version, and what `openssl_errors` does there.

    Raises:
        BadInput: It does not tell.
    """
    environ = environment_with({"PYTHONSAFEPATH": "1"})
    try:
        done = subprocess.run(
            [client.path, str(PRELOAD)],
            capture_output=True,
            check=True,
            timeout=_WITHIN_S,
            stdin=subprocess.DEVNULL,
            env=environ,
        )
        found = json.loads(done.stdout)
        return str(found["openssl"]), str(found["errors"])
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        raise BadInput(f"The Python {client.path} does not tell what it speaks TLS with: {_reason(error)}.") from None


def _reason(error: Exception) -> str:
    return _last_line(error.stderr) if isinstance(error, subprocess.CalledProcessError) else str(error)


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it ended with an error"


def _client(found: dict[str, object], path: Path, source: str) -> Client:
    packages, own = found["packages"], found["own"]
    if not isinstance(packages, dict) or not isinstance(own, list):
        raise TypeError("the interpreter's answer has another form")
    compared = {name: version for name, version in packages.items() if name not in SCIENCE}
    return Client(
        versions=Versions(python=str(found["python"]), packages=compared),
        path=str(path),
        source=source,
        editable_packages=tuple(str(name) for name in own if name not in SCIENCE),
        is_scientific=set(SCIENCE) <= set(packages),
    )
