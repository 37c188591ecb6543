# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Versions that must agree, and the table of those that do not."""

from __future__ import annotations

import hashlib

import pytest
from catalogues import CALM
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.environments.versions import OPTIONAL, REQUIRED, Versions, baked_digest, compare, differences
from scherbelberg.errors import VersionMismatch

_PACKAGES = {
    "dask": "2026.8.0",
    "distributed": "2026.8.0",
    "cloudpickle": "3.1.1",
    "msgpack": "1.1.2",
    "toolz": "1.1.0",
    "tornado": "6.5.2",
}
_CLIENT = Versions(python="3.13.14", packages=_PACKAGES)
_VERSIONS = st.builds(
    Versions,
    python=st.sampled_from(["3.12.1", "3.13.0", "3.13.14", "3.14.0rc1"]),
    packages=st.dictionaries(st.sampled_from(REQUIRED + OPTIONAL), st.sampled_from(["1", "2"])),
)


def _with(**packages: str) -> Versions:
    return Versions(python="3.13.14", packages=_PACKAGES | packages)


def test_compared_packages() -> None:
    """These are compared: what speaks over the wire or unpickles, and what is compared where the client has it."""
    assert REQUIRED == ("dask", "distributed", "cloudpickle", "msgpack", "toolz", "tornado")
    assert OPTIONAL == ("numpy", "pandas", "lz4")


@pytest.mark.parametrize(
    ("python", "minor"), [("3.13.14", "3.13"), ("3.9.1", "3.9"), ("3.14.0rc1", "3.14"), ("3.15", "3.15")]
)
def test_python_minor(python: str, minor: str) -> None:
    """Of Python's version major and minor count."""
    assert Versions(python=python, packages={}).python_minor == minor


def test_baked_digest() -> None:
    """The digest names exactly the compared versions, in an order of its own."""
    lines = "python==3.13\ndask==2026.8.0\ndistributed==2026.8.0\ncloudpickle==3.1.1\nmsgpack==1.1.2\n"
    lines += "toolz==1.1.0\ntornado==6.5.2\nnumpy==2.3.4"
    shuffled = {"numpy": "2.3.4", "requests": "2.32.5"} | dict(reversed(_PACKAGES.items()))
    digest = baked_digest(Versions(python="3.13.14", packages=shuffled))
    assert digest == hashlib.sha256(lines.encode()).hexdigest()


@CALM
@given(_VERSIONS, _VERSIONS)
def test_lock_and_table_agree(one: Versions, other: Versions) -> None:
    """Two interpreters have the same digest exactly if neither sees a difference in the other."""
    same = not differences(one, {"n": other}) and not differences(other, {"n": one})
    assert (baked_digest(one) == baked_digest(other)) is same


@pytest.mark.parametrize(
    ("node", "rows"),
    [
        (_CLIENT, ()),
        (_with(numpy="2.0"), ()),
        (Versions(python="3.13.1", packages=_PACKAGES), ()),
        (Versions(python="3.12.14", packages=_PACKAGES), (("python", "3.13.14", "3.12.14"),)),
        (_with(dask="2026.8.1"), (("dask", "2026.8.0", "2026.8.1"),)),
        (_with(tornado="6.5.3", cloudpickle="3"), (("cloudpickle", "3.1.1", "3"), ("tornado", "6.5.2", "6.5.3"))),
        (
            Versions(python="3.13.14", packages={k: v for k, v in _PACKAGES.items() if k != "toolz"}),
            (("toolz", "1.1.0", "-"),),
        ),
    ],
)
def test_differences(node: Versions, rows: tuple[tuple[str, str, str], ...]) -> None:
    """Required packages are equal everywhere, and of Python major and minor."""
    assert differences(_CLIENT, {"worker000": node}) == tuple(("worker000", *row) for row in rows)


def test_optional_packages() -> None:
    """Packages that are optional must be equal where the client has them, and there only."""
    client = _with(numpy="2.3", lz4="4.4")
    assert differences(client, {"n": _with(numpy="2.3", pandas="3.0")}) == (("n", "lz4", "4.4", "-"),)
    assert differences(client, {"n": _with(numpy="2.2", lz4="4.4")}) == (("n", "numpy", "2.3", "2.2"),)


def test_client_that_lacks_a_required_package() -> None:
    """A client without a required package differs from nodes that have it."""
    assert differences(Versions(python="3.13.14", packages={}), {"n": Versions(python="3.13", packages=_PACKAGES)}) == (
        tuple(("n", name, "-", _PACKAGES[name]) for name in REQUIRED)
    )


def test_allowed_differences() -> None:
    """What was allowed beforehand is exactly what may differ, and nothing near it."""
    node, allowed = {"worker000": _with(numpy="2.0", tornado="6.5.3")}, (("tornado", "6.5.2", "6.5.3"),)
    compare(_CLIENT, node, allowed=allowed)
    with pytest.raises(VersionMismatch, match=r"tornado is 6\.5\.2 on this computer and 6\.5\.3 on node worker000"):
        compare(_CLIENT, node, allowed=(("tornado", "6.5.2", "6.5.4"),))


def test_nodes_are_sorted() -> None:
    """The table goes by the nodes' names."""
    other = _with(dask="1")
    rows = differences(_CLIENT, {"worker001": other, "scheduler": _CLIENT, "worker000": other})
    assert [row[0] for row in rows] == ["worker000", "worker001"]
