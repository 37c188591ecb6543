# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the surroundings decide: where the token comes from, and where it may not go."""

from __future__ import annotations

import getpass
import platform
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from catalogues import LABEL

from scherbelberg.cloud.access import Access
from scherbelberg.errors import BadInput, TokenMissing
from scherbelberg.settings import Settings, endpoint_in, home_folder, owner_label, read_settings
from scherbelberg.spec.urls import HETZNER

_CONTEXTS = """
active_context = "work"

[[contexts]]
name = "home"
token = "token-of-home"

[[contexts]]
name = "work"
token = "token-of-work"

[[contexts]]
name = "bare"
"""
Environ = dict[str, str]


@pytest.fixture
def hcloud(tmp_path: Path) -> Path:
    """The hcloud CLI's configuration, with two contexts, below a folder whose name is not plain."""
    path = tmp_path / "Änne Müller" / "hcloud" / "cli.toml"
    path.parent.mkdir(parents=True)
    path.write_text(_CONTEXTS, encoding="utf-8")
    return path


@pytest.fixture
def environ(hcloud: Path) -> Environ:
    """Environment variables that lead to that configuration and to nothing else."""
    return {"XDG_CONFIG_HOME": str(hcloud.parent.parent)}


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with a token, as an editor leaves it."""
    path = tmp_path / "mein Schlüssel"
    path.write_text("token-of-file\n", encoding="utf-8")
    return path


def _from(settings: Settings) -> tuple[str, str]:
    return settings.access.token, settings.access.token_source


def test_settings_in_full(environ: Environ, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is decided when little is said."""
    monkeypatch.setattr(getpass, "getuser", lambda: "anna")
    monkeypatch.setattr(platform, "node", lambda: "laptop.example")
    assert read_settings(environ=environ | {"HCLOUD_TOKEN": "t", "SCHERBELBERG_HOME": "/x/y"}) == Settings(
        access=Access(endpoint="https://api.hetzner.cloud/v1", token="t", token_source="HCLOUD_TOKEN"),
        ssh_port=22,
        network_range="10.0.0.0/16",
        home=Path("/x/y"),
        owner="anna_at_laptop",
    )


def test_order_of_sources(environ: Environ, token_file: Path) -> None:
    """Argument, file, HCLOUD_TOKEN, HETZNER, active context: the first that is there wins."""
    everything = environ | {"HCLOUD_TOKEN": "token-of-variable", "HETZNER": "token-of-old"}
    old = environ | {"HETZNER": "token-of-old", "HCLOUD_TOKEN": ""}
    assert [
        _from(read_settings(token="token-given", token_file=token_file, environ=everything)),
        _from(read_settings(token=lambda: "token-told", token_file=token_file, environ=everything)),
        _from(read_settings(token_file=token_file, environ=everything)),
        _from(read_settings(environ=everything)),
        _from(read_settings(environ=old)),
        _from(read_settings(environ=environ)),
    ] == [
        ("token-given", "the argument"),
        ("token-told", "the argument"),
        ("token-of-file", f"the file {token_file}"),
        ("token-of-variable", "HCLOUD_TOKEN"),
        ("token-of-old", "HETZNER"),
        ("token-of-work", "the hcloud CLI's context 'work'"),
    ]


def test_no_token(tmp_path: Path) -> None:
    """Without any token the sentence names all ways to give one, and one that needs none."""
    with pytest.raises(TokenMissing) as caught:
        read_settings(environ={"XDG_CONFIG_HOME": str(tmp_path)})
    assert caught.value.message == (
        "There is no API token: set HCLOUD_TOKEN, name a file with --token-file, or activate a context of the hcloud"
        " CLI (to try things for free: 'scherbelberg demo' or 'scherbelberg sandbox start')."
    )


def test_context_by_variable(environ: Environ, hcloud: Path) -> None:
    """The hcloud CLI's own variables choose another context or another file."""
    assert _from(read_settings(environ=environ | {"HCLOUD_CONTEXT": "home"}))[0] == "token-of-home"
    elsewhere = {"HCLOUD_CONFIG": str(hcloud), "XDG_CONFIG_HOME": "/nowhere", "HCLOUD_CONTEXT": "home"}
    assert _from(read_settings(environ=elsewhere))[0] == "token-of-home"


def test_context_on_windows(hcloud: Path) -> None:
    """Where there is no XDG_CONFIG_HOME, APPDATA leads to the configuration."""
    environ = {"APPDATA": str(hcloud.parent.parent)}
    assert _from(read_settings(environ=environ))[0] == "token-of-work"


def test_context_in_the_home_folder(hcloud: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no variable says otherwise, the configuration is in .config of the home folder."""
    home = hcloud.parent.parent.parent
    (home / "Änne Müller").rename(home / ".config")
    monkeypatch.setattr(Path, "home", lambda: home)
    assert _from(read_settings(environ={}))[0] == "token-of-work"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody", "HCLOUD_CONTEXT names the hcloud CLI's context 'nobody', which is not in {path}"),
        ("HOME", "HCLOUD_CONTEXT names the hcloud CLI's context 'HOME', which is not in {path}"),
        ("bare", "HCLOUD_CONTEXT names the hcloud CLI's context 'bare', which has no token in {path}"),
    ],
)
def test_context_without_a_token(environ: Environ, hcloud: Path, name: str, reason: str) -> None:
    """A context that has no token, or is not there, is named with those that could be; no other is taken instead."""
    with pytest.raises(TokenMissing) as caught:
        read_settings(environ=environ | {"HCLOUD_CONTEXT": name})
    assert caught.value.message == (
        f"There is no API token: {reason.format(path=hcloud)}; contexts with a token: 'home', 'work'. Set"
        " HCLOUD_CONTEXT to one of them, or set HCLOUD_TOKEN."
    )
    assert "token-of" not in caught.value.message


def test_active_context_that_is_gone(environ: Environ, hcloud: Path) -> None:
    """The context that the configuration itself calls active is named, too, when it is not there."""
    hcloud.write_text(_CONTEXTS.replace('active_context = "work"', 'active_context = "old"'), encoding="utf-8")
    with pytest.raises(TokenMissing) as caught:
        read_settings(environ=environ)
    assert caught.value.message == (
        f"There is no API token: active_context names the hcloud CLI's context 'old', which is not in {hcloud};"
        " contexts with a token: 'home', 'work'. Set HCLOUD_CONTEXT to one of them, or set HCLOUD_TOKEN."
    )


def test_context_where_there_is_none(tmp_path: Path) -> None:
    """A context that is asked for where no configuration is, or none with a token, is told with the file's place."""
    path = tmp_path / "hcloud" / "cli.toml"
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HCLOUD_CONTEXT": "work"}
    with pytest.raises(TokenMissing) as caught:
        read_settings(environ=environ)
    assert caught.value.message == (
        "There is no API token: HCLOUD_CONTEXT names the hcloud CLI's context 'work', but there is no file"
        f" {path}. Make the context with 'hcloud context create', or set HCLOUD_TOKEN."
    )
    path.parent.mkdir()
    path.write_text("", encoding="utf-8")
    with pytest.raises(TokenMissing) as caught:
        read_settings(environ=environ)
    assert caught.value.message == (
        f"There is no API token: HCLOUD_CONTEXT names the hcloud CLI's context 'work', which is not in {path};"
        " no context there has a token. Make the context with 'hcloud context create', or set HCLOUD_TOKEN."
    )


def test_configuration_that_is_not_there(tmp_path: Path) -> None:
    """A file that HCLOUD_CONFIG names and that is not there is named."""
    path = tmp_path / "none.toml"
    with pytest.raises(TokenMissing) as caught:
        read_settings(environ={"HCLOUD_CONFIG": str(path)})
    assert caught.value.message == (
        f"There is no API token: HCLOUD_CONFIG names {path}, but there is no such file. Name the hcloud CLI's"
        " configuration, or set HCLOUD_TOKEN."
    )


def test_no_context_is_active(environ: Environ, hcloud: Path) -> None:
    """Contexts of which none is active are named, with the two ways to choose one."""
    hcloud.write_text(_CONTEXTS.replace('active_context = "work"', ""), encoding="utf-8")
    with pytest.raises(TokenMissing) as caught:
        read_settings(environ=environ)
    assert caught.value.message == (
        f"There is no API token: no context of the hcloud CLI is active in {hcloud}; contexts with a token: 'home',"
        " 'work'. Set HCLOUD_CONTEXT to one of them, or set HCLOUD_TOKEN."
    )


def test_context_for_another_endpoint(environ: Environ) -> None:
    """For another endpoint than Hetzner's, the sentence does not advise a context, which would not be used there."""
    for words in ({}, {"HCLOUD_CONTEXT": "work"}):
        with pytest.raises(TokenMissing) as caught:
            read_settings(endpoint="https://cloud.example/v1", environ=environ | words)
        assert caught.value.message == (
            "There is no API token for https://cloud.example/v1: set HCLOUD_TOKEN, or name a file with --token-file"
            " (contexts of the hcloud CLI are for Hetzner alone)."
        )


@pytest.mark.parametrize("content", ["", 'active_context = ""\n', 'active_context = "work"\n'])
def test_configuration_without_contexts(environ: Environ, hcloud: Path, content: str) -> None:
    """A configuration of the hcloud CLI may be empty."""
    hcloud.write_text(content, encoding="utf-8")
    with pytest.raises(TokenMissing):
        read_settings(environ=environ)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"active_context = ", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"contexts = 5", "has no list of contexts"),
        (b'active_context = "a"\ncontexts = "a"', "has no list of contexts"),
        (b'active_context = "a"\ncontexts = [1]', "has no list of contexts"),
        (b'active_context = "a"\n[contexts]\na = 1', "has no list of contexts"),
    ],
)
def test_broken_configuration(environ: Environ, hcloud: Path, content: bytes, words: str) -> None:
    """A configuration that cannot be read is named, unless the token is found before."""
    hcloud.write_bytes(content)
    with pytest.raises(BadInput, match=rf"The hcloud CLI's configuration .*cli\.toml {words}"):
        read_settings(environ=environ)
    assert _from(read_settings(environ=environ | {"HCLOUD_TOKEN": "t"}))[0] == "t"


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.65.0.1:4000/v1", "https://cloud.example/v1", "https://api.hetzner.cloud:444/v1", f"{HETZNER}/x"],
)
def test_context_is_for_hetzner_only(environ: Environ, endpoint: str) -> None:
    """The token of an hcloud context is not shown to whatever else listens somewhere."""
    with pytest.raises(TokenMissing):
        read_settings(environ=environ | {"HCLOUD_ENDPOINT": endpoint})
    with pytest.raises(TokenMissing):
        read_settings(environ=environ, endpoint=endpoint)


def test_context_of_an_endpoint_that_is_hetzners(environ: Environ) -> None:
    """Naming Hetzner's own endpoint changes nothing."""
    assert _from(read_settings(environ=environ, endpoint=f"{HETZNER}/"))[0] == "token-of-work"


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [
        (None, None, HETZNER),
        (None, "", HETZNER),
        (None, "https://one.example/v1/", "https://one.example/v1"),
        ("http://127.0.0.1:1/v1", "https://one.example/v1", "http://127.0.0.1:1/v1"),
    ],
)
def test_endpoint(environ: Environ, argument: str | None, variable: str | None, expected: str) -> None:
    """An endpoint that is given wins over HCLOUD_ENDPOINT, and that over Hetzner's."""
    around = environ | {"HCLOUD_TOKEN": "t"} | ({} if variable is None else {"HCLOUD_ENDPOINT": variable})
    assert read_settings(environ=around, endpoint=argument).access.endpoint == expected
    if argument is None:
        assert endpoint_in(around) == expected


def test_plain_http_is_refused_before_the_token_is_asked_for(environ: Environ) -> None:
    """An endpoint that would show the token to everybody is refused, and the token is not even fetched."""
    asked: list[str] = []

    def token() -> str:
        asked.append("token")
        return "t"

    unsafe = "http://10.0.0.1/v1"
    with pytest.raises(BadInput, match="in the clear"):
        read_settings(token=token, endpoint=unsafe, environ=environ)
    with pytest.raises(BadInput, match="in the clear"):
        read_settings(token=token, environ=environ | {"HCLOUD_ENDPOINT": unsafe})
    with pytest.raises(BadInput, match="in the clear"):
        endpoint_in({"HCLOUD_ENDPOINT": unsafe})
    assert asked == []


@pytest.mark.parametrize("token", ["abc", " abc", "abc\n", "\tabc\r\n"])
def test_space_around_a_token(environ: Environ, token: str) -> None:
    """Space around a token is dropped."""
    assert _from(read_settings(token=token, environ=environ))[0] == "abc"


@pytest.mark.parametrize(
    "token",
    ["", "  ", "\n", "ab geheim", "ab\ngeheim", "geheimä", "ab\0geheim", "ab\x7fgeheim"],
    ids=range(8),
)
def test_bad_token(environ: Environ, token: str, tmp_path: Path) -> None:
    """What cannot be in a header is no token, wherever it is from, and is not repeated in the sentence."""
    file = tmp_path / "token"
    file.write_text(token, encoding="utf-8", newline="")
    sources: list[Callable[[], Settings]] = [
        lambda: read_settings(token=token, environ=environ),
        lambda: read_settings(token=lambda: token, environ=environ),
        lambda: read_settings(token_file=file, environ=environ),
    ]
    if token:
        sources.append(lambda: read_settings(environ=environ | {"HETZNER": token}))
    for read in sources:
        with pytest.raises(BadInput, match="is not a token") as caught:
            read()
        assert "geheim" not in caught.value.message


def test_token_file_that_cannot_be_read(environ: Environ, tmp_path: Path) -> None:
    """A token file that was named has to be there and to be text; no other source takes its place."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\x00")
    around = environ | {"HCLOUD_TOKEN": "t"}
    for path in (tmp_path / "missing", tmp_path, binary):
        with pytest.raises(BadInput, match=r"The token file .* cannot be read"):
            read_settings(token_file=path, environ=around)


@pytest.mark.parametrize(("text", "port"), [("", 22), ("1", 1), ("2222", 2222), ("65535", 65535)])
def test_ssh_port(environ: Environ, text: str, port: int) -> None:
    """The SSH port may be another one, as in a sandbox."""
    assert read_settings(token="t", environ=environ | {"SCHERBELBERG_SSH_PORT": text}).ssh_port == port


@pytest.mark.parametrize("text", ["0", "65536", "-1", "ssh", "22.0", " 22", "²"])
def test_bad_ssh_port(environ: Environ, text: str) -> None:
    """What is no port is refused with the variable's name."""
    with pytest.raises(BadInput, match=r"SCHERBELBERG_SSH_PORT is '.*', which is no port"):
        read_settings(token="t", environ=environ | {"SCHERBELBERG_SSH_PORT": text})


def test_network_range(environ: Environ) -> None:
    """The private range may be another one, as in a sandbox."""
    around = environ | {"SCHERBELBERG_NETWORK": "127.70.0.0/16"}
    assert read_settings(token="t", environ=around).network_range == "127.70.0.0/16"


def test_home_folder() -> None:
    """What is kept lies where the platform keeps such things, unless a variable says otherwise."""
    assert home_folder({"SCHERBELBERG_HOME": "/x/Häuser & Höfe"}) == Path("/x/Häuser & Höfe")
    assert home_folder({}).name == "scherbelberg"
    assert home_folder({}) == home_folder({"SCHERBELBERG_HOME": ""})


@pytest.mark.parametrize("error", [OSError("no login"), KeyError("getpwuid(): uid not found"), ImportError("pwd")])
def test_user_without_a_name(environ: Environ, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without a name, as in some containers, is no obstacle."""

    def fail() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", fail)
    monkeypatch.setattr(platform, "node", lambda: "box")
    assert read_settings(token="t", environ=environ).owner == "unknown_at_box"


def test_own_owner_is_a_label(environ: Environ) -> None:
    """Whoever runs this, the owner is in label syntax."""
    assert re.fullmatch(LABEL, read_settings(token="t", environ=environ).owner)


def test_process_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unless told otherwise it reads the process's own variables, at the time of asking."""
    monkeypatch.setenv("HCLOUD_TOKEN", "token-of-process")
    monkeypatch.setenv("SCHERBELBERG_HOME", str(tmp_path))
    monkeypatch.setenv("HCLOUD_ENDPOINT", "http://127.0.0.1:5/v1")
    settings = read_settings()
    assert (*_from(settings), settings.home) == ("token-of-process", "HCLOUD_TOKEN", tmp_path)
    assert settings.access.endpoint == endpoint_in() == "http://127.0.0.1:5/v1"


def test_token_is_not_shown(environ: Environ) -> None:
    """No representation of settings holds the token."""
    assert "geheim" not in repr(read_settings(token="geheim", environ=environ))


@pytest.mark.parametrize(
    ("login", "host", "expected"),
    [
        ("anna", "laptop", "anna_at_laptop"),
        ("anna", "laptop.example.org", "anna_at_laptop"),
        ("ANNA.B", "lab-7", "ANNA.B_at_lab-7"),
        ("jürgen", "büro", "j-rgen_at_b-ro"),
        ("DOMAIN\\anna b", "", "DOMAIN-anna-b_at"),
        ("", "", "at"),
        ("a" * 80, "host", "a" * 63),
        ("a" * 60 + "--", "host", "a" * 60),
    ],
)
def test_owner_label(login: str, host: str, expected: str) -> None:
    """Login and host are readable in a label, whatever is in them."""
    assert owner_label(login, host) == expected
