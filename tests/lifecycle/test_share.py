# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A cluster is exported on one computer and used, changed and destroyed on another, which has keys of its own."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import requests
from attrs import evolve
from cheap_seal import CHEAP
from conftest import TIME_SCALE
from description import Witness
from handing_over import PASSPHRASE, WITHIN_S, Two, at_terminal
from schemas import read, unpromised
from shells import Shell
from surroundings import folders, held, settings_for

import scherbelberg
from scherbelberg import sync
from scherbelberg.errors import BadInput, ClusterExists, StateDamaged, StateMissing
from scherbelberg.lifecycle import share
from scherbelberg.lifecycle.update import set_source_ranges
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.state.keys import SHORTEST, seal, unseal
from scherbelberg.state.manifest import AUTHORITY, CLIENT_KEY, MANIFEST, SSH_KEY
from scherbelberg.state.store import Store


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxThread]:
    """A cloud with scripted hosts."""
    witness = Witness()
    options = Options(hosts="scripted", time_scale=TIME_SCALE)
    with SandboxThread(tmp_path_factory.mktemp("cloud") / "Bühne", options, witness=witness) as running:
        yield running
    assert witness.complaints == []


@pytest.fixture(scope="module")
def here(stage: SandboxThread, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The computer where a cluster called shared was made."""
    settings = settings_for(stage, tmp_path_factory.mktemp("here"))
    sync.Cluster.from_new(prefix="shared", workers=1, direct="203.0.113.7", settings=settings).close()
    return settings


@pytest.fixture
def two(here: Settings, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Two:
    """That one, and one that knows nothing yet; trying a passphrase takes no time."""
    monkeypatch.setattr(share, "seal", partial(seal, cost=CHEAP))
    monkeypatch.setattr(share, "unseal", partial(unseal, cost=CHEAP))
    return Two(here, evolve(here, home=home, owner="bert_at_desk"), tmp_path)


@pytest.fixture
def shell(two: Two, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[[Settings], Shell]:
    """Makes a shell on one of the two."""
    return lambda settings: Shell(settings, monkeypatch, capfd)


# --- the whole way ---


def test_another_computer(two: Two, shell: Callable[[Settings], Shell], caplog: pytest.LogCaptureFixture) -> None:
    """Who imports computes and destroys, and makes nothing new; the file and the folder have no key of the maker's."""
    caplog.set_level("DEBUG")
    secret = two.folder / "passphrase"
    secret.write_text(f"{PASSPHRASE}\r\nnot this\n", encoding="utf-8")
    sync.Cluster.from_new(prefix="given", workers=1, settings=two.here).close()
    file = two.folder / "handed.over"
    words = ("-p", "given", "--passphrase-file", str(secret), "--json", str(file))
    code, said, told = shell(two.here)("export", "-v", *words)
    assert (code, unpromised("export", read("export", said))) == (0, []), told
    assert file.stat().st_mode & 0o077 == 0

    code, said, told = shell(two.there)("import", "--passphrase-file", str(secret), "--json", str(file))
    assert (code, unpromised("import", read("import", said))) == (0, []), told
    (own,) = Store(two.here.home).folders(prefix="given")
    texts = [unseal(file.read_bytes(), PASSPHRASE, cost=CHEAP).decode()]
    texts += [path.read_text(encoding="utf-8") for path in two.taken.iterdir()]
    for name in ("ca-key.pem", CLIENT_KEY, SSH_KEY):
        secret_line = (own.path / name).read_text(encoding="utf-8").splitlines()[-3]  # the first is the same in all
        assert [text for text in texts if secret_line in text or json.dumps(secret_line)[1:-1] in text] == []
    assert [text for text in texts if two.here.access.token in text] == []
    assert {path.stat().st_mode & 0o077 for path in (two.taken, *two.taken.iterdir())} == {0}

    there = shell(two.there)
    assert json.loads(there("show", "-p", "given", "--json")[1])["imported"]
    code, _, told = there("create", "-p", "given", "-w", "1")
    assert (code, "There is a cluster 'given'" in told) == (9, True), told
    code, _, told = there("export", "-p", "given", "--passphrase-file", str(secret), str(two.folder / "again"))
    assert (code, "the key of its authority stayed where it was made" in told) == (11, True), told
    code, said, told = there("logs", "-p", "given", "worker000")
    assert (code, "worker worker000" in said) == (0, True), (said, told)
    with sync.Cluster.from_existing("given", settings=two.there) as cluster:
        with cluster.get_client() as client:
            assert client.submit(pow, 2, 10).result(timeout=30) == 1024
        with pytest.raises(StateMissing):
            cluster.export(two.folder / "again", passphrase=PASSPHRASE)
    assert there("destroy", "-p", "given")[0] == 0
    assert not [name for name in held(two.there) if "given" in name]
    assert folders(two.there) == []
    assert not (two.folder / "again").exists()
    assert PASSPHRASE not in caplog.text


async def test_with_await(two: Two) -> None:
    """The same for programs with a loop."""
    file = two.folder / "handed.over"
    async with await scherbelberg.Cluster.from_existing("shared", settings=two.here) as cluster:
        await cluster.export(file, passphrase=PASSPHRASE)
    prefix = await scherbelberg.import_cluster(file, passphrase=PASSPHRASE, home=two.there.home)
    async with (
        await scherbelberg.Cluster.from_existing(prefix, settings=two.there) as cluster,
        await cluster.get_client(asynchronous=True) as client,
    ):
        assert await client.submit(sum, [1, 2]) == 3


def test_usual_home(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder, it goes where the library looks."""
    file = two.export()
    monkeypatch.setenv("SCHERBELBERG_HOME", str(two.there.home))
    assert sync.import_cluster(str(file), passphrase=PASSPHRASE) == "shared"
    assert two.taken.name in folders(two.here)


# --- importing again ---


def test_same_file_again(two: Two) -> None:
    """A second time the same file changes nothing, also of what was learnt since."""
    file = two.export()
    two.take_in(file)
    asyncio.run(set_source_ranges(two.there, "shared", ssh_from=("127.0.0.0/8",)))
    before = {path: path.stat().st_mtime_ns for path in two.taken.iterdir()}
    two.take_in(file)
    assert {path: path.stat().st_mtime_ns for path in two.taken.iterdir()} == before


def test_later_file(two: Two) -> None:
    """A later export of an imported cluster takes its place, with keys that the nodes let in, and leaves nothing."""
    two.take_in(two.export())
    first = (two.taken / SSH_KEY).read_bytes()
    two.take_in(two.export("later"))
    assert (two.taken / SSH_KEY).read_bytes() != first
    with sync.Cluster.from_existing("shared", settings=two.there) as cluster, cluster.get_client() as client:
        assert client.submit(sum, [1, 2]).result(timeout=30) == 3
    assert [path.name for path in (two.there.home / "clusters").iterdir()] == [two.taken.name]


@pytest.mark.parametrize("name", [MANIFEST, SSH_KEY, AUTHORITY])
def test_damaged_folder(two: Two, name: str) -> None:
    """Importing again heals a folder in which something is damaged."""
    file = two.export()
    two.take_in(file)
    (two.taken / name).write_bytes(b"")
    two.take_in(file)
    sync.Cluster.from_existing("shared", settings=two.there).close()


def test_made_here(two: Two) -> None:
    """Where the cluster was made, an import is refused, since all its keys are there; nothing is changed."""
    file = two.export()
    (folder,) = Store(two.here.home).folders(prefix="shared")
    before = {path: path.stat().st_mtime_ns for path in folder.path.iterdir()}
    with pytest.raises(ClusterExists, match=r"was made on this computer, .* there is nothing to import"):
        sync.import_cluster(file, passphrase=PASSPHRASE, home=two.here.home)
    assert {path: path.stat().st_mtime_ns for path in folder.path.iterdir()} == before


def test_another_authority(two: Two) -> None:
    """A file that says it is a cluster which this computer knows, and has another authority, replaces nothing."""
    file = two.export()
    two.take_in(file)
    (two.taken / AUTHORITY).write_bytes(b"another one")
    with pytest.raises(ClusterExists, match=r"knows another cluster 'shared' with the uid .*: nothing was changed"):
        two.take_in(file)
    assert (two.taken / AUTHORITY).read_bytes() == b"another one"


def test_no_room(two: Two) -> None:
    """A folder that cannot be written is named, and nothing half is left in it."""
    file = two.export()
    two.there.home.mkdir()
    (two.there.home / "clusters").write_text("in the way", encoding="utf-8")
    with pytest.raises(StateDamaged, match=r"A cluster's folder in .* cannot be written"):
        two.take_in(file)


# --- who is let in ---


def _let_in_now(settings: Settings) -> list[list[str]]:
    """What the cloud says, without any code of ours."""
    headers = {"Authorization": f"Bearer {settings.access.token}"}
    answer = requests.get(f"{settings.access.endpoint}/firewalls", headers=headers, timeout=10)
    (firewall,) = [row for row in answer.json()["firewalls"] if row["name"].startswith("shared")]
    return [rule["source_ips"] for rule in firewall["rules"]]


def test_firewall(two: Two, shell: Callable[[Settings], Shell]) -> None:
    """Who is let in can be changed on both computers: what one leaves alone stays as the other made it."""
    asyncio.run(set_source_ranges(two.here, "shared", ssh_from=("127.0.0.1/32",), direct=("203.0.113.7/32",)))
    secret = two.folder / "passphrase"
    secret.write_text(PASSPHRASE, encoding="utf-8")
    code, _, told = shell(two.there)("import", "--passphrase-file", str(secret), str(two.export()))
    assert code == 0
    assert "SSH was let in from 127.0.0.1/32 alone when it was last looked at." in told
    assert told.endswith("scherbelberg firewall -p shared --ssh-from 127.0.0.1/32 --ssh-from here\n")
    asyncio.run(set_source_ranges(two.there, "shared", ssh_from=("127.0.0.1/32", "198.51.100.0/24")))
    asyncio.run(set_source_ranges(two.here, "shared", direct=("192.0.2.0/24",)))
    assert _let_in_now(two.here) == [["127.0.0.1/32", "198.51.100.0/24"], ["192.0.2.0/24"]]
    asyncio.run(set_source_ranges(two.there, "shared", ssh_from=("0.0.0.0/0", "::/0")))
    assert _let_in_now(two.here) == [["0.0.0.0/0", "::/0"], ["192.0.2.0/24"]]


@pytest.mark.skipif("sys.platform == 'win32'", reason="nodes run Linux, and this is a node's shell")
@pytest.mark.parametrize("before", [None, "", "ssh-ed25519 AAAA one\n", "ssh-ed25519 AAAA without-an-end"])
def test_key_is_added_once(tmp_path: Path, before: str | None) -> None:
    """However often a node is told of a key, it has one line of it, and what was there stays."""
    file = tmp_path / ".ssh/authorized_keys"
    if before is not None:
        file.parent.mkdir()
        file.write_text(before, encoding="utf-8")
    for line in ("ssh-ed25519 BBBB two", "ssh-ed25519 BBBB two", "ssh-ed25519 CCCC three", "ssh-ed25519 BBBB two"):
        subprocess.run(
            ["sh", "-c", share._LET_IN],
            input=f"{line}\n".encode(),
            env={**os.environ, "HOME": str(tmp_path)},
            check=True,
            timeout=WITHIN_S,
        )
    kept = (before or "").splitlines()
    assert file.read_text(encoding="utf-8").splitlines() == [*kept, "ssh-ed25519 BBBB two", "ssh-ed25519 CCCC three"]
    if before is None:
        assert (file.stat().st_mode & 0o077, file.parent.stat().st_mode & 0o077) == (0, 0)


def test_nodes_know_each_key_once(stage: SandboxThread, two: Two) -> None:
    """Each export adds one key to each node; importing adds none."""

    def keys() -> list[list[str]]:
        files = (stage.sandbox.folder / "hosts").glob("*/root/.ssh/authorized_keys")
        return [file.read_text(encoding="utf-8").splitlines() for file in files]

    before = [len(lines) for lines in keys()]
    for _ in range(2):
        file = two.export()
        two.take_in(file)
        two.take_in(file)
    assert [len(lines) for lines in keys()] == [count + 2 for count in before]
    assert all(len(set(lines)) == len(lines) for lines in keys())
    (folder,) = Store(two.there.home).folders()
    assert all(folder.keyring().ssh.public in lines[-1] for lines in keys())


# --- passphrases ---


def test_passphrase_from_elsewhere(two: Two, shell: Callable[[Settings], Shell]) -> None:
    """A passphrase comes from standard input or a variable, for both commands."""
    file, here = two.folder / "handed.over", shell(two.here)
    here.monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSPHRASE}\r\nnot this\n"))
    code, said, told = here("export", "-p", "shared", "--passphrase-file", "-", str(file))
    assert (code, said) == (0, ""), told
    assert told.endswith(f"Whoever has {file} and its passphrase can use cluster 'shared': scherbelberg import FILE\n")
    there = shell(two.there)
    there.monkeypatch.setenv("SCHERBELBERG_PASSPHRASE", PASSPHRASE)
    code, said, told = there("import", str(file))
    assert (code, said) == (0, ""), told
    there.monkeypatch.setenv("SCHERBELBERG_PASSPHRASE", "wrong")
    code, _, told = there("import", str(file))
    assert (code, "The passphrase is not the one with which" in told) == (2, True)


@pytest.mark.parametrize("words", [("export", "-p", "shared"), ("import",)])
@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ((), "There is no passphrase. Use --passphrase-file, or set SCHERBELBERG_PASSPHRASE."),
        (("--json",), "There is no passphrase"),
        (("--passphrase-file", "/nowhere/at/all"), "The passphrase in /nowhere/at/all cannot be read"),
    ],
)
def test_no_passphrase(
    two: Two, shell: Callable[[Settings], Shell], words: tuple[str, ...], more: tuple[str, ...], sentence: str
) -> None:
    """Where nobody can be asked, a missing passphrase is one sentence."""
    here = shell(two.here)
    here.monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSPHRASE}\n"))
    code, _, told = here(*words, *more, str(two.folder / "file"))
    assert (code, sentence in told) == (2, True), told
    assert not (two.folder / "file").exists()


def test_short_passphrase(stage: SandboxThread, two: Two) -> None:
    """A passphrase that protects nothing is refused before any node is told of a key."""
    before = len(stage.sandbox.requests)
    with sync.Cluster.from_existing("shared", settings=two.here) as cluster:
        asked = len(stage.sandbox.requests)
        with pytest.raises(BadInput, match=f"fewer than {SHORTEST} characters"):
            cluster.export(two.folder / "file", passphrase="x" * (SHORTEST - 1))
    assert (len(stage.sandbox.requests), asked > before) == (asked, True)


def test_unwritable_file(two: Two) -> None:
    """A place where no file can be written is named."""
    with pytest.raises(BadInput, match="cannot be written"):
        two.export("no/such/folder")
    with pytest.raises(BadInput, match="cannot be read"):
        two.take_in(two.folder / "nowhere")


@pytest.mark.skipif("sys.platform == 'win32'", reason="Windows has no such terminals")
def test_question(two: Two) -> None:
    """A person is asked: twice for a new file, once more when they mistype, and once to open it; nothing is shown."""
    file = two.folder / "handed.over"
    first, again = ("Passphrase", PASSPHRASE), ("Repeat for confirmation", PASSPHRASE)
    answers = (first, (again[0], "mistyped-passphrase"), first, again)
    seen = at_terminal(two.here, "export", "-p", "shared", str(file), answers=answers)
    asked = "Passphrase: |\nRepeat for confirmation: |\n"
    assert f"{asked}Error: The two entered values do not match.\n{asked}Whoever has" in seen
    seen = at_terminal(two.there, "import", str(file), answers=(first,))
    assert seen.startswith("Passphrase: |\nCluster 'shared'")
