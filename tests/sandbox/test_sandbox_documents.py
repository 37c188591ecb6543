# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Faults as documents: what the page of the sandbox shows, what is refused, and how they are replaced over HTTP."""

from __future__ import annotations

import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import requests
from sandbox_helpers import WITHIN_S, Api

from scherbelberg.errors import BadInput, SandboxFailed
from scherbelberg.sandbox import daemon
from scherbelberg.sandbox.faults import ActionFault, Faults, HostFault, RequestFault, SoldOut
from scherbelberg.sandbox.options import Options, read_faults, read_options, write_json
from scherbelberg.sandbox.server import Sandbox, SandboxThread

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"
#: What the page shows.
SHOWN = Faults(
    requests=(
        RequestFault(number=3, method="POST", path="/servers", how="drop_after"),
        RequestFault(number=20, status=401, code="unauthorized", times=None),
    ),
    sold_out=(SoldOut(server_type="cx*", location="fsn1", disguise="placement"),),
    actions=(ActionFault(command="start_server", server="*-worker001", how="endless"),),
    hosts=(HostFault(server="*-worker000", how="dies", phase="tls"),),
    dead=("*-worker002",),
    slow_s=0.5,
    servers=10,
    primary_ips=20,
)


def test_page() -> None:
    """The document that the page shows is one, with every key that there is."""
    blocks = PAGE.read_text(encoding="utf-8").split("\n\n")
    (text,) = [block for block in blocks if block.startswith("    {\n")]
    assert read_faults(text) == SHOWN
    assert sorted(json.loads(text)) == sorted(json.loads(write_json(Faults())))


def test_written_and_read() -> None:
    """What is written is read as the same."""
    assert read_faults(write_json(SHOWN)) == SHOWN
    options = Options(hosts="scripted", time_scale=0.5, realistic=True, faults=SHOWN)
    assert read_options(write_json(options)) == options
    assert (read_faults("{}"), read_options("{}")) == (Faults(), Options())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "This is no JSON"),
        ("[]", "A JSON object is needed"),
        ('{"request": []}', "unexpected keyword argument 'request'"),
        ('{"requests": [{"number": 0}]}', "RequestFault of the sandbox: .*'number' must be >= 1"),
        ('{"requests": [{"times": 0}]}', "'times' must be >= 1"),
        ('{"requests": [{"how": "slowly"}]}', "RequestFault of the sandbox: 'how' must be in"),
        ('{"hosts": [{}]}', "HostFault of the sandbox: missing a required keyword-only argument: 'how'|missing 1"),
        ('{"hosts": [{"how": "tired"}]}', "HostFault of the sandbox: 'how' must be in"),
        ('{"hosts": [{"how": "dies", "phase": "proof"}]}', "HostFault of the sandbox: 'phase' must be in"),
        ('{"hosts": 1}', "'hosts' must be a list"),
        ('{"hosts": ["dies"]}', "HostFault of the sandbox: 'dies' must be an object"),
        ('{"dead": "a"}', "'dead' must be a list"),
        ('{"dead": [1]}', "'dead'"),
        ('{"slow_s": -1}', "'slow_s' must be >= 0"),
    ],
)
def test_bad_documents(text: str, words: str) -> None:
    """What makes no sense is refused with a sentence that names it."""
    with pytest.raises(BadInput, match=words):
        read_faults(text)


def test_replaced_over_http(emulated: SandboxThread, api: Api) -> None:
    """Who has the token reads and replaces faults, and hears what is wrong with a document; nobody else does."""
    url = emulated.settings.endpoint.removesuffix("/v1") + "/sandbox/faults"
    headers = {"Authorization": f"Bearer {emulated.settings.token}"}
    daemon.set_faults(emulated.settings, SHOWN)
    daemon.set_faults(emulated.settings, Faults(servers=0))
    shown = requests.get(url, headers=headers, timeout=WITHIN_S)
    assert read_faults(shown.text) == Faults(servers=0)
    assert requests.put(url, data="{}", timeout=WITHIN_S).status_code == 401
    refused = requests.put(url, data='{"hosts": 1}', headers=headers, timeout=WITHIN_S)
    assert refused.status_code == 422
    assert emulated.sandbox.faults == Faults(servers=0)


@pytest.mark.parametrize("hosts", ["process", "scripted"])
def test_hosts_that_boot_nothing(hosts: Any) -> None:
    """Only machines boot a release of Debian, one of those that there are."""
    with pytest.raises(BadInput, match=f"Hosts of the kind '{hosts}' boot no system"):
        Options(hosts=hosts, base="sid")
    with pytest.raises(BadInput, match="base"):
        read_options('{"hosts": "machine", "base": "buzz"}')
    assert read_options(write_json(Options(hosts="machine", base="trixie"))).base == "trixie"


def test_hosts_that_cannot(emulated: SandboxThread, api: Api, tmp_path: Path) -> None:
    """What hosts of a kind cannot do is refused, in the beginning and later, and changes nothing."""
    impossible = Faults(hosts=(HostFault(how="never_joins"),))
    with pytest.raises(BadInput, match="'process' cannot be told to go wrong by 'never_joins'"):
        emulated.set_faults(impossible)
    with pytest.raises(SandboxFailed, match=r"did not take the faults: .*422") as caught:
        daemon.set_faults(emulated.settings, impossible)
    assert isinstance(caught.value.__cause__, urllib.error.HTTPError)
    assert caught.value.__cause__.closed  # keeps no connection open
    assert emulated.sandbox.faults == Faults()
    with pytest.raises(BadInput, match="'machine' cannot"):
        Sandbox(tmp_path, Options(hosts="machine", faults=impossible))
