# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""downloads.sh: files are fetched over HTTP, verified, resumed and asked for again, and not for ever."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from process_node import SOURCED, Node, free_port
from proxies import write_certificates
from small_channel import (
    DISTRIBUTED,
    INSTALL,
    OTHER,
    PACED,
    Mirror,
    failure,
    give,
    is_installed,
    link,
    miniforge_pins,
    mirror,
    node,
    serve,
    slept,
)

from scherbelberg.concurrency.waiting import until

__all__ = ["mirror", "node"]
pytestmark = [
    pytest.mark.skipif("sys.platform == 'win32'", reason="nodes run Linux, and process hosts a Unix"),
    pytest.mark.usefixtures("curl"),
]


async def test_progress(node: Node, mirror: Mirror) -> None:
    """The bytes that have come are told of, and how many there will be, if the lock knows."""
    lock = node.payload / "env.lock"
    text = lock.read_text(encoding="utf-8").replace("@EXPLICIT", "# bytes: 400025\n@EXPLICIT")
    lock.write_text(text, encoding="utf-8")
    held = mirror.hold(OTHER)
    progress: list[str] = []

    def release(line: str) -> bool:
        if " progress " in line:
            progress.append(line)
            held.set()
        return False

    assert (await node.watch(INSTALL, heard=release)).code == 0
    assert progress[0] == f"@phase download progress {len(DISTRIBUTED.content)} 400025"


async def test_spoiled_once(node: Node, mirror: Mirror) -> None:
    """A package that came spoiled is fetched once more, from its beginning."""
    mirror.spoil(OTHER, times=1)
    assert (await node.source(INSTALL)).code == 0
    assert [request.range for request in mirror.requests if "other" in request.path] == [None, None]
    assert is_installed(node)


async def test_spoiled_always(node: Node, mirror: Mirror) -> None:
    """A package that stays spoiled is named, with its address, and nothing of it is installed or kept."""
    mirror.spoil(OTHER, times=9)
    ended = await node.source(INSTALL)
    url = f"{mirror.url}/channel{OTHER.path}"
    assert failure(ended) == (
        f"@hopeless download package {OTHER.name} from {url} has another SHA-256 than its lock says"
    )
    assert link(node) == "envs/d1"
    assert list((node.base / "envs").iterdir()) == [node.base / "envs/d1"]
    assert not list((node.base / "download/packages").rglob(OTHER.name))


@pytest.mark.parametrize("status", [404, 403, 410])
async def test_final_status(node: Node, mirror: Mirror, status: int) -> None:
    """What another try cannot better is the end at once, even while other packages are held up."""
    held = mirror.hold(DISTRIBUTED)
    mirror.answer(OTHER, *[status] * 9)
    ended = await node.source(INSTALL)
    held.set()
    assert failure(ended) == (
        f"@hopeless download package {OTHER.name} from {mirror.url}/channel{OTHER.path}: HTTP status {status}"
    )
    assert sum("other" in path for path in mirror.asked) == 1


async def test_statuses_that_pass(node: Node, mirror: Mirror) -> None:
    """A server that is busy is asked again."""
    mirror.answer(OTHER, 503, 429, 500)
    assert (await node.source(INSTALL)).code == 0
    assert sum("other" in path for path in mirror.asked) == 4


async def test_status_that_stays(node: Node, mirror: Mirror) -> None:
    """A server that stays busy is asked for minutes, less and less often, and not for ever."""
    mirror.answer(OTHER, *[503] * 99)
    assert failure(await node.source(f"PATIENCE_S=120 {PACED}")).endswith("HTTP status 503")
    pauses = slept(node)
    assert sum("other" in path for path in mirror.asked) == len(pauses) + 1
    assert 30 <= sum(pauses) <= 120  # the next one would have been too long
    assert pauses[0] <= 2
    assert pauses[-1] >= 8


async def test_server_that_says_when(node: Node, mirror: Mirror) -> None:
    """Who is told when to come again comes no earlier, and not all at the same moment; the client hears of it."""
    mirror.answer(OTHER, 429, retry_after="30")
    mirror.answer(OTHER, 503, retry_after="0")
    ended = await node.source(PACED)
    assert is_installed(node), ended
    first, second = slept(node)
    assert (30 <= first <= 40, second <= 4) == (True, True)
    told = [line.split(" ", 5)[5] for line in ended.said if "next try" in line]
    assert told == [
        f"HTTP status 429 (Retry-After: 30 s); next try in {first} s",
        f"HTTP status 503; next try in {second} s",
    ]


async def test_busy_server_beside_other_trouble(node: Node) -> None:
    """A server that is busy sets the moment of the next try, so it is named, whatever else went wrong."""
    lines = (
        'mkdir -p "$DOWNLOADS/packages"',
        "hindered packages 'package a from u: cut'",
        "busy packages 429 b 'package b from u'",
        "hindered packages 'package c from u: cut'",
        "bytes_of() { echo 0; }",
        "TOTAL_BYTES=0",
        "tell_pause packages 3",
    )
    ended = await node.source("\n".join(lines))
    assert [line for line in ended.said if "next try" in line] == [
        "@phase download progress 0 0 HTTP status 429; next try in 3 s"
    ]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 30", 30),
        ("retry-after:  08 ", 8),
        ("RETRY-AFTER: 7", 7),
        ("Retry-After: 123456789012345678901234567890", 9_999_999),
        ("Retry-After: soon", 0),
        ("Retry-After: -5", 0),
        ("Retry-After: $(touch /nowhere)", 0),
        ("Retry-After:", 0),
        ("Server: none", 0),
    ],
)
async def test_when_to_come_again(node: Node, header: str, seconds: int) -> None:
    """Only the last answer counts, and in it only what is a number of seconds."""
    answers = f"HTTP/1.1 302 Found\r\nRetry-After: 99\r\n\r\nHTTP/1.1 429 No\r\n{header}\r\n\r\n"
    node.path("answers").write_bytes(answers.encode())
    assert (await node.source('asked_s "$SYSROOT/answers"; asked_s "$SYSROOT/none"')).said == [str(seconds), "0"]


@pytest.mark.skipif("sys.platform != 'linux'", reason="nodes run Linux, whose date can read dates")
@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ("Fri, 01 Jan 2027 00:00:45 GMT", 45),
        ("Fri, 01 Jan 2027 00:02:00 GMT", 120),
        ("Thu, 31 Dec 2026 23:00:00 GMT", 0),
        ("Someday, GMT", 0),
    ],
)
async def test_moment_to_come_again(node: Node, moment: str, seconds: int) -> None:
    """A moment is one of the server's own clock."""
    answers = f"HTTP/2 503\r\ndate: Fri, 01 Jan 2027 00:00:00 GMT\r\nretry-after: {moment}\r\n\r\n"
    node.path("answers").write_bytes(answers.encode())
    assert (await node.source('asked_s "$SYSROOT/answers"')).said == [str(seconds)]


@pytest.mark.parametrize("settings", [{}, {"BOOTSTRAP_S": "60"}], ids=["patience", "deadline"])
async def test_server_that_wants_to_rest_for_too_long(node: Node, mirror: Mirror, settings: dict[str, str]) -> None:
    """Nobody waits, and pays, for a moment that comes too late."""
    node.push(**settings)
    (node.payload / "pins.toml").write_text(miniforge_pins(), encoding="utf-8")
    mirror.answer(OTHER, 429, retry_after="90" if settings else "3600")
    assert failure(await node.source(PACED)).endswith("s)")
    assert slept(node) == []


async def test_patience_with_a_server_that_is_busy_now_and_then(node: Node, mirror: Mirror) -> None:
    """As long as something comes, it is asked again."""
    for _ in range(3):
        mirror.answer(OTHER, 503, retry_after="20")
        mirror.cut(OTHER, after=100_000)
    assert (await node.source(f"PATIENCE_S=45 {PACED}")).code == 0
    assert sum(slept(node)) >= 60
    assert is_installed(node)


async def test_resumed(node: Node, mirror: Mirror) -> None:
    """A download that broke off goes on where it did."""
    mirror.cut(OTHER, after=1000)
    assert (await node.source(INSTALL)).code == 0
    assert [request.range for request in mirror.requests if "other" in request.path] == [None, "bytes=1000-"]
    assert is_installed(node)


async def test_server_that_cannot_resume(node: Node, mirror: Mirror) -> None:
    """Where the server knows no ranges, the download begins again."""
    mirror.cut(OTHER, after=1000)
    mirror.ranges = False
    assert (await node.source(INSTALL)).code == 0
    assert is_installed(node)


async def test_missing_miniforge(node: Node, mirror: Mirror) -> None:
    """Miniforge's installer is named when it is not to be had."""
    node.push(MINIFORGE_MIRROR=f"{mirror.url}/nowhere")
    (node.payload / "pins.toml").write_text(miniforge_pins(), encoding="utf-8")
    assert "Miniforge3-1-0-Linux-" in (line := failure(await node.source(INSTALL)))
    assert line.endswith("HTTP status 404")


async def test_refused_connection(node: Node) -> None:
    """A server that is not there is named."""
    address = f"127.0.0.1:{free_port()}"
    node.push(CHANNEL_MIRROR=f"http://{address}", MINIFORGE_MIRROR=f"http://{address}")
    (node.payload / "pins.toml").write_text(miniforge_pins(), encoding="utf-8")
    line = failure(await node.source(INSTALL))
    assert line.startswith("@failed download package ")
    assert f": no connection to {address} (" in line


async def test_unknown_host(node: Node) -> None:
    """A host that has no address is named."""
    node.push(CHANNEL_MIRROR="http://mirror.invalid/x", MINIFORGE_MIRROR="http://mirror.invalid/x")
    (node.payload / "pins.toml").write_text(miniforge_pins(), encoding="utf-8")
    assert failure(await node.source(INSTALL)).endswith("the name of the host mirror.invalid is not known")


async def test_plain_http_is_for_mirrors_alone(node: Node, mirror: Mirror) -> None:
    """What a lock names itself is fetched by HTTPS or not at all, and redirections do not change that."""
    digest = give(node, mirror, DISTRIBUTED, more=f"{mirror.url}/channel{OTHER.path}#sha256:{OTHER.sha256}\n")
    line = failure(await node.source(INSTALL))
    assert "rotocol" in line
    assert "other" in line
    assert not any("other" in path for path in mirror.asked)
    assert link(node) != f"envs/{digest}"


async def test_no_address_in_command_lines(node: Node, mirror: Mirror) -> None:
    """Addresses may have passwords in them, and every user of a machine sees its command lines."""
    held = mirror.hold(OTHER)
    seen: list[str] = []

    def look(line: str) -> bool:
        if line.startswith("@phase download progress"):
            seen.extend(" ".join(process.cmdline()) for process in node.processes())
            held.set()
        return False

    await node.watch(INSTALL, heard=look)
    assert any(line.startswith("curl ") for line in seen)
    assert not any(mirror.url in line for line in seen)


async def test_sent_packages(node: Node, mirror: Mirror) -> None:
    """Packages that the client sent along are not fetched, and verified as well."""
    folder = node.payload / "packages"
    folder.mkdir()
    (folder / OTHER.name).write_bytes(OTHER.content)
    assert (await node.source(INSTALL)).code == 0
    assert not any("other" in path for path in mirror.asked)
    assert is_installed(node)


async def test_spoiled_sent_package(node: Node) -> None:
    """A package that came spoiled from the client is named."""
    folder = node.payload / "packages"
    folder.mkdir()
    (folder / OTHER.name).write_bytes(b"spoiled")
    assert failure(await node.source(INSTALL)) == (
        f"@failed download package {OTHER.name}, which was sent along, has another SHA-256 than its lock says"
    )


async def test_killed_while_downloading(node: Node, mirror: Mirror) -> None:
    """After a kill the next run ends what still runs, resumes what is half there, and fetches nothing twice."""
    held = mirror.hold(OTHER, after=100_000)
    ended = await node.watch(INSTALL, heard=lambda line: " progress " in line and int(line.split()[3]) > 90_000)
    assert ended.code == -9
    mirror.forget()
    assert (await node.source(f"end_jobs; {INSTALL}")).code == 0
    held.set()
    (request,) = mirror.requests
    assert int((request.range or "bytes=0-")[6:-1]) > 90_000
    assert is_installed(node)


async def test_ended_in_order(node: Node, mirror: Mirror) -> None:
    """A run that is asked to end leaves no process."""
    held = mirror.hold(OTHER)
    process = await node.start("-c", SOURCED + INSTALL)
    await until(mirror.has_held, every_s=0.02, within_s=20, what="the download")
    process.terminate()
    await process.communicate()

    async def over() -> bool | None:
        return None if node.processes() else True

    await until(over, every_s=0.02, within_s=20, what="the end of all processes")
    held.set()


@pytest.fixture
def small_disk(node: Node) -> Iterator[Path]:
    """A folder for downloads in which not much fits."""
    folder = node.base / "download"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("not even root may mount anything here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif("sys.platform != 'linux' or os.geteuid() != 0", reason="Linux' root alone makes small disks")
async def test_full_disk(node: Node, small_disk: Path) -> None:
    """When nothing fits any more, the folder is named, and how much of it is free."""
    assert f"no space is left in {small_disk}: 0 MiB are free" in failure(await node.source(INSTALL))


@pytest.mark.parametrize("trusts", [True, False])
async def test_authority_of_a_mirror(node: Node, tmp_path: Path, *, trusts: bool) -> None:
    """A mirror with a certificate of the company's own is believed when that company's authority was sent along."""
    authority, certificate = write_certificates(tmp_path, host="localhost")
    with serve(DISTRIBUTED, OTHER, certificate=certificate) as mirror:
        give(node, mirror, DISTRIBUTED, OTHER)
        if trusts:
            (node.payload / "mirror-ca.pem").write_bytes(authority.read_bytes())
        ended = await node.source(INSTALL)
    if trusts:
        assert is_installed(node)
    else:
        assert "certificate" in failure(ended)
