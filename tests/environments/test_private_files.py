# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Files that nodes cannot get: fetched with what this computer knows of passwords, verified, and named for nodes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import evolve
from conda_channel import NAME, reindex
from fake_channel import add, channels, client
from mirror import Mirror
from proxies import Proxy, server_context, write_certificates
from serving import served
from simple_index import SimpleIndex, wheel

from scherbelberg.cloud.access import Access
from scherbelberg.environments.lock import EnvLock, Package, Wheel, write_lock
from scherbelberg.environments.private_files import fetch_private, is_open, mirror_url
from scherbelberg.environments.solver import solve_for
from scherbelberg.errors import ChannelUnreachable, EnvironmentUnavailable
from scherbelberg.settings import Settings

#: Of a mirror that does not answer, which nodes shall find out.
_PYTHON = "https://conda.anaconda.org/conda-forge/noarch/python-3.13.0-0.conda"
_SECRET = "s3cret%40x"
_BASIC = "Basic " + base64.b64encode(f"anna:{_SECRET}".encode()).decode()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this computer's own passwords, proxies or authorities counts."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes a password for this computer's servers."""

    def write(password: str) -> None:
        path = tmp_path / "netrc"
        path.write_text(f"machine 127.0.0.1\n  login anna\n  password {password}\n", encoding="utf-8")
        path.chmod(0o600)
        monkeypatch.setenv("NETRC", str(path))

    return write


def _settings(tmp_path: Path, mirror: str | None = None) -> Settings:
    access = Access(endpoint="http://127.0.0.1:9", token="t", token_source="the test")
    return Settings(
        access=access, ssh_port=22, network_range="10.0.0.0/16", home=tmp_path, owner="a", channel_mirror=mirror
    )


async def _fetch(lock: EnvLock, settings: Settings) -> dict[str, Path]:
    found = await fetch_private([lock], settings, within_s=10)
    assert {file.sha256: found.get(file.sha256) for file in lock.files if file.sha256 in found} == found
    return {path.name.partition("-")[2]: path for path in found.values()}


async def test_same_name_on_two_platforms(tmp_path: Path) -> None:
    """Two files of one name, for different platforms, are two files."""
    locks = []
    for platform in ("linux-64", "linux-aarch64"):
        file = tmp_path / platform / "same-1-0.conda"
        file.parent.mkdir()
        file.write_text(platform, encoding="utf-8")
        digest = hashlib.sha256(platform.encode()).hexdigest()
        packages = (Package(url=file.as_uri(), sha256=digest), Package(url=_PYTHON, sha256="0" * 64))
        locks.append(EnvLock(profile="x", platform=platform, packages=packages))
    found = await fetch_private(locks, _settings(tmp_path, "http://127.0.0.1:9"), within_s=1)
    assert [found[lock.packages[0].sha256].read_text(encoding="utf-8") for lock in locks] == [
        "linux-64",
        "linux-aarch64",
    ]


@pytest.fixture
def mine(own_fake: Mirror, tmp_path: Path) -> Mirror:
    """A mirror that has, besides, a channel ``mine`` with one package, for which it asks for a password."""
    folder = tmp_path / "mine"
    add(folder, "special", "7.0")
    add(folder, "ordinary", "1.0", subdir="linux-64")
    reindex(folder)
    (folder / NAME).rename(own_fake.root / "mine")
    own_fake.protect("/mine", user="anna", password=_SECRET)
    return own_fake


async def _solved(mine: Mirror, tmp_path: Path) -> EnvLock:
    found = channels(mine, tmp_path / "channels", f"{mine.url}/mine", NAME)
    return await solve_for(client(), found, platform="linux-64", more=("special", "ordinary"))


async def test_private_channel(
    mine: Mirror, tmp_path: Path, netrc: Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    """A channel behind a password is solved and fetched from with it, and nothing that is kept or sent tells it."""
    netrc(_SECRET)
    lock = await _solved(mine, tmp_path)
    settings = _settings(tmp_path, mine.url)
    mine.forget()
    found = await _fetch(lock, settings)
    private = {one.file_name: one for one in lock.packages if "/mine/" in one.url}
    assert {name.partition("-")[0] for name in private} == {"special", "ordinary"}
    assert set(found) == set(private)
    for name, path in found.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == private[name].sha256
    assert not [seen.path for seen in mine.seen if seen.path.startswith(f"/{NAME}") and seen.range != "bytes=0-0"]
    assert {seen.headers.get("authorization") for seen in mine.seen} == {None, _BASIC}
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    for text in (write_lock(lock), repr(lock), repr(settings), repr(found), kept.decode(errors="replace")):
        assert _SECRET not in text
        assert _BASIC.partition(" ")[2] not in text


async def test_fetched_before(mine: Mirror, tmp_path: Path, netrc: Callable[[str], None]) -> None:
    """What was fetched and is whole is not fetched again; what was spoiled since is."""
    netrc(_SECRET)
    lock, settings = await _solved(mine, tmp_path), _settings(tmp_path, mine.url)
    first = await _fetch(lock, settings)
    mine.forget()
    assert await _fetch(lock, settings) == first
    assert {seen.range for seen in mine.seen} == {"bytes=0-0"}
    spoiled = next(path for name, path in first.items() if name.startswith("special"))
    whole = spoiled.read_bytes()
    spoiled.write_bytes(whole[:-1])
    assert await _fetch(lock, settings) == first
    assert spoiled.read_bytes() == whole


async def test_wrong_password(mine: Mirror, tmp_path: Path, netrc: Callable[[str], None]) -> None:
    """A password that is refused, or none, is an error that names the file and not the password."""
    netrc(_SECRET)
    lock, settings = await _solved(mine, tmp_path), _settings(tmp_path, mine.url)
    netrc("wr0ng")
    with pytest.raises(ChannelUnreachable, match=r"/mine/.*\.conda could not be downloaded .*401") as caught:
        await _fetch(lock, settings)
    assert "wr0ng" not in repr(caught.value)
    with pytest.raises(ChannelUnreachable, match=r"does not answer as it should .*401") as caught:
        await _solved(mine, tmp_path / "other")
    assert "wr0ng" not in repr(caught.value)
    assert not [*(tmp_path / "cache" / "packages").glob("*")]


async def test_spoiled(mine: Mirror, tmp_path: Path, netrc: Callable[[str], None]) -> None:
    """A file that is not what the lock says never gets to a node."""
    netrc(_SECRET)
    lock = await _solved(mine, tmp_path)
    mine.misbehave("/mine/*/special-*", corrupt=True)
    with pytest.raises(EnvironmentUnavailable, match=r"/mine/noarch/special-7\.0-0\.conda has another SHA-256"):
        await _fetch(lock, _settings(tmp_path, mine.url))
    assert not [*(tmp_path / "cache" / "packages").glob("*special*")]


async def test_private_mirror(own_fake: Mirror, tmp_path: Path, netrc: Callable[[str], None]) -> None:
    """A mirror that asks for a password is used with it, and everything from it is sent along."""
    own_fake.protect("/", user="anna", password=_SECRET)
    netrc(_SECRET)
    lock = await solve_for(client(), channels(own_fake, tmp_path / "channels"), platform="linux-64")
    found = await _fetch(lock, _settings(tmp_path, own_fake.url))
    assert set(found) == {one.file_name for one in lock.packages}


async def test_open_channels(fake: Mirror, tmp_path: Path) -> None:
    """What nodes can get by themselves is left to them; each channel is asked once, conda-forge itself never."""
    lock = await solve_for(client(), channels(fake, tmp_path / "channels"), platform="linux-64")
    fake.forget()
    assert await _fetch(lock, _settings(tmp_path, fake.url)) == {}
    assert [seen.range for seen in fake.seen] == ["bytes=0-0"]
    fake.forget()
    assert await _fetch(lock, _settings(tmp_path)) == {}
    assert fake.seen == []


async def test_files_of_this_computer(tmp_path: Path) -> None:
    """Packages that lie on this computer are sent along; one that is gone is named."""
    folder = tmp_path / "mit Leerzeichen ä"
    path = add(folder, "special", "7.0")
    package = Package(url=path.as_uri(), sha256=hashlib.sha256(path.read_bytes()).hexdigest(), is_recorded=False)
    lock = EnvLock(profile="x", platform="linux-64", packages=(package,))
    found = await _fetch(lock, _settings(tmp_path))
    assert found[package.file_name].read_bytes() == path.read_bytes()
    gone = evolve(lock, packages=(evolve(package, url=package.url.replace("special", "gone")),))
    with pytest.raises(ChannelUnreachable, match=r"gone-7\.0-0\.conda could not be fetched"):
        await _fetch(gone, _settings(tmp_path))


@pytest.mark.parametrize("is_private", [True, False])
async def test_wheels(tmp_path: Path, netrc: Callable[[str], None], is_private: bool) -> None:
    """Wheels of an index that asks for a password, or speaks plain http, are fetched like packages."""
    netrc(_SECRET)
    name, content = wheel("plain", "1.0")
    index = SimpleIndex({name: content}, login=f"anna:{_SECRET}" if is_private else "")
    try:
        url = f"http://{index.host}/files/{name}"
        one = Wheel(name="plain", version="1.0", url=url, sha256=index.sha256(name))
        found = await _fetch(EnvLock(profile="x", platform="linux-64", packages=(), wheels=(one,)), _settings(tmp_path))
    finally:
        index.close()
    assert {name: path.read_bytes() for name, path in found.items()} == {name: content}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://conda.anaconda.org/conda-forge/noarch/a-1-0.conda", "http://m/x/conda-forge/noarch/a-1-0.conda"),
        ("https://conda.anaconda.org.evil/a", "https://conda.anaconda.org.evil/a"),
        ("https://other.example/a", "https://other.example/a"),
    ],
)
def test_mirrored(url: str, expected: str) -> None:
    """A mirror stands for the place of channels, and for nothing else."""
    assert mirror_url(url, "http://m/x") == expected
    assert mirror_url(url, None) == url


@pytest.fixture
def company(fake_root: Path, tmp_path: Path) -> Iterator[tuple[Mirror, Proxy, Path]]:
    """A mirror behind a certificate of a company's own, the company's proxy to it, and the authority."""
    authority, certificate = write_certificates(tmp_path, host="mirror.example")
    with ExitStack() as stack:
        mirror = Mirror(fake_root, tls=server_context(certificate))
        proxy = Proxy(mirror.server_port)
        stack.enter_context(served(proxy))
        stack.enter_context(mirror)  # ends first, with all connections that the proxy waits for
        yield mirror, proxy, authority


async def test_proxy_and_authority(
    company: tuple[Mirror, Proxy, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a company's proxy, and trusting its authority, channels are solved and files are fetched."""
    mirror, proxy, authority = company
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.place}")
    with pytest.raises(ChannelUnreachable):
        await solve_for(client(), channels("https://mirror.example", tmp_path / "no"), platform="linux-64")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    lock = await solve_for(client(), channels("https://mirror.example", tmp_path / "yes"), platform="linux-64")
    mirror.protect("/", user="anna", password=_SECRET)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine mirror.example login anna password {_SECRET}\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    settings = _settings(tmp_path, "https://mirror.example")
    found = await _fetch(evolve(lock, packages=lock.packages[:2]), settings)
    assert len(found) == 2
    assert {head.rpartition(" HTTP/1.")[0] for head in (head.partition("\r\n")[0] for head in proxy.heads)} == {
        "CONNECT mirror.example:443"
    }
    assert _SECRET.encode() not in b"".join(proxy.carried)


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
