# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a shell offers behind an option: names that this computer remembers; nobody is asked, nothing heavy loaded."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from scherbelberg.errors import ScherbelbergError
from scherbelberg.settings import endpoint_in, home_folder

_DEFAULT = "cluster"


def cluster_names(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The clusters of this computer, in the cloud that the surroundings name."""
    del context, option
    found = sorted({path.name.rpartition("-")[0] for path in _folders()})
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def node_names(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The nodes of the cluster that the command line names."""
    del option
    return [CompletionItem(name) for name in _nodes(context) if name.startswith(incomplete)]


def place_on_node(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The same with the colon that comes next; what comes after it is not known here."""
    del option
    return [CompletionItem(f"{name}:") for name in ("all", *_nodes(context)) if name.startswith(incomplete)]


def node_or_file(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Nodes with a colon, and files of this computer, which the shell finds."""
    del option
    nodes = [CompletionItem(f"{name}:") for name in _nodes(context) if incomplete and name.startswith(incomplete)]
    return nodes or [CompletionItem(incomplete, type="file")]


def _nodes(context: click.Context) -> list[str]:
    prefix = context.params.get("prefix") or _DEFAULT
    names: list[str] = []
    for path in _folders():
        if path.name.rpartition("-")[0] == prefix:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                # Not the store, which loads keys and what makes them.
                document = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
                names += [str(node["name"]) for node in document["nodes"]]
    return list(dict.fromkeys(names))


def _folders() -> Iterator[Path]:
    with contextlib.suppress(OSError, ValueError, ScherbelbergError):
        endpoint = endpoint_in()
        for path in sorted((home_folder() / "clusters").iterdir()):
            with contextlib.suppress(OSError, ValueError):
                if (path / "endpoint").read_text(encoding="utf-8").strip() == endpoint:
                    yield path
