# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""bootstrap.sh: its talk with the client, its tools, and the phases before Dask starts."""

from __future__ import annotations

import base64
import re
import shutil
import stat
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from process_node import UID, Ended, Node, free_port, make_node, script_digest

from scherbelberg.environments.shipped import shipped_files
from scherbelberg.state.keys import make_authority, sign_request

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="nodes run Linux, and process hosts a Unix")
_DAY_S = 86400.0
_OWN_KEY = "etc/ssh/scherbelberg_host_ed25519_key"
_DROP_IN = "etc/ssh/sshd_config.d/10-scherbelberg.conf"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A machine that has been pushed to."""
    made = make_node(tmp_path, role="scheduler", scheduler_port=free_port())
    yield made
    await made.end()


def _failure(ended: Ended) -> str:
    assert ended.code == 1
    (line,) = [line for line in ended.said if line.startswith(("@failed", "@hopeless"))]
    return line


def _certificate(pem: bytes) -> str:
    return f"certificate {base64.b64encode(pem).decode()}\n"


@pytest.mark.parametrize(
    "name", ["bootstrap.sh", "service.sh", "record.sh", "environment.sh", "downloads.sh", "logs.sh"]
)
def test_syntax(name: str, tmp_path: Path) -> None:
    """Bash can read all parts of the script."""
    share = Path(__file__).parents[2] / "scherbelberg" / "share"
    subprocess.run(["bash", "-n", share / name], check=True)


async def test_sourcing_runs_nothing(node: Node) -> None:
    """Sourcing the script defines its functions and does nothing else."""
    ended = await node.source('type -t phase_tls && [[ ! -e $HOST_KEY ]] && echo "$#"')
    assert (ended.code, ended.said) == (0, ["function", "0"])


async def test_unknown_command(node: Node) -> None:
    """An unknown command is refused with one sentence and nothing on stdout."""
    ended = await node.run("dance")
    assert (ended.code, ended.said) == (1, [])
    assert ended.log.startswith('bootstrap.sh: unknown command "dance"')


async def test_missing_setting(node: Node) -> None:
    """A setting that was not pushed is named before anything is done."""
    node.push(WAIT_S="")
    assert _failure(await node.up()) == "@failed hostkey node.env lacks WAIT_S"


async def test_put_sets_the_mode_before_the_content(node: Node) -> None:
    """A file has its mode while it is still empty, and its name only when it is complete."""
    spy = 'cat() { { ls -l "$BASE/x.new" | cut -c 1-10 && [[ ! -e $BASE/x ]]; } >&3 && command cat; }; '
    ended = await node.source(spy + 'put "$BASE/x" 0640 <<<secret; read -r line <"$BASE/x"; echo "$line"')
    assert (ended.code, ended.said) == (0, ["-rw-r-----", "secret"])
    assert not (node.base / "x.new").exists()


@pytest.mark.parametrize(
    ("wait_s", "stdin", "expected"),
    [
        ("5", "", "the connection ended before the client answered"),
        ("5", "certificate abc\n", 'and got "certificate"'),
        ("5", "pinnedx\n", 'and got "pinnedx"'),
    ],
)
async def test_listen_refuses(node: Node, wait_s: str, stdin: str, expected: str) -> None:
    """An answer that is none, is another one or only begins like it is refused."""
    node.push(WAIT_S=wait_s)
    assert expected in _failure(await node.source("PHASE=hostkey; listen pinned; echo on", stdin=stdin))


async def test_listen_has_a_deadline(node: Node) -> None:
    """A client that says nothing is not waited for forever."""
    node.push(WAIT_S="1")
    ended = await node.source('mkfifo "$RUN/silent"; exec 4<>"$RUN/silent"; PHASE=hostkey; listen pinned')
    assert _failure(ended) == '@failed hostkey the client did not answer "pinned" within 1 s'


async def test_unexpected_failure_is_announced(node: Node) -> None:
    """A command that fails where nobody expected it ends the script with the phase and the line."""
    (node.path("usr/bin") / "ssh-keygen").write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    (node.path("usr/bin") / "ssh-keygen").chmod(0o755)
    failure = _failure(await node.up())
    assert failure.startswith("@failed hostkey bootstrap.sh, line ")
    assert "ssh-keygen -q" in failure


@pytest.mark.parametrize("prelude", ["", "command() { return 1; }; "])
async def test_alone(node: Node, prelude: str) -> None:
    """Two runs exclude each other, with flock and where there is none."""
    node.push(WAIT_S="0")
    first = await node.source(prelude + "alone; (alone)")
    assert (first.code, "another run of this script is still busy" in first.log) == (1, True)
    assert (await node.source(prelude + "alone")).code == 0


# --- what the machine has to have ---


def _programs() -> list[str]:
    """What the script says that every machine has to have, and what it needs of one that is bare."""
    text = shipped_files()["bootstrap.sh"].decode()
    (listed,) = re.findall(r'^PROGRAMS="([^"]*)"', text, re.MULTILINE)
    digests = "sha256sum" if shutil.which("sha256sum") else "shasum"
    return [*listed.split(), "flock", "curl", digests]


@pytest.mark.skipif("sys.platform != 'linux'", reason="others have no /proc to look at")
async def test_programs_that_are_listed_suffice(node: Node) -> None:
    """A machine that has these programs and no others becomes a node, as far as that is the script's work."""
    few = node.having(*_programs())
    ended = await few.up(stop_at="@phase service")
    assert ended.said[-1] == "@phase service start", ended
    finish = "install_files; fingerprint; start_watch; status; sweep"
    ended = await few.source(finish)
    assert (ended.code, ended.said[-1], ended.log) == (0, "stopped", "")


@pytest.mark.parametrize("lacking", ["openssl", "ssh-keygen", "awk", "sha256sum"])
async def test_missing_program(node: Node, lacking: str) -> None:
    """What a machine lacks is said before the first phase, once, and as what every other machine would lack."""
    few = node.having(*({*_programs()} - {lacking, "shasum"}))
    ended = await few.up()
    assert ended.code == 1
    assert ended.said == [f"@hopeless hostkey this machine's image lacks {lacking}, and no node can do without"]
    assert not (node.root / _OWN_KEY).exists()


async def test_missing_programs_of_a_bare_machine(node: Node) -> None:
    """To install an environment and to be alone, a machine without a Python needs more; systemd's needs the most."""
    few = node.having("cut", "dirname", "install", "readlink")
    bare = "PYTHON=/none; environment_is_there() { return 1; }; missing_programs"
    plain = (await few.source(bare)).said
    assert {"flock", "curl", "openssl"} <= set(plain)
    assert not {"cut", "nft", "useradd"} & set(plain)
    assert {"nft", "useradd", "journalctl"} <= set((await few.source(f"SUPERVISION=systemd; {bare}")).said)
    assert not {"flock", "curl"} & set((await few.source("missing_programs")).said)


async def test_missing_services(node: Node) -> None:
    """A machine of the cloud needs systemd with a unit for SSH, and cloud-init."""
    system = 'SUPERVISION=systemd; systemctl() { echo "$LOADED"; }; missing_services'
    assert (await node.source(f"LOADED=not-found; {system}")).said == ["the unit ssh.service", "cloud-init"]
    node.path("var/lib/cloud/instance").mkdir(parents=True)
    assert (await node.source(f"LOADED=loaded; {system}")).said == []
    assert (await node.source("missing_services; SYSROOT=; missing_services")).said == ["systemd"]


# --- phase hostkey ---


async def test_hostkey(node: Node) -> None:
    """A key is born, announced, and used by sshd only after the client has pinned it."""
    ended = await node.source("phase_hostkey", stdin="pinned\n")
    public = " ".join(node.read(f"{_OWN_KEY}.pub").split()[:2])
    assert ended.said == ["@phase hostkey start", f"@hostkey {public}", "@phase hostkey done"]
    assert node.read("systemctl.calls") == "reload ssh\n"
    assert node.read(_DROP_IN).splitlines()[-1] == "PermitRootLogin prohibit-password"
    assert stat.S_IMODE(node.path(_OWN_KEY).stat().st_mode) == 0o600


async def test_hostkey_behind_a_socket(node: Node) -> None:
    """An sshd for which systemd listens is started anew, since it may lose that socket with a reload."""
    node.path("ssh.socket").touch()
    assert (await node.source("phase_hostkey", stdin="pinned\n")).said[-1] == "@phase hostkey done"
    assert node.read("systemctl.calls") == "restart ssh\n"


async def test_hostkey_cancelled(node: Node) -> None:
    """What systemd cancels, since somebody else starts sshd in the same moment, is asked for again."""
    node.path("systemctl.fails.once").touch()
    assert (await node.source("phase_hostkey", stdin="pinned\n")).said[-1] == "@phase hostkey done"
    assert node.read("systemctl.calls") == "reload ssh\n" * 2


async def test_hostkey_that_sshd_would_not_take(node: Node) -> None:
    """On a machine, sshd itself is asked first, and goes on as it was if it refuses."""
    refusing = "SUPERVISION=systemd; sshd_accepts() { false; }; phase_hostkey"
    ended = await node.source(refusing, stdin="pinned\n")
    assert _failure(ended) == "@failed hostkey sshd did not accept its new configuration"
    assert node.read("systemctl.calls") == ""


async def test_hostkey_again(node: Node) -> None:
    """The second run announces the same key and leaves sshd alone."""
    first = await node.source("phase_hostkey", stdin="pinned\n")
    again = await node.source("phase_hostkey", stdin="pinned\n")
    assert again.said == [*first.said[:2], "@phase hostkey skipped sshd has it already"]
    assert node.read("systemctl.calls") == "reload ssh\n"


async def test_hostkey_unpinned(node: Node) -> None:
    """When the client goes away before it has pinned the key, sshd keeps the old one."""
    ended = await node.source("phase_hostkey")
    assert _failure(ended) == '@failed hostkey the connection ended before the client answered "pinned"'
    assert node.read("systemctl.calls") + node.read(_DROP_IN) == ""


async def test_hostkey_refused_by_sshd(node: Node) -> None:
    """A configuration that sshd refuses does not stay, or the next boot would lock everybody out."""
    node.path("systemctl.fails").touch()
    ended = await node.source("SSHD_S=0; phase_hostkey", stdin="pinned\n")
    assert _failure(ended) == "@failed hostkey sshd did not accept its new configuration"
    assert not node.path(_DROP_IN).exists()


async def test_hostkey_of_a_snapshot(node: Node) -> None:
    """A machine made from another node's snapshot gets a key of its own."""
    first = await node.source("phase_hostkey", stdin="pinned\n")
    node.push(NODE_NAME="worker007")
    again = await node.source("phase_hostkey", stdin="pinned\n")
    assert (again.said[1] != first.said[1], again.said[2]) == (True, "@phase hostkey done")


async def test_settle(node: Node) -> None:
    """Planted keys are deleted when there is another one, and not before."""
    planted = node.path("etc/ssh/ssh_host_ed25519_key")
    assert (await node.run("settle")).code == 1
    install = 'put "$BASE/etc/node.env" 0644 <"$PAYLOAD/node.env"'
    await node.source(f"phase_hostkey; {install}", stdin="pinned\n")
    assert planted.exists()
    assert (await node.run("settle")).code == 0
    assert not planted.exists()
    assert node.path(_OWN_KEY).exists()


# --- phase environment ---


async def test_environment(node: Node) -> None:
    """The facts are the machine's, and Dask gets no more than the plan says."""
    ended = await node.source("phase_environment")
    facts = dict(line.split()[1:] for line in ended.said if line.startswith("@fact"))
    machine = {"cores", "memory_bytes", "threads", "memory_limit_bytes"}
    assert facts.keys() == {"python", "digest", "script_digest", "tool"} | machine
    assert (facts["script_digest"], facts["tool"]) == (script_digest(shipped_files()), "1.2.3")
    assert (facts["digest"], facts["threads"], facts["memory_limit_bytes"]) == ("d1", "1", "850000000")
    assert int(facts["memory_bytes"]) > 850000000
    assert ended.said[-1] == "@phase environment skipped already there"


async def test_limits_of_a_small_machine(node: Node) -> None:
    """A machine smaller than its plan gives what it has."""
    node.push(CORES="1000", MEMORY_BYTES=str(10**15))
    ended = await node.source('read_machine; echo $((THREADS == MACHINE_CORES)) "$((MEMORY_LIMIT < MACHINE_BYTES))"')
    assert ended.said == ["1 1"]


async def test_another_environment(node: Node) -> None:
    """An image with another environment is refused by naming the one that is asked for."""
    node.push(ENV_DIGEST="feed")
    assert "does not hold the environment feed" in _failure(await node.source("phase_environment"))


async def test_address_that_never_comes(node: Node) -> None:
    """The private address is waited for until the deadline."""
    node.push(PRIVATE_IP="192.0.2.7", WAIT_S="1")
    failure = _failure(await node.source("phase_environment"))
    assert failure == "@failed environment the private address 192.0.2.7 did not appear within 1 s"


# --- phase tls ---


async def _install(node: Node, *, lasts_s: float = 0.0) -> Ended:
    """Install a certificate that was issued some time ago."""
    await node.source("request_certificate")
    request = (node.base / "etc/tls/new.csr").read_bytes()
    pem = sign_request(node.authority, request, node="n", role="worker", uid=UID, now_s=time.time() - lasts_s)
    return await node.source("PHASE=tls; listen certificate; install_certificate $REPLY", stdin=_certificate(pem))


async def test_certificate(node: Node) -> None:
    """A certificate for the key that was born here is installed, readable for its owner alone, and kept."""
    assert (await _install(node)).code == 0
    assert sorted(path.name for path in (node.base / "etc/tls").iterdir()) == ["ca.pem", "node.pem"]
    assert stat.S_IMODE((node.base / "etc/tls/node.pem").stat().st_mode) == 0o600
    again = await node.source("phase_tls")
    assert again.said[1].startswith("@phase tls skipped valid until ")


async def test_certificate_that_expires_soon(node: Node) -> None:
    """When a tenth of its life is left a certificate is not installed, and one that is installed is replaced."""
    ended = await _install(node, lasts_s=399 * _DAY_S)
    assert _failure(ended) == "@failed tls the client's certificate is refused: it expires soon"


async def test_certificate_of_another_cluster(node: Node) -> None:
    """Another authority or another node's name on the file asks for a new certificate."""
    await _install(node)
    checks = 'has_identity && echo ours; MARK=other; has_identity || echo "not ours"'
    assert (await node.source(checks)).said == ["ours", "not ours"]
    (node.payload / "ca.pem").write_bytes(make_authority(uid="u2", now_s=time.time()).certificate)
    assert (await node.source("has_identity || echo another")).said == ["another"]


async def test_certificate_for_another_key(node: Node) -> None:
    """A certificate that does not fit the key is refused and nothing is installed."""
    await node.source("request_certificate")
    request = (node.base / "etc/tls/new.csr").read_bytes()
    ended = await node.source("phase_tls", stdin=_certificate(node.sign(request)))
    assert "the client's certificate is refused: [X509: KEY_VALUES_MISMATCH]" in _failure(ended)
    assert not (node.base / "etc/tls/node.pem").exists()


async def test_certificate_of_another_authority(node: Node) -> None:
    """A certificate that another authority signed is refused."""
    other = make_authority(uid=UID, now_s=time.time())
    await node.source("request_certificate")
    request = (node.base / "etc/tls/new.csr").read_bytes()
    pem = sign_request(other, request, node="n", role="worker", uid=UID, now_s=time.time())
    ended = await node.source("PHASE=tls; listen certificate; install_certificate $REPLY", stdin=_certificate(pem))
    assert "certificate verify failed" in _failure(ended)


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [
        ("", 'the connection ended before the client answered "certificate"'),
        ("certificate !!!\n", "the client's certificate is not base64"),
        ("certificate aGVsbG8=\n", "the client's certificate is refused: "),
    ],
)
async def test_no_certificate(node: Node, stdin: str, expected: str) -> None:
    """Anything but a certificate is refused, and nothing is installed."""
    assert expected in _failure(await node.source("phase_tls", stdin=stdin))
    assert not (node.base / "etc/tls/node.pem").exists()


# --- the other commands ---


async def test_enter(node: Node) -> None:
    """A command runs as it was given, with the environment's programs first, and its exit code is kept."""
    ended = await node.run("enter", "bash", "-c", 'echo "${PATH%%:*}|$1|$(umask)"; exit 7', "-", "grün und blau")
    assert ended.code == 7
    assert ended.said[0].startswith(f"{node.base}/env/bin|grün und blau|00")
    assert not ended.said[0].endswith("77")


async def test_machine_that_is_no_node(node: Node) -> None:
    """Before the bootstrap there is nothing to stop, and nothing to start."""
    assert (await node.run("status")).said == ["stopped"]
    assert (await node.run("stop")).code == 0
    ended = await node.run("start")
    assert (ended.code, "this machine is not a node yet" in ended.log) == (1, True)
