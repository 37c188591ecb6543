# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The API's client against a real HTTP server: lost answers, retries, refusals, the token, the clock."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest
from attrs import evolve
from surroundings import held

from scherbelberg.cloud import transport
from scherbelberg.cloud.access import Access
from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.cloud.resources import Json, read_resource
from scherbelberg.concurrency.waiting import until
from scherbelberg.errors import CloudUnreachable, NameTaken, QuotaReached, TokenRefused
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.state.keys import make_ssh_pair


@pytest.fixture
async def hetzner(settings: Settings) -> AsyncIterator[Hetzner]:
    """A client of the test's own cloud."""
    client = Hetzner(settings.access, request_s=5, patience_s=5)
    yield client
    client.close()


def key_request(uid: str = "u1", name: str = "key") -> Json:
    """A request for an SSH key with our labels."""
    labels = {"managed-by": "scherbelberg", "uid": uid, "owner": "ben_at_desk"}
    return {"name": name, "public_key": make_ssh_pair().public, "labels": labels}


@pytest.mark.parametrize("how", ["drop_before", "drop_after", "error"])
async def test_ambiguous_create_is_followed_up(
    sandbox: SandboxThread, settings: Settings, hetzner: Hetzner, how: Literal["error", "drop_before", "drop_after"]
) -> None:
    """Whether an answer is lost before or after the work, or the cloud stumbles: one resource is there, and ours."""
    sandbox.set_faults(Faults(requests=(RequestFault(number=1, how=how, status=503, code="unavailable"),)))
    body = key_request()
    created = await hetzner.create("ssh_keys", body)
    assert created.resource.labels == body["labels"]
    assert held(settings) == ["ssh_keys/key"]


async def test_answer_that_trickles(
    sandbox: SandboxThread, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answers byte by byte is cut off and asked again; what was made so is there once, and ours."""
    monkeypatch.setattr(transport, "_CONNECT_S", 0.5)
    trickles = (RequestFault(method=method, how="trickle", slow_s=30) for method in ("POST", "GET"))
    sandbox.set_faults(Faults(requests=tuple(trickles)))
    with closing(Hetzner(settings.access, request_s=0.5, patience_s=20)) as hetzner:
        created = await hetzner.create("ssh_keys", key_request())
        assert created.resource.labels["uid"] == "u1"
        await hetzner.wait_idle(10)
        assert hetzner.request_count == 3
        monkeypatch.setattr(hetzner, "_patience_s", 0)
        sandbox.set_faults(Faults(requests=(RequestFault(how="trickle", slow_s=30),)))
        with pytest.raises(CloudUnreachable, match=r"no whole answer within 1 s; check the network"):
            await hetzner.call("GET", "/servers")
    assert held(settings) == ["ssh_keys/key"]


async def test_closing_while_an_answer_trickles(sandbox: SandboxThread, settings: Settings) -> None:
    """Whoever closes waits for no thread that receives."""
    sandbox.set_faults(Faults(requests=(RequestFault(how="trickle", slow_s=60),)))
    client = Hetzner(settings.access, request_s=50, patience_s=0)
    before = len(sandbox.sandbox.requests)
    begun = asyncio.create_task(client.prices())

    async def is_sent() -> bool | None:
        return True if len(sandbox.sandbox.requests) > before else None

    await until(is_sent, every_s=0.2, within_s=20, what="the request")
    begun.cancel()
    async with asyncio.timeout(20):
        await asyncio.to_thread(client.close)
        await client.wait_idle(20)


async def test_name_of_somebody_else(hetzner: Hetzner, settings: Settings) -> None:
    """A name that belongs to another uid is neither adopted nor deleted; its owner is named."""
    await hetzner.create("ssh_keys", key_request("u1"))
    with pytest.raises(NameTaken, match="belongs to ben_at_desk"):
        await hetzner.create("ssh_keys", key_request("u2"))
    assert held(settings) == ["ssh_keys/key"]


async def test_same_request_twice_is_one_resource(hetzner: Hetzner) -> None:
    """Asking again for what is there already, with the same uid, finds it."""
    first = await hetzner.create("ssh_keys", key_request())
    again = await hetzner.create("ssh_keys", key_request())
    assert again.resource == first.resource


async def test_passing_faults_are_met_with_patience(sandbox: SandboxThread, hetzner: Hetzner) -> None:
    """A question that the cloud could not answer is asked again."""
    for status, code in ((503, "unavailable"), (429, "rate_limit_exceeded"), (502, "bad_gateway")):
        sandbox.set_faults(Faults(requests=(RequestFault(number=1, status=status, code=code),)))
        assert (await hetzner.catalog()).currency == "EUR"


async def test_deletion_of_what_is_gone(hetzner: Hetzner, settings: Settings) -> None:
    """Deleting twice is no error."""
    created = await hetzner.create("ssh_keys", key_request())
    assert await hetzner.delete(created.resource)
    assert await hetzner.delete(created.resource)
    assert held(settings) == []


async def test_wrong_token_names_its_source(settings: Settings) -> None:
    """A token that is refused is said to be, with where it came from and without the token."""
    wrong = "x" * 64
    access = evolve(settings.access, token=wrong, token_source="the file tok")
    client = Hetzner(access, request_s=5, patience_s=5)
    with pytest.raises(TokenRefused, match="check the token from the file tok") as caught:
        await client.catalog()
    client.close()
    assert wrong not in str(caught.value)
    assert wrong not in repr(access)


async def test_quickest_answer(sandbox: SandboxThread, hetzner: Hetzner) -> None:
    """The shortest time that an answer took is remembered, since no line is slower than that."""
    assert hetzner.quickest_s is None
    took_s = []
    for faults in (Faults(slow_s=0.2), Faults(), Faults(slow_s=0.2)):
        sandbox.set_faults(faults)
        await hetzner.prices()
        assert hetzner.last_response is not None
        took_s.append(hetzner.last_response.took_s)
    assert took_s[0] >= 0.2
    assert hetzner.quickest_s == min(took_s)


async def test_clock_is_the_clouds(hetzner: Hetzner) -> None:
    """Now is what the cloud's Date header says."""
    await hetzner.catalog()
    assert abs(hetzner.now_s - time.time()) < 5  # the sandbox has this computer's clock


class Server(ThreadingHTTPServer):
    """A server that does not mind when a client hangs up."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


class Stub:
    """A server that answers every request the same way, and remembers what it was asked."""

    def __init__(self, status: int, body: str, *, headers: dict[str, str] | None = None, hang: bool = False) -> None:
        seen: list[dict[str, str]] = []
        release = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(dict(self.headers))
                if hang:
                    release.wait(10)
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_POST = do_DELETE = do_GET  # noqa: N815 - the names are http.server's

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
                pass

        self.seen = seen
        self._release = release
        self._server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Stub:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def asking(stub: Stub, *, request_s: float = 5) -> Hetzner:
    """A client of a stub, without much patience."""
    access = Access(endpoint=stub.endpoint, token="tok", token_source="test")
    return Hetzner(access, request_s=request_s, patience_s=0.5)


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home folder whose .netrc has a default entry."""
    file = tmp_path / "netrc"
    file.write_text("default login somebody password secret\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(file))
    return iter(())


@pytest.mark.usefixtures("netrc")
async def test_netrc_does_not_replace_the_token() -> None:
    """The bearer token is sent, and nothing of a .netrc file."""
    body = '{"error": {"code": "forbidden", "message": "no"}}'
    with Stub(403, body) as stub:
        client = asking(stub)
        with pytest.raises(TokenRefused):
            await client.find("servers", {})
        client.close()
    assert [headers["Authorization"] for headers in stub.seen] == ["Bearer tok"]


async def test_redirects_are_not_followed() -> None:
    """The token does not go where an answer points to."""
    with Stub(200, "{}") as other, Stub(302, "", headers={"Location": f"{other.endpoint}/servers"}) as stub:
        client = asking(stub)
        with pytest.raises(CloudUnreachable):
            await client.find("servers", {})
        client.close()
    assert other.seen == []


async def test_lost_post_is_sent_once() -> None:
    """A POST that gets no answer in time is not simply sent again: it is looked up."""
    with Stub(200, "{}", hang=True) as stub:
        client = asking(stub, request_s=0.2)
        with pytest.raises(CloudUnreachable):
            await client.create("ssh_keys", key_request())
        client.close()
    methods = [headers.get("Content-Type") for headers in stub.seen]
    assert methods.count("application/json") == 1


async def test_quota_names_the_limit() -> None:
    """A limit of the account is final and named."""
    limits = {"limits": [{"name": "server_limit"}]}
    error = {"error": {"code": "resource_limit_exceeded", "message": "no", "details": limits}}
    with Stub(403, json.dumps(error)) as stub:
        client = asking(stub)
        with pytest.raises(QuotaReached, match="limit server_limit is reached"):
            await client.create("ssh_keys", key_request())
        client.close()
    assert len(stub.seen) == 1


_NOT_HETZNERS = "what answers there is not Hetzner's API but gives"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, "<!doctype html><title>Free Wi-Fi</title>", "a web page (status 200)"),
        (404, "<html>not here</html>", "a web page (status 404)"),
        (403, "\n <html>blocked by policy</html>", "a web page (status 403)"),
        (401, "who are you", "text that is no JSON (status 401)"),
        (407, "", "something that asks for a login (status 407)"),
        (511, "<html>log in</html>", "something that asks for a login (status 511)"),
        (200, "", "an empty answer (status 200)"),
        (200, "{}", "JSON of another kind (status 200)"),
        (200, "[]", "JSON of another kind (status 200)"),
        (200, "5", "JSON of another kind (status 200)"),
        (404, "[]", "JSON of another kind (status 404)"),
        (404, '{"error": "no such page"}', "JSON of another kind (status 404)"),
        (400, '{"error": {}}', "JSON of another kind (status 400)"),
    ],
)
async def test_answer_that_is_not_the_apis(status: int, body: str, words: str) -> None:
    """What answers in the API's place is told as that, with what to do, whatever is asked; none of it is believed."""
    with Stub(status, body) as stub, closing(asking(stub)) as client:
        for ask in (client.find("servers", {}), client.prices(), client.catalog()):
            with pytest.raises(CloudUnreachable) as caught:
                await ask
            assert f"{_NOT_HETZNERS} {words}, as a network's login page does" in caught.value.message
            assert caught.value.message.endswith(
                "; log in to this network with a browser, or check the endpoint, then try again."
            )
        assert not client.tells_time


def _not_hetzners() -> pytest.RaisesExc[CloudUnreachable]:
    return pytest.raises(CloudUnreachable, match=_NOT_HETZNERS)


@pytest.mark.parametrize("status", [200, 404])
async def test_deletion_that_only_a_login_page_confirms(status: int) -> None:
    """No page that is not the API's makes us believe that something is deleted."""
    resource = read_resource("ssh_keys", {"id": 5, "name": "key", "labels": {}})
    with Stub(status, "<html>welcome</html>") as stub, closing(asking(stub)) as client, _not_hetzners():
        await client.delete(resource)


async def test_redirection_to_a_login_page() -> None:
    """A redirection is told with the host that it leads to, and without what else its address holds."""
    headers = {"Location": "https://login.hotel.example/start?token=abc"}
    with Stub(302, "", headers=headers) as stub, closing(asking(stub)) as client, _not_hetzners() as caught:
        await client.find("servers", {})
    assert f"{_NOT_HETZNERS} a redirection to login.hotel.example (status 302)" in caught.value.message
    assert "abc" not in caught.value.message
