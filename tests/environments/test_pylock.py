# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which wheel of a resolution is the one for the nodes, held against what pip goes by."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from scherbelberg.environments.lock import EnvLock, Package, Wheel
from scherbelberg.environments.pylock import check_wheels, fit, read_pylock
from scherbelberg.errors import BadInput, EnvironmentUnavailable

_SHA = "0" * 64
_PYTHONS = ["py2", "py3", "py30", "py312", "py313", "py314", "cp27", "cp38", "cp312", "cp313", "cp314", "pp311"]
_ABIS = ["none", "abi3", "cp27mu", "cp312", "cp313", "cp313t", "cp314", "pypy311_pp73"]
_SYSTEMS = [
    "any",
    "win_amd64",
    "macosx_11_0_arm64",
    *[
        f"{family}_{machine}"
        for family in (
            "linux",
            "manylinux1",
            "manylinux2014",
            "musllinux_1_2",
            *[f"manylinux_2_{n}" for n in (5, 35, 36)],
        )
        for machine in ("x86_64", "aarch64", "i686")
    ],
]


def _some(tags: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(tags), min_size=1, max_size=2, unique=True).map(".".join)


_NAMES = st.tuples(_some(_PYTHONS), _some(_ABIS), _some(_SYSTEMS)).map(
    lambda tags: f"some_thing-1.0-{'-'.join(tags)}.whl"
)


@cache
def _supported(minor: int, machine: str) -> frozenset[Tag]:
    old = ["manylinux1", "manylinux2010", "manylinux2014", "linux"]
    systems = [f"{family}_{machine}" for family in [f"manylinux_2_{n}" for n in range(36)] + old]
    own = list(cpython_tags((3, minor), abis=[f"cp3{minor}"], platforms=systems))
    return frozenset([*own, *compatible_tags((3, minor), interpreter=f"cp3{minor}", platforms=systems)])


@given(name=_NAMES, minor=st.sampled_from([12, 13]), machine=st.sampled_from(["x86_64", "aarch64"]))
def test_fit(name: str, minor: int, machine: str) -> None:
    """A wheel fits exactly where pip would take it."""
    expected = bool(parse_wheel_filename(name)[3] & _supported(minor, machine))
    assert (fit(name, python=f"3.{minor}.1", machine=machine) is not None) == expected


def test_order() -> None:
    """The more a wheel is made for the nodes, the better."""
    tags = [
        "py3-none-any",
        "cp313-none-manylinux_2_17_x86_64",
        "cp39-abi3-manylinux_2_17_x86_64",
        "cp312-abi3-manylinux_2_17_x86_64",
        "cp311-abi3-manylinux_2_28_x86_64",
        "cp313-cp313-manylinux2014_x86_64",
        "cp313-cp313-manylinux_2_17_x86_64.manylinux_2_28_x86_64",
    ]
    ranks = [fit(f"thing-1-2build-{tag}.whl", python="3.13", machine="x86_64") for tag in tags]
    assert ranks == sorted(ranks, key=lambda rank: rank or ())
    assert len(set(ranks)) == len(tags)


def _pylock(wheels: str) -> str:
    return f'lock-version = "1.0"\n[[packages]]\nname = "thing"\nversion = "1.0"\n{wheels}\n'


def test_size() -> None:
    """The size is taken where it is told; the login and the hash in an address are not."""
    url = "https://anna:pa@ss@packages.example/thing-1.0-py3-none-any.whl#sha256=0"
    (wheel,) = read_pylock(
        _pylock(f'wheels = [{{ url = "{url}", size = 7, hashes = {{ sha256 = "{_SHA}" }} }}]'),
        python="3.13",
        machine="x86_64",
        having=[],
    )
    assert (wheel.url, wheel.size) == ("https://packages.example/thing-1.0-py3-none-any.whl", 7)


@pytest.mark.parametrize(
    ("wheels", "reason"),
    [
        ("", r"^thing 1\.0 has no wheel for Python 3\.13 on x86_64"),
        ('directory = { path = "." }', "has no wheel"),
        ('wheels = [{ path = "thing-1.0-py3-none-any.whl", hashes = { sha256 = "0" } }]', "has no wheel"),
        ('wheels = [{ url = "file:///thing-1.0-py3-none-any.whl", hashes = { sha256 = "0" } }]', "on an index"),
        ('wheels = [{ url = "https://a.b/thing-1.0-py3-none-any.whl", hashes = { md5 = "0" } }]', "have a SHA-256"),
        ('wheels = [{ url = "https://a.b/thing-1.0-cp313-cp313t-linux_x86_64.whl", hashes = {} }]', "has no wheel"),
    ],
)
def test_no_wheel_for_nodes(wheels: str, reason: str) -> None:
    """What nodes cannot download, verify or run is refused by name."""
    with pytest.raises(EnvironmentUnavailable, match=reason):
        read_pylock(_pylock(wheels), python="3.13", machine="x86_64", having=[])


def test_left_out() -> None:
    """What is there already needs no wheel."""
    assert read_pylock(_pylock(""), python="3.13", machine="x86_64", having=["thing"]) == ()


def _lock(file_name: str, *, name: str = "some.thing", build: str = "h1_0_cp313") -> EnvLock:
    python = Package(url=f"https://a.b/linux-64/python-3.13.1-{build}.conda", sha256=_SHA)
    wheel = Wheel(name=name, version="1.0", url=f"https://a.b/{file_name}", sha256=_SHA)
    return EnvLock(profile="mine", platform="linux-64", packages=(python,), wheels=(wheel,))


@pytest.mark.parametrize(
    ("tags", "ubuntu", "cause"),
    [
        ("cp312-cp312-win_amd64", None, r"have Python 3\.13\.1 on linux-64: lock another wheel of some\.thing"),
        ("cp312-cp312-manylinux_2_17_x86_64", None, "Python 3"),
        ("cp313-cp313-macosx_11_0_arm64", "24.04", "linux-64"),
        ("cp313-cp313-manylinux_2_17_aarch64", "24.04", "linux-64"),
        ("cp313-cp313-musllinux_1_2_x86_64", "24.04", "linux-64"),
        ("cp313-cp313-manylinux_2_44_x86_64", None, "linux-64"),
        ("cp313-cp313-manylinux_2_39_x86_64", "22.04", r"an image with Ubuntu 22\.04, whose C library is glibc 2\.35"),
        ("cp313-cp313-manylinux_2_40_x86_64", "24.04", r"an image with Ubuntu 24\.04, whose C library is glibc 2\.39"),
    ],
)
def test_wheels_that_nodes_cannot_install(tags: str, ubuntu: str | None, cause: str) -> None:
    """A lock with a wheel for another Python, system or C library than the nodes' is refused, and it says which."""
    with pytest.raises(BadInput, match=cause) as caught:
        check_wheels(_lock(f"some_thing-1.0-{tags}.whl"), ubuntu=ubuntu)
    assert f"the wheel some_thing-1.0-{tags}.whl" in caught.value.message


@pytest.mark.parametrize("file_name", ["some_thing-1.0.tar.gz", "some_thing.whl", "thing-1.0-py3-none-any.whl", "x"])
def test_files_that_are_no_wheels_of_that_name(file_name: str) -> None:
    """What is no wheel, or is called like another package, is refused before pip would."""
    with pytest.raises(BadInput, match=r"'mine' has .*lock an"):
        check_wheels(_lock(file_name))


@pytest.mark.parametrize(
    ("tags", "ubuntu"),
    [
        ("py3-none-any", None),
        ("cp313-cp313-manylinux_2_39_x86_64", "24.04"),
        ("cp313-cp313-manylinux_2_43_x86_64", "26.04"),
        ("cp313-cp313-manylinux_2_43_x86_64", None),
        ("cp313-cp313-manylinux_2_43_x86_64", "25.10"),
    ],
)
def test_wheels_that_nodes_can_install(tags: str, ubuntu: str | None) -> None:
    """What fits the nodes is taken, and where nobody knows their image, so is what fits any."""
    check_wheels(_lock(f"Some_Thing-1.0-{tags}.whl"), ubuntu=ubuntu)


def test_wheels_of_a_python_without_a_global_lock() -> None:
    """Such a Python takes wheels of its own, which are left to it."""
    check_wheels(_lock("some_thing-1.0-cp313-cp313t-manylinux_2_17_x86_64.whl", build="h1_0_cp313t"))
