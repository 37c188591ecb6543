# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The contexts of the hcloud CLI, each of which is a name for a token, and why none of them serves."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scherbelberg.errors import BadInput, TokenMissing
from scherbelberg.spec.text_files import decoded


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
    config = _read(path)
    if config is None:
        if asked is None and not is_named:
            return None
        raise _not_there(path, asked)
    active = asked or str(config.get("active_context") or "")
    tokens = _tokens(config, path)
    if token := tokens.get(active):
        return active, token
    if not active and not any(tokens.values()):
        return None
    raise _missing(path, active, tokens, named_by="HCLOUD_CONTEXT" if asked else "active_context")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(decoded(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"The hcloud CLI's configuration {path} cannot be read: {error}.") from None


def _tokens(config: Mapping[str, Any], path: Path) -> dict[str, str]:
    """Context to token, which is empty where it has none."""
    contexts = config.get("contexts", [])
    if not isinstance(contexts, list) or not all(isinstance(context, dict) for context in contexts):
        raise BadInput(f"The hcloud CLI's configuration {path} has no list of contexts.")
    return {str(one["name"]): str(one.get("token") or "") for one in contexts if one.get("name")}


def _not_there(path: Path, asked: str | None) -> TokenMissing:
    if asked is None:
        return TokenMissing(
            f"There is no API token: HCLOUD_CONFIG names {path}, but there is no such file. Name the hcloud CLI's"
            " configuration, or set HCLOUD_TOKEN."
        )
    return TokenMissing(
        f"There is no API token: HCLOUD_CONTEXT names the hcloud CLI's context '{asked}', but there is no file"
        f" {path}. Make the context with 'hcloud context create', or set HCLOUD_TOKEN."
    )


def _missing(path: Path, active: str, tokens: Mapping[str, str], *, named_by: str) -> TokenMissing:
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
