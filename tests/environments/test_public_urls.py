# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether a file is there for everybody."""

from __future__ import annotations

from pathlib import Path

import pytest
from mirror import Mirror
from proxies import server_context, write_certificates

from scherbelberg.environments.public_urls import is_open


@pytest.fixture
def file(fake_root: Path) -> str:
    """The path of some file in a channel."""
    return f"/{next(fake_root.glob('*/noarch/*.conda')).relative_to(fake_root).as_posix()}"


async def _ask(url: str, authorities: str | None = None) -> bool:
    return await is_open(url, authorities=authorities, within_s=10)


async def test_open(fake: Mirror, file: str) -> None:
    """What comes without a question is open; no more than a byte is asked for, and no credentials are sent."""
    assert await _ask(fake.url + file)
    (seen,) = fake.seen
    assert (seen.method, seen.range) == ("GET", "bytes=0-0")
    assert "authorization" not in seen.headers


@pytest.mark.parametrize(("status", "expected"), [(401, False), (403, False), (404, False), (500, True), (503, True)])
async def test_statuses(fake: Mirror, file: str, status: int, expected: bool) -> None:
    """Only a refusal means that credentials are needed; what else goes wrong the node will tell."""
    fake.misbehave("*", status=status)
    assert await _ask(fake.url + file) is expected


async def test_credentials_are_not_sent(
    fake: Mirror, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked as a node would, so what this computer knows of passwords does not count."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login anna password s3cret\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    fake.protect("/conda-forge", user="anna", password="s3cret")
    assert not await _ask(fake.url + file)


async def test_no_answer(fake_root: Path, file: str) -> None:
    """Where nobody answers, the node shall find out."""
    with Mirror(fake_root) as gone:
        url = gone.url
    assert await _ask(url + file)


async def test_own_authority(fake_root: Path, file: str, tmp_path: Path) -> None:
    """Certificates are held against the authorities that the settings name."""
    authority, certificate = write_certificates(tmp_path, host="127.0.0.1")
    with Mirror(fake_root, tls=server_context(certificate)) as mirror:
        mirror.protect("/conda-forge", user="anna", password="s3cret")
        assert not await _ask(mirror.url + file, str(authority))
        assert await _ask(mirror.url + file)  # not trusted: no answer that counts
