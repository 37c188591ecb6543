# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The mirror of the tests, seen through curl."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mirror import Mirror
from mirror_answers import part
from proxies import write_certificates

DATA = bytes(range(256)) * 4000
#: What curl says of a connection that ended too early, before the answer, and of a status of 400 or more.
CUT, NOTHING, REFUSED = 18, 52, 22


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A folder with one file."""
    folder = tmp_path / "a folder" / "linux-64"
    folder.mkdir(parents=True)
    (folder / "x ü.conda").write_bytes(DATA)
    return folder.parent


@pytest.fixture
def there(served: Path) -> Iterator[Mirror]:
    """A mirror of it."""
    with Mirror(served) as running:
        yield running


def curl(mirror: Mirror, *words: str | Path, path: str = "/linux-64/x%20%C3%BC.conda") -> tuple[int, bytes]:
    """Fetch something; returns curl's exit code and its output."""
    command = ["curl", "--silent", "--fail", "--noproxy", "*", "--max-time", "30", *words, mirror.url + path]
    done = subprocess.run(command, check=False, capture_output=True, timeout=40)
    return done.returncode, done.stdout


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_ranges(size_bytes: int, first: int, last: int) -> None:
    """Which bytes a range means."""
    everything = range(size_bytes)
    assert part(None, size_bytes) == part("bytes=0-1,3-4", size_bytes) == everything
    assert part(f"bytes={first}-", size_bytes) == (everything[first:] or None)
    assert part(f"bytes={first}-{last}", size_bytes) == (everything[first : last + 1] or None)
    assert part(f"bytes=-{last}", size_bytes) == (everything[max(0, size_bytes - last) :] or None)


def test_plain(there: Mirror) -> None:
    """A file, a question about it, one that is not there, and one that is not below the folder."""
    assert curl(there) == (0, DATA)
    code, headers = curl(there, "--head")
    assert code == 0
    assert f"Content-Length: {len(DATA)}" in headers.decode()
    assert curl(there, path="/linux-64")[0] == REFUSED
    (there.root.parent / "secret").write_text("x", encoding="utf-8")
    assert curl(there, "--path-as-is", path="/../secret")[0] == REFUSED
    assert [seen.method for seen in there.seen] == ["GET", "HEAD", "GET", "GET"]
    assert there.seen[0].path == "/linux-64/x ü.conda"


def test_resumed(there: Mirror, tmp_path: Path) -> None:
    """A download that is cut twice goes on where it was, and one that is complete is refused with its size."""
    file = tmp_path / "file"
    there.misbehave("/linux-64/*", cut_after=100_000, times=2)
    codes = [curl(there, "--continue-at", "-", "--output", file)[0] for _ in range(3)]
    assert codes == [CUT, CUT, 0]
    assert file.read_bytes() == DATA
    assert [seen.range for seen in there.seen] == [None, "bytes=100000-", "bytes=200000-"]
    status = ["--range", f"{len(DATA)}-", "--write-out", "%{http_code} %header{content-range}"]
    assert curl(there, *status)[1].decode() == f"416 bytes */{len(DATA)}"


def test_faults(there: Mirror) -> None:
    """An answer of another status for a while, one byte that is wrong, and good behaviour again."""
    there.misbehave("*.conda", status=503, times=2)
    there.misbehave("*.conda", corrupt=True)
    assert [curl(there)[0] for _ in range(2)] == [REFUSED, REFUSED]
    code, data = curl(there)
    middle = len(DATA) // 2
    assert code == 0
    assert [place for place, (is_, was) in enumerate(zip(data, DATA, strict=True)) if is_ != was] == [middle]
    assert curl(there, "--range", f"{middle}-{middle}")[1] != DATA[middle : middle + 1]
    there.clear()
    there.forget()
    assert curl(there) == (0, DATA)
    assert len(there.seen) == 1


def test_held_back(there: Mirror) -> None:
    """What is held back comes when it is let go, and not before."""
    fault = there.misbehave("*.conda", hold_after=1000)
    came: list[tuple[int, bytes]] = []
    client = threading.Thread(target=lambda: came.append(curl(there)))
    client.start()
    there.wait_for(lambda seen: len(seen) == 1)
    assert came == []
    fault.release()
    client.join(20)
    assert came == [(0, DATA)]


def test_password(there: Mirror, tmp_path: Path) -> None:
    """Below a prefix a password is needed, elsewhere not."""
    (there.root / "open").write_bytes(b"free")
    there.protect("/linux-64/", user="anna", password="ö:p")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login anna password ö:p\n", encoding="utf-8")
    assert curl(there)[0] == curl(there, "--user", "anna:wrong")[0] == REFUSED
    assert curl(there, "--netrc-file", netrc) == (0, DATA)
    assert curl(there, path="/open") == (0, b"free")
    assert [("authorization" in seen.headers) for seen in there.seen] == [False, True, True, False]


def test_slow(served: Path) -> None:
    """At a byte a second for all together nothing arrives in full, and leaving ends it."""
    answers: list[tuple[int, bytes]] = []
    with Mirror(served) as slow:
        slow.rate_bytes_s = 1
        clients = [threading.Thread(target=lambda: answers.append(curl(slow))) for _ in range(2)]
        for client in clients:
            client.start()
        slow.wait_for(lambda seen: len(seen) == len(clients))
    for client in clients:
        client.join(20)
    assert [code for code, _ in answers if code not in {CUT, NOTHING}] == []
    assert len(answers) == len(clients)


def test_tls(served: Path, tmp_path: Path) -> None:
    """It speaks TLS with a certificate that was given to it."""
    authority, certificate = write_certificates(tmp_path, host="127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Mirror(served, tls=context) as there:
        assert there.url.startswith("https:")
        assert curl(there, "--cacert", authority) == (0, DATA)
        assert curl(there)[0] not in {0, REFUSED}
    assert len(there.seen) == 1
