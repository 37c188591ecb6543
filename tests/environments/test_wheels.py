# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Wheels for nodes, found by the real uv in a real index on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from simple_index import FILES, X86, SimpleIndex, wheel

from scherbelberg.concurrency.waiting import until
from scherbelberg.environments.lock import Wheel
from scherbelberg.environments.wheels import command, find_uv, resolve_wheels
from scherbelberg.errors import BadInput, ChannelUnreachable, EnvironmentUnavailable, WaitTimeout

_SECRET = "anna:s3cret%40x"


@pytest.fixture(scope="module")
def index() -> Iterator[SimpleIndex]:
    """An index that has what the tests ask for."""
    running = SimpleIndex(FILES)
    yield running
    running.close()


@pytest.fixture
def around(tmp_path: Path, index: SimpleIndex) -> dict[str, str]:
    """Environment variables with nothing of the developer's own in them, and the index."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_", "XDG_"))}
    mine = {"UV_DEFAULT_INDEX": index.url(), "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_HTTP_RETRIES": "0"}
    return kept | mine | {"HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}


@pytest.fixture
def served() -> Iterator[Callable[[SimpleIndex], SimpleIndex]]:
    """Closes the indexes that a test has made."""
    made: list[SimpleIndex] = []

    def keep(one: SimpleIndex) -> SimpleIndex:
        made.append(one)
        return one

    yield keep
    for one in made:
        one.close()


async def _resolve(
    *requirements: str,
    around: Mapping[str, str],
    python: str = "3.13.9",
    platform: str = "linux-64",
    having: Mapping[str, str] | None = None,
    within_s: float = 60,
) -> tuple[Wheel, ...]:
    return await resolve_wheels(
        requirements, python=python, platform=platform, having=having or {}, within_s=within_s, environ=around
    )


def _names(wheels: Iterable[Wheel]) -> list[str]:
    return [one.name for one in wheels]


async def test_wheel(index: SimpleIndex, around: dict[str, str]) -> None:
    """A wheel comes with its version, its address and its hash."""
    name = "plain-1.0-py3-none-any.whl"
    url = f"http://{index.host}/files/{name}"
    assert await _resolve("Plain", around=around) == (
        Wheel(name="plain", version="1.0", url=url, sha256=index.sha256(name)),
    )


async def test_nothing_wanted(around: dict[str, str]) -> None:
    """Where nothing is wanted, no program is needed."""
    assert await _resolve(around={"PATH": ""}) == ()


@pytest.mark.parametrize(
    ("python", "platform", "expected"),
    [
        ("3.13.9", "linux-64", ["for-late", "for-linux", "marked"]),
        ("3.13.2", "linux-64", ["for-linux", "marked"]),
        ("3.12.9", "linux-aarch64", ["for-arm", "for-linux", "for-old", "marked"]),
    ],
)
async def test_markers(python: str, platform: str, expected: list[str], around: dict[str, str]) -> None:
    """What is needed only elsewhere is decided by the nodes' platform and Python, not by this computer's."""
    assert _names(await _resolve("marked", around=around, python=python, platform=platform)) == expected


async def test_marker_of_requirement(around: dict[str, str]) -> None:
    """A requirement's own marker counts likewise."""
    wanted = ("plain; sys_platform == 'win32'", "for-linux; sys_platform == 'linux'")
    assert _names(await _resolve(*wanted, around=around)) == ["for-linux"]


@pytest.mark.parametrize(
    ("name", "python", "platform", "expected"),
    [
        ("native", "3.13.9", "linux-64", f"native-2.0-cp313-cp313-{X86}.whl"),
        ("native", "3.12", "linux-64", f"native-2.0-cp312-cp312-{X86}.whl"),
        ("native", "3.13", "linux-aarch64", "native-2.0-cp313-cp313-manylinux_2_28_aarch64.whl"),
        ("native", "3.12.1", "linux-aarch64", "native-2.0-cp312-cp312-manylinux_2_28_aarch64.whl"),
        ("stable", "3.13", "linux-64", f"stable-1.0-cp311-abi3-{X86}.whl"),
        ("stable", "3.13", "linux-aarch64", "stable-1.0-py3-none-any.whl"),
        ("newest", "3.13", "linux-64", "newest-0.5-cp313-cp313-manylinux_2_34_x86_64.whl"),
    ],
)
async def test_fitting_wheel(name: str, python: str, platform: str, expected: str, around: dict[str, str]) -> None:
    """The wheel is one for the nodes' Python, CPU and C library, the most special one of several."""
    (found,) = await _resolve(name, around=around, python=python, platform=platform)
    assert found.file_name == expected


async def test_login(served: Callable[[SimpleIndex], SimpleIndex], around: dict[str, str]) -> None:
    """An index with a login is asked with it, and the login is nowhere in what comes back."""
    closed = served(SimpleIndex(FILES, login="anna:s3cret@x"))
    (found,) = await _resolve("plain", around=around | {"UV_DEFAULT_INDEX": closed.url(_SECRET)})
    assert found.url == f"http://{closed.host}/files/plain-1.0-py3-none-any.whl"


@pytest.mark.parametrize("login", ["", "anna:wr0ng"])
async def test_wrong_login(login: str, served: Callable[[SimpleIndex], SimpleIndex], around: dict[str, str]) -> None:
    """An index that wants another login is named, and the login is not."""
    closed = served(SimpleIndex(FILES, login="anna:s3cret"))
    with pytest.raises(ChannelUnreachable, match=r"credentials \(401 Unauthorized\)") as caught:
        await _resolve("plain", around=around | {"UV_DEFAULT_INDEX": closed.url(login)})
    assert closed.host in caught.value.message
    assert "wr0ng" not in caught.value.message


async def test_kept(around: dict[str, str]) -> None:
    """What the environment has stays at its version and is no wheel."""
    wheels = await _resolve("needs-numpy", "numpy", around=around, having={"NumPy": "2.1"})
    assert _names(wheels) == ["needs-numpy"]


async def test_extra_of_what_is_kept(around: dict[str, str]) -> None:
    """What an extra of something in the environment needs is found."""
    assert _names(await _resolve("needs-more", around=around, having={"numpy": "2.1"})) == ["needs-more", "plain"]


async def test_conflict(around: dict[str, str]) -> None:
    """What wants another version than the environment has is refused with the reason."""
    with pytest.raises(EnvironmentUnavailable, match=r"needs-numpy-3.* on numpy>=3 and numpy==2\.1"):
        await _resolve("needs-numpy-3", around=around, having={"numpy": "2.1"})


async def test_override_of_somebody(around: dict[str, str], tmp_path: Path) -> None:
    """Variables that would loosen what the environment has do not."""
    (tmp_path / "override.txt").write_text("numpy==3.1\n", encoding="utf-8")
    with pytest.raises(EnvironmentUnavailable, match="numpy>=3"):
        await _resolve(
            "needs-numpy-3",
            around=around | {"UV_OVERRIDE": str(tmp_path / "override.txt")},
            having={"numpy": "2.1"},
        )


@pytest.mark.parametrize(("wanted", "name"), [("needs-source", "source-only"), ("needs-unknown", "no-such-thing")])
async def test_only_conda_has_it(wanted: str, name: str, around: dict[str, str]) -> None:
    """What the environment has need not be in the index, nor be there as a wheel."""
    having = {name: "2.5", "not-for-an-index": "1.1.1w"}
    assert _names(await _resolve(wanted, around=around, having=having)) == [wanted]


@pytest.mark.parametrize("wanted", ["source-only", "needs-source", "source-only==1.0"])
async def test_source_only(wanted: str, around: dict[str, str]) -> None:
    """What an index has as source only is refused by name."""
    with pytest.raises(EnvironmentUnavailable, match=r"^source-only cannot be put on nodes") as caught:
        await _resolve(wanted, around=around)
    assert wanted in caught.value.message


async def test_wrong_platform(around: dict[str, str]) -> None:
    """What has wheels for other platforms only is refused by name."""
    with pytest.raises(EnvironmentUnavailable, match=r"windows-only==1\.0 has no wheels with a matching platform tag"):
        await _resolve("windows-only", around=around)


@pytest.mark.parametrize("wanted", ["no-such-thing", "needs-unknown"])
async def test_unknown(wanted: str, around: dict[str, str]) -> None:
    """What is not in the index is named."""
    with pytest.raises(EnvironmentUnavailable, match=r"^There is no package no-such-thing in the index"):
        await _resolve(wanted, around=around)


async def test_no_such_version(around: dict[str, str]) -> None:
    """A version that is not there is named."""
    with pytest.raises(EnvironmentUnavailable, match="plain>=7"):
        await _resolve("plain>=7", around=around)


async def test_unreachable(served: Callable[[SimpleIndex], SimpleIndex], around: dict[str, str]) -> None:
    """An index that is not there is named, without the login."""
    gone = SimpleIndex({})
    gone.close()
    with pytest.raises(ChannelUnreachable, match="does not answer") as caught:
        await _resolve("plain", around=around | {"UV_DEFAULT_INDEX": gone.url(_SECRET)})
    assert gone.host in caught.value.message
    assert "s3cret" not in caught.value.message


async def test_broken_index(served: Callable[[SimpleIndex], SimpleIndex], around: dict[str, str]) -> None:
    """An index that fails is named, with what it says."""
    broken = served(SimpleIndex({}, status=503))
    with pytest.raises(ChannelUnreachable, match="503 Service Unavailable") as caught:
        await _resolve("plain", around=around | {"UV_DEFAULT_INDEX": broken.url(_SECRET)})
    assert broken.host in caught.value.message
    assert "s3cret" not in caught.value.message


async def test_deadline(served: Callable[[SimpleIndex], SimpleIndex], around: dict[str, str]) -> None:
    """An index that does not answer is not waited for for ever."""
    mute = served(SimpleIndex({}, is_mute=True))
    with pytest.raises(WaitTimeout, match=r"Finding wheels for plain did not happen within 0\.5 s"):
        await _resolve("plain", around=around | {"UV_DEFAULT_INDEX": mute.url()}, within_s=0.5)


async def test_cancelled(
    served: Callable[[SimpleIndex], SimpleIndex], around: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is cancelled leaves no program behind, and did not hold up the event loop."""
    mute = served(SimpleIndex({}, is_mute=True))
    marked = around | {"UV_DEFAULT_INDEX": mute.url(), "TEST_MARK": mute.host}
    task = asyncio.create_task(_resolve("plain", around=marked))

    async def asked() -> bool | None:
        return mute.was_asked.is_set() or None

    await until(asked, every_s=0.01, within_s=30, what="The request")
    assert _marked(mute.host) != []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _marked(mute.host) == []


def _marked(mark: str) -> list[int]:
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


async def test_project_above(around: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's project around the folder for temporary files, or the current one, changes nothing."""
    text = '[tool.uv]\nno-index = true\noverride-dependencies = ["numpy==3.1"]\n'
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    wheels = await _resolve("plain", around=around | {"UV_PROJECT": str(tmp_path)})
    assert _names(wheels) == ["plain"]


async def test_own_settings(index: SimpleIndex, around: dict[str, str], tmp_path: Path) -> None:
    """The user's own file of settings says which index is asked."""
    file = tmp_path / "uv.toml"
    file.write_text(f'[[index]]\nurl = "{index.url()}"\ndefault = true\n', encoding="utf-8")
    mine = {name: value for name, value in around.items() if name != "UV_DEFAULT_INDEX"}
    assert _names(await _resolve("plain", around=mine | {"UV_CONFIG_FILE": str(file)})) == ["plain"]


async def test_wheel_of_this_computer(around: dict[str, str], tmp_path: Path) -> None:
    """A wheel in a folder of this computer is refused, since nodes cannot download it."""
    name, content = wheel("homemade", "1.0")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EnvironmentUnavailable, match=r"homemade 1\.0"):
        await _resolve("homemade", around=around | {"UV_FIND_LINKS": str(tmp_path)})


async def test_index_without_hashes(served: Callable[[SimpleIndex], SimpleIndex], around: dict[str, str]) -> None:
    """A wheel whose hash the index does not tell is hashed or refused, never taken unverified."""
    silent = served(SimpleIndex(FILES, has_hashes=False))
    with contextlib.suppress(EnvironmentUnavailable):  # an older uv does not hash
        (found,) = await _resolve("plain", around=around | {"UV_DEFAULT_INDEX": silent.url()})
        assert found.sha256 == silent.sha256(found.file_name)


@pytest.mark.parametrize("text", ["-r more.txt", "plain @ https://127.0.0.1/plain-1.0-py3-none-any.whl", "plain\n-e ."])
async def test_no_requirement(text: str, around: dict[str, str]) -> None:
    """Options, addresses and lines in lines are refused before a program starts."""
    with pytest.raises(BadInput, match=r"^--package asks for"):
        await _resolve(text, around=around | {"PATH": ""})


def test_command() -> None:
    """The command line names files of ours, the nodes' platform and no index."""
    assert command("uv", python="3.13.9", platform="linux-aarch64", interpreter="/opt/qgis/qgis") == [
        "uv",
        "pip",
        "compile",
        "requirements.txt",
        "--constraints",
        "constraints.txt",
        "--output-file",
        "pylock.toml",
        "--no-build",
        "--no-python-downloads",
        "--no-progress",
        "--python-platform",
        "aarch64-manylinux_2_35",
        "--python-version",
        "3.13.9",
        "--color",
        "never",
    ]
    own = command("uv", python="3.13", platform="linux-64", interpreter="/usr/bin/python3.13")
    assert own[-4:] == ["--python", "/usr/bin/python3.13", "--color", "never"]


def test_uv_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package uv the program on the path is taken, and without that a sentence tells what to do."""
    real = find_uv({})
    monkeypatch.setitem(sys.modules, "uv", None)
    copied = shutil.copy(real, tmp_path)
    assert find_uv({"PATH": str(tmp_path)}) == str(copied)
    with pytest.raises(EnvironmentUnavailable, match=r"which is not here: pip install uv\.$"):
        find_uv({"PATH": str(tmp_path / "nothing")})
