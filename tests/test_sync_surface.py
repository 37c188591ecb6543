# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Both faces of the library, with await and without, have the same names and take the same arguments."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import scherbelberg
from scherbelberg import cluster, node, sync
from scherbelberg.lifecycle import share

#: What has a meaning on one side only.
_BLOCKING_ONLY = {"begin_new"}
_AWAITED_ONLY = {("get_client", "asynchronous")}


def _names(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def _parameters(kind: type, name: str) -> dict[str, Any]:
    found = inspect.signature(getattr(kind, name)).parameters
    return {key: (one.kind, one.default) for key, one in found.items() if (name, key) not in _AWAITED_ONLY}


@pytest.mark.parametrize(("awaited", "blocking"), [(cluster.Cluster, sync.Cluster), (node.Node, sync.Node)])
def test_same_names_and_arguments(awaited: type, blocking: type) -> None:
    """Whatever can be awaited can be had without await, too, with the same arguments and defaults."""
    own = {"prefix", "uid", "owner"} if blocking is sync.Cluster else set()  # attributes of each cluster there
    assert _names(awaited) - own == _names(blocking) - _BLOCKING_ONLY - own
    methods = [name for name in _names(awaited) if callable(getattr(awaited, name)) and not name.startswith("_")]
    assert methods
    for name in methods:
        assert _parameters(awaited, name) == _parameters(blocking, name), name


def test_beginning_takes_what_making_takes() -> None:
    """What is begun and what is waited for are asked for in the same way."""
    assert _parameters(sync.Cluster, "begin_new") == _parameters(sync.Cluster, "from_new")


def test_functions() -> None:
    """Of the package's functions each has its counterpart."""
    functions = {name for name in scherbelberg.__all__ if inspect.isfunction(getattr(scherbelberg, name))}
    assert functions <= set(sync.__all__)
    assert inspect.signature(sync.import_cluster) == inspect.signature(share.import_cluster)
