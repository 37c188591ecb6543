# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg doctor`` against an emulated cloud: it finds what is wrong, makes nothing, and costs nothing."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
from sandbox_helpers import Api
from schemas import read, unpromised
from shells import Shell
from surroundings import folders, held

from scherbelberg.cloud.access import Access
from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.spec.urls import HETZNER
from scherbelberg.state.store import Folder

pytestmark = pytest.mark.hosts("scripted")

NAMES = (
    *("token", "route", "rate_budget", "clock", "versions", "tls", "dask"),
    *("openssh", "folders", "permissions", "disk", "state", "certificates", "outliving"),
)
#: What a cloud that is not there does not tell.
SILENT = ("rate_budget", "clock", "state", "certificates", "outliving")


def _examined(shell: Shell, *words: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and each check's status and message."""
    code, output, complaints = shell("doctor", "--json", *words)
    assert complaints == ""
    checks = read("doctor", output)["checks"]
    return code, {check["name"]: (check["status"], check["message"]) for check in checks}


def _statuses(checks: dict[str, tuple[str, str]], status: str) -> set[str]:
    return {name for name, (found, _) in checks.items() if found == status}


def test_healthy(shell: Shell, sandbox: SandboxThread) -> None:
    """Where nothing is wrong, all is well, in a table and in a document; no request makes anything."""
    code, output, _ = shell("doctor", "--json")
    document = read("doctor", output)
    assert [check["name"] for check in document["checks"]] == list(NAMES)
    wrong = [check for check in document["checks"] if check["status"] != "ok" and check["name"] != "openssh"]
    assert (code, document["healthy"], wrong) == (0, True, [])
    assert unpromised("doctor", document) == []
    assert [path for method, path in sandbox.sandbox.requests if method != "GET"] == ["/v1/ssh_keys/0"]
    assert (held(shell.settings), folders(shell.settings)) == ([], [])
    code, output, _ = shell("doctor")
    rows = [line.split()[:2] for line in output.splitlines() if not line.startswith("      ")]
    assert (code, rows[0], rows[2]) == (0, ["ok", "token"], ["ok", "rate"])
    assert f"SANDBOX at {shell.settings.access.endpoint} answers in " in output


def test_read_only_token(shell: Shell, sandbox: SandboxThread) -> None:
    """A token that may only read is found without writing."""
    shell.monkeypatch.setenv("HCLOUD_TOKEN", sandbox.settings.read_token)
    code, checks = _examined(shell)
    assert (code, _statuses(checks, "fail")) == (3, {"token"})
    assert "token_readonly" in checks["token"][1]
    code, output, _ = shell("doctor")
    assert (code, "Make a token with Read & Write" in output) == (3, True)


def test_wrong_token(shell: Shell, tmp_path: Path) -> None:
    """A token that is not accepted is the only failure, wherever it came from."""
    path = tmp_path / "token"
    path.write_text("wrong" * 12, encoding="utf-8")
    code, checks = _examined(shell, "--token-file", str(path))
    assert (code, _statuses(checks, "fail")) == (3, {"token"})
    assert checks["state"] == ("warn", "Not looked at: the cloud does not tell what it holds.")


def test_no_token(shell: Shell, sandbox: SandboxThread) -> None:
    """Without a token, all else is looked at; the cloud is sent none."""
    shell.monkeypatch.delenv("HCLOUD_TOKEN")
    code, checks = _examined(shell)
    assert (code, _statuses(checks, "fail"), _statuses(checks, "ok") >= {"route", "clock"}) == (3, {"token"}, True)
    assert len(sandbox.sandbox.requests) == 1


@pytest.mark.parametrize(
    ("variable", "value"), [("HCLOUD_ENDPOINT", "ftp://x"), ("SCHERBELBERG_SSH_PORT", "ssh"), ("HCLOUD_TOKEN", "a b")]
)
def test_bad_settings(shell: Shell, variable: str, value: str) -> None:
    """Surroundings that make no sense are a failed check, and this computer is looked at all the same."""
    shell.monkeypatch.setenv(variable, value)
    code, checks = _examined(shell)
    assert (code, _statuses(checks, "fail")) == (2, {"settings"})
    assert _statuses(checks, "warn") >= {"token", "route", "clock", "state"}
    assert checks["disk"][0] == "ok"


def test_unreachable(shell: Shell) -> None:
    """Where nobody answers, that is the failure, and nothing is blamed on the token."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        shell.monkeypatch.setenv("HCLOUD_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
        code, checks = _examined(shell)
    assert (code, _statuses(checks, "fail")) == (12, {"route"})
    assert {checks[name][0] for name in (*SILENT, "token")} == {"warn"}


@pytest.mark.parametrize("limit", ["_REQUEST_S", "_CLOUD_S"])
def test_deaf(shell: Shell, limit: str) -> None:
    """Where somebody listens and never answers, each request and all of them together have a deadline."""
    shell.monkeypatch.setattr(f"scherbelberg.lifecycle.doctor.{limit}", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        shell.monkeypatch.setenv("HCLOUD_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}/v1")
        code, checks = _examined(shell)
    assert (code, _statuses(checks, "fail")) == (12, {"route"})
    assert ("did not answer within 0.3 s" in checks["route"][1]) is (limit == "_CLOUD_S")


def test_faults(shell: Shell, sandbox: SandboxThread) -> None:
    """A cloud that answers with faults is not waited for."""
    sandbox.set_faults(Faults(requests=(RequestFault(path="/servers", status=429, code="rate_limit_exceeded"),)))
    code, checks = _examined(shell)
    assert (code, _statuses(checks, "fail")) == (12, {"route"})
    assert "rate_limit_exceeded" in checks["route"][1]


@pytest.mark.parametrize(
    ("endpoint", "around", "proxy"),
    [
        (HETZNER, {"HTTPS_PROXY": "http://anna:secret@gate.example:3128/"}, "gate.example:3128"),
        (HETZNER, {"HTTPS_PROXY": "gate.example:3128"}, "gate.example:3128"),
        (HETZNER, {"HTTPS_PROXY": "http://gate.example:3128", "NO_PROXY": "hetzner.cloud"}, None),
        (HETZNER, {}, None),
        ("http://127.0.0.1:1/v1", {"HTTP_PROXY": "http://gate.example:3128"}, None),
    ],
)
def test_proxy(monkeypatch: pytest.MonkeyPatch, endpoint: str, around: dict[str, str], proxy: str | None) -> None:
    """The proxy on the way is known without its password, and a sandbox has none."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    hetzner = Hetzner(Access(endpoint=endpoint, token="none", token_source="a test"), request_s=1, patience_s=0)
    assert hetzner.proxy == proxy
    hetzner.close()


def test_clock(shell: Shell) -> None:
    """This computer's clock is compared with the API's."""
    shell.monkeypatch.setattr("scherbelberg.lifecycle.doctor._now_s", lambda: 0.0)
    code, checks = _examined(shell)
    assert (code, _statuses(checks, "fail")) == (1, {"clock"})
    assert "behind the cloud's" in checks["clock"][1]


def test_certificates(shell: Shell, sandbox: SandboxThread) -> None:
    """Where there is no deadline, doctor and ls tell of the certificates' end from 30 days before it on."""
    assert shell("create", "-p", "old", "-w", "1", "-q", "--ttl", "none")[0] == 0
    assert shell("create", "-p", "young", "-w", "1", "-q", "--ttl", "500d")[0] == 0
    documents = {one["prefix"]: one for one in read("ls", shell("ls", "--json")[1])["clusters"]}
    assert _examined(shell)[1]["certificates"][0] == "ok"
    for days, words in ((369, None), (371, "end on "), (401, "ended on ")):
        sandbox.set_clock(days * 86400)
        status, message = _examined(shell)[1]["certificates"]
        _, _, complaints = shell("ls")
        assert status == ("warn" if words else "ok")
        for text in (message, complaints):
            assert (f"The certificates of cluster 'old' {words}" in text) is (words is not None)
            assert "'young'" not in text
    sandbox.set_clock(0)
    assert documents["old"]["certificates_end_s"] - documents["old"]["age_s"] > 0
    assert documents["young"]["certificates_end_s"] - documents["young"]["deadline_s"] == 30 * 86400
    for name in ("old", "young"):
        assert shell("destroy", "-p", name, "-q")[0] == 0


def test_without_openssh(shell: Shell, tmp_path: Path) -> None:
    """Missing programs are a warning."""
    shell.monkeypatch.setenv("PATH", str(tmp_path))
    code, checks = _examined(shell)
    assert (code, checks["openssh"]) == (0, ("warn", "There is no program ssh and scp."))


def test_clusters(shell: Shell, sandbox: SandboxThread, tmp_path: Path) -> None:
    """Damage, exposed keys, other versions, folders without a cluster and the reverse are found."""
    assert shell("create", "-p", "tour", "-w", "1", "-q")[0] == 0
    (name,) = folders(shell.settings)
    folder = shell.settings.home / "clusters" / name
    assert _examined(shell)[1]["state"][0] == "ok"
    _check_damage(shell, folder)
    _check_versions(shell, folder)
    _check_making(shell, sandbox, folder)

    # A cluster whose folder is gone.
    away = tmp_path / "away"
    shutil.move(folder, away)
    code, checks = _examined(shell)
    assert (code, checks["state"][0]) == (0, "warn")
    assert "was made here, but its folder is gone" in checks["state"][1]
    # A folder whose cluster is gone, except while that is being made.
    assert shell("nuke", "-p", "tour", "--yes", "-q")[0] == 0
    shutil.move(away, folder)
    code, checks = _examined(shell)
    assert checks["state"] == ("warn", f"The folder {folder} has no cluster any more.")
    Folder(folder).begin_making()
    assert _examined(shell)[1]["state"][0] == "ok"
    Folder(folder).end_making()
    assert shell("destroy", "-p", "tour", "-q")[0] == 0
    assert _examined(shell)[1]["state"][0] == "ok"


def _check_making(shell: Shell, sandbox: SandboxThread, folder: Path) -> None:
    """What is half made is told, but not while somebody makes it."""
    api = Api(sandbox.settings)
    network = api("GET", "/networks").body["networks"][0]
    for state, status in (("creating", "warn"), ("ready", "ok")):
        labels = network["labels"] | {"state": state}
        assert api("PUT", f"/networks/{network['id']}", {"labels": labels}).status == 200
        code, checks = _examined(shell)
        assert (code, checks["state"][0]) == (0, status)
        Folder(folder).begin_making()
        assert _examined(shell)[1]["state"][0] == "ok"
        Folder(folder).end_making()
    api.close()


def _check_damage(shell: Shell, folder: Path) -> None:
    key, manifest = folder / "id_ed25519", folder / "manifest.json"
    key.chmod(0o644)
    code, checks = _examined(shell)
    assert (code, checks["permissions"]) == (11, ("fail", f"Others may enter or read {key}."))
    folder.chmod(0o755)
    assert _examined(shell)[1]["permissions"][1] == f"Others may enter or read {folder}."
    folder.chmod(0o700)
    key.chmod(0o600)
    good = manifest.read_text(encoding="utf-8")
    manifest.write_text("{", encoding="utf-8")
    code, checks = _examined(shell)
    assert (code, _statuses(checks, "fail")) == (11, {"folders"})
    assert "scherbelberg destroy -p tour" in checks["folders"][1]
    manifest.write_text(good, encoding="utf-8")
    assert _examined(shell)[0] == 0
    key.rename(folder / "away")
    assert _statuses(_examined(shell)[1], "fail") == {"folders"}
    (folder / "away").rename(key)


def _check_versions(shell: Shell, folder: Path) -> None:
    manifest = folder / "manifest.json"
    good = manifest.read_text(encoding="utf-8")
    document = json.loads(good)
    document["versions"]["dask"] = "2020.1.0"
    manifest.write_text(json.dumps(document), encoding="utf-8")
    code, checks = _examined(shell)
    assert (code, checks["versions"][0]) == (0, "warn")
    assert "and 2020.1.0 on cluster 'tour'" in checks["versions"][1]
    manifest.write_text(good, encoding="utf-8")


def test_unlisted(shell: Shell) -> None:
    """Folders that cannot be listed are a failed check, whoever asks."""

    def broken(*args: object, **kwargs: object) -> None:
        raise PermissionError("not yours")

    shell.monkeypatch.setattr("scherbelberg.lifecycle.doctor.Store.folders", broken)
    code, checks = _examined(shell)
    assert (code, _statuses(checks, "fail")) == (11, {"folders"})
    assert "not yours" in checks["folders"][1]
