# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""OpenSSH's command line, stated in full and read by OpenSSH itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from catalogues import manifest

from scherbelberg.errors import BadInput, NodeUnreachable
from scherbelberg.nodes.openssh import scp_arguments, split_place, ssh_arguments

_NODE = manifest().nodes[0]
_SCRIPT = "env LC_ALL=C.UTF-8 bash scherbelberg-payload/bootstrap.sh"
_FOLDER = Path("/home/änne müller/clusters/cluster-0a")
_OPTIONS = [
    "-F",
    "none",
    "-p",
    "2222",
    "-o",
    'IdentityFile="/home/änne müller/clusters/cluster-0a/id_ed25519"',
    "-o",
    "IdentitiesOnly=yes",
    "-o",
    "IdentityAgent=none",
    "-o",
    "StrictHostKeyChecking=yes",
    "-o",
    "HostKeyAlias=scheduler",
    "-o",
    'UserKnownHostsFile="/home/änne müller/clusters/cluster-0a/known_hosts"',
    "-o",
    "GlobalKnownHostsFile=none",
    "-o",
    "UpdateHostKeys=no",
    "-o",
    "LogLevel=ERROR",
    "-o",
    "ServerAliveInterval=15",
    "-o",
    "ServerAliveCountMax=4",
    "-o",
    "ConnectTimeout=20",
]

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="paths are stated as on Unix")


def test_login() -> None:
    """Without words the user gets a terminal in the cluster's environment; nothing of their own is used."""
    assert ssh_arguments(_FOLDER, _NODE, port=2222, words=()) == [
        *_OPTIONS,
        "-t",
        "root@198.51.100.1",
        f"{_SCRIPT} enter",
    ]


def test_command() -> None:
    """Words are joined with spaces for a shell of the node, as OpenSSH does it; no terminal is asked for."""
    assert ssh_arguments(_FOLDER, _NODE, port=2222, words=("echo", "a b", "&&", "id")) == [
        *_OPTIONS,
        "root@198.51.100.1",
        f"{_SCRIPT} enter bash -c 'echo a b && id'",
    ]


def test_ipv6() -> None:
    """OpenSSH is given an IPv6 address as it is, scp within brackets, since a colon ends it there."""
    host = "2001:db8::1"
    assert f"root@{host}" in ssh_arguments(_FOLDER, _NODE, port=22, words=(), host=host)
    there = scp_arguments(_FOLDER, _NODE, port=22, sources=("a", "b"), target="scheduler:c", recursive=False, host=host)
    assert there[-1] == "root@[2001:db8::1]:c"


def test_copy() -> None:
    """Copies use the same options as logins; places on the node get its address, and no path becomes an option."""
    options = ["-P" if word == "-p" else word for word in _OPTIONS]
    sources = ("-x y", "C:\\data", "./a:b", "dir/a:b", "~/ä")
    arguments = scp_arguments(_FOLDER, _NODE, port=2222, sources=sources, target="scheduler:", recursive=True)
    assert arguments == [*options, "-r", "--", *sources, "root@198.51.100.1:"]
    back = scp_arguments(_FOLDER, _NODE, port=2222, sources=("scheduler:a:b",), target=".", recursive=False)
    assert back == [*options, "--", "root@198.51.100.1:a:b", "."]
    with pytest.raises(NodeUnreachable, match="has no public address yet"):
        scp_arguments(_FOLDER, manifest().nodes[1], port=22, sources=("a",), target="worker000:b", recursive=False)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("worker000:a/b", ("worker000", "a/b")),
        ("scheduler:", ("scheduler", "")),
        ("scheduler:a:b", ("scheduler", "a:b")),
        ("a/b", (None, "a/b")),
        ("./a:b", (None, "./a:b")),
        ("dir/a:b", (None, "dir/a:b")),
        (r"C:\a", (None, r"C:\a")),
        (r".\a:b", (None, r".\a:b")),
        (":a", (None, ":a")),
    ],
)
def test_places(text: str, place: tuple[str | None, str]) -> None:
    """A name before the first colon is a node's, unless it is a folder or a drive."""
    assert split_place(text) == place


def test_percent_in_paths() -> None:
    """OpenSSH expands percent signs in these options, so they are doubled."""
    arguments = ssh_arguments(Path("/a%h"), _NODE, port=22, words=())
    assert 'UserKnownHostsFile="/a%%h/known_hosts"' in arguments
    assert 'IdentityFile="/a%%h/id_ed25519"' in arguments


@pytest.mark.parametrize("name", ['a"b', "a${HOME}b"])
def test_folder_that_openssh_cannot_be_told_of(name: str) -> None:
    """A name that no quoting brings through OpenSSH is refused, not misread."""
    with pytest.raises(BadInput, match="OpenSSH cannot be told of"):
        ssh_arguments(Path("/") / name, _NODE, port=22, words=())


def test_node_without_an_address() -> None:
    """A node that has no address yet is named, instead of a host called None being asked."""
    with pytest.raises(NodeUnreachable, match="Node worker000 has no public address yet") as caught:
        ssh_arguments(_FOLDER, manifest().nodes[1], port=22, words=())
    assert caught.value.node == "worker000"


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's ssh")
@pytest.mark.parametrize("words", [(), ("true",)])
@pytest.mark.parametrize("name", ["it's & 100%h, $HOME, ~, #1", "plain"])
def test_openssh_understands(words: tuple[str, ...], name: str, tmp_path: Path) -> None:
    """OpenSSH reads from the arguments what is meant, whatever the user's own configuration says."""
    home = tmp_path / name
    home.mkdir()
    (home / "id_ed25519").touch(mode=0o600)
    arguments = ssh_arguments(home, _NODE, port=2222, words=words)
    shown = subprocess.run(["ssh", "-G", *arguments], check=True, capture_output=True, text=True, timeout=20)
    settings = dict(line.split(" ", 1) for line in shown.stdout.splitlines() if " " in line)
    expected = {
        "host": "198.51.100.1",
        "user": "root",
        "port": "2222",
        "identityfile": f"{home}/id_ed25519".replace("%", "%%"),  # shown as given, and expanded when it is read
        "identitiesonly": "yes",
        "identityagent": "none",
        "stricthostkeychecking": "true",
        "hostkeyalias": "scheduler",
        "userknownhostsfile": f"{home}/known_hosts",
        "globalknownhostsfile": "none",
        "updatehostkeys": "false",
        "serveraliveinterval": "15",
        "serveralivecountmax": "4",
        "connecttimeout": "20",
        "requesttty": "auto" if words else "true",
    }
    assert {name: settings.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("printf", "%s,", "a  b", "c"), "a,b,c,"),
        (("printf", "%s,", "'a  b'", '"$X"'), "a  b,it's,"),
        (("cd", "/;", "pwd"), "/\n"),
        (("echo", "ä", "|", "cat"), "ä\n"),
    ],
)
def test_words_on_the_node(words: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    """The node's login shell, the script and the inner shell together run what the user typed, once expanded."""
    script = tmp_path / "scherbelberg-payload" / "bootstrap.sh"
    script.parent.mkdir()
    script.write_text('[[ $1 == enter ]] && shift && exec "$@"\n', encoding="utf-8")
    inside = ssh_arguments(_FOLDER, _NODE, port=22, words=words)[-1]
    environment = {"PATH": "/usr/bin:/bin", "X": "it's"}
    ran = subprocess.run(
        ["bash", "-c", inside], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=20
    )
    assert ran.stdout.decode() == expected
