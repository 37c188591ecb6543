# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The script on scripted hosts: they say what it says, and are as strict with what they are given, or stricter."""

from __future__ import annotations

import io
import socket
import stat
import tarfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncssh
import pytest
from actors import DIGEST, Actor, alone
from process_node import make_node

from scherbelberg.lifecycle import share
from scherbelberg.nodes.payload import FOLDER, command, unpack_command
from scherbelberg.sandbox.hosts.scripted.commands import ADMIT, SCRIPT, UNPACK
from scherbelberg.state.keys import make_authority, sign_request


@pytest.fixture
async def actor(tmp_path: Path) -> AsyncIterator[Actor]:
    """A host that is to be a scheduler, and that leaves neither a task nor a file."""
    async with alone(tmp_path / "hosts") as scheduler:
        yield scheduler


def gist(said: list[str]) -> list[str]:
    """What was said without what differs from machine to machine, or from run to run."""
    differ = ("@fact cores", "@fact memory_bytes", "@fact threads", "@fact memory_limit_bytes", "@hostkey", "@csr")
    shortened = [next((word for word in differ if line.startswith(word + " ")), line) for line in said]
    return [line.partition(" valid until")[0] for line in shortened]


async def test_it_says_what_the_script_says(actor: Actor, tmp_path: Path) -> None:
    """At the first run and at the second a scripted host's lines are those of the real script, word by word."""
    node = make_node(tmp_path, role="scheduler", scheduler_port=free_port_of(actor), authority=actor.authority)
    node.hold(DIGEST)
    node.push(ENV_DIGEST=DIGEST)
    try:
        real = [await node.up()]
        node.push()
        real.append(await node.up())
    finally:
        await node.end()
    await actor.push()
    played = [await actor.up()]
    await actor.push(born=True)
    played.append(await actor.up(born=True))
    assert [ended.code for ended in real + played] == [0] * 4
    assert gist(played[0].said) == gist(real[0].said)
    assert gist(played[1].said) == gist(real[1].said)
    assert "@phase service done" in played[0].said
    assert "@phase service skipped" in played[1].said


def free_port_of(actor: Actor) -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind((actor.address, 0))
        return int(probe.getsockname()[1])


def test_it_knows_what_the_product_sends() -> None:
    """The command lines are the product's own."""
    assert (unpack_command(), share._LET_IN) == (UNPACK, ADMIT)
    assert command("up") == SCRIPT + "up"


@pytest.mark.parametrize("line", ["true", command("enter", "bash"), command("up", "now"), command("log"), "scp -t x"])
async def test_other_commands(actor: Actor, line: str) -> None:
    """Any other command line is refused with a sentence, and so is a login without one."""
    await actor.push()
    ended = await actor.run(line)
    assert (ended.code, ended.said) == (127, [])
    assert ended.log == f"sandbox: a scripted host does not play {line!r}\n"
    assert (await actor.run("")).log == "sandbox: a scripted host has no shell\n"


async def test_no_files_by_sftp(actor: Actor) -> None:
    """There is no SFTP."""
    async with await actor.connect() as connection:
        with pytest.raises(asyncssh.Error):
            await connection.start_sftp_client()


async def test_script_that_was_not_pushed(actor: Actor) -> None:
    """Without a push there is no script, and before the end of a bootstrap no node."""
    ended = await actor.run(command("up"))
    assert (ended.code, "No such file" in ended.log) == (127, True)
    await actor.push()
    for word in ("settle", "start"):
        ended = await actor.run(command(word))
        assert (ended.code, "this machine is not a node yet" in ended.log) == (1, True)
    assert (await actor.run(command("status"))).said == ["stopped"]
    assert (await actor.run(command("stop"))).code == 0
    assert len(list((actor.root / "etc/ssh").glob("ssh_host_*"))) == 2


async def test_pushed_files(actor: Actor) -> None:
    """What is pushed lies there with its modes, in a folder of root's alone, and replaces what was there."""
    for _ in range(2):
        assert (await actor.push()).code == 0
    folder = actor.root / "root" / FOLDER
    modes = {path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (modes["node.env"], modes["ca.pem"], modes["bootstrap.sh"]) == (0o600, 0o644, 0o755)
    assert (folder / "ca.pem").read_bytes() == actor.authority.certificate
    assert not (actor.root / "usr").exists()  # there are no programs


def archive(name: str, *, mode: int = 0o644, kind: bytes = tarfile.REGTYPE) -> bytes:
    """An archive with one entry."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.mode, entry.type, entry.linkname = mode, kind, "target"
        tar.addfile(entry)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("pushed", "why"),
    [
        (archive("elsewhere/file"), "not below scherbelberg-payload"),
        (archive("/scherbelberg-payload/file"), "not below"),
        (archive("scherbelberg-payload/../.ssh/authorized_keys"), "not below"),
        (archive("scherbelberg-payload"), "not below"),
        (archive("scherbelberg-payload/link", kind=tarfile.SYMTYPE), "not a plain file"),
        (archive("scherbelberg-payload/folder", kind=tarfile.DIRTYPE), "not a plain file"),
        (archive("scherbelberg-payload/node.env"), "mode 644 is wrong"),
        (archive("scherbelberg-payload/open", mode=0o666), "mode 666 is wrong"),
        (archive("scherbelberg-payload/root", mode=0o4755), "mode 4755 is wrong"),
        (b"no archive at all", "does not look like a tar archive"),
        (b"", "does not look like a tar archive"),
    ],
)
async def test_archives_that_are_refused(actor: Actor, pushed: bytes, why: str) -> None:
    """An archive with anything but plain files of the right modes below the payload's folder leaves no file."""
    before = sorted(actor.root.rglob("*"))
    ended = await actor.run(UNPACK, stdin=pushed)
    assert (ended.code, ended.log.startswith("tar: "), why in ended.log) == (2, True, True)
    assert sorted(actor.root.rglob("*")) == before


async def test_keys_that_are_added(actor: Actor) -> None:
    """A key is added once; without a whole line there is none, and what was there stays."""
    file = actor.root / "root/.ssh/authorized_keys"
    before = file.read_bytes()
    for _ in range(2):
        assert (await actor.run(ADMIT, stdin=b"ssh-ed25519 AAAA a\n")).code == 0
    assert (await actor.run(ADMIT, stdin=b"ssh-ed25519 BBBB b")).code == 1
    assert file.read_bytes() == before + b"ssh-ed25519 AAAA a\n"


async def test_host_key(actor: Actor) -> None:
    """The key that is born on the host counts from its pinning on, and the planted one is gone when that is settled."""
    await actor.make()
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await actor.connect()
    assert len(list((actor.root / "etc/ssh").glob("ssh_host_*"))) == 2
    assert (await actor.run(command("settle"), born=True)).code == 0
    assert list((actor.root / "etc/ssh").glob("ssh_host_*")) == []
    await actor.hosts.halt(0)
    await actor.hosts.power_on(0, actor.address)
    await actor.hosts.boot(0)
    assert (await actor.run(command("status"), born=True)).said == ["stopped"]


async def test_host_of_another_cluster(actor: Actor) -> None:
    """A host that was made from another node's snapshot keeps neither that one's host key nor its certificate."""
    await actor.make()
    files = ("etc/ssh/scherbelberg_host_ed25519_key", "opt/scherbelberg/etc/tls/node.pem")
    before = [(actor.root / file).read_bytes() for file in files]
    other = actor.having(CLUSTER_UID="u2")
    await other.push(born=True)
    said = (await other.up(born=True)).said
    assert {"@phase hostkey done", "@phase tls done", "@phase service done"} <= set(said)
    after = [(actor.root / file).read_bytes() for file in files]
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, False]


async def test_answer_that_is_another(actor: Actor) -> None:
    """A client that answers something else, or nothing, is told so, and sshd keeps its key."""
    await actor.push()
    ended = await actor.up(pinned="nailed")
    assert ended.code == 1
    assert ended.said[-1] == '@failed hostkey expected the answer "pinned" and got "nailed"'
    silent = await actor.run(command("up"))
    assert silent.said[-1] == '@failed hostkey the connection ended before the client answered "pinned"'
    await actor.having(WAIT_S="0.1").push()
    async with await actor.connect() as connection:
        process = await connection.create_process(command("up"))
        said = [line async for line in process.stdout]
    assert 'the client did not answer "pinned" within' in said[-1] or "within" in said[-2]


def _stranger(request: bytes) -> bytes:
    authority = make_authority(uid="u2", now_s=time.time())
    return sign_request(authority, request, node="scheduler", role="scheduler", uid="u2", now_s=time.time())


@pytest.mark.parametrize(
    ("sign", "why"),
    [(_stranger, "the client's certificate is refused: "), (lambda request: request, "certificate is refused: ")],
)
async def test_certificate_that_is_wrong(actor: Actor, sign: Callable[[bytes], bytes], why: str) -> None:
    """A certificate of another authority, or none at all, is refused, and nothing of it is kept."""
    await actor.push()
    ended = await actor.up(sign=sign)
    assert (ended.code, ended.said[-1].startswith("@failed tls "), why in ended.said[-1]) == (1, True, True)
    assert f"bootstrap.sh: {ended.said[-1].removeprefix('@failed tls ')}" in ended.log
    assert not (actor.root / "opt/scherbelberg/etc/tls/node.pem").exists()


async def test_certificate_of_another_key(actor: Actor) -> None:
    """A certificate for a key that is not this node's is refused."""
    await actor.push()
    requests: list[bytes] = []

    def remember(request: bytes) -> bytes:
        requests.append(request)
        return b"none"

    await actor.up(sign=remember)
    await actor.push(born=True)
    ended = await actor.up(sign=lambda _: actor.sign(requests[0]), born=True)
    assert ended.said[-1].startswith("@failed tls the client's certificate is refused: ")


async def test_certificate_that_is_garbled(actor: Actor) -> None:
    """A certificate that did not come over in one piece is refused as such."""
    await actor.push()
    ended = await actor.up(certificate="-----BEGIN CERTIFICATE-----")
    assert ended.said[-1] == "@failed tls the client's certificate is not base64"


async def test_what_is_kept(actor: Actor) -> None:
    """Key and certificate are one private file, and what they were made with is gone."""
    await actor.make()
    files = sorted((actor.root / "opt/scherbelberg/etc/tls").iterdir())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}
    assert modes == {"ca.pem": 0o644, "node.pem": 0o600}
    assert files[1].read_text(encoding="utf-8").startswith("scherbelberg scheduler.u1\n")


async def test_settings_that_lack_something(actor: Actor) -> None:
    """Every setting is asked for."""
    await actor.having(CORES="").push()
    ended = await actor.up()
    assert (ended.code, ended.said) == (1, ["@failed hostkey node.env lacks CORES"])


async def test_private_address_that_does_not_come(actor: Actor) -> None:
    """The environment phase waits for the private address, and not for ever."""
    await actor.having(PRIVATE_IP="10.0.9.9", WAIT_S="1").push()
    ended = await actor.up()
    assert ended.said[-1] == "@failed environment the private address 10.0.9.9 did not appear within 1 s"


async def test_payload_that_is_not_whole(actor: Actor) -> None:
    """A file that is missing ends the script with a sentence, as it does on a node."""
    await actor.make()
    ended = await actor.up(born=True)  # the provisions are taken in only once
    assert (ended.code, ended.said[-1].startswith("@failed service "), "work.env" in ended.log) == (1, True, True)
