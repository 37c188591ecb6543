# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Trouble of this computer while a cluster is made or used: it is told as such, and no node is blamed or replaced."""

from __future__ import annotations

import errno
import ssl
from pathlib import Path

import pytest
from attrs import evolve
from distributed.comm import CommClosedError
from surroundings import SHORT, folders, held

from scherbelberg import Cluster, Event
from scherbelberg.errors import BadInput, StateDamaged
from scherbelberg.events import Phase
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.scheduler import client
from scherbelberg.scheduler.endpoint import SchedulerEndpoint
from scherbelberg.scheduler.uploads import pack_modules
from scherbelberg.settings import Settings


def _orders(sandbox: SandboxThread) -> int:
    return sum(method == "POST" and path.endswith("/servers") for method, path in sandbox.sandbox.requests)


@pytest.mark.hosts("scripted")
async def test_host_key_that_cannot_be_kept(sandbox: SandboxThread, settings: Settings) -> None:
    """Where a node's host key cannot be saved, the file is named, no other worker is rented, and nothing is left."""

    def listen(event: Event) -> None:
        if (event.phase, event.state, event.node) == (Phase.REACH, "done", "worker000"):
            (folder,) = (settings.home / "clusters").iterdir()
            (folder / "manifest.json").unlink()
            (folder / "manifest.json/in the way").mkdir(parents=True)

    with pytest.raises(StateDamaged, match=r"manifest\.json of cluster .* cannot be written") as caught:
        await Cluster.from_new(workers=1, settings=settings, listen=listen, timeouts=evolve(SHORT, logs=1))
    assert caught.value.tried == ()
    assert (held(settings), folders(settings)) == ([], [])
    assert _orders(sandbox) == 2


def _door(folder: Path) -> SchedulerEndpoint:
    return SchedulerEndpoint(
        prefix="life",
        port=1,
        dashboard_port=2,
        authority=folder / "ca.pem",
        certificate=folder / "client.pem",
        key=folder / "client-key.pem",
    )


async def test_keys_that_dask_cannot_read(tmp_path: Path) -> None:
    """A client's key that is gone or damaged is named, instead of a scheduler that does not answer."""
    with pytest.raises(StateDamaged) as caught:
        await client.ask_for_tls(_door(tmp_path), within_s=10)
    assert str(tmp_path / "ca.pem") in caught.value.message
    for name in ("ca.pem", "client.pem", "client-key.pem"):
        (tmp_path / name).write_text("nonsense", encoding="utf-8")
    with pytest.raises(StateDamaged) as caught:
        await client.ask_for_tls(_door(tmp_path), within_s=10)
    assert str(tmp_path) in caught.value.message
    assert "destroy -p life" in caught.value.message


def test_upload_that_cannot_be_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read or packed here is an input that is named, and no traceback."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    nowhere = tmp_path / "nowhere"
    monkeypatch.setattr("tempfile.tempdir", str(nowhere))
    with pytest.raises(BadInput, match="package cannot be packed for the upload") as caught, pack_modules(package):
        pass
    assert str(nowhere) in caught.value.message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (CommClosedError("in <TLS> Stream is closed"), True),
        (OSError("Timed out trying to connect to tls://127.0.0.1:1 after 30 s"), True),
        (TimeoutError(), True),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (PermissionError(errno.EACCES, "Permission denied"), False),
        (ValueError("nonsense"), False),
    ],
)
def test_whose_error(error: Exception, expected: bool) -> None:
    """What a worker's disk says when it takes an upload is not taken for the end of the connection."""
    assert client.is_connection_error(error) is expected
