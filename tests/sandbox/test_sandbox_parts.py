# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Parts of the sandbox that need no server: its rooms, selectors, user data, addresses, platforms, stand-ins."""

from __future__ import annotations

import base64
import gzip
import stat
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import asyncssh
import pytest
from architecture import is_in, own_imports, package
from sandbox_helpers import cloud_config, new_key, public

from scherbelberg.errors import SandboxFailed
from scherbelberg.sandbox.addresses import claim, free_private
from scherbelberg.sandbox.api.listing import read_selector
from scherbelberg.sandbox.cloud.errors import ApiError
from scherbelberg.sandbox.hosts.cloudinit import read_user_data
from scherbelberg.sandbox.hosts.fake_programs import main as standin
from scherbelberg.sandbox.hosts.system import check_platform, platform_refusal

#: Each may import from those before it, and from itself.
_ROOMS = ("addresses", "faults", "options", "hosts", "cloud", "api", "server", "daemon", "__main__")


def test_rooms() -> None:
    """In the sandbox, too, arrows go one way, and its three kinds of hosts know nothing of each other."""
    arrows = {name: others for name, others in own_imports(package()).items() if name.startswith("sandbox.")}
    pairs = [(name, other) for name, others in arrows.items() for other in others if other.startswith("sandbox.")]
    floors = [(_ROOMS.index(name.split(".")[1]), _ROOMS.index(other.split(".")[1])) for name, other in pairs]
    assert [pair for pair, (floor, below) in zip(pairs, floors, strict=True) if below > floor] == []
    kinds = {f"sandbox.hosts.{kind}" for kind in ("process", "scripted", "machine")}
    of_kinds = [(name, other) for name, other in pairs if is_in(name, {"sandbox.hosts"}) and is_in(other, kinds)]
    assert [(name, other) for name, other in of_kinds if name.split(".")[2] != other.split(".")[2]] == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", True),
        ("a", True),
        ("c", False),
        ("!c", True),
        ("!a", False),
        ("a=1", True),
        ("a==1", True),
        ("a=2", False),
        ("a!=2", True),
        ("a!=1", False),
        ("c!=1", True),
        ("a in (1,2)", True),
        ("a in (2, 3)", False),
        ("a notin (2,3)", True),
        ("a notin (1)", False),
        ("a=1,b=x.y", True),
        ("a=1,!b", False),
        ("a in (1,2),b,!c,d/e=", True),
        ("d/e", True),
    ],
)
def test_selectors(words: str, expected: bool) -> None:
    """Every form of label selector selects what Hetzner selects."""
    assert read_selector(words)({"a": "1", "b": "x.y", "d/e": ""}) is expected


@pytest.mark.parametrize("words", ["=", "a=b=c", "a in", "a in b", "(a)", "a,,b", "a=b c", "!", "!a=b"])
def test_bad_selectors(words: str) -> None:
    """What is no selector is refused."""
    with pytest.raises(ApiError):
        read_selector(words)


def test_user_data_is_read_in_all_its_wrappings() -> None:
    """Plain cloud-config, base64 of it, and base64 of its gzip mean the same."""
    key = new_key()
    halves = {"ed25519_private": key.export_private_key().decode(), "ed25519_public": public(key)}
    text = cloud_config(ssh_keys=halves, disable_root=False, ssh_pwauth=False)
    wrapped = base64.b64encode(text.encode()).decode()
    zipped = base64.encodebytes(gzip.compress(text.encode())).decode()
    plain = read_user_data(text)
    assert plain.host_keys[0].public == public(key)
    assert "PRIVATE" not in repr(plain)
    assert read_user_data(wrapped) == read_user_data(zipped) == plain
    assert read_user_data(None) == read_user_data("")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("#!/bin/sh\n", "does not begin with #cloud-config"),
        ("not base64!", "neither"),
        ("#cloud-config\n- a\n", "mapping"),
        ("#cloud-config\na: [\n", "YAML"),
        (cloud_config(runcmd=["ls"]), "'runcmd'"),
        (cloud_config(package_update=True), "'package_update'"),
        (cloud_config(disable_root="no"), "'disable_root'"),
        (cloud_config(write_files=[{"path": "/a", "content": "", "permissions": "0600"}]), "'write_files'"),
        (cloud_config(write_files=[{"path": "/a/../b", "content": ""}]), "'write_files'"),
        (cloud_config(write_files=[{"path": "a", "content": ""}]), "'write_files'"),
        (cloud_config(ssh_keys={"dsa_private": ""}), "dsa_private"),
        (cloud_config(ssh_keys={"ed25519_public": "x"}), "both halves"),
        (cloud_config(ssh_keys={"ed25519_public": "x", "ed25519_private": "y"}), "ssh_keys"),
    ],
)
def test_user_data_that_no_host_would_honour(data: str, words: str) -> None:
    """A key or value that hosts do not act on is named in the host's log."""
    (line,) = read_user_data(data).undone
    assert words in line


def test_host_keys_whose_halves_differ() -> None:
    """A planted public key must be that of the private one, or none is planted."""
    halves = {"ed25519_private": new_key().export_private_key().decode(), "ed25519_public": public(new_key())}
    config = read_user_data(cloud_config(ssh_keys=halves))
    assert config.host_keys == ()
    assert "do not fit" in config.undone[0]


def test_addresses_are_not_used_again_soon() -> None:
    """Public addresses go round; private ones begin behind the gateway's."""
    addresses = claim()
    first, second = addresses.take_public(), addresses.take_public()
    addresses.give_back(first)
    third = addresses.take_public()
    addresses.close()
    assert len({first, second, third}) == 3
    subnet = IPv4Network("127.64.1.0/30")
    assert free_private(subnet, set()) == IPv4Address("127.64.1.2")
    assert free_private(subnet, {IPv4Address("127.64.1.2")}) is None


def test_platforms() -> None:
    """Linux runs; macOS without aliases and Windows get one sentence that helps."""
    assert platform_refusal("linux", lambda _: True) is None
    assert platform_refusal("darwin", lambda _: True) is None
    assert "ifconfig lo0 alias" in str(platform_refusal("darwin", lambda _: False))
    assert "Windows" in str(platform_refusal("win32", lambda _: True))
    with pytest.raises(SandboxFailed, match="loopback"):
        check_platform("linux", lambda _: False)


def test_fake_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The programs that may be missing do what is asked of them, and fail loudly otherwise."""
    from cryptography import x509

    host_key, key, request = tmp_path / "host", tmp_path / "key", tmp_path / "csr"
    assert standin("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "mark", "-f", str(host_key)]) == 0
    made = asyncssh.read_private_key(str(host_key))
    assert (tmp_path / "host.pub").read_text(encoding="utf-8").split() == [*public(made).split(), "mark"]
    assert stat.S_IMODE(host_key.stat().st_mode) == 0o600
    assert standin("openssl", ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key)]) == 0
    call = ["req", "-new", "-key", str(key), "-subj", "/CN=worker000", "-sha256", "-out", str(request)]
    assert standin("openssl", call) == 0
    csr = x509.load_pem_x509_csr(request.read_bytes())
    assert csr.is_signature_valid
    assert csr.subject.rfc4514_string() == "CN=worker000"
    for program, words in (("openssl", ["version"]), ("ssh-keygen", ["-l"]), ("systemctl", ["start", "ssh"])):
        assert standin(program, words) == 1
        assert program in capsys.readouterr().err
