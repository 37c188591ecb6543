# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Nodes of the sandbox with another Python than the client's."""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from conftest import TIME_SCALE
from other_python import make_venv
from surroundings import NODE_PYTHON, SHORT, settings_for

from scherbelberg import ClusterSpec, sync
from scherbelberg.errors import BadInput, ChannelUnreachable, SandboxFailed
from scherbelberg.sandbox.daemon import start
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread

#: Nothing listens there: an environment that has to be solved cannot be had.
_NOBODY = "http://127.0.0.1:9"
_ASK = (
    "[__import__('os').path.realpath(__import__('sys').prefix),"
    " __import__('sys').version.split()[0], __import__('ssl').OPENSSL_VERSION]"
)


@contextmanager
def _nodes_with(python: Path, folder: Path, *, may_differ: bool) -> Iterator[Any]:
    """A client of a cluster whose nodes have a Python."""
    with SandboxThread(folder / "sandbox", Options(time_scale=TIME_SCALE, node_python=str(python))) as sandbox:
        spec = ClusterSpec(prefix="other", workers=1, timeouts=SHORT, allow_mismatch=may_differ)
        settings = evolve(settings_for(sandbox, folder / "home"), channel_mirror=_NOBODY)
        cluster = sync.Cluster.from_new(spec, settings=settings)
        try:
            with cluster.get_client() as client:
                yield client
        finally:
            cluster.destroy()


def test_same_versions(tmp_path: Path) -> None:
    """Nodes have the Python that was named, and fit a client that has the same versions."""
    python = make_venv(tmp_path / "Umgebung für alle", has_ours=True)
    with _nodes_with(python, tmp_path, may_differ=False) as client:
        (found,) = client.run(eval, _ASK).values()
    assert found == [str(python.parents[1]), sys.version.split()[0], ssl.OPENSSL_VERSION]


@pytest.mark.filterwarnings("ignore:Mismatched versions")
@pytest.mark.skipif(NODE_PYTHON is None, reason="SCHERBELBERG_TEST_NODE_PYTHON names no other Python")
def test_other_versions(tmp_path: Path) -> None:
    """With permission, nodes may have another Python and another OpenSSL than the client, as real ones do."""
    assert NODE_PYTHON is not None
    with pytest.raises(ChannelUnreachable), _nodes_with(Path(NODE_PYTHON), tmp_path, may_differ=False):
        pass
    with _nodes_with(Path(NODE_PYTHON), tmp_path, may_differ=True) as client:
        (found,) = client.run(eval, _ASK).values()
        assert client.submit(pow, 2, 10).result(timeout=30) == 1024
    assert found[0] == str(Path(NODE_PYTHON).parents[1])
    assert found[1:] != [sys.version.split()[0], ssl.OPENSSL_VERSION]


def test_no_python(tmp_path: Path) -> None:
    """A Python without Dask, or none at all, is refused when the sandbox starts."""
    bare = make_venv(tmp_path / "bare", has_ours=False)
    for python, words in ((bare, "has no dask"), (tmp_path / "bin/python", "does not tell its versions")):
        with pytest.raises(SandboxFailed, match=words):
            start(tmp_path / "sandbox", Options(node_python=str(python)))
    assert not (tmp_path / "sandbox").exists()


@pytest.mark.parametrize("hosts", ["scripted", "machine"])
def test_hosts_without_choice(hosts: Any) -> None:
    """Hosts that have a Python of their own, or none, cannot have another one."""
    with pytest.raises(BadInput, match=re.escape(f"Hosts of the kind '{hosts}' cannot have another Python")):
        Options(hosts=hosts, node_python="/usr/bin/python3")
