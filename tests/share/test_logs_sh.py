# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""logs.sh, which prints a machine's logs, and record.sh, which keeps what the bootstrap says."""

from __future__ import annotations

import asyncio
import re
import shlex
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from process_node import WITHIN_S, Ended, Node, free_port, make_node

from scherbelberg.environments.shipped import shipped_files
from scherbelberg.nodes.logs import MISSING, SCRIPT, SOURCES, Source, log_command

_RECORD = "var/log/scherbelberg/bootstrap.log"
_FILES: dict[Source, str] = {
    "cloud-init": "var/log/cloud-init-output.log",
    "bootstrap": _RECORD,
    "dask": "var/log/scherbelberg/worker.log",
}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A machine to which the files were pushed."""
    made = make_node(tmp_path, role="scheduler", scheduler_port=free_port())
    yield made
    await made.end()


async def _begin(node: Node, line: str) -> asyncio.subprocess.Process:
    process = await node.start("-c", line)
    assert process.stdin is not None
    process.stdin.write(shipped_files()[SCRIPT])
    return process


async def _ask(node: Node, line: str) -> Ended:
    """Let the machine print a log."""
    process = await _begin(node, line)
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    return Ended(code=await process.wait(), said=out.decode().splitlines(), log=err.decode())


def _write(node: Node, name: str, text: str) -> Path:
    node.path(name).parent.mkdir(parents=True, exist_ok=True)
    node.path(name).write_text(text, encoding="utf-8")
    return node.path(name)


@pytest.mark.parametrize("source", SOURCES)
async def test_last_lines(node: Node, source: Source) -> None:
    """As many of a log's last lines as one wants and as many bytes of them; where there is none, a few words say so."""
    ended = await _ask(node, log_command(source, 2))
    assert (ended.code, ended.said, len(ended.log.splitlines())) == (MISSING, [], 1)
    _write(node, _FILES[source], "one\ntwo\nthrée\n")
    for count, most_bytes, lines in ((2, None, ["two", "thrée"]), (9, 11, ["two", "thrée"]), (0, None, [])):
        ended = await _ask(node, log_command(source, count, most_bytes=most_bytes))
        assert (ended.code, ended.said, ended.log) == (0, lines, "")


async def test_cloud_init_without_output(node: Node) -> None:
    """Where cloud-init kept only its own log, that is shown."""
    _write(node, "var/log/cloud-init-output.log", "")
    _write(node, "var/log/cloud-init.log", "WARNING: odd\n")
    assert (await _ask(node, log_command("cloud-init", 5))).said == ["WARNING: odd"]


@pytest.mark.parametrize("source", SOURCES)
async def test_following(node: Node, source: Source) -> None:
    """A log is followed before it begins, where a new file takes its place, and until standard input ends."""
    process = await _begin(node, log_command(source, 5, follow=True))
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(WITHIN_S):
        assert b" here\n" in await process.stderr.readline()
        log = _write(node, _FILES[source], "old\n")
        assert await process.stdout.readline() == b"old\n"
        with log.open("a", encoding="utf-8") as file:
            file.write("more\n")
        assert await process.stdout.readline() == b"more\n"
        log.rename(log.with_suffix(".log.1"))
        log.write_text("new\n", encoding="utf-8")
        assert await process.stdout.readline() == b"new\n"
        process.stdin.close()
        assert await process.stdout.read() == b""
        await process.wait()
    assert node.processes() == []


async def test_journal(node: Node) -> None:
    """Where systemd keeps Dask's log, it is asked for both units, for as many lines, and to go on."""
    path = node.path("usr/bin/journalctl")
    path.write_text('#!/bin/sh\necho "$*"\n', encoding="utf-8")
    path.chmod(0o755)
    # A machine's own root has no such variable; the folder by which systemd is known is there on machines alone.
    script = shipped_files()[SCRIPT].decode().replace("-d /run/systemd/system", "1 == 1")
    units = "--unit scherbelberg-dask@scheduler.service --unit scherbelberg-dask@worker.service --quiet --no-pager"
    for words, more in (("5", "--lines 5"), ("5 follow", "--lines 5 --follow"), ("7 999", "--lines 7")):
        line = f"unset SCHERBELBERG_SYSROOT; bash -c {shlex.quote(script)} logs.sh dask {words}"
        # Opened for both, a pipe never ends: somebody listens.
        ended = await node.source(f"mkfifo listener; {line} <>listener 3>&- 4<&-; rm listener")
        assert ended.said == [f"{units} {more}"]


# --- what the bootstrap keeps ---


async def test_record(node: Node) -> None:
    """The script's runs are kept in a file of root's alone, each between two marks, with its phases and complaints."""
    assert (await node.up()).code == 0
    record = node.path(_RECORD)
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    record.chmod(0o644)
    node.push(SCRIPT_DIGEST="another")
    failed = await node.up()
    assert (failed.code, "bootstrap.sh: the pushed script has the digest" in failed.log) == (1, True)
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    text = node.read(_RECORD)
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    marks = re.findall(rf"^--- {when} (.*) ---$", text, flags=re.MULTILINE)
    assert marks == ["up begins", "up ends with exit code 0", "up begins", "up ends with exit code 1"]
    phases = re.findall(rf"^{when} phase (\w+ \w+)", text, flags=re.MULTILINE)
    assert (phases[0], phases[-1], len(phases)) == ("hostkey start", "service done", 8)
    assert text.splitlines()[-2] == failed.log.splitlines()[-1]
    assert "phase" not in failed.log
    assert list(node.path("run/scherbelberg").glob("record.*")) == []


async def test_record_of_a_killed_run(node: Node) -> None:
    """A run that was killed leaves what it said, and no process; the next one writes behind it."""
    assert (await node.up(stop_at="@csr")).code < 0
    assert "phase tls start" in node.read(_RECORD)
    assert (await node.up()).code == 0
    marks = re.findall(r"^--- \S+ up (\w+)", node.read(_RECORD), flags=re.MULTILINE)
    assert marks == ["begins", "begins", "ends"]


async def test_record_is_bounded(node: Node) -> None:
    """However much is said, the client hears it all, and the file keeps its limit; one that is half full makes room."""
    script = "RECORD_BYTES=2000; begin_record; trap leave EXIT; seq -f 'line %g' 1000 >&2; false"
    for _ in range(2):
        ended = await node.source(script)
        assert (ended.code, ended.log.splitlines()) == (1, [f"line {number}" for number in range(1, 1001)])
        kept = node.read(_RECORD).splitlines()
        assert kept[1] == "line 1"
        assert len(node.read(_RECORD)) < 2100
        assert "ends with exit code 1" in kept[-1]
    assert "ends with exit code 1" in node.read(f"{_RECORD}.1")
    assert stat.S_IMODE(node.path(f"{_RECORD}.1").stat().st_mode) == 0o600


async def _recording(node: Node, snippet: str) -> asyncio.subprocess.Process:
    return await node.start("-c", f"source scherbelberg-payload/bootstrap.sh; set -e; begin_record; {snippet}")


async def test_record_goes_on_without_a_client(node: Node) -> None:
    """What is said after the connection was lost is kept all the same."""
    process = await _recording(node, "echo first >&2; read -r; echo second >&2; end_record 0")
    assert process.stderr is not None
    assert process.stdin is not None
    async with asyncio.timeout(WITHIN_S):
        assert await process.stderr.readline() == b"first\n"
        process._transport.get_pipe_transport(2).close()  # type: ignore[attr-defined] # nothing public does it
        process.stdin.write(b"\n")
        assert await process.wait() == 0
    assert [line for line in node.read(_RECORD).splitlines() if line[0] != "-"] == ["first", "second"]


async def test_record_holds_up_nobody(node: Node) -> None:
    """A run whose standard output leads to the record too, as that of `up` does, ends once its last line is kept."""
    script = "RECORD_END_S=600; begin_record; exec 1>&2; trap leave EXIT; echo last"
    ended = await asyncio.wait_for(node.source(script), WITHIN_S)
    assert (ended.code, node.read(_RECORD).splitlines()[-2]) == (0, "last")


async def test_record_waits_for_nobody(node: Node) -> None:
    """What still holds stderr at the end of a run does not keep it."""
    process = await _recording(node, "RECORD_END_S=1; sleep 60 >/dev/null & end_record 0; echo over")
    assert process.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        assert await process.stdout.read() == b"over\n"
    await node.end()
    await process.communicate()
