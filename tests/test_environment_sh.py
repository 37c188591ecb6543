# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""environment.sh and downloads.sh: an environment is fetched over HTTP, verified, installed and put in place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from mirrors import BODY, Mirror, Package, lock_text, make_wheel, miniforge_pins, platform_here, serve
from process_node import Ended, Node, free_port, make_node

from scherbelberg.waiting import until

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="nodes run Linux, and process hosts a Unix")
_INSTALL = "PAUSE_S=0; phase_environment"
_DISTRIBUTED = Package("distributed-1.0-0.conda", b"# stands for distributed\n")
_OTHER = Package("other-2.0-py_1.conda", b"# other\n" * 50_000)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """A channel with two packages, and Miniforge."""
    with serve(_DISTRIBUTED, _OTHER) as made:
        yield made


@pytest.fixture
async def node(tmp_path: Path, mirror: Mirror) -> AsyncIterator[Node]:
    """A machine whose image holds another environment, and that was told of the mirror."""
    made = make_node(tmp_path, role="scheduler", scheduler_port=free_port())
    give(made, mirror, _DISTRIBUTED, _OTHER)
    yield made
    await made.end()


def give(node: Node, mirror: Mirror, *packages: Package, more: str = "") -> str:
    """Push a lock and what belongs to it; returns its digest."""
    text, digest = lock_text(*packages, more=more)
    node.push(ENV_DIGEST=digest, CHANNEL_MIRROR=f"{mirror.url}/channel", MINIFORGE_MIRROR=f"{mirror.url}/miniforge")
    (node.payload / "env.lock").write_text(text, encoding="utf-8")
    (node.payload / "pins.toml").write_text(miniforge_pins(), encoding="utf-8")
    return digest


def told(ended: Ended) -> list[str]:
    """What was said of phases, without progress."""
    return [line for line in ended.said if line.startswith("@phase") and " progress " not in line]


def failure(ended: Ended) -> str:
    """The one sentence of a run that failed."""
    assert ended.code == 1, ended
    (line,) = [line for line in ended.said if line.startswith("@failed")]
    return line


def link(node: Node) -> str:
    """Where the link leads."""
    return os.readlink(node.base / "env")


def is_installed(node: Node) -> bool:
    """Whether the environment that was asked for is in place, and all packages are in it."""
    folder = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    found = {path.name for path in (node.base / "env" / folder).glob("*.py")}
    return link(node) == f"envs/{node.settings['ENV_DIGEST']}" and {"distributed.py", "other.py"} <= found


async def test_first_install(node: Node, mirror: Mirror) -> None:
    """Everything is fetched once and put in place; the phases say so, and nothing that only they need is open to all."""
    ended = await node.source(_INSTALL)
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
    await node.source(_INSTALL)
    before = mirror.asked.copy()
    again = await node.source(_INSTALL)
    assert told(again) == ["@phase environment start", "@phase environment skipped already there"]
    assert mirror.asked == before


async def test_miniforge_is_kept(node: Node, mirror: Mirror) -> None:
    """Another environment is installed by the Miniforge that is there; a half-made one is replaced."""
    await node.source(_INSTALL)
    give(node, mirror, _DISTRIBUTED)
    assert "@phase miniforge skipped already there" in told(await node.source(_INSTALL))
    (node.base / "miniforge/scherbelberg.sha256").write_text("another\n", encoding="utf-8")
    (node.base / "miniforge/left-over").touch()
    give(node, mirror, _DISTRIBUTED, _OTHER)
    assert "@phase miniforge done" in told(await node.source(_INSTALL))
    assert not (node.base / "miniforge/left-over").exists()


async def test_miniforge_does_not_wait_for_packages(node: Node, mirror: Mirror) -> None:
    """Miniforge is installed while a package is still on its way."""
    held = mirror.hold(_OTHER)

    def release(line: str) -> bool:
        if line == "@phase miniforge done":
            held.set()
        return False

    lines = told(await node.watch(_INSTALL, heard=release))
    assert lines.index("@phase miniforge done") < lines.index("@phase download done")
    assert lines[-1] == "@phase environment done"


async def test_progress(node: Node, mirror: Mirror) -> None:
    """The bytes that have come are told of, and how many there will be, if the lock knows."""
    lock = node.payload / "env.lock"
    lock.write_text(lock.read_text(encoding="utf-8").replace("@EXPLICIT", "# bytes: 400025\n@EXPLICIT"), "utf-8")
    held, progress = mirror.hold(_OTHER), []

    def release(line: str) -> bool:
        if " progress " in line:
            progress.append(line)
            held.set()
        return False

    assert (await node.watch(_INSTALL, heard=release)).code == 0
    assert progress[0] == f"@phase download progress {len(_DISTRIBUTED.content)} 400025"


# --- what goes wrong on the way ---


async def test_spoiled_once(node: Node, mirror: Mirror) -> None:
    """A package that came spoiled is fetched once more, from its beginning."""
    mirror.spoil(_OTHER, times=1)
    assert (await node.source(_INSTALL)).code == 0
    assert [request.range for request in mirror.requests if "other" in request.path] == [None, None]
    assert is_installed(node)


async def test_spoiled_always(node: Node, mirror: Mirror) -> None:
    """A package that stays spoiled is named, with its address, and nothing of it is installed or kept."""
    mirror.spoil(_OTHER, times=9)
    ended = await node.source(_INSTALL)
    url = f"{mirror.url}/channel{_OTHER.path}"
    assert failure(ended) == (
        f"@failed download package {_OTHER.name} from {url} has another SHA-256 than its lock says"
    )
    assert link(node) == "envs/d1"
    assert list((node.base / "envs").iterdir()) == [node.base / "envs/d1"]
    assert not list((node.base / "download/packages").rglob(_OTHER.name))


@pytest.mark.parametrize("status", [404, 403, 410])
async def test_final_status(node: Node, mirror: Mirror, status: int) -> None:
    """What another try cannot better is the end at once, even while other packages are held up."""
    held = mirror.hold(_DISTRIBUTED)
    mirror.answer(_OTHER, *[status] * 9)
    ended = await node.source(_INSTALL)
    held.set()
    assert failure(ended) == (
        f"@failed download package {_OTHER.name} from {mirror.url}/channel{_OTHER.path}: HTTP status {status}"
    )
    assert sum("other" in path for path in mirror.asked) == 1


async def test_statuses_that_pass(node: Node, mirror: Mirror) -> None:
    """A server that is busy is asked again."""
    mirror.answer(_OTHER, 503, 429, 500)
    assert (await node.source(_INSTALL)).code == 0
    assert sum("other" in path for path in mirror.asked) == 4


async def test_status_that_stays(node: Node, mirror: Mirror) -> None:
    """A server that stays busy is not asked for ever."""
    mirror.answer(_OTHER, *[503] * 99)
    assert failure(await node.source(_INSTALL)).endswith("HTTP status 503")
    assert sum("other" in path for path in mirror.asked) == 5


async def test_resumed(node: Node, mirror: Mirror) -> None:
    """A download that broke off goes on where it did."""
    mirror.cut(_OTHER, after=1000)
    assert (await node.source(_INSTALL)).code == 0
    assert [request.range for request in mirror.requests if "other" in request.path] == [None, "bytes=1000-"]
    assert is_installed(node)


async def test_server_that_cannot_resume(node: Node, mirror: Mirror) -> None:
    """Where the server knows no ranges, the download begins again."""
    mirror.cut(_OTHER, after=1000)
    mirror.ranges = False
    assert (await node.source(_INSTALL)).code == 0
    assert is_installed(node)


async def test_missing_miniforge(node: Node, mirror: Mirror) -> None:
    """Miniforge's installer is named when it is not to be had."""
    node.push(MINIFORGE_MIRROR=f"{mirror.url}/nowhere")
    (node.payload / "pins.toml").write_text(miniforge_pins(), encoding="utf-8")
    assert "Miniforge3-1-0-Linux-" in (line := failure(await node.source(_INSTALL)))
    assert line.endswith("HTTP status 404")


async def test_refused_connection(node: Node) -> None:
    """A server that is not there is named."""
    address = f"127.0.0.1:{free_port()}"
    node.push(CHANNEL_MIRROR=f"http://{address}", MINIFORGE_MIRROR=f"http://{address}")
    (node.payload / "pins.toml").write_text(miniforge_pins(), encoding="utf-8")
    line = failure(await node.source(_INSTALL))
    assert line.startswith("@failed download package ")
    assert f": no connection to {address} (" in line


async def test_unknown_host(node: Node) -> None:
    """A host that has no address is named."""
    node.push(CHANNEL_MIRROR="http://mirror.invalid/x", MINIFORGE_MIRROR="http://mirror.invalid/x")
    (node.payload / "pins.toml").write_text(miniforge_pins(), encoding="utf-8")
    assert failure(await node.source(_INSTALL)).endswith("the name of the host mirror.invalid is not known")


async def test_plain_http_is_for_mirrors_alone(node: Node, mirror: Mirror) -> None:
    """What a lock names itself is fetched by HTTPS or not at all, and redirections do not change that."""
    digest = give(node, mirror, _DISTRIBUTED, more=f"{mirror.url}/channel{_OTHER.path}#sha256:{_OTHER.sha256}\n")
    line = failure(await node.source(_INSTALL))
    assert "rotocol" in line
    assert "other" in line
    assert not any("other" in path for path in mirror.asked)
    assert link(node) != f"envs/{digest}"


async def test_no_address_in_command_lines(node: Node, mirror: Mirror) -> None:
    """Addresses may have passwords in them, and every user of a machine sees its command lines."""
    held = mirror.hold(_OTHER)
    seen: list[str] = []

    def look(line: str) -> bool:
        if line == "@phase miniforge done":
            seen.extend(" ".join(process.cmdline()) for process in node.processes())
            held.set()
        return False

    await node.watch(_INSTALL, heard=look)
    assert any(line.startswith("curl ") for line in seen)
    assert not any(mirror.url in line for line in seen)


# --- what is wrong from the start ---


async def test_no_lock(node: Node) -> None:
    """Without a lock nothing but the image's environment will do."""
    (node.payload / "env.lock").unlink()
    sentence = f"this machine's image does not hold the environment {node.settings['ENV_DIGEST']}, and none was sent"
    assert failure(await node.source(_INSTALL)) == f"@failed environment {sentence}"


async def test_wrong_architecture(node: Node, mirror: Mirror) -> None:
    """An environment for another kind of machine is refused before anything is fetched."""
    lock = node.payload / "env.lock"
    other = "linux-64" if platform_here() == "linux-aarch64" else "linux-aarch64"
    lock.write_text(lock.read_text(encoding="utf-8").replace(platform_here(), other), encoding="utf-8")
    give_digest = node.settings["ENV_DIGEST"]
    assert f"the environment {give_digest} is for {other}" in failure(await node.source(_INSTALL))
    assert mirror.asked == []


async def test_wrong_digest(node: Node, mirror: Mirror) -> None:
    """A lock that is not the one that was asked for is refused before anything is fetched."""
    with (node.payload / "env.lock").open("a", encoding="utf-8") as lock:
        lock.write("# one more\n")
    assert f"where {node.settings['ENV_DIGEST']} was asked for" in failure(await node.source(_INSTALL))
    assert mirror.asked == []


async def test_senseless_lock(node: Node, mirror: Mirror) -> None:
    """A line that is neither a package nor a wheel is shown."""
    give(node, mirror, more="https://conda.anaconda.org/x/noarch/y-1-0.conda\n")
    assert "makes no sense: https://conda.anaconda.org/x/noarch/y-1-0.conda" in failure(await node.source(_INSTALL))


async def test_changed_script(node: Node) -> None:
    """A script that is not what was sent does nothing."""
    with (node.payload / "direct.py").open("a", encoding="utf-8") as part:
        part.write("# more\n")
    assert f"where {node.settings['SCRIPT_DIGEST']} was sent" in failure(await node.up())


# --- killed in the middle ---


async def test_killed_while_downloading(node: Node, mirror: Mirror) -> None:
    """After a kill the next run ends what still runs, resumes what is half there, and fetches nothing twice."""
    held = mirror.hold(_OTHER, after=100_000)
    ended = await node.watch(_INSTALL, heard=lambda line: " progress " in line and int(line.split()[3]) > 90_000)
    assert ended.code == -9
    mirror.forget()
    assert (await node.source(f"end_jobs; {_INSTALL}")).code == 0
    held.set()
    (request,) = mirror.requests
    assert int((request.range or "bytes=0-")[6:-1]) > 90_000
    assert is_installed(node)


async def test_killed_while_installing(node: Node, mirror: Mirror) -> None:
    """A half-made environment is never in use, and the next run makes it anew."""
    waits = node.base / "mamba-waits"
    waits.touch()

    async def half_made() -> int | None:
        text = node.read(f"opt/scherbelberg/envs/{node.settings['ENV_DIGEST']}/half-made")
        return int(text) if text else None

    process = await node.start("-c", BODY.format(install=_INSTALL))
    pid = await until(half_made, every_s=0.02, within_s=20, what="mamba")
    process.kill()
    await process.communicate()
    assert (psutil.pid_exists(pid), link(node)) == (True, "envs/d1")
    waits.unlink()
    mirror.forget()
    ended = await node.source(f"end_jobs; {_INSTALL}")
    assert (ended.code, mirror.asked) == (0, [])
    assert "@phase miniforge skipped already there" in told(ended)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert is_installed(node)
    assert not (node.base / "env/half-made").exists()


async def test_ended_in_order(node: Node, mirror: Mirror) -> None:
    """A run that is asked to end leaves no process."""
    held = mirror.hold(_OTHER)
    process = await node.start("-c", BODY.format(install=_INSTALL))
    await until(mirror.has_held, every_s=0.02, within_s=20, what="the download")
    process.terminate()
    await process.communicate()

    async def over() -> bool | None:
        return None if node.processes() else True

    await until(over, every_s=0.02, within_s=20, what="the end of all processes")
    held.set()


# --- installing ---


async def test_mamba_fails(node: Node, mirror: Mirror) -> None:
    """What mamba said last is in the log, and the environment that was there stays in use."""
    (node.base / "mamba-fails").write_text("the last words", encoding="utf-8")
    ended = await node.source(_INSTALL)
    assert failure(ended) == "@failed environment mamba ended with exit status 3"
    assert "the last words" in ended.log
    assert link(node) == "envs/d1"


async def test_environment_without_distributed(node: Node, mirror: Mirror) -> None:
    """An environment that Dask does not start from is not put in place."""
    give(node, mirror, _OTHER)
    ended = await node.source(_INSTALL)
    assert failure(ended) == "@failed environment python3 ended with exit status 1"
    assert "No module named 'distributed'" in ended.log
    assert link(node) == "envs/d1"


async def test_sent_packages(node: Node, mirror: Mirror) -> None:
    """Packages that the client sent along are not fetched, and verified as well."""
    folder = node.payload / "packages"
    folder.mkdir()
    (folder / _OTHER.name).write_bytes(_OTHER.content)
    assert (await node.source(_INSTALL)).code == 0
    assert not any("other" in path for path in mirror.asked)
    assert is_installed(node)


async def test_spoiled_sent_package(node: Node) -> None:
    """A package that came spoiled from the client is named."""
    folder = node.payload / "packages"
    folder.mkdir()
    (folder / _OTHER.name).write_bytes(b"spoiled")
    assert failure(await node.source(_INSTALL)) == (
        f"@failed download package {_OTHER.name}, which was sent along, has another SHA-256 than its lock says"
    )


async def test_wheels(node: Node, mirror: Mirror, tmp_path: Path) -> None:
    """Wheels are installed by the environment's own pip, by hash and without an index."""
    pip = pytest.importorskip("pip", reason="the running interpreter has no pip")
    site = Package("site-1-0.conda", f"{Path(str(pip.__file__)).parent.parent}\n".encode())
    wheel = make_wheel("tiny", "1.0")
    mirror.offer(site)
    give(node, mirror, _DISTRIBUTED, site, more=wheel.lock_line)
    (node.payload / "packages").mkdir()
    (node.payload / "packages" / wheel.name).write_bytes(wheel.content)
    ended = await node.source(f'{_INSTALL}; "$PYTHON" -I -c "import tiny; print(tiny.__file__)"')
    assert ended.code == 0, ended
    assert str(node.base) in ended.said[-1]


async def test_another_environment(node: Node, mirror: Mirror) -> None:
    """A new environment takes the place of the old one under Dask, which is started again from it; the old one goes."""
    old = node.settings["ENV_DIGEST"]
    node.hold(old)
    assert (await node.up()).said[-1] == "@phase service done"
    before = node.pid("dask")
    site = Package("site-1-0.conda", "".join(f"{path}\n" for path in sys.path if "site-packages" in path).encode())
    mirror.offer(site)
    new = give(node, mirror, site)
    ended = await node.up()
    assert ended.said[-1] == "@phase service done", ended
    assert node.pid("dask") != before
    assert f"envs/{new}/bin/python3" in " ".join(psutil.Process(node.pid("dask")).cmdline())
    assert [path.name for path in (node.base / "envs").iterdir()] == [new]
    assert not (node.base / "download").exists()
    assert Path(sys.prefix).exists()
    again = await node.up()
    assert again.said[-1] == "@phase service skipped"
    assert "@phase environment skipped already there" in again.said


@pytest.mark.skipif(
    "sys.platform != 'linux' or os.geteuid() != 0", reason="a small file system is made by Linux' root alone"
)
async def test_full_disk(node: Node, mirror: Mirror) -> None:
    """When nothing fits any more, the folder is named, and how much there was."""
    folder = node.base / "download"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", folder], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("this root may not mount anything")
    try:
        line = failure(await node.source(_INSTALL))
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
    assert f"no space is left in {folder}: " in line
