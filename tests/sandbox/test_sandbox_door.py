# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the emulated API refuses before it knows what a request is about, and what the sandbox does not have."""

from __future__ import annotations

import json
import re

import pytest
import requests
from description import OPENAPI
from sandbox_helpers import WITHIN_S, Api
from sandbox_orders import Ahead, code, idle, look
from sandbox_world import KINDS

from scherbelberg.sandbox.api.unsupported import ACTIONS
from scherbelberg.sandbox.api.unsupported import KINDS as LACKING
from scherbelberg.sandbox.server import SandboxThread

METHODS = ("GET", "POST", "PUT", "DELETE")


def test_reading_token(emulated: SandboxThread, api: Api) -> None:
    """The token that may only read reads everything and changes nothing, not even by mistakes."""
    reader = Api(emulated.settings, token=emulated.settings.read_token)
    server = idle(api)
    for kind in (*KINDS, "locations", "server_types", "isos"):
        assert reader("GET", f"/{kind}").status == 200
    for method, path in (
        ("POST", "/servers"),
        ("PUT", f"/servers/{server['id']}"),
        ("DELETE", f"/servers/{server['id']}"),
        ("POST", f"/servers/{server['id']}/actions/poweron"),
    ):
        assert code(reader(method, path)) == (403, "token_readonly")
    reader.close()
    assert look(api, server["id"]) == server


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"{", (400, "json_error")),
        (b'{"name": NaN}', (400, "json_error")),
        (b"\xff", (400, "json_error")),
        (b"[" * 100_000, (400, "json_error")),
        (b'{"name": ' + b"1" * 5000 + b"}", (400, "json_error")),
        (b"null", (422, "invalid_input")),
        (json.dumps({"name": "\ud800"}).encode(), (422, "invalid_input")),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bodies_that_are_none(api: Api, data: bytes, expected: tuple[int, str]) -> None:
    """A body that cannot be read is refused without a failure of the sandbox."""
    headers = {"Authorization": f"Bearer {api.settings.token}"}
    url = api.settings.endpoint + "/firewalls"
    reply = requests.post(url, data=data, headers=headers, timeout=WITHIN_S)
    assert (reply.status_code, reply.json()["error"]["code"]) == expected


@pytest.mark.parametrize("path", ["/servers/" + "1" * 5000, "/servers/18446744073709551616", "/servers/-1"])
def test_numbers_that_nothing_has(api: Api, path: str) -> None:
    """A number that no resource can have is one that none has."""
    assert code(api("GET", path)) == (404, "not_found")


def test_paths_begin_with_the_version(api: Api) -> None:
    """Outside /v1 there is no API."""
    url = api.settings.endpoint.removesuffix("/v1") + "/servers"
    reply = requests.get(url, headers={"Authorization": f"Bearer {api.settings.token}"}, timeout=WITHIN_S)
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.skipif(not OPENAPI.exists(), reason="the description of the API is not beside the repository")
def test_everything_described_is_answered(ahead: Ahead) -> None:
    """Whatever the description knows is answered: done, refused for a reason, or said to be lacking here."""
    paths = json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"]
    asked = [(method.upper(), path) for path, row in paths.items() for method in row if method.upper() in METHODS]
    assert len(asked) > 100
    for method, path in asked:
        reply = ahead(method, re.sub(r"{\w+}", "1", path))
        assert reply.error["message"] != "API endpoint not found" if reply.status == 404 else reply.status != 405, path
        assert reply.status < 500 or path.split("/")[1] in LACKING or path.startswith("/servers/{id}/")


@pytest.mark.parametrize("kind", LACKING)
def test_kinds_that_the_sandbox_lacks(api: Api, kind: str) -> None:
    """Whatever is asked about a kind that the sandbox does not have, it says so, and not that it is unknown."""
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("GET", "/1"),
        ("PUT", "/1"),
        ("DELETE", "/1"),
        ("GET", "/1/actions"),
        ("POST", "/1/actions/attach"),
    ):
        reply = api(method, f"/{kind}{path}", {} if method in ("POST", "PUT") else None)
        assert (code(reply), "sandbox" in reply.error["message"]) == ((501, "not_implemented"), True)
    assert code(api("GET", f"/{kind}x")) == (404, "not_found")


def test_parts_of_servers_that_the_sandbox_lacks(api: Api) -> None:
    """Metrics, rescue, console and the like are refused for a server that is there."""
    server = idle(api)
    requests_ = [("POST", f"/actions/{word}") for word in ACTIONS] + [("GET", "/metrics")]
    for method, path in requests_:
        assert code(api(method, f"/servers/{server['id']}{path}")) == (501, "not_implemented")
        assert code(api(method, f"/servers/1{path}")) == (404, "not_found")
    assert look(api, server["id"]) == server
