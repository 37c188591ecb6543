# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Channels: what packages need of each other, which versions are near, and how downloads end."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from catalogues import CALM
from conda_channel import NAME
from fake_channel import channels
from hypothesis import given
from hypothesis import strategies as st
from mirror import Mirror
from rattler import Version

from scherbelberg.environments.channels import download, nearest_first, unmet_dependencies
from scherbelberg.environments.lock import Package
from scherbelberg.errors import ChannelUnreachable, WaitTimeout

_VERSIONS = st.from_regex(r"[1-3](\.[0-9]{1,2}){0,2}", fullmatch=True)


def _package(stem: str, *needs: str, forbids: tuple[str, ...] = ()) -> Package:
    url = f"https://conda.anaconda.org/{NAME}/linux-64/{stem}.conda"
    return Package(url=url, sha256="0" * 64, depends=needs, constrains=forbids)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("2.0", ["2.0", "2.1", "2.9", "2.10"]),
        ("2.0.5", ["2.1", "2.0", "2.9", "2.10"]),
        ("2.9", ["2.9", "2.1", "2.10", "2.0"]),
        ("2.11", ["2.10", "2.9", "2.1", "2.0"]),
        ("3.0", []),
    ],
)
def test_nearest_first(wanted: str, expected: list[str]) -> None:
    """The fewest releases away come first, of two the newer; another first number is never near."""
    assert [*nearest_first(["2.0", "2.1", "2.9", "2.10", "1.9", "20.0"], wanted)] == expected


@CALM
@given(st.lists(_VERSIONS), _VERSIONS)
def test_exact_version_is_nearest(known: list[str], wanted: str) -> None:
    """If the very version is there, it comes first; nothing of its major version is lost, doubled or rewritten."""
    found = nearest_first([*known, wanted], wanted)
    assert Version(found[0]) == Version(wanted)
    assert sorted(found) == sorted({one for one in (*known, wanted) if one[0] == wanted[0]})


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        ((_package("a-1-0", "b >=1", "__glibc >=2.17"), _package("b-1-0")), []),
        ((_package("a-1-0", "b >=2"), _package("b-1-0")), ["a-1-0.conda needs b >=2"]),
        ((_package("a-1-0", "b"),), ["a-1-0.conda needs b"]),
        ((_package("a-1-0", "b 1 build_0"), _package("b-1-build_1")), ["a-1-0.conda needs b 1 build_0"]),
        ((_package("a-1-0", forbids=("b <2", "c")), _package("b-2-0")), ["a-1-0.conda forbids b=2=0 by b <2"]),
        ((_package("a-1-0", forbids=("b >=2",)), _package("b-2-0")), []),
        ((_package("a-1-0", "__glibc >=2.39"),), ["a-1-0.conda needs __glibc >=2.39"]),
        ((_package("a-1-0", "__cuda"),), ["a-1-0.conda needs __cuda"]),
        ((_package("a-1-0", forbids=("__glibc >=2.39",)),), ["forbids __glibc"]),
    ],
)
def test_complaints(packages: tuple[Package, ...], expected: list[str]) -> None:
    """What is missing, too old, of another build, forbidden, or more than a node has, is told in a few words."""
    found = unmet_dependencies(packages, platform="linux-64")
    assert len(found) == len(expected)
    for line, words in zip(found, expected, strict=True):
        assert words in line


async def test_versions(fake: Mirror, tmp_path: Path) -> None:
    """Versions are sorted as versions, the newest first, and an unknown package has none."""
    found = channels(fake, tmp_path)
    assert await found.versions("tornado", platform="linux-64") == ("6.5.7", "6.5.3", "6.4.0", "5.1.0")
    assert await found.versions("no-such-thing", platform="linux-64") == ()


async def test_hanging_question(fake: Mirror, tmp_path: Path) -> None:
    """A question for versions has a deadline as well."""
    fake.misbehave("*", hold_after=0)
    with pytest.raises(WaitTimeout, match=r"An answer of conda-forge to the question for the versions of tornado did"):
        await channels(fake, tmp_path, within_s=0.3).versions("tornado", platform="linux-64")


async def _versions(mirror: Mirror, folder: Path) -> object:
    return await channels(mirror, folder / "cache").versions("tornado", platform="linux-64")


async def _file(mirror: Mirror, folder: Path) -> None:
    path = next((mirror.root / NAME / "noarch").glob("tornado-6.5.7*"))
    url = f"https://conda.anaconda.org/{NAME}/noarch/{path.name}"
    await download(url, folder / "it", mirror=mirror.url, within_s=20)


@pytest.mark.parametrize("ask", [_versions, _file])
async def test_busy_server(
    fake: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Mirror, Path], Awaitable[object]]
) -> None:
    """A server that is busy is asked again for a while, and then named with what it says."""
    monkeypatch.setattr("scherbelberg.environments.channels._REST_S", 0.01)
    monkeypatch.setattr("scherbelberg.environments.channels._RETRIES", 0)
    fake.misbehave("*", status=429, times=5)
    await ask(fake, tmp_path)
    fake.misbehave("*", status=503)
    monkeypatch.setattr("scherbelberg.environments.channels._PATIENCE_S", 0.0)
    fake.forget()
    with pytest.raises(ChannelUnreachable, match="503 Service Unavailable"):
        await ask(fake, tmp_path / "other")


@pytest.fixture
def served(fake: Mirror) -> tuple[Package, Path]:
    """A package of the channel under its own address, and its file."""
    path = next((fake.root / NAME / "noarch").glob("tornado-6.5.7*"))
    url = f"https://conda.anaconda.org/{NAME}/noarch/{path.name}"
    return Package(url=url, sha256=hashlib.sha256(path.read_bytes()).hexdigest()), path


async def test_download(fake: Mirror, served: tuple[Package, Path], tmp_path: Path) -> None:
    """A file comes from the mirror that stands for its address, byte by byte."""
    await download(served[0].url, tmp_path / "it", mirror=fake.url, within_s=20)
    assert (tmp_path / "it").read_bytes() == served[1].read_bytes()


async def test_download_that_ends_early(fake: Mirror, served: tuple[Package, Path], tmp_path: Path) -> None:
    """A file that is not there, or never ends, is an error of ours that names its own address."""
    missing = served[0].url.rpartition("/")[0] + "/none-1-0.conda"
    with pytest.raises(ChannelUnreachable, match=r"noarch/none-1-0\.conda could not be downloaded"):
        await download(missing, tmp_path / "none", mirror=fake.url, within_s=20)
    fake.misbehave("*.conda", hold_after=10)
    with pytest.raises(WaitTimeout, match=r"The download of https://conda\.anaconda\.org/.* within 0\.3 s"):
        await download(served[0].url, tmp_path / "it", mirror=fake.url, within_s=0.3)


_PROGRAM = """
import _thread, asyncio, sys, threading
import scherbelberg.environments.channels

class Loop(asyncio.SelectorEventLoop):
    def _write_to_self(self):
        entered.set()
        sys.stdin.readline()
        print("out", flush=True)

entered = threading.Event()
loop = Loop()
# Unlike those of threading, such a thread is nobody's whom Python would wait for.
_thread.start_new_thread(loop.call_soon_threadsafe, (print,))
entered.wait(20)
print("in", flush=True)
"""


def test_result_that_is_being_handed_over() -> None:
    """A program that ends while a foreign thread still calls asyncio waits for it, as rattler's threads want it."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"in"
        output, complaints = process.communicate(b"\n", timeout=30)
    assert (output.strip(), complaints, process.returncode) == (b"out", b"", 0)
