# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""environment.sh: an environment is made as its lock says, in one go, or not at all."""

from __future__ import annotations

import string
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import psutil
import pytest
from catalogues import CALM
from hypothesis import given, settings
from hypothesis import strategies as st
from process_node import SOURCED, Node
from small_channel import (
    DISTRIBUTED,
    INSTALL,
    OTHER,
    Mirror,
    Package,
    failure,
    give,
    is_installed,
    link,
    make_wheel,
    mirror,
    node,
    platform_here,
    told,
)

from scherbelberg.concurrency.waiting import until

__all__ = ["mirror", "node"]
pytestmark = [
    pytest.mark.skipif("sys.platform == 'win32'", reason="nodes run Linux, and process hosts a Unix"),
    pytest.mark.usefixtures("curl"),
]


async def test_first_install(node: Node, mirror: Mirror) -> None:
    """Everything is fetched once and put in place for all users to run, and the phases say so."""
    ended = await node.source(INSTALL)
    assert ended.code == 0, ended
    lines = told(ended)
    assert (lines[0], lines[-2:]) == ("@phase download start", ["@phase environment start", "@phase environment done"])
    assert {"@phase miniforge start", "@phase miniforge done", "@phase download done"} == set(lines[1:-2])
    assert is_installed(node)
    assert sorted(mirror.asked) == sorted(set(mirror.asked))
    assert len(mirror.asked) == 3
    assert (node.base / "env/bin/python3").stat().st_mode & 0o055 == 0o055
    assert (node.base / "envs").stat().st_mode & 0o055 == 0o055


async def test_second_run(node: Node, mirror: Mirror) -> None:
    """What is there is left alone, and asked for nowhere, also by a machine made from a snapshot without Miniforge."""
    await node.source(INSTALL)
    before = mirror.asked.copy()
    again = await node.source(INSTALL)
    assert told(again) == ["@phase environment start", "@phase environment skipped already there"]
    assert mirror.asked == before


async def test_miniforge_is_kept(node: Node, mirror: Mirror) -> None:
    """Another environment is installed by the Miniforge that is there; a half-made one is replaced."""
    await node.source(INSTALL)
    give(node, mirror, DISTRIBUTED)
    assert "@phase miniforge skipped already there" in told(await node.source(INSTALL))
    (node.base / "miniforge/scherbelberg.sha256").write_text("another\n", encoding="utf-8")
    (node.base / "miniforge/left-over").touch()
    give(node, mirror, DISTRIBUTED, OTHER)
    assert "@phase miniforge done" in told(await node.source(INSTALL))
    assert not (node.base / "miniforge/left-over").exists()


async def test_miniforge_does_not_wait_for_packages(node: Node, mirror: Mirror) -> None:
    """Miniforge is installed while a package is still on its way."""
    held = mirror.hold(OTHER)

    def release(line: str) -> bool:
        if line == "@phase miniforge done":
            held.set()
        return False

    lines = told(await node.watch(INSTALL, heard=release))
    assert lines.index("@phase miniforge done") < lines.index("@phase download done")
    assert lines[-1] == "@phase environment done"


@pytest.mark.parametrize("head_start_s", [0, 60])
async def test_head_start(node: Node, mirror: Mirror, head_start_s: int) -> None:
    """Packages are not asked for before Miniforge has come, which takes long to install, unless that takes too long."""
    held = mirror.hold_installer()
    process = await node.start("-c", SOURCED + f"HEAD_START_S={head_start_s}; {INSTALL}")
    await until(mirror.has_held, every_s=0.02, within_s=20, what="Miniforge's download")
    if not head_start_s:
        await until(lambda: asked(mirror, 3), every_s=0.02, within_s=20, what="the packages' download")
    before = len(mirror.asked)
    held.set()
    await process.communicate()
    assert (process.returncode, before) == (0, 1 if head_start_s else 3)
    assert is_installed(node)


async def asked(mirror: Mirror, count: int) -> bool | None:
    """Whether so many files were asked for."""
    return len(mirror.asked) == count or None


# --- pins ---

_WORDS = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=9)
_VALUES = st.text(string.ascii_letters + string.digits + " ./:{}=-_#[]", max_size=20)
_TABLES = st.dictionaries(_WORDS, st.dictionaries(_WORDS, _VALUES, max_size=4), max_size=4)
_SHIPPED = (Path(__file__).parents[2] / "scherbelberg/share/pins.toml").read_text(encoding="utf-8")


def flattened(table: dict[str, Any], section: str = "") -> dict[tuple[str, str], str]:
    """Values by section and key."""
    found: dict[tuple[str, str], str] = {}
    for key, value in table.items():
        inner = f"{section}.{key}".lstrip(".")
        found |= flattened(value, inner) if isinstance(value, dict) else {(section, key): value}
    return found


def read_by_bash(folder: Path, text: str) -> None:
    """See that bash reads of some pins what Python does."""
    (folder / "pins.toml").write_text(text, encoding="utf-8")
    wanted = flattened(tomllib.loads(text))
    share = Path(__file__).parents[2] / "scherbelberg/share"
    asked = "".join(f'printf "%s\\n" "$(pin {section} {key})"\n' for section, key in wanted)
    setup = "source <(sed -n '/^pin()/,/^}/p' \"$1/environment.sh\"); PINS=$2; fail() { exit 1; }\n"
    words = ["bash", "-c", setup + asked, "-", str(share), str(folder / "pins.toml")]
    read = subprocess.run(words, check=True, capture_output=True, encoding="utf-8").stdout
    assert dict(zip(wanted, read.split("\n"), strict=False)) == wanted


@settings(parent=CALM, max_examples=30)
@given(_TABLES)
def test_pins(tmp_path_factory: pytest.TempPathFactory, tables: dict[str, dict[str, str]]) -> None:
    """Bash reads pins as Python does, whatever they are."""
    sections = (
        "\n".join([f"[{section}]", *(f'{key} = "{value}"' for key, value in keys.items())])
        for section, keys in tables.items()
    )
    read_by_bash(tmp_path_factory.mktemp("pins"), "# a comment\n" + "\n\n".join(sections) + "\n")


def test_shipped_pins(tmp_path: Path) -> None:
    """Bash reads the pins that we ship as Python does."""
    read_by_bash(tmp_path, _SHIPPED)
    assert ("miniforge.sha256", "aarch64") in flattened(tomllib.loads(_SHIPPED))


# --- what is wrong from the start ---


async def test_no_lock(node: Node) -> None:
    """Without a lock nothing but the image's environment will do."""
    (node.payload / "env.lock").unlink()
    sentence = f"this machine's image does not hold the environment {node.settings['ENV_DIGEST']}, and none was sent"
    assert failure(await node.source(INSTALL)) == f"@hopeless environment {sentence}"


async def test_wrong_architecture(node: Node, mirror: Mirror) -> None:
    """An environment for another kind of machine is refused before anything is fetched."""
    lock = node.payload / "env.lock"
    other = "linux-64" if platform_here() == "linux-aarch64" else "linux-aarch64"
    lock.write_text(lock.read_text(encoding="utf-8").replace(platform_here(), other), encoding="utf-8")
    give_digest = node.settings["ENV_DIGEST"]
    assert f"the environment {give_digest} is for {other}" in failure(await node.source(INSTALL))
    assert mirror.asked == []


async def test_wrong_digest(node: Node, mirror: Mirror) -> None:
    """A lock that is not the one that was asked for is refused before anything is fetched."""
    with (node.payload / "env.lock").open("a", encoding="utf-8") as lock:
        lock.write("# one more\n")
    assert f"where {node.settings['ENV_DIGEST']} was asked for" in failure(await node.source(INSTALL))
    assert mirror.asked == []


async def test_senseless_lock(node: Node, mirror: Mirror) -> None:
    """A line that is neither a package nor a wheel is shown."""
    give(node, mirror, more="https://conda.anaconda.org/x/noarch/y-1-0.conda\n")
    assert "makes no sense: https://conda.anaconda.org/x/noarch/y-1-0.conda" in failure(await node.source(INSTALL))


async def test_changed_script(node: Node) -> None:
    """A script that is not what was sent does nothing."""
    with (node.payload / "direct.py").open("a", encoding="utf-8") as part:
        part.write("# more\n")
    assert f"where {node.settings['SCRIPT_DIGEST']} was sent" in failure(await node.up())


# --- killed in the middle ---


async def test_killed_while_installing(node: Node, mirror: Mirror) -> None:
    """A half-made environment is never in use, and the next run makes it anew."""
    waits = node.base / "mamba-waits"
    waits.touch()

    async def half_made() -> int | None:
        text = node.read(f"opt/scherbelberg/envs/{node.settings['ENV_DIGEST']}/half-made")
        return int(text) if text else None

    process = await node.start("-c", SOURCED + INSTALL)
    pid = await until(half_made, every_s=0.02, within_s=20, what="mamba")
    process.kill()
    await process.communicate()
    assert (psutil.pid_exists(pid), link(node)) == (True, "envs/d1")
    waits.unlink()
    mirror.forget()
    ended = await node.source(f"end_jobs; {INSTALL}")
    assert (ended.code, mirror.asked) == (0, [])
    assert "@phase miniforge skipped already there" in told(ended)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert is_installed(node)
    assert not (node.base / "env/half-made").exists()


# --- installing ---


async def test_mamba_fails(node: Node, mirror: Mirror) -> None:
    """What mamba said last is in the log, and the environment that was there stays in use."""
    (node.base / "mamba-fails").write_text("the last words", encoding="utf-8")
    ended = await node.source(INSTALL)
    assert failure(ended) == "@failed environment mamba ended with exit status 3"
    assert "the last words" in ended.log
    assert link(node) == "envs/d1"


async def test_environment_without_distributed(node: Node, mirror: Mirror) -> None:
    """An environment that Dask does not start from is not put in place."""
    give(node, mirror, OTHER)
    ended = await node.source(INSTALL)
    assert failure(ended) == "@failed environment python3 ended with exit status 1"
    assert "No module named 'distributed'" in ended.log
    assert link(node) == "envs/d1"


async def test_wheels(node: Node, mirror: Mirror, tmp_path: Path) -> None:
    """Wheels are installed by the environment's own pip, by hash and without an index."""
    pip = pytest.importorskip("pip", reason="the running interpreter has no pip")
    site = Package("site-1-0.conda", f"{Path(str(pip.__file__)).parent.parent}\n".encode())
    wheel = make_wheel("tiny", "1.0")
    mirror.offer(site)
    give(node, mirror, DISTRIBUTED, site, more=wheel.lock_line)
    (node.payload / "packages").mkdir()
    (node.payload / "packages" / wheel.name).write_bytes(wheel.content)
    ended = await node.source(f'{INSTALL}; "$PYTHON" -I -c "import tiny; print(tiny.__file__)"')
    assert ended.code == 0, ended
    assert str(node.base) in ended.said[-1]
