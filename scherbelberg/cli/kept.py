# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What stays after a create that failed with ``--keep``, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scherbelberg.catalog import Resource, Server
from scherbelberg.cli.output import say, speaker
from scherbelberg.cli.signals import run
from scherbelberg.errors import BadInput, ClusterExists, ScherbelbergError
from scherbelberg.keeping import overview, remembered_folder
from scherbelberg.settings import Settings


@contextmanager
def told_what_is_kept(prefix: str, settings: Settings, *, is_kept: bool) -> Iterator[None]:
    """When the making of a cluster fails and what was made is kept, say what that is and how to give it back.

    Args:
        prefix: The cluster's name.
        settings: The surroundings.
        is_kept: Whether it is.
    """
    try:
        yield
    except (BadInput, ClusterExists):
        raise  # nothing was made
    except Exception:
        if is_kept and remembered_folder(settings.home, settings.access.endpoint, prefix) is not None:
            _tell(prefix, settings)
        raise


def _tell(prefix: str, settings: Settings) -> None:
    # Whatever comes while the cloud is asked.
    speaker().remains = (f"cluster {prefix}",)
    say("It failed, and what was made is kept, as --keep says; you pay for it until you give it back:")
    for line in _lines(prefix, settings):
        say(f"  {line}")
    say(f"Look at a node: scherbelberg ssh -p {prefix} scheduler")
    say("Try again with the same machines: the same create once more")
    say(f"Give it back: scherbelberg destroy -p {prefix}")


def _lines(prefix: str, settings: Settings) -> list[str]:
    try:
        found = run(overview(settings, prefix=prefix))
    except ScherbelbergError as error:
        return [f"what exactly cannot be said now: {error.message}"]
    own = [resource for kept in found if kept.folder is not None for resource in kept.holding.resources]
    speaker().remains = tuple(resource.described for resource in own)
    return [_line(resource) for resource in own] or ["nothing: it failed before anything was made"]


def _line(resource: Resource) -> str:
    address = f" at {resource.public_ip}" if isinstance(resource, Server) and resource.public_ip else ""
    return f"{resource.described}{address}"
