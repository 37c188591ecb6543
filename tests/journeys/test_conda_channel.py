# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The tests' own channel and installer: from this machine's Python to an environment that needs nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import urllib.request
from importlib.metadata import version
from pathlib import Path

import pytest
from conda_channel import ROOTS, Channel, add_package, add_python, make_channel, open_channel, reindex
from conda_python import ask
from miniforge_standin import place
from mirror import Mirror
from rattler import Channel as Source
from rattler import Gateway, RepoDataRecord, Subdir, VirtualPackage, solve

SPECS = [*ROOTS, f"python {sys.version_info[0]}.{sys.version_info[1]}.*"]
PROBE = """
import json, sys, sysconfig
import distributed, lz4, numpy
with open("/proc/self/maps", encoding="utf-8") as file:
    rows = [line.split(maxsplit=5) for line in file]
print(json.dumps({
    "prefix": sys.prefix,
    "path": sys.path,
    "configured": sysconfig.get_config_var("prefix"),
    "libraries": sorted({row[5].strip() for row in rows if "libpython" in row[-1]}),
    "versions": [distributed.__version__, numpy.__version__],
}))
"""


def clean_run(home: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run something with nothing of the tests' environment variables."""
    surroundings = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=120, env=surroundings)


async def solved(mirror: Mirror, cache: Path) -> list[RepoDataRecord]:
    """Solve for an environment over HTTP."""
    machine = [found.into_generic() for found in VirtualPackage.detect()]
    return await solve(
        [Source(f"{mirror.url}/conda-forge")],
        SPECS,
        gateway=Gateway(cache_dir=cache),
        platforms=[Subdir.current(), "noarch"],
        virtual_packages=machine,
    )


def downloaded(records: list[RepoDataRecord], folder: Path) -> Path:
    """Download packages and write the explicit list of what came."""
    folder.mkdir()
    lines = ["@EXPLICIT"]
    for record in records:
        file = folder / record.file_name
        urllib.request.urlretrieve(record.url, file)
        assert record.sha256 is not None
        lines.append(f"{file.as_uri()}#sha256:{record.sha256.hex()}")
    listed = folder / "list.txt"
    listed.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return listed


def installed(home: Path) -> Path:
    """Install the stand-in as bootstrap does; returns its mamba."""
    digest = place(home / "served", "1.2-0")
    (file,) = (home / "served" / "miniforge" / "1.2-0").iterdir()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
    done = clean_run(home, "bash", file, "-b", "-p", home / "mini forge")
    assert done.returncode == 0, done.stderr
    again = clean_run(home, "bash", file, "-b", "-p", home / "mini forge")
    assert (again.returncode, "already exists" in again.stderr) == (1, True)
    return home / "mini forge" / "bin" / "mamba"


def create(mamba: Path, prefix: Path, listed: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Create an environment as bootstrap does."""
    words = ["create", "--yes", "--no-rc", "--no-env", *options]
    return clean_run(mamba.parents[2], mamba, *words, "--prefix", prefix, "--file", listed)


async def test_whole_chain(mirror: Mirror, own_channel: Channel, tmp_path: Path) -> None:
    """Solved over HTTP, downloaded, installed offline into an odd folder: Dask runs there, and needs nothing else."""
    records = await solved(mirror, tmp_path / "cache")
    assert {record.name.normalized for record in records} == set(own_channel.packages)
    listed = await asyncio.to_thread(downloaded, records, tmp_path / "pakete ä")
    prefix = tmp_path / "Umgebung für alle"
    done = create(installed(tmp_path), prefix, listed, "--offline")
    assert done.returncode == 0, done.stderr
    probed = clean_run(tmp_path, prefix / "bin" / "python3", "-I", "-c", PROBE)
    assert probed.returncode == 0, probed.stderr
    told = json.loads(probed.stdout)
    assert told["prefix"] == told["configured"] == str(prefix)
    assert told["versions"] == [version("distributed"), version("numpy")]
    assert [place for place in [*told["path"], *told["libraries"]] if not place.startswith(f"{prefix}{os.sep}")] == []
    for program in ("dask", "numpy-config", "pip"):
        ran = clean_run(tmp_path, prefix / "bin" / program, "--version")
        assert ran.returncode == 0, ran.stderr
    assert len(list((prefix / "conda-meta").glob("*.json"))) == len(records)


def test_channel_is_of_this_environment(conda_channel: Channel) -> None:
    """Its packages have the versions that are installed here, conda's names, fitting hashes, and both formats."""
    packages = conda_channel.packages
    assert packages["dask-core"].version == packages["dask"].version == version("dask")
    assert packages["msgpack-python"].version == version("msgpack")
    assert packages["python"].version == ask(sys.executable).version
    small = packages["locket"]
    assert hashlib.sha256(small.path.read_bytes()).hexdigest() == small.sha256
    assert small.path.stat().st_size == small.size_bytes
    assert {package.path.suffix for package in packages.values()} == {".conda", ".bz2"}


def test_made_again_it_is_the_same(conda_channel: Channel, tmp_path: Path) -> None:
    """The same environment gives the same bytes, whoever makes the channel."""
    again = make_channel(tmp_path)
    assert {name: row.sha256 for name, row in again.packages.items()} == {
        name: row.sha256 for name, row in conda_channel.packages.items()
    }


def test_own_channel_is_ones_own(conda_channel: Channel, own_channel: Channel) -> None:
    """What is added to or removed from a test's own channel does not change the one that all share."""
    before = conda_channel.packages
    own_channel.packages["zipp"].path.unlink()
    add_package(own_channel.root, name="dask", version="9999.1", depends=["dask-core 9999.*"], constrains=["numpy <1"])
    reindex(own_channel.root)
    assert set(before) - set(own_channel.packages) == {"zipp"}
    assert own_channel.packages["dask"].version == "9999.1"
    assert conda_channel.packages == before


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="the system brings no Python")
def test_python_of_the_system(tmp_path: Path) -> None:
    """The system's own Python, without a library or with folders of its distributor's, becomes a package as well."""
    channel = open_channel(tmp_path / "other")
    python = add_python(channel, ask("/usr/bin/python3"))
    pure = add_package(channel.root, name="pure", build="py_0", files={"site-packages/pure.py": b"WORD = 'ok'"})
    listed, prefix = tmp_path / "list.txt", tmp_path / "Umgebung für alle"
    listed.write_text("\n".join(["@EXPLICIT", *map(line_of, (python, pure)), ""]), encoding="utf-8")
    done = create(installed(tmp_path), prefix, listed)
    assert done.returncode == 0, done.stderr
    probe = "import pure, ssl, sys, sysconfig; print(pure.WORD, *sys.path, sysconfig.get_path('purelib'), sep='\\n')"
    probed = clean_run(tmp_path, prefix / "bin" / "python3", "-I", "-c", probe)
    word, *places = probed.stdout.splitlines()
    assert word == "ok", probed.stderr
    assert [place for place in places if not place.startswith(f"{prefix}{os.sep}")] == []
    assert places[-1].endswith("site-packages")


def line_of(file: Path) -> str:
    """Write a package's line in an explicit list."""
    return f"{file.as_uri()}#sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, str]:
    """A package that is no more than a file, and its line in a list."""
    file = add_package(tmp_path / "small", name="small", files={"share/small.txt": b"ok"})
    return file, line_of(file)


@pytest.mark.parametrize(
    ("option", "row", "complaint"),
    [
        ("--offline", "{row}", None),
        ("-q", "# a comment\n\n{row}", None),
        ("--safely", "{row}", "--safely"),
        ("--offl", "{row}", "--offl"),
        ("--offline", "{url}", "no hash"),
        ("--offline", "{row}0", "no hash"),
        ("--offline", "{url}#sha256:" + "0" * 64, "hash mismatch of small-1.0-0.conda"),
        ("--offline", "http://127.0.0.1:9/small-1.0-0.conda#sha256:" + "0" * 64, "offline"),
        ("--offline", "{url}x#sha256:" + "0" * 64, "cannot be read"),
    ],
)
def test_what_mamba_refuses(
    tmp_path: Path, small: tuple[Path, str], option: str, row: str, complaint: str | None
) -> None:
    """Packages come with hashes, which fit, and from files; options are those of mamba."""
    listed, prefix = tmp_path / "list.txt", tmp_path / "env"
    text = row.format(row=small[1], url=small[0].as_uri())
    listed.write_text(f"@EXPLICIT\n{text}\n", encoding="utf-8")
    done = create(installed(tmp_path), prefix, listed, option)
    assert done.returncode == (1 if complaint else 0), done.stderr
    assert (complaint or "") in done.stderr
    assert (prefix / "share" / "small.txt").exists() == (complaint is None)


def test_where_mamba_refuses(tmp_path: Path, small: tuple[Path, str]) -> None:
    """A list that is not an explicit one, and a folder with something else in it."""
    listed, prefix = tmp_path / "list.txt", tmp_path / "env"
    listed.write_text(f"{small[1]}\n", encoding="utf-8")
    mamba = installed(tmp_path)
    assert "@EXPLICIT" in create(mamba, prefix, listed).stderr
    listed.write_text(f"@EXPLICIT\n{small[1]}\n", encoding="utf-8")
    prefix.mkdir()
    (prefix / "letter").touch()
    assert "Non-conda folder exists at prefix" in create(mamba, prefix, listed).stderr
    (prefix / "letter").unlink()
    assert create(mamba, prefix, listed).returncode == 0
