# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Programs that work with the library while Python is ending already: what they rent is given back all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from surroundings import environment_for, folders, held, settings_for

from scherbelberg.sandbox.faults import Faults, HostFault
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

_WITHIN_S = 180
_BEGIN = """
import asyncio, atexit, threading
from pathlib import Path
import scherbelberg
from scherbelberg import ClusterSpec, Timeouts
from scherbelberg.sync import Cluster

spec = ClusterSpec(prefix="late", workers=2, timeouts=Timeouts(delete=60, cloud=10))

def make():
    return Cluster.from_new(spec)

def after_main(work):
    def run():
        threading.main_thread().join(60)
        work()
        print("worked")
    threading.Thread(target=run).start()
"""
_PROGRAMS = {
    "registered before": """
made = []
atexit.register(lambda: [cluster.destroy() for cluster in made])
made.append(make())
""",
    "registered after": "atexit.register(make().destroy)",
    "by name": """
cluster = make()
cluster.close()
atexit.register(lambda: Cluster.from_existing("late").destroy())
""",
    "asynchronous": """
cluster = asyncio.run(scherbelberg.Cluster.from_new(spec))
atexit.register(lambda: asyncio.run(cluster.destroy()))
""",
    "thread destroys": """
cluster = make()
after_main(cluster.destroy)
""",
    "thread makes and destroys": "after_main(lambda: make().destroy())",
    "daemon destroys": """
cluster = make()
threading.Thread(target=cluster.destroy, daemon=True).start()
""",
    "daemon answers": """
cluster = make()
begun = threading.Event()

def work():
    try:
        while True:
            cluster.node("scheduler").ping_ssh()
            begun.set()
    except BaseException:
        cluster.destroy()

threading.Thread(target=work, daemon=True).start()
begun.wait(60)
""",
    "thread fails": """
def work():
    with make():
        raise SystemExit("enough")
    print("never")
def both():
    try:
        work()
    finally:
        Cluster.from_existing("late").destroy()
after_main(both)
""",
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxThread]:
    """A cloud with scripted hosts."""
    folder = tmp_path_factory.mktemp("stage") / "cloud"
    with SandboxThread(folder, Options(hosts="scripted", time_scale=0.02)) as sandbox:
        yield sandbox


@pytest.fixture
def around(stage: SandboxThread, home: Path) -> Settings:
    """Settings that lead there."""
    return settings_for(stage, home)


@pytest.mark.parametrize("name", _PROGRAMS)
def test_end_of_a_program(around: Settings, name: str) -> None:
    """Neither atexit nor a thread that outlives the main one leaves anything behind, or says so untruly."""
    ended = subprocess.run(
        [sys.executable, "-c", _BEGIN + _PROGRAMS[name]],
        env=environment_for(around) | {"PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
    )
    assert (held(around), folders(around)) == ([], []), ended.stderr
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr


_WORK = """
begun = threading.Event()

def listen(event):
    if event.phase == "environment":
        begun.set()

"""
_LEFT = {
    "operation": "operation = Cluster.begin_new(spec, listen=listen)",
    "daemon": "threading.Thread(target=lambda: Cluster.from_new(spec, listen=listen), daemon=True).start()",
    "loop": """
async def work():
    await scherbelberg.Cluster.from_new(spec, listen=listen)

threading.Thread(target=lambda: asyncio.run(work()), daemon=True).start()
""",
}


@pytest.mark.parametrize("end", ["", "raise ValueError", "sys.exit(3)"])
@pytest.mark.parametrize("name", _LEFT)
def test_end_in_the_middle(stage: SandboxThread, around: Settings, name: str, end: str) -> None:
    """What is being made when a program ends, and nobody waits for, is undone before its process is gone."""
    stage.set_faults(Faults(hosts=(HostFault(server="*", how="hangs", phase="environment"),)))
    try:
        ended = subprocess.run(
            [sys.executable, "-c", f"import sys\n{_BEGIN}{_WORK}{_LEFT[name]}\nbegun.wait(60)\n{end}\n"],
            env=environment_for(around),
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            check=False,
        )
    finally:
        stage.set_faults(Faults())
    assert (held(around), folders(around)) == ([], []), ended.stderr
    assert ended.returncode == {"": 0, "raise ValueError": 1, "sys.exit(3)": 3}[end]
    assert "The program ends while something is under way" in ended.stderr
    assert "destroyed but" not in ended.stderr


_LEAVES = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
operation = Cluster.begin_new(spec, listen=listen)
begun.wait(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process of Windows ends at once by SIGTERM")
def test_signals_at_the_end(stage: SandboxThread, around: Settings) -> None:
    """No handler of a program's own that exits breaks off the undoing at its end."""
    stage.set_faults(Faults(hosts=(HostFault(server="*", how="hangs", phase="environment"),), slow_s=0.1))
    words = [sys.executable, "-c", _BEGIN + _WORK + _LEAVES]
    try:
        with subprocess.Popen(words, env=environment_for(around), stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            timer = threading.Timer(_WITHIN_S, process.kill)
            timer.start()
            lines = []
            for line in process.stderr:
                lines.append(line)
                if "The program ends" in line:
                    process.send_signal(signal.SIGTERM)
                    process.send_signal(signal.SIGINT)
            process.wait()
            timer.cancel()
    finally:
        stage.set_faults(Faults())
    assert (held(around), folders(around)) == ([], []), lines
