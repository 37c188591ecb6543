# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where the cloud is and with which token: the one reader of environment variables and of the hcloud CLI's contexts."""

from __future__ import annotations

import getpass
import os
import platform
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import platformdirs
from attrs import Factory, field, frozen

from scherbelberg.cloud.access import Access
from scherbelberg.errors import BadInput, TokenMissing
from scherbelberg.spec.model import DEFAULT_RANGE
from scherbelberg.spec.text_files import decode, read_text
from scherbelberg.spec.urls import HETZNER, check_endpoint, check_mirror

#: Where servers take SSH.
SSH_PORT = 22
#: Tells whoever asks from which address they do.
ADDRESS_URL = "https://ip.hetzner.com"
_TOKEN_VARIABLES = ("HCLOUD_TOKEN", "HETZNER")
#: In this order; the first two are those that requests knows, the last one is OpenSSL's.
_AUTHORITY_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@frozen(kw_only=True)
class Sources:
    """Where environments of nodes come from.

    Args:
        cache: Folder for what can be found out again.
        mirror: URL that stands for the place of conda channels, or None.
        within_s: Deadline in seconds for each question to a channel or an index.
    """

    cache: Path
    mirror: str | None
    within_s: float


@frozen(kw_only=True)
class Settings:
    """The ambient configuration.

    Args:
        access: How the API is reached.
        ssh_port: Port on which nodes take SSH.
        network_range: IPv4 range of private networks.
        home: Folder for what is kept on this computer.
        owner: Who the user is, in label syntax.
        cache: Folder for what can be found out again.
        channel_mirror: URL that stands for the place of conda channels, or None.
        miniforge_mirror: URL that stands for the place of Miniforge's releases, or None.
    """

    access: Access
    ssh_port: int
    network_range: str
    home: Path
    owner: str
    cache: Path = field(default=Factory(lambda self: self.home / "cache", takes_self=True))
    channel_mirror: str | None = None
    miniforge_mirror: str | None = None


def home_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder for what is kept on this computer.

    Args:
        environ: Environment variables; SCHERBELBERG_HOME wins over the platform's place.
    """
    given = environ.get("SCHERBELBERG_HOME")
    return Path(given).absolute() if given else platformdirs.user_data_path("scherbelberg", appauthor=False)


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder for what can be found out again.

    Args:
        environ: Environment variables; SCHERBELBERG_HOME wins over the platform's place.
    """
    given = environ.get("SCHERBELBERG_HOME")
    return home_folder(environ) / "cache" if given else platformdirs.user_cache_path("scherbelberg", appauthor=False)


def mirror_in(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The address of a mirror in an environment variable, or None.

    Args:
        name: ``CHANNEL`` or ``MINIFORGE``.
        environ: Environment variables.

    Raises:
        BadInput: It makes no sense.
    """
    given = environ.get(f"SCHERBELBERG_{name}_MIRROR")
    return check_mirror(given) if given else None


def active_client(environ: Mapping[str, str] = os.environ) -> tuple[Path, str] | None:
    """The Python of the environment that is active in the user's shell, and the variable that says so, or None.

    Args:
        environ: Environment variables: VIRTUAL_ENV wins over CONDA_PREFIX.
    """
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if folder := environ.get(name):
            if Path(folder).resolve() == Path(sys.prefix).resolve():
                return None
            return _python_in(Path(folder)), name
    return None


def _python_in(folder: Path) -> Path:
    places = (folder / "bin" / "python", folder / "Scripts" / "python.exe", folder / "python.exe")
    return next((place for place in places if place.exists()), places[0])


def endpoint_in(environ: Mapping[str, str] = os.environ) -> str:
    """The API's URL as the surroundings have it: HCLOUD_ENDPOINT, or Hetzner's own.

    Raises:
        BadInput: It makes no sense, or is plain http to another computer.
    """
    return check_endpoint(environ.get("HCLOUD_ENDPOINT") or HETZNER)


def authorities_in(environ: Mapping[str, str] = os.environ) -> str | None:
    """The file of certificate authorities that the API's certificate is held against, or None for the usual ones.

    Args:
        environ: Environment variables; REQUESTS_CA_BUNDLE wins over SSL_CERT_FILE.
    """
    return next((environ[name] for name in _AUTHORITY_VARIABLES if environ.get(name)), None)


def address_url_in(environ: Mapping[str, str] = os.environ) -> str:
    """Where to ask for this computer's public address: SCHERBELBERG_ADDRESS_URL, or a service of Hetzner's.

    Raises:
        BadInput: It makes no sense, or is plain http to another computer.
    """
    url = environ.get("SCHERBELBERG_ADDRESS_URL") or ADDRESS_URL
    try:
        return check_endpoint(url)
    except BadInput:
        raise BadInput("SCHERBELBERG_ADDRESS_URL is no https address that tells who asks it.") from None


def variables(names: Iterable[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Some of the environment variables that this program was started with.

    Args:
        names: Which.
        environ: All of them.

    Raises:
        BadInput: There is none of a name.
    """
    wanted = tuple(names)
    missing = [name for name in wanted if name not in environ]
    if missing:
        raise BadInput(f"There is no environment variable {missing[0]} here whose value could be sent.")
    return {name: environ[name] for name in wanted}


def environment_with(added: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """All environment variables of this program and some more, for a program that it starts.

    Args:
        added: The others, which win.
        environ: Those of this program.
    """
    return {**environ, **added}


def token_in(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Read a token from an environment variable of the user's choice.

    Args:
        name: The variable's name.
        environ: Environment variables.

    Raises:
        TokenMissing: It is not set, or empty.
    """
    if not (value := environ.get(name)):
        raise TokenMissing(f"There is no API token in the environment variable {name}.")
    return value


def passphrase_in(file: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """Read a passphrase from a file's first line or from SCHERBELBERG_PASSPHRASE; empty if there is none.

    Raises:
        BadInput: The file cannot be read or has none.
    """
    if file is None:
        return environ.get("SCHERBELBERG_PASSPHRASE", "")
    return read_text(file, what=f"The passphrase in {file}").partition("\n")[0]


def read_settings(
    *,
    token: str | Callable[[], str] | None = None,
    token_file: Path | None = None,
    endpoint: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Read what the surroundings decide; what is given wins.

    The token comes from the argument, the file, HCLOUD_TOKEN, HETZNER (the old name) or the hcloud CLI's active
    context, in that order.

    Args:
        token: The token, or what returns it when it is called.
        token_file: A file that holds the token.
        endpoint: URL of the API.
        environ: Environment variables.

    Raises:
        BadInput: A variable or the endpoint makes no sense.
        TokenMissing: There is no token anywhere.
    """
    where = endpoint_in(environ) if endpoint is None else check_endpoint(endpoint)
    found, source = _find_token(token, token_file, where, environ)
    return Settings(
        access=Access(endpoint=where, token=found, token_source=source, authorities=authorities_in(environ)),
        ssh_port=_port(environ.get("SCHERBELBERG_SSH_PORT")),
        network_range=environ.get("SCHERBELBERG_NETWORK") or DEFAULT_RANGE,
        home=home_folder(environ),
        owner=owner_label(_login(), platform.node()),
        cache=cache_folder(environ),
        channel_mirror=mirror_in("CHANNEL", environ),
        miniforge_mirror=mirror_in("MINIFORGE", environ),
    )


def resolve_settings(
    settings: Settings | None,
    *,
    token: str | Callable[[], str] | None,
    endpoint: str | None,
    variable: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Take the settings that are given, or read what is not.

    Args:
        settings: All of them, or None.
        token: The token, or what returns it when it is called.
        endpoint: URL of the API.
        variable: Environment variable that holds the token, if that is not given itself.
        environ: Environment variables.

    Raises:
        BadInput: A variable or the endpoint makes no sense.
        TokenMissing: There is no token where it was said to be.
    """
    if settings is not None:
        return settings
    if variable is not None and token is None:
        token = token_in(variable, environ)
    return read_settings(token=token, endpoint=endpoint, environ=environ)


def _find_token(
    token: str | Callable[[], str] | None, token_file: Path | None, endpoint: str, environ: Mapping[str, str]
) -> tuple[str, str]:
    if token is not None:
        return _check_token(token() if callable(token) else token, "the argument"), "the argument"
    if token_file is not None:
        return _from_file(token_file), f"the file {token_file}"
    for name in _TOKEN_VARIABLES:
        if value := environ.get(name):
            return _check_token(value, name), name
    # A context of the hcloud CLI is for Hetzner: it is not shown to whatever else listens somewhere.
    if endpoint != HETZNER:
        raise TokenMissing(
            f"There is no API token for {endpoint}: set HCLOUD_TOKEN, or name a file with --token-file (contexts of the"
            " hcloud CLI are for Hetzner alone)."
        )
    if context := _from_context(environ):
        return context
    raise TokenMissing(
        "There is no API token: set HCLOUD_TOKEN, name a file with --token-file, or activate a context of the hcloud"
        " CLI (to try things for free: 'scherbelberg demo' or 'scherbelberg sandbox start')."
    )


def _check_token(token: str, source: str) -> str:
    text = token.strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise BadInput(f"The token from {source} is not a token: it has spaces or characters that no token has.")
    return text


def _from_file(path: Path) -> str:
    return _check_token(read_text(path, what=f"The token file {path}"), f"the file {path}")


def _from_context(environ: Mapping[str, str]) -> tuple[str, str] | None:
    named = environ.get("HCLOUD_CONFIG")
    path = Path(named or _hcloud_folder(environ) / "cli.toml")
    found = read_context(path, asked=environ.get("HCLOUD_CONTEXT") or None, is_named=bool(named))
    if found is None:
        return None
    source = f"the hcloud CLI's context '{found[0]}'"
    return _check_token(found[1], source), source


def _hcloud_folder(environ: Mapping[str, str]) -> Path:
    """Where the hcloud CLI keeps its configuration, which is not platformdirs' place on macOS."""
    base = environ.get("XDG_CONFIG_HOME") or environ.get("APPDATA")
    return (Path(base) if base else Path.home() / ".config") / "hcloud"


def _port(text: str | None) -> int:
    if not text:
        return SSH_PORT
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise BadInput(f"SCHERBELBERG_SSH_PORT is '{text}', which is no port: use a number from 1 to 65535.")
    return int(text)


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for this user id, as in some containers
        return "unknown"


def owner_label(login: str, host: str) -> str:
    """Write login and host so that a label takes them.

    Args:
        login: The user's name on this computer.
        host: This computer's name.
    """
    text = f"{login}_at_{host.partition('.')[0]}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:63].strip("-_.") or "unknown"


def read_context(path: Path, *, asked: str | None, is_named: bool) -> tuple[str, str] | None:
    """Read the token of the context that is asked for, or else of the active one.

    Args:
        path: The hcloud CLI's configuration.
        asked: The context that HCLOUD_CONTEXT names, or None.
        is_named: Whether the user has named this file, so that it should be there.

    Returns:
        Name and token, or None if nothing is configured and nothing was asked for.

    Raises:
        BadInput: The configuration cannot be read.
        TokenMissing: There is no such context, it has no token, or none was chosen.
    """
    config = _read_contexts(path)
    if config is None:
        if asked is None and not is_named:
            return None
        raise _no_contexts(path, asked)
    active = asked or str(config.get("active_context") or "")
    tokens = _context_tokens(config, path)
    if token := tokens.get(active):
        return active, token
    if not active and not any(tokens.values()):
        return None
    raise _no_token_in(path, active, tokens, named_by="HCLOUD_CONTEXT" if asked else "active_context")


def _read_contexts(path: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(decode(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"The hcloud CLI's configuration {path} cannot be read: {error}.") from None


def _context_tokens(config: Mapping[str, Any], path: Path) -> dict[str, str]:
    """Context to token, which is empty where it has none."""
    contexts = config.get("contexts", [])
    if not isinstance(contexts, list) or not all(isinstance(context, dict) for context in contexts):
        raise BadInput(f"The hcloud CLI's configuration {path} has no list of contexts.")
    return {str(one["name"]): str(one.get("token") or "") for one in contexts if one.get("name")}


def _no_contexts(path: Path, asked: str | None) -> TokenMissing:
    if asked is None:
        return TokenMissing(
            f"There is no API token: HCLOUD_CONFIG names {path}, but there is no such file. Name the hcloud CLI's"
            " configuration, or set HCLOUD_TOKEN."
        )
    return TokenMissing(
        f"There is no API token: HCLOUD_CONTEXT names the hcloud CLI's context '{asked}', but there is no file"
        f" {path}. Make the context with 'hcloud context create', or set HCLOUD_TOKEN."
    )


def _no_token_in(path: Path, active: str, tokens: Mapping[str, str], *, named_by: str) -> TokenMissing:
    reason = f"no context of the hcloud CLI is active in {path}"
    if active:
        lack = "has no token in" if active in tokens else "is not in"
        reason = f"{named_by} names the hcloud CLI's context '{active}', which {lack} {path}"
    usable = ", ".join(f"'{name}'" for name, token in tokens.items() if token)
    if usable:
        others = f"contexts with a token: {usable}. Set HCLOUD_CONTEXT to one of them"
    else:
        others = "no context there has a token. Make the context with 'hcloud context create'"
    return TokenMissing(f"There is no API token: {reason}; {others}, or set HCLOUD_TOKEN.")
