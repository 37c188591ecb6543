# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Environments that scripted hosts play the installation of, and what the product makes of what a node says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from actors import Actor, acting, alone
from process_node import free_port, make_node
from small_channel import DISTRIBUTED, OTHER, failure, give, lock_text, serve, told

from scherbelberg.errors import BootstrapFailed, BootstrapHopeless, WaitTimeout
from scherbelberg.events import Event, Phase
from scherbelberg.nodes.bootstrap import BootstrapCallbacks, _BootstrapSession, bootstrap
from scherbelberg.nodes.payload import FOLDER
from scherbelberg.nodes.ssh import Remote
from scherbelberg.sandbox.faults import HostFault, ScriptPhase
from scherbelberg.spec.model import Timeouts

_LOCK, _DIGEST = lock_text(DISTRIBUTED, OTHER)


@pytest.fixture
async def actor(tmp_path: Path) -> AsyncIterator[Actor]:
    """A host whose image holds another environment than it is to have."""
    async with alone(tmp_path / "hosts") as scheduler:
        yield scheduler.having(ENV_DIGEST=_DIGEST)


@pytest.mark.skipif("sys.platform == 'win32'", reason="the script wants bash")
async def test_it_says_what_the_script_says(actor: Actor, tmp_path: Path) -> None:
    """What is said of phases is what the real script says, at the installation and afterwards."""
    node = make_node(tmp_path, role="scheduler", scheduler_port=free_port())
    with serve(DISTRIBUTED, OTHER) as mirror:
        give(node, mirror, DISTRIBUTED, OTHER)
        real = [told(await node.source("phase_environment")) for _ in range(2)]
    played = []
    for born in (False, True):
        await actor.push(lock=_LOCK, born=born)
        played.append([line for line in told(await actor.up(born=born)) if line.split()[1] in " ".join(real[0])])
    assert played == real
    assert (actor.root / "opt/scherbelberg/env").readlink() == Path("envs") / _DIGEST


async def test_refusals(actor: Actor) -> None:
    """Without a lock, or with another one, or with another script, a host does nothing."""
    await actor.push()
    holds = f"this machine's image does not hold the environment {_DIGEST}, and none was sent"
    assert failure(await actor.up()) == f"@hopeless environment {holds}"
    await actor.push(lock=_LOCK + "# more\n", born=True)
    assert f"where {_DIGEST} was asked for" in failure(await actor.up(born=True))
    (actor.root / "root" / FOLDER / "direct.py").write_text("pass\n", encoding="utf-8")
    assert "the pushed script has the digest " in failure(await actor.up(born=True))


@pytest.mark.parametrize("phase", ["download", "miniforge"])
async def test_trouble(tmp_path: Path, phase: ScriptPhase) -> None:
    """Faults of hosts reach into the phases of an installation."""
    wrong = (HostFault(how="fails", phase=phase),)
    async with acting(tmp_path / "hosts", "scheduler", wrong=wrong) as (actor,):
        wanted = actor.having(ENV_DIGEST=_DIGEST)
        await wanted.push(lock=_LOCK)
        assert failure(await wanted.up()) == f"@failed {phase} the sandbox was told to fail here"


async def test_no_program(tmp_path: Path) -> None:
    """A host may lack a program: it says so as the script does, before anything is made."""
    async with acting(tmp_path / "hosts", "scheduler", wrong=(HostFault(how="no_program"),)) as (actor,):
        await actor.push()
        ended = await actor.up()
        assert ended.said == ["@hopeless hostkey this machine's image lacks nft, and no node can do without"]


async def test_no_shell(actor: Actor) -> None:
    """Where the script cannot even be run, no other node is tried."""
    with pytest.raises(BootstrapHopeless, match="exit status 127") as caught:
        await _events(actor, _LOCK, script=False)
    assert (caught.value.node, caught.value.phase) == ("scheduler", "push")


def _remote(actor: Actor, accepted: list[str]) -> Remote:
    key = actor.key.export_private_key().decode()
    return Remote(node="scheduler", host=actor.address, port=actor.port, key=key, host_keys=lambda: accepted)


async def _events(actor: Actor, lock: str, timeouts: Timeouts | None = None, *, script: bool = True) -> list[Event]:
    """Bring a host to a running service, and listen; without a script, that cannot be."""
    accepted, heard = [actor.host_key.export_public_key().decode()], list[Event]()
    answers = BootstrapCallbacks(
        pin=accepted.append, pin_only=lambda key: accepted.remove(accepted[0]), sign=actor.sign
    )
    remote = _remote(actor, accepted)
    try:
        await remote.reach(within_s=20)
        files = tuple(file for file in actor.files(lock=lock) if script or not file.path.endswith("bootstrap.sh"))
        within = timeouts or Timeouts()
        await bootstrap(remote, files, callbacks=answers, listener=heard.append, timeouts=within, digest=_DIGEST)
    finally:
        await remote.close()
    return heard


async def test_events(actor: Actor) -> None:
    """The client hears of the phases of an installation, and how many bytes have come."""
    heard = await _events(actor, _LOCK.replace("@EXPLICIT", "# bytes: 1234\n@EXPLICIT"))
    phases = (Phase.DOWNLOAD, Phase.MINIFORGE, Phase.ENVIRONMENT)
    assert [(event.phase, event.state, event.done, event.total) for event in heard if event.phase in phases] == [
        (Phase.DOWNLOAD, "start", None, None),
        (Phase.MINIFORGE, "start", None, None),
        (Phase.MINIFORGE, "done", None, None),
        (Phase.DOWNLOAD, "progress", 1234, 1234),
        (Phase.DOWNLOAD, "done", None, None),
        (Phase.ENVIRONMENT, "start", None, None),
        (Phase.ENVIRONMENT, "done", None, None),
    ]


async def test_push_has_time(actor: Actor) -> None:
    """What is pushed may be hundreds of megabytes: it has the bootstrap's deadline, and not that of a small command."""
    with pytest.raises(WaitTimeout, match="scherbelberg-payload") as caught:
        await _events(actor, _LOCK, Timeouts(bootstrap=0))
    assert (caught.value.within_s, caught.value.node, caught.value.phase) == (0, "scheduler", "push")
    with pytest.raises(WaitTimeout, match="settle"):
        await _events(actor, _LOCK, Timeouts(node_wait=0))


@pytest.mark.parametrize(
    ("said", "total"),
    [
        ("100 0", None),
        ("100 200", 200),
        ("100 200 next try in 30 s", 200),
        ("100", "nonsense"),
        ("1 -2", "nonsense"),
        ("1 2x", "nonsense"),
        ("", "nonsense"),
    ],
)
async def test_progress(said: str, total: int | str | None) -> None:
    """Progress is two numbers of bytes, the second 0 while it is unknown, and words; anything else is refused."""
    heard = list[Event]()
    talk = bootstrap_talk(heard)
    if total == "nonsense":
        with pytest.raises(BootstrapFailed, match="makes no sense"):
            talk.answer(f"@phase download progress {said}")
    else:
        talk.answer(f"@phase download progress {said}")
        assert [(event.state, event.done, event.total) for event in heard] == [("progress", 100, total)]
        assert heard[0].detail == said[8:]


def bootstrap_talk(heard: list[Event]) -> _BootstrapSession:
    """A talk with nobody."""
    nobody = BootstrapCallbacks(pin=lambda _: None, pin_only=lambda _: None, sign=lambda request: request)
    return _BootstrapSession("worker000", heard.append, nobody)
