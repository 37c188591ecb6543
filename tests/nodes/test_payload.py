# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a node is given, read by those who read it there: YAML, bash and tar."""

from __future__ import annotations

import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from attrs import evolve
from catalogues import FEW, UID, authority, plan, ssh_pair
from hypothesis import example, given
from hypothesis import strategies as st

from scherbelberg.environments.shipped import shipped_files
from scherbelberg.nodes.payload import (
    FOLDER,
    Addresses,
    Release,
    RemoteFile,
    command,
    node_settings,
    pack,
    payload,
    unpack_command,
    user_data,
)
from scherbelberg.spec.model import ClusterSpec, Ports, Timeouts
from scherbelberg.spec.workload import WorkEnvironment
from scherbelberg.state.keys import make_ssh_pair

_BASH = shutil.which("bash") or "bash"
_SHELL = pytest.mark.skipif("sys.platform == 'win32'", reason="nodes run Linux, and process hosts a Unix")
_RELEASE = Release(script="e" * 64, tool="0.1.0", channel_mirror="http://mirror.example/conda")
_ADDRESSES = Addresses(node="10.0.0.3", scheduler="10.0.0.2", public=("203.0.113.5", "2001:db8::1"))


def test_user_data() -> None:
    """cloud-init plants a key, makes none, takes no passwords, and takes a snapshot's own key from sshd."""
    pair = make_ssh_pair()
    text = user_data(pair)
    closed = "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    assert text.startswith("#cloud-config\n")
    assert yaml.safe_load(text) == {
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": pair.private, "ed25519_public": pair.public},
        "write_files": [{"path": "/etc/ssh/sshd_config.d/10-scherbelberg.conf", "content": closed}],
    }
    assert "/etc/ssh/sshd_config.d/10-scherbelberg.conf" in shipped_files()["bootstrap.sh"].decode()
    assert len(text.encode()) < 32 * 1024


def test_node_settings() -> None:
    """All that the script reads, for a worker of a certain plan."""
    spec = ClusterSpec(
        worker="cx33",
        ports=Ports(scheduler=2001, dashboard=2002, worker=2003, nanny=2004),
        timeouts=Timeouts(node_wait=90),
    )
    made = plan(spec)
    assert node_settings(made, made.nodes[2], _ADDRESSES, digest="d" * 64, release=_RELEASE) == {
        "NODE_NAME": "worker001",
        "NODE_ROLE": "worker",
        "CLUSTER_UID": UID,
        "ENV_DIGEST": "d" * 64,
        "SCRIPT_DIGEST": "e" * 64,
        "TOOL_VERSION": "0.1.0",
        "CHANNEL_MIRROR": "http://mirror.example/conda",
        "MINIFORGE_MIRROR": "none",
        "PRIVATE_IP": "10.0.0.3",
        "SCHEDULER_IP": "10.0.0.2",
        "SCHEDULER_PORT": "2001",
        "DASHBOARD_HOST": "127.0.0.1",
        "DASHBOARD_PORT": "2002",
        "WORKER_PORT": "2003",
        "NANNY_PORT": "2004",
        "CORES": "4",
        "MEMORY_BYTES": "8589934592",
        "MEMORY_PERCENT": "85",
        "PROCESSES": "1",
        "PROCESS_THREADS": "auto",
        "PROCESS_MEMORY": "auto",
        "RESOURCES": "none",
        "DIRECT_HOST": "none",
        "DASHBOARD_ORIGINS": "none",
        "WAIT_S": "90",
        "BOOTSTRAP_S": "1200",
    }


def test_node_settings_of_the_scheduler() -> None:
    """The scheduler has its own role and machine; where hosts share a computer its dashboard has its own address."""
    made = plan(ClusterSpec(worker="cx33"))
    shared = Addresses(node="127.70.0.2", scheduler="127.70.0.2", public=("127.140.1.1",))
    settings = node_settings(made, made.nodes[0], shared, digest="", release=_RELEASE)
    chosen = {name: settings[name] for name in ("NODE_NAME", "NODE_ROLE", "DASHBOARD_HOST", "CORES")}
    assert chosen == {
        "NODE_NAME": "scheduler",
        "NODE_ROLE": "scheduler",
        "DASHBOARD_HOST": "127.70.0.2",
        "CORES": "2",
    }


def test_node_settings_of_several_processes() -> None:
    """What was asked for of the workers' processes is said to the script, and each process has ports of its own."""
    wanted = ClusterSpec(processes=3, threads=2, memory_limit="1.5GiB", resources={"GPU": 2, "disk": 1e9})
    made = plan(wanted)
    settings = node_settings(made, made.nodes[1], _ADDRESSES, digest="", release=_RELEASE)
    names = ("PROCESSES", "PROCESS_THREADS", "PROCESS_MEMORY", "RESOURCES", "WORKER_PORT", "NANNY_PORT")
    assert [settings[name] for name in names] == ["3", "2", "1.5GiB", "GPU=2 disk=1e+09", "9000:9002", "9100:9102"]
    assert node_settings(made, made.nodes[0], _ADDRESSES, digest="", release=_RELEASE)["PROCESSES"] == "1"


def test_direct_address() -> None:
    """Only a scheduler that may be reached directly is told of its public addresses."""
    open_one, closed = plan(ClusterSpec(direct=("203.0.113.0/24",))), plan()
    hosts = [
        node_settings(made, made.nodes[number], _ADDRESSES, digest="", release=_RELEASE)["DIRECT_HOST"]
        for made, number in ((open_one, 0), (open_one, 1), (closed, 0))
    ]
    assert hosts == ["203.0.113.5,2001:db8::1", "none", "none"]


@pytest.mark.parametrize(("node_wait", "expected"), [(0.4, "1"), (1, "1"), (90.2, "91")])
def test_waits_are_whole_seconds(node_wait: float, expected: str) -> None:
    """The script counts in whole seconds; part of one is not no time at all."""
    made = plan(ClusterSpec(timeouts=Timeouts(node_wait=node_wait)))
    assert node_settings(made, made.nodes[0], _ADDRESSES, digest="d", release=_RELEASE)["WAIT_S"] == expected


def test_node_settings_are_all_that_the_script_wants() -> None:
    """The script names the settings that it needs: it gets these and no others."""
    script = shipped_files()["bootstrap.sh"].decode()
    wanted = script.partition('\nSETTINGS="')[2].partition('"')[0].split()
    made = plan()
    assert sorted(node_settings(made, made.nodes[0], _ADDRESSES, digest="d", release=_RELEASE)) == sorted(wanted)


def test_payload() -> None:
    """The files are these, with these modes; the settings are the node's secret, scripts can be run."""
    share = {"units/a@.service": b"[Unit]\n", "bootstrap.sh": b"#!/bin/sh\n", "10-scherbelberg.conf": b"# \xc3\xa4\n"}
    environment = {"env.lock": b"@EXPLICIT\n", "packages/a-1-0.conda": b"\x00"}
    files = payload({"A": "it's", "B": ""}, authority=b"PEM", share=share, environment=environment)
    assert [(file.path, file.content, oct(file.mode)) for file in files] == [
        ("scherbelberg-payload/node.env", b"A='it'\"'\"'s'\nB=''\n", "0o600"),
        ("scherbelberg-payload/work.env", b"", "0o600"),
        ("scherbelberg-payload/work.yaml", b"", "0o600"),
        ("scherbelberg-payload/ca.pem", b"PEM", "0o644"),
        ("scherbelberg-payload/10-scherbelberg.conf", b"# \xc3\xa4\n", "0o644"),
        ("scherbelberg-payload/bootstrap.sh", b"#!/bin/sh\n", "0o755"),
        ("scherbelberg-payload/env.lock", b"@EXPLICIT\n", "0o644"),
        ("scherbelberg-payload/packages/a-1-0.conda", b"\x00", "0o644"),
        ("scherbelberg-payload/units/a@.service", b"[Unit]\n", "0o644"),
    ]


def test_payload_holds_no_secret() -> None:
    """No private key travels to a node: its own is born there."""
    made = plan()
    settings = node_settings(made, made.nodes[0], _ADDRESSES, digest="d", release=_RELEASE)
    files = payload(settings, authority=authority().certificate, share=shipped_files())
    assert not [file.path for file in files if b"PRIVATE KEY-----" in file.content]


def test_content_is_not_shown() -> None:
    """The representation of a file does not hold its content."""
    file = RemoteFile(path="a", content=b"secret", mode=0o600)
    assert repr(file) == "RemoteFile(path='a', mode=384)"


_VALUE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@_SHELL
@FEW
@given(st.lists(_VALUE, min_size=1, max_size=30))
@example(
    ["$HOME", "`id`", "$(id)", "a'b\"c", "\\", "!!", "~", "*", "\n\n", " a  b ", "#x", "a=b", "Größe", "\r", "'" * 9]
)
def test_settings_survive_bash(values: list[str]) -> None:
    """Whatever a setting holds, bash reads exactly that."""
    settings = {f"V{number}": value for number, value in enumerate(values)}
    (text,) = (file.content for file in payload(settings, authority=b"", share={}) if file.path.endswith("node.env"))
    show = "".join(f' "$V{number}"' for number in range(len(values)))
    script = f"set -eu; source /dev/stdin; printf '%s\\0'{show}"
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    read = subprocess.run(
        [_BASH, "-c", script], input=text, env=environment, capture_output=True, check=True, timeout=20
    )
    assert read.stdout.decode().split("\0")[:-1] == values
    assert read.stderr == b""


def _unpack(folder: Path, files: tuple[RemoteFile, ...], *, umask: int) -> None:
    done = subprocess.run(
        [_BASH, "-c", unpack_command()],
        cwd=folder,
        input=pack(files),
        capture_output=True,
        check=False,
        timeout=20,
        umask=umask,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def _tree(folder: Path) -> dict[str, tuple[str, bytes | None]]:
    """List all below a folder: path, mode, content."""
    return {
        path.relative_to(folder).as_posix(): (
            oct(stat.S_IMODE(path.lstat().st_mode)),
            None if path.is_dir() else path.read_bytes(),
        )
        for path in folder.rglob("*")
    }


@pytest.fixture
def root_home(tmp_path: Path) -> Path:
    """A home folder whose name is not plain."""
    home = tmp_path / "Häuschen von root"
    home.mkdir()
    return home


_FILES = payload(
    {"A": "b"},
    authority=b"PEM",
    share={"bootstrap.sh": b"#!" + b"x" * 5000, "units/a@.service": b"", "ä ö": b"\0\xff"},
    work_environment=WorkEnvironment(environ={"K": "ä $x"}, dask_config="a: 1\n"),
)
_UNPACKED = {
    "scherbelberg-payload": ("0o700", None),
    "scherbelberg-payload/node.env": ("0o600", b"A=b\n"),
    "scherbelberg-payload/work.env": ("0o600", b"export K='\xc3\xa4 $x'\n"),
    "scherbelberg-payload/work.yaml": ("0o600", b"a: 1\n"),
    "scherbelberg-payload/ca.pem": ("0o644", b"PEM"),
    "scherbelberg-payload/bootstrap.sh": ("0o755", b"#!" + b"x" * 5000),
    "scherbelberg-payload/units": ("0o700", None),
    "scherbelberg-payload/units/a@.service": ("0o644", b""),
    "scherbelberg-payload/ä ö": ("0o644", b"\0\xff"),
}


@_SHELL
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_unpacking(root_home: Path, umask: int) -> None:
    """Real tar unpacks all files with their modes, in a folder of root's alone, without a word, whatever the umask."""
    _unpack(root_home, _FILES, umask=umask)
    assert _tree(root_home) == _UNPACKED


@_SHELL
def test_unpacking_again(root_home: Path) -> None:
    """A second push replaces content and modes of the first, also where it finds wider ones, and follows no link."""
    _unpack(root_home, _FILES, umask=0o022)
    node_env = root_home / FOLDER / "node.env"
    node_env.chmod(0o666)
    (root_home / FOLDER).chmod(0o777)
    elsewhere = root_home.parent / "elsewhere"
    elsewhere.write_bytes(b"mine")
    (root_home / FOLDER / "ca.pem").unlink()
    (root_home / FOLDER / "ca.pem").symlink_to(elsewhere)
    _unpack(root_home, tuple(evolve(file, content=file.content + b"!") for file in _FILES), umask=0o022)
    assert _tree(root_home) == {
        path: (mode, None if content is None else content + b"!") for path, (mode, content) in _UNPACKED.items()
    }
    assert elsewhere.read_bytes() == b"mine"


@_SHELL
def test_what_is_shipped_can_be_packed(root_home: Path) -> None:
    """The package's own files arrive as they are."""
    _unpack(root_home, payload({}, authority=b"", share=shipped_files()), umask=0o022)
    for path, content in shipped_files().items():
        assert (root_home / FOLDER / path).read_bytes() == content


def test_archive_is_the_same_each_time() -> None:
    """No clock and no user name is in the archive."""
    assert pack(_FILES) == pack(_FILES)
    assert pack(()) == b"\0" * len(pack(()))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("up",), "env LC_ALL=C.UTF-8 bash scherbelberg-payload/bootstrap.sh up"),
        (
            ("enter", "bash", "-c", "echo 'a b'"),
            "env LC_ALL=C.UTF-8 bash scherbelberg-payload/bootstrap.sh enter bash -c 'echo '\"'\"'a b'\"'\"''",
        ),
    ],
)
def test_command(words: tuple[str, ...], expected: str) -> None:
    """The script runs in a known locale, and words keep their borders."""
    assert command(*words) == expected
    assert shlex.split(command(*words))[4:] == list(words)


def test_planted_key_is_the_only_secret_in_user_data() -> None:
    """The user data shows the planted pair, and no other key of the cluster."""
    text = user_data(make_ssh_pair())
    assert text.count("PRIVATE KEY") == 2  # begin and end of one
    assert ssh_pair().public not in text
