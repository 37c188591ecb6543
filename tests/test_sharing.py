# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A cluster is exported on one computer and used and destroyed on another, with real SSH and real Dask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve
from conftest import TIME_SCALE
from shells import Shell
from surroundings import folders, held, settings_for

from scherbelberg import sync
from scherbelberg.errors import ClusterExists, StateMissing
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.sandbox.words import Options
from scherbelberg.sealing import unseal
from scherbelberg.sharing import import_cluster
from scherbelberg.store import Store

_PASSPHRASE = "marked-passphrase-7261"


def test_another_computer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The importer computes and destroys by its own keys; the file has no key of the exporter's, and nothing shows."""
    caplog.set_level("DEBUG")
    secret = tmp_path / "passphrase"
    secret.write_text(f"{_PASSPHRASE}\n", encoding="utf-8")
    file = tmp_path / "handed.over"
    with SandboxThread(tmp_path / "cloud", Options(time_scale=TIME_SCALE)) as running:
        here, there = settings_for(running, tmp_path / "here"), settings_for(running, tmp_path / "there")
        sync.Cluster.from_new(prefix="shared", workers=1, settings=here).close()
        code, said, _ = Shell(here, monkeypatch, capfd)(
            "export", "-v", "-p", "shared", "--passphrase-file", str(secret), "--json", str(file)
        )
        assert code == 0
        assert json.loads(said)["prefix"] == "shared"
        assert file.stat().st_mode & 0o077 == 0
        own = Store(here.home).folders()[0]
        opened = unseal(file.read_bytes(), _PASSPHRASE).decode()
        for name in ("ca-key.pem", "client-key.pem", "id_ed25519"):
            private = (own.path / name).read_text(encoding="utf-8")
            assert json.dumps(private.splitlines()[-3])[1:-1] not in opened  # the first line is the same in all
        assert here.access.token not in opened

        shell = Shell(there, monkeypatch, capfd)
        monkeypatch.setenv("SCHERBELBERG_PASSPHRASE", _PASSPHRASE)
        for _ in range(2):  # a second time it is the same
            code, said, told = shell("import", str(file), "--json")
            assert (code, json.loads(said)["prefix"]) == (0, "shared"), told
        assert json.loads(shell("show", "-p", "shared", "--json")[1])["imported"]
        with pytest.raises(ClusterExists):
            import_cluster(here.home, file, passphrase=_PASSPHRASE)
        with pytest.raises(StateMissing, match="was imported here"):
            Store(there.home).folders()[0].credentials()

        with sync.Cluster.from_existing("shared", settings=evolve(there, owner="bert_at_desk")) as cluster:
            assert cluster.node("worker000").run("echo here").stdout == "here\n"
            with cluster.get_client() as client:
                assert client.submit(pow, 2, 10).result(timeout=30) == 1024
            with pytest.raises(StateMissing):
                cluster.export(tmp_path / "again", passphrase=_PASSPHRASE)
            cluster.destroy()
        assert held(there) == []
        assert folders(there) == []
    assert _PASSPHRASE not in caplog.text
