# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""SSH and tunnels against a real SSH server: pinned keys, deadlines, lost connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh
import psutil
import pytest
from gates import Gate
from ssh_machine import Machine, free_port, reached

from scherbelberg.concurrency.waiting import CLOCK, until
from scherbelberg.errors import NodeUnreachable, WaitTimeout
from scherbelberg.nodes.connections import Tunnel
from scherbelberg.nodes.reachability import Failure
from scherbelberg.nodes.ssh import Remote
from scherbelberg.sandbox.hosts.sshd import Silence
from scherbelberg.state.keys import make_ssh_pair


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine that is up."""
    one = Machine(tmp_path)
    one.boot()
    yield one
    await one.crash()


async def test_impostor_is_never_accepted(machine: Machine) -> None:
    """A host with another key is met with more tries until the deadline, and nothing is ever sent to it."""
    remote = machine.remote(make_ssh_pair().public)
    with pytest.raises(NodeUnreachable, match=r"worker000 at 127\.0\.0\.1 .*did not happen within 0\.6 s.*[Hh]ost key"):
        await remote.reach(within_s=0.6)
    assert machine.logins == 0


async def test_impostor_that_shuts_us_out(machine: Machine) -> None:
    """That another host key was seen is told also where that machine takes nobody in afterwards."""
    remote = machine.remote(make_ssh_pair().public)
    with pytest.raises(NodeUnreachable, match="another host key"):
        await remote.run("true", within_s=60)
    await machine.crash()
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", machine.port)
    async with server:
        with pytest.raises(NodeUnreachable, match=r"broken off .*has another host key than the node"):
            await remote.reach(within_s=4)


async def test_connection_for_a_client_that_is_gone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's SSH server has opened for a client that is gone meanwhile is closed again."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        ended.set()

    connect = asyncssh.SSHServerConnection.forward_connection

    async def connect_too_late(connection: asyncssh.SSHServerConnection, host: str, port: int) -> asyncssh.SSHForwarder:
        forwarder = await connect(connection, host, port)
        connection.abort()
        await connection.wait_closed()
        return forwarder

    monkeypatch.setattr(asyncssh.SSHServerConnection, "forward_connection", connect_too_late)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, reached(machine) as remote:
        with pytest.raises(NodeUnreachable):
            await remote.open(*server.sockets[0].getsockname())
        await asyncio.wait_for(ended.wait(), 20)


async def test_machine_that_comes_late(tmp_path: Path) -> None:
    """A machine that does not listen yet is waited for."""
    machine = Machine(tmp_path)
    remote = machine.remote()
    waiting = asyncio.create_task(remote.reach(within_s=10))
    await until(lambda: _tried(remote), every_s=0.01, within_s=5, what="a refused connection")
    machine.boot()
    await waiting
    await remote.close()
    await machine.crash()


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[tuple[Machine, Silence]]:
    """A machine whose port answers nothing, until that ends."""
    machine = Machine(tmp_path)
    silence = Silence("127.0.0.1", machine.port)
    silence.begin()
    yield machine, silence
    silence.end()


def _asking(machine: Machine) -> set[int]:
    """The ports of this process from which a connection to a machine is being asked for."""
    mine = psutil.Process().net_connections("tcp4")
    return {one.laddr.port for one in mine if one.status == psutil.CONN_SYN_SENT and one.raddr.port == machine.port}


async def test_silent_machine(silent: tuple[Machine, Silence], caplog: pytest.LogCaptureFixture) -> None:
    """A machine that is silent is asked for new connections, since the kernel repeats itself ever more rarely."""
    machine, silence = silent
    caplog.set_level(logging.INFO, "scherbelberg")
    seen: set[int] = set()
    before = _asking(machine)
    remote = machine.remote()
    waiting = asyncio.create_task(remote.reach(within_s=60))

    async def asked_anew() -> bool | None:
        seen.update(_asking(machine) - before)
        return len(seen) > 1 or None

    await until(asked_anew, every_s=0.05, within_s=30, what="a second connection")
    silence.end()
    machine.boot()
    await waiting
    await remote.close()
    await machine.crash()
    assert f"Node worker000 at 127.0.0.1 port {machine.port}: silent" in caplog.messages


@pytest.mark.parametrize("how", ["reach", "ping", "run", "put"])
async def test_deadline_at_a_silent_machine(silent: tuple[Machine, Silence], how: str) -> None:
    """Whoever waits for a silent machine is told so at the deadline, and that no command has begun."""
    remote = silent[0].remote()
    works: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "reach": lambda: remote.reach(within_s=0.3),
        "ping": lambda: remote.ping(within_s=0.3),
        "run": lambda: remote.run("true", within_s=0.3),
        "put": lambda: remote.put(Path(__file__), "/nowhere", within_s=0.3),
    }
    with pytest.raises(NodeUnreachable, match=r"SSH to node worker000 .* within 0\.3 s \(last seen: silent\)"):
        await works[how]()


async def test_silence_is_met_with_patience(silent: tuple[Machine, Silence], monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is no refusal: a single command tries more than once."""
    monkeypatch.setattr("scherbelberg.nodes.ssh.connect_within_s", lambda _: 0.02)
    tries: list[Failure] = []

    def no_pause_s(failure: Failure, _refusals: int) -> float:
        tries.append(failure)
        return 0

    async def tried_twice() -> bool | None:
        return len(tries) > 1 or None

    monkeypatch.setattr("scherbelberg.nodes.ssh.pause_s", no_pause_s)
    monkeypatch.setattr("scherbelberg.nodes.ssh._SILENCE_S", 60)
    running = asyncio.create_task(silent[0].remote().run("true", within_s=60))
    await until(tried_twice, every_s=0.02, within_s=30, what="a second try")
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])


async def test_patience_ends(silent: tuple[Machine, Silence], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where silence lasts, a single command fails before its own deadline, and says what was seen."""
    monkeypatch.setattr("scherbelberg.nodes.ssh.connect_within_s", lambda _: 0.02)
    monkeypatch.setattr("scherbelberg.nodes.ssh._SILENCE_S", 0)
    with pytest.raises(NodeUnreachable, match=r"cannot be reached .* \(last seen: silent\)"):
        await silent[0].remote().run("true", within_s=60)


async def test_refused() -> None:
    """Where nobody listens, a command fails at once, and a wait goes on until its deadline; both say why."""
    remote = Remote(
        node="worker000", host="127.0.0.1", port=free_port(), key=make_ssh_pair().private, host_keys=lambda: ()
    )
    with pytest.raises(NodeUnreachable, match=r"cannot be reached .* \(last seen: refused\)"):
        await remote.run("true", within_s=60)
    with pytest.raises(NodeUnreachable, match=r"within 0\.1 s \(last seen: refused\)"):
        await remote.reach(within_s=0.1)


async def test_login_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that does not end is given up, apart from the connection, and a new one begun."""
    monkeypatch.setattr("scherbelberg.nodes.ssh._LOGIN_S", 0.1)
    came = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        came += 1
        with suppress(ConnectionResetError):
            await reader.read()
            await reader.read()
        writer.close()

    async def came_again() -> bool | None:
        return came > 1 or None

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        remote = Remote(
            node="worker000", host="127.0.0.1", port=port, key=make_ssh_pair().private, host_keys=lambda: ()
        )
        waiting = asyncio.create_task(remote.reach(within_s=60))
        await until(came_again, every_s=0.02, within_s=30, what="a second connection")
        waiting.cancel()
        await asyncio.wait([waiting])
    assert remote._last == "no answer to the login"


async def _pauses(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that a wait for a machine makes between its first tries, without making them."""
    made: list[float] = []

    async def skip(_left_s: float) -> None:
        made.append(remote._turn.within_s)

    async def enough() -> bool | None:
        return len(made) > 4 or None

    monkeypatch.setattr("scherbelberg.nodes.ssh.pause", skip)
    waiting = asyncio.create_task(remote.reach(within_s=60))
    await until(enough, every_s=0.02, within_s=30, what="five tries")
    waiting.cancel()
    await asyncio.wait([waiting])
    return made[1:5]


async def test_pauses_after_another_host_key(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An impostor, which may be the machine that had the address before, is asked ever more rarely."""
    assert await _pauses(machine.remote(make_ssh_pair().public), monkeypatch) == [2, 3, 4.5, 6.75]
    assert machine.logins == 0


async def test_pauses_after_a_key_that_is_not_let_in(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that does not know our key yet is asked ever more rarely, and that it was so is told."""
    machine.lock_out()
    remote = machine.remote()
    assert await _pauses(remote, monkeypatch) == [2, 3, 4.5, 6.75]
    assert remote._last.startswith("our key is not let in (Permission denied")


async def test_pauses_after_a_broken_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """An SSH server that hangs up, as one does that shuts us out, is asked ever more rarely."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        remote = Remote(
            node="worker000", host="127.0.0.1", port=port, key=make_ssh_pair().private, host_keys=lambda: ()
        )
        assert await _pauses(remote, monkeypatch) == [1, 1.5, 2.25, 3.375]
    assert remote._last.startswith("the login was broken off (")


async def test_pauses_while_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that refuses is asked again soon, however long that takes."""
    assert await _pauses(Machine(tmp_path).remote(), monkeypatch) == [0.25] * 4


async def test_success_is_a_new_beginning(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a machine has let us in, what it refused before counts no more."""
    strange = make_ssh_pair().public
    accepted = [strange]
    remote = Remote(
        node="worker000",
        host="127.0.0.1",
        port=machine.port,
        key=machine.login.private,
        host_keys=lambda: accepted,
    )
    first = await _pauses(remote, monkeypatch)
    accepted[:] = [machine.host_key.public]
    await remote.reach(within_s=30)
    await remote.close()
    accepted[:] = [strange]
    with pytest.raises(NodeUnreachable):
        await remote.run("true", within_s=30)
    assert remote._turn.within_s == first[0]
    accepted[:] = [machine.host_key.public]
    await remote.reach(within_s=30)
    await remote.close()


async def test_several_at_once_do_not_hurry(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else wants the connection, such as a tunnel's clients, waits for its turn, too."""
    remote = machine.remote(make_ssh_pair().public)
    made: list[float] = []

    async def skip(_left_s: float) -> None:
        made.append(remote._turn.within_s)

    monkeypatch.setattr("scherbelberg.nodes.ssh.pause", skip)
    opened = await asyncio.gather(*(remote.open("127.0.0.1", 9) for _ in range(4)), return_exceptions=True)
    assert [type(one) for one in opened] == [NodeUnreachable] * 4
    assert made == [0, 2, 3, 4.5]


async def _tried(remote: Remote) -> bool | None:
    return True if remote._last else None


async def test_commands(machine: Machine) -> None:
    """A command's exit status, output, complaints and input arrive, umlauts and all."""
    async with reached(machine) as remote:
        result = await remote.run("cat; echo grün >&2; exit 3", within_s=10, stdin="süß".encode())
    assert (result.exit_code, result.stdout, result.stderr) == (3, "süß", "grün\n")
    assert result.tail == ("süßgrün",)


async def test_conversation(machine: Machine) -> None:
    """A script's questions are answered, and its other stream is heard."""
    logged: list[str] = []
    command = "echo log >&2; echo '@name?'; read -r name; echo \"@hello $name\"; exit 4"
    asked: list[str] = []

    def answer(line: str) -> str | None:
        asked.append(line)
        return "Dörte" if line == "@name?" else None

    async with reached(machine) as remote:
        code = await remote.converse(command, answer=answer, log=logged.append, within_s=10)
    assert (code, asked, logged) == (4, ["@name?", "@hello Dörte"], ["log"])


async def test_deadline_of_a_command(machine: Machine) -> None:
    """A command that does not end is an error with its name and its deadline."""
    async with reached(machine) as remote:
        with pytest.raises(WaitTimeout, match=r"The end of 'read x' on worker000 did not happen within 0\.2 s"):
            await remote.converse("read x", answer=lambda line: None, log=print, within_s=0.2)
        assert (await remote.run("echo here", within_s=20)).stdout == "here\n"


async def test_standstill(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the program stood still, a connection that was forgotten meanwhile is replaced, and no other is cut."""
    gate = Gate()

    def stand_still() -> None:
        monkeypatch.setattr(CLOCK, "_suspensions", CLOCK.suspensions + 1)

    async with gate.before(machine.port):
        machine.port = gate.port
        async with reached(machine) as remote:
            talking = asyncio.create_task(
                remote.converse("echo here; read x", answer=lambda line: heard.set(), log=print, within_s=10)
            )
            heard = asyncio.Event()
            await heard.wait()
            stand_still()
            assert (await remote.run("echo here", within_s=10)).stdout == "here\n"
            assert not talking.done()
            gate.silence()
            monkeypatch.setattr("scherbelberg.nodes.ssh._SURVIVAL_S", 0.2)
            stand_still()
            assert (await remote.run("echo here", within_s=10)).stdout == "here\n"
            with pytest.raises(NodeUnreachable, match="was lost"):
                await talking


async def test_machine_that_dies(machine: Machine) -> None:
    """A machine that vanishes during a command is an error that names it."""
    async with reached(machine) as remote:
        talking = asyncio.create_task(
            remote.converse("echo here; read x", answer=lambda line: heard.set(), log=print, within_s=10)
        )
        heard = asyncio.Event()
        await heard.wait()
        await machine.crash()
        with pytest.raises(NodeUnreachable, match=r"connection to node worker000 .* was lost"):
            await talking


async def test_frozen_machine_delays_nobody(machine: Machine) -> None:
    """Whoever is cancelled while a machine stands still goes on at once: it is not asked to close politely."""
    frozen = asyncio.Event()
    heard = asyncio.Event()

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(2**16):
            if frozen.is_set():
                await asyncio.Event().wait()
            sink.write(data)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", machine.port)
        carriers = [asyncio.create_task(carry(reader, far_writer)), asyncio.create_task(carry(far_reader, writer))]
        await released.wait()
        for carrier in carriers:
            carrier.cancel()
        await asyncio.gather(*carriers, return_exceptions=True)
        writer.close()
        far_writer.close()

    released = asyncio.Event()
    proxy = await asyncio.start_server(take, "127.0.0.1", 0)
    host_key = machine.host_key.public
    port = proxy.sockets[0].getsockname()[1]
    remote = Remote(
        node="worker000", host="127.0.0.1", port=port, key=machine.login.private, host_keys=lambda: [host_key]
    )
    await remote.reach(within_s=10)
    command = "echo here; read x"
    talking = asyncio.create_task(remote.converse(command, answer=lambda _: heard.set(), log=print, within_s=60))
    await heard.wait()
    frozen.set()
    talking.cancel()
    done, _ = await asyncio.wait([talking], timeout=10)
    assert done == {talking}
    released.set()
    await remote.close()
    proxy.close()
    await proxy.wait_closed()


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A port that sends back what it gets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def through(port: int, data: bytes) -> bytes:
    """Send data to a port, say that this was all, and return what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_tunnel_carries_everything(machine: Machine, echo: int) -> None:
    """Megabytes go through and come back whole, on several connections at once, and the end is passed on."""
    data = bytes(range(256)) * 2**14
    async with reached(machine) as remote:
        tunnel = Tunnel(remote, "127.0.0.1", echo)
        port = await tunnel.listen()
        answers = await asyncio.wait_for(asyncio.gather(*(through(port, data) for _ in range(4))), 30)
        await tunnel.close()
    assert answers == [data] * 4


async def test_tunnel_outlives_its_connection(machine: Machine, echo: int) -> None:
    """When the machine is lost a tunnel's port stays, refuses at once, and leads to it again when it is back."""
    async with reached(machine) as remote:
        tunnel = Tunnel(remote, "127.0.0.1", echo)
        port = await tunnel.listen()
        assert await through(port, b"one") == b"one"
        await machine.crash()
        try:
            answer = await asyncio.wait_for(through(port, b"two"), 20)
        except OSError:
            answer = b""  # whether one hears of a reset or of an end is a matter of moments
        assert answer == b""
        machine.boot()
        assert await asyncio.wait_for(through(port, b"three"), 20) == b"three"
        assert await tunnel.listen() == port
        await tunnel.close()


async def test_tunnel_is_closed_while_it_connects(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who connects to a tunnel whose machine does not answer is cut off when it is closed, without a complaint."""
    machine = Machine(tmp_path)
    asked = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", machine.port)
    remote = machine.remote()
    tunnel = Tunnel(remote, "127.0.0.1", 9)
    reader, writer = await asyncio.open_connection("127.0.0.1", await tunnel.listen())
    await asyncio.wait_for(asked.wait(), 10)
    await asyncio.wait_for(tunnel.close(), 10)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    assert caplog.messages == []
    writer.close()
    await remote.close()
    silent.close()
    await silent.wait_closed()


def _listening() -> set[int]:
    """The ports on which this process listens."""
    rows = psutil.Process().net_connections("tcp")
    return {row.laddr.port for row in rows if row.status == psutil.CONN_LISTEN}


@pytest.mark.parametrize("steps", range(8))
async def test_tunnel_that_is_cancelled_early(machine: Machine, steps: int) -> None:
    """Wherever the opening of a tunnel is cancelled, nothing listens any more after its close."""
    before = _listening()
    tunnel = Tunnel(machine.remote(), "127.0.0.1", 9)
    opening = asyncio.create_task(tunnel.listen())
    for _ in range(steps):
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await tunnel.close()
    assert _listening() == before
