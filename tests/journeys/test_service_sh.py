# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""service.sh: Dask's command line, its supervision, and real Dask processes that are killed."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL

import psutil
import pytest
from distributed import Client, Security
from process_node import ADDRESS, UID, WITHIN_S, Node, free_port, make_node

from scherbelberg.concurrency.waiting import until
from scherbelberg.state.keys import make_authority, make_client

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="nodes run Linux, and process hosts a Unix")
_WORKER_LOG = "var/log/scherbelberg/worker.log"
#: Makes `exec ROLE` of the installed script run something else than Dask; the rest stays as it is.
_FAKE = """
cat >"$BASE/bin/bootstrap.sh" <<'END'
[[ $1 == exec ]] || exec "$BASH" "$HOME/scherbelberg-payload/bootstrap.sh" "$@"
{body}
END
put "$BASE/etc/node.env" 0644 <"$PAYLOAD/node.env"
"""


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A machine that has been pushed to."""
    made = make_node(tmp_path, role="scheduler", scheduler_port=free_port())
    yield made
    await made.end()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """A scheduler and a worker that are up, and are again when a test ends."""
    folder, port = tmp_path_factory.mktemp("cluster"), free_port()
    authority = make_authority(uid=UID, now_s=time.time())
    scheduler = make_node(folder, role="scheduler", scheduler_port=port, authority=authority)
    worker = make_node(folder, role="worker", scheduler_port=port, authority=authority)
    try:
        for made in (scheduler, worker):
            assert asyncio.run(made.up()).said[-1] == "@phase service done"
        yield scheduler, worker
    finally:
        for made in (scheduler, worker):
            asyncio.run(made.end())


@asynccontextmanager
async def _client(scheduler: Node) -> AsyncIterator[Client]:
    """Connect over TLS, and wait for a worker whose nanny has started: before that neither can end in good order."""
    own = make_client(scheduler.authority, uid=UID, now_s=time.time())
    security = Security(
        require_encryption=True,
        tls_ca_file=scheduler.authority.certificate.decode(),
        tls_client_cert=own.certificate.decode(),
        tls_client_key=own.key.decode(),
    )
    address = f"tls://{ADDRESS}:{scheduler.settings['SCHEDULER_PORT']}"
    async with Client(address, security=security, asynchronous=True, timeout=WITHIN_S) as client:
        await client.wait_for_workers(1, timeout=WITHIN_S)
        await client.run(os.getpid, nanny=True)  # a nanny answers when it has started
        yield client


async def _restarted(node: Node, before: int) -> int:
    """Wait until Dask's main process is another one."""

    async def probe() -> int | None:
        pid = node.pid("dask")
        return pid if pid != before and psutil.pid_exists(pid) else None

    return await until(probe, every_s=0.05, within_s=WITHIN_S, what="another Dask process")


def _what_runs(node: Node) -> tuple[int, int, str]:
    return node.pid("supervisor"), node.pid("dask"), node.read("opt/scherbelberg/etc/tls/node.pem")


# --- real Dask ---


async def test_up_twice(cluster: tuple[Node, Node]) -> None:
    """A second run changes nothing: same processes, same keys, and work in memory is still there."""
    async with _client(cluster[0]) as client:
        future = client.submit(pow, 2, 10)
        assert await future == 1024
        before = [_what_runs(node) for node in cluster]
        for node in cluster:
            again = await node.up()
            assert (again.code, again.said[-1]) == (0, "@phase service skipped")
            assert not [line for line in again.said if line.startswith("@csr")]
        assert [_what_runs(node) for node in cluster] == before
        assert await future == 1024


async def test_killed_processes_come_back(cluster: tuple[Node, Node]) -> None:
    """After kill -9 of the worker, then of the scheduler, all compute again; a worker without scheduler ends with 0."""
    scheduler, worker = cluster
    before = len(worker.read(_WORKER_LOG))
    async with _client(scheduler) as client:
        old = await client.submit(os.getpid)
        killed = worker.pid("dask")
        os.kill(killed, SIGKILL)
        bereft = await _restarted(worker, killed)
        assert await client.submit(os.getpid, pure=False) != old
    assert old not in [process.pid for process in worker.processes()]
    killed = scheduler.pid("dask")
    async with _client(scheduler):
        os.kill(killed, SIGKILL)
    await _restarted(scheduler, killed)
    await _restarted(worker, bereft)
    async with _client(scheduler) as client:
        assert await client.submit(pow, 3, 2) == 9
    log = worker.read(_WORKER_LOG)[before:]
    assert re.findall(r"supervisor: Dask ended with exit code (\d+)", log) == ["137", "0"]


async def test_stop_and_start(cluster: tuple[Node, Node]) -> None:
    """Stop ends everything for good, and start begins anew from what is installed."""
    async with _client(cluster[0]):
        pass
    for node in cluster:
        assert (await node.run("status")).said == ["running"]
        assert (await node.run("stop")).code == 0
        assert (await node.run("status")).said == ["stopped"]
        assert node.processes() == []
    for node in cluster:
        assert (await node.run("start")).code == 0
    async with _client(cluster[0]) as client:
        assert await client.submit(pow, 3, 2) == 9


async def test_up_killed_half_way(node: Node) -> None:
    """A run that was killed is healed by the next one, which takes over the key that was made."""
    first = await node.up(stop_at="@csr")
    assert first.code == -SIGKILL
    second = await node.up()
    assert (second.code, second.said[1]) == (0, first.said[1])
    third = await node.up()
    assert [line.split()[2] for line in third.said if line.startswith("@phase") and " start" not in line] == [
        "skipped"
    ] * 4


async def test_new_settings_restart(node: Node) -> None:
    """Settings that Dask is started with restart it, and a deadline of the script does not."""
    await node.up()
    before = node.pid("dask")
    node.push(WAIT_S="9")
    assert (await node.up()).said[-1] == "@phase service skipped"
    node.push(SCHEDULER_PORT=str(free_port()))
    assert (await node.up()).said[-1] == "@phase service done"
    assert node.pid("dask") != before


# --- Dask's command line ---


async def test_scheduler_command(node: Node) -> None:
    """The scheduler's whole command line."""
    said = (await node.source('dask_command; printf "%s\\n" "${COMMAND[@]}"')).said
    base, ports = str(node.base), node.settings
    assert said == [
        *(f"{base}/envs/d1/bin/python3", "-P", "-X", "scherbelberg=scheduler.u1", "-m", "dask", "scheduler"),
        *("--preload", f"{base}/bin/openssl_errors.py", "--preload", f"{base}/bin/activity.py"),
        *("--preload", f"{base}/bin/preloads.py"),
        *("--preload", f"{base}/bin/dashboard_guard.py"),
        *("--port", ports["SCHEDULER_PORT"], "--dashboard-address", f"{ADDRESS}:{ports['DASHBOARD_PORT']}"),
        *("--protocol", "tls", "--host", ADDRESS, "--tls-ca-file", f"{base}/etc/tls/ca.pem"),
        *("--tls-cert", f"{base}/etc/tls/node.pem", "--tls-key", f"{base}/etc/tls/node.pem"),
    ]


async def test_worker_command(node: Node) -> None:
    """What a worker's command line has of its own."""
    node.push(NODE_ROLE="worker", NODE_NAME="worker000")
    said = (await node.source('read_machine; dask_command; printf "%s\\n" "${COMMAND[@]}"')).said
    ports, scripts = node.settings, f"{node.base}/bin"
    assert said[3:-10] == [
        *("scherbelberg=worker000.u1", "-m", "dask", "worker", "--preload", f"{scripts}/openssl_errors.py"),
        *("--preload", f"{scripts}/activity.py", "--preload", f"{scripts}/preloads.py"),
        f"tls://{ADDRESS}:{ports['SCHEDULER_PORT']}",
        *("--name", "worker000", "--no-dashboard", "--nthreads", "1", "--memory-limit", "850000000"),
        *("--worker-port", ports["WORKER_PORT"], "--nanny-port", ports["NANNY_PORT"]),
        *("--local-directory", str(node.path("var/lib/scherbelberg")), "--preload", f"{scripts}/scratch.py"),
        *("--preload-nanny", f"{scripts}/openssl_errors.py", "--preload-nanny", f"{scripts}/preloads.py"),
    ]


async def test_exec_ignores_ambient_settings(node: Node) -> None:
    """Dask is configured by the node's own files alone."""
    prelude = _FAKE.format(body="") + 'export DASK_TEMPORARY_DIRECTORY=/x; install -d "$WORK"; '
    ended = await node.source(prelude + "exec() { env | grep ^DASK_ | sort; }; exec_dask scheduler")
    folder = f"{node.base}/etc/dask"
    encryption = "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True"
    *others, spilling = ended.said[:2] + ended.said[3:] + ended.said[2:3]
    assert others == [f"DASK_CONFIG={folder}", encryption, f"DASK_ROOT_CONFIG={folder}"]
    assert 0 < int(spilling.removeprefix("DASK_DISTRIBUTED__WORKER__MEMORY__MAX_SPILL=")) < shutil.disk_usage("/").total


async def test_spilling_as_the_user_wants_it(node: Node) -> None:
    """What the user's configuration says of the most that is spilled holds."""
    show = 'install -d "$WORK" "$BASE/etc/dask"; PROCESSES=2; bound_spilling; env | grep -c MAX_SPILL || true'
    assert (await node.source(show)).said == ["1"]
    written = "echo 'distributed: {worker: {memory: {max-spill: 1 GB}}}' >\"$BASE/etc/dask/work.yaml\"; "
    assert (await node.source('install -d "$BASE/etc/dask"; ' + written + show)).said == ["0"]


async def test_exec_of_another_role(node: Node) -> None:
    """A node does not take another role than the one it was set up for."""
    ended = await node.source(_FAKE.format(body="") + "exec_dask worker")
    assert (ended.code, 'this node is a scheduler, not a "worker"' in ended.log) == (1, True)


# --- plain supervision ---


async def test_pauses_grow_and_reset(node: Node) -> None:
    """However Dask ends it is started again, after pauses that grow up to a limit and start anew after a good run."""
    script = _FAKE.format(body="exit 0") + (
        'install -d "$LOGS"; rest() { echo "$1" >&3; [[ $(plain_ends) -lt 7 ]] || ORDERED=yes; '
        "[[ $(plain_ends) -ne 5 ]] || STEADY_S=0; }; supervise scheduler"
    )
    assert (await node.source(script)).said == ["1", "2", "4", "8", "8", "1", "1"]


async def test_only_one_supervisor(node: Node) -> None:
    """A second supervisor ends at once and leaves the first one's notes alone."""
    await node.source(_FAKE.format(body="exec sleep 60") + "plain_start")
    before = node.pid("supervisor")
    assert (await node.run("supervise", "scheduler")).code == 0
    assert node.pid("supervisor") == before


async def test_supervisor_leaves_our_streams(node: Node) -> None:
    """What is started in the background holds neither the client's streams nor the lock."""
    ended = await node.source(_FAKE.format(body="exec sleep 60") + "alone; plain_start")
    assert ended.code == 0
    assert (await node.source("WAIT_S=0; alone")).code == 0


async def test_stop_kills_what_does_not_listen(node: Node) -> None:
    """A Dask that ignores the order to end is ended all the same, with the supervisor and all it left behind."""
    body = 'trap "" TERM; sleep 61 & while :; do sleep 60; done'
    ended = await node.source(_FAKE.format(body=body) + "plain_start; STOP_S=1; plain_stop")
    assert (ended.code, node.processes()) == (0, [])


async def test_stop_ends_an_orphan(node: Node) -> None:
    """When the supervisor was killed, Dask is found by its own note and ended."""
    await node.source(
        _FAKE.format(body="while :; do sleep 60; done") + 'plain_start; within 20 test -s "$RUN/dask.pid"'
    )
    supervisor = psutil.Process(node.pid("supervisor"))
    supervisor.kill()

    async def ended() -> bool | None:
        try:
            return supervisor.status() == psutil.STATUS_ZOMBIE or None
        except psutil.NoSuchProcess:
            return True

    await until(ended, every_s=0.02, within_s=WITHIN_S, what="the end of the supervisor")
    assert (await node.run("status")).said == ["stopped"]
    assert (await node.run("stop")).code == 0
    assert node.processes() == []


async def test_nothing_is_left_of_a_run(node: Node) -> None:
    """What Dask left behind ends with it, before the next one needs its ports."""
    script = 'CHILD= ORDERED=; set +e; run_child bash -c "sleep 60 & exit 3"; echo "$CODE"'
    ended = await node.source(script)
    assert (ended.said, node.processes()) == (["3"], [])


async def test_recycled_process_id(node: Node) -> None:
    """A note that names somebody else's process counts for nothing, and that process is left alone."""
    script = f'echo "{os.getpid()} $MARK" >"$RUN/supervisor.pid"; plain_running || echo no; plain_stop; echo fine'
    assert (await node.source(script)).said == ["no", "fine"]
    script = f'echo "{os.getpid()}" >"$RUN/supervisor.pid"; plain_running || echo no'
    assert (await node.source(script)).said == ["no"]


async def test_long_log_is_set_aside(node: Node) -> None:
    """A log that grew too long gets a new beginning, and one predecessor is kept."""
    script = 'install -d "$LOGS"; echo old >"$(log_file)"; LOG_BYTES=2; open_log; echo new'
    assert (await node.source(script)).code == 0
    logs = "var/log/scherbelberg/scheduler.log"
    assert (node.read(logs), node.read(f"{logs}.1")) == ("new\n", "old\n")


async def test_dask_that_does_not_stay_up(node: Node) -> None:
    """A Dask that ends again and again is given up before the deadline, with its last lines on stderr."""
    script = _FAKE.format(body="exit 1") + (
        'n=0; within() { shift; "$@"; }; plain_ends() { cat "$RUN/ends"; echo $(($(cat "$RUN/ends") + 5)) '
        '>"$RUN/ends"; }; echo 0 >"$RUN/ends"; install -d "$LOGS"; echo "no such module" >"$(log_file)"; '
        "PHASE=service; await_service"
    )
    ended = await node.source(script)
    assert ended.said == [
        f"@failed service Dask's scheduler does not answer at {ADDRESS}:{node.settings['SCHEDULER_PORT']}"
    ]
    assert "no such module" in ended.log


async def test_no_restarts_by_others(node: Node) -> None:
    """Where needrestart is, it is told to leave our units alone; where it is not, nothing is made for it."""
    told = node.path("etc/needrestart/conf.d/scherbelberg.conf")
    assert (await node.source("bear_updates")).code == 0
    assert not told.parent.exists()
    told.parent.mkdir(parents=True)
    assert (await node.source("bear_updates")).code == 0
    assert not node.path("etc/systemd").exists()
    assert told.read_text(encoding="utf-8") == "$nrconf{override_rc}{qr(^scherbelberg-)} = 0;\n"
