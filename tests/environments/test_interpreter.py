# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The running interpreter's versions."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from other_python import make_venv, pretend

from scherbelberg.environments.interpreter import client_of, own_client, own_versions, read_client
from scherbelberg.environments.versions import OPTIONAL, REQUIRED
from scherbelberg.errors import BadInput


def test_own_versions() -> None:
    """Python's version is the full one, and what the client needs is there; nothing else is compared."""
    versions = own_versions()
    assert versions.python.startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert set(REQUIRED) <= set(versions.packages) <= set(REQUIRED + OPTIONAL)
    assert versions.packages["dask"] == version("dask")


def test_absent_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is not installed is left out."""
    there = metadata.distribution("dask")

    def only_dask(name: str) -> metadata.Distribution:
        if name != "dask":
            raise PackageNotFoundError(name)
        return there

    monkeypatch.setattr(metadata, "distribution", only_dask)
    assert own_versions().packages == {"dask": version("dask")}


def test_metadata_is_enough() -> None:
    """Reading versions loads none of the packages, which would take seconds."""
    code = "import sys; from scherbelberg.environments.interpreter import own_versions as v; v(); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert not {"dask", "distributed", "tornado", "numpy"} & set(ran.stdout.split())


def test_another_interpreter(tmp_path: Path) -> None:
    """Another interpreter tells its own versions, which are not this one's, and who named it is remembered."""
    python = make_venv(tmp_path / "v", has_ours=False)
    pretend(tmp_path / "v", dask="2.0+mine", numpy="3.0")
    client = read_client(python, "VIRTUAL_ENV")
    assert client.versions.packages == dict.fromkeys(REQUIRED, "1.0") | {"dask": "2.0+mine", "numpy": "3.0"}
    assert client.versions.python == own_versions().python
    assert (client.path, client.source, client.editable_packages) == (str(python), "VIRTUAL_ENV", ("dask",))


def test_one_like_this(tmp_path: Path) -> None:
    """An interpreter with the same packages has the same versions, but is another one."""
    client = read_client(make_venv(tmp_path / "v", has_ours=True), "it")
    assert client.versions == own_versions()
    assert client.path != own_client().path == sys.executable


def test_given_client(tmp_path: Path) -> None:
    """A client may be named by its program, given as it was read, or not at all, which is this one."""
    python = make_venv(tmp_path / "v", has_ours=True)
    client = client_of(str(python))
    assert (client.path, client.source) == (str(python), "the argument")
    assert client_of(client) is client
    assert client_of(None) == own_client()


@pytest.mark.parametrize("name", ["dask", "tornado"])
def test_client_without_dask(tmp_path: Path, name: str) -> None:
    """An interpreter that lacks what is required is told what to do."""
    python = make_venv(tmp_path / "v", has_ours=False)
    pretend(tmp_path / "v", without=name)
    with pytest.raises(BadInput) as caught:
        read_client(python, "CONDA_PREFIX")
    assert caught.value.message == (
        f"The Python {python} (from CONDA_PREFIX) has no {name}: install what it needs (in a clone of"
        f" scherbelberg: {python} -m pip install '.[main]'), or name another one with --client PYTHON."
    )


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "No such file or directory"),
        ("echo 'Fatal: broken' >&2; exit 3", "Fatal: broken"),
        ("exit 1", "it ended with an error"),
        ("echo hello", "Expecting value"),
    ],
)
def test_no_interpreter(tmp_path: Path, script: str | None, reason: str) -> None:
    """What is no Python, or a broken one, is named with what it said."""
    python = tmp_path / "python"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        python.chmod(0o755)
    with pytest.raises(BadInput) as caught:
        read_client(python, "--client")
    assert f"{python} (from --client) does not tell its versions: " in caught.value.message
    assert reason in caught.value.message


def test_folder_where_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that lie where the user happens to be are not run by asking an interpreter."""
    for name in ("json", "platform"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')", encoding="utf-8")
    python = make_venv(tmp_path / "v", has_ours=True)
    monkeypatch.chdir(tmp_path)
    assert read_client(python, "it").versions == own_versions()
