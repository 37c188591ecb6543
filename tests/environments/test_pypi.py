# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Python packages as their index knows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from scherbelberg.environments.lock import EnvLock, Package, Wheel
from scherbelberg.environments.pypi import pinnable, pypi_versions, read_requirement, uv_error, without_secrets
from scherbelberg.errors import BadInput

_SHA = "0" * 64


def _package(file: str, *depends: str, is_recorded: bool = True) -> Package:
    url = f"https://conda.anaconda.org/conda-forge/linux-64/{file}.conda"
    return Package(url=url, sha256=_SHA, depends=depends, is_recorded=is_recorded)


def test_versions_of_an_environment() -> None:
    """Python packages are listed by their index's names, others are not, and wheels win."""
    lock = EnvLock(
        profile="main",
        platform="linux-64",
        packages=(
            _package("python-3.13.9-h1_0_cp313", "libffi >=3", "python_abi 3.13.* *_cp313"),
            _package("tzdata-2025c-h0_0"),
            _package("python-tzdata-2025.2-pyhd8_0", "python >=3.9"),
            _package("dask-core-2026.8.0-pyhd8_0", "python >=3.10", "click"),
            _package("msgpack-python-1.1.2-py313h7_0", "python >=3.13,<3.14.0a0", "python_abi 3.13.* *_cp313"),
            _package("typing_extensions-4.15.0-pyhcf_0", "python>=3.9"),
            _package("ruamel.yaml-0.18.1-py313h4_0", "python"),
            _package("six-1.16.0-pyhe0_0", "python"),
        ),
        wheels=(Wheel(name="six", version="1.17.0", url="https://a.b/six-1.17.0-py3-none-any.whl", sha256=_SHA),),
    )
    assert pypi_versions(lock) == {
        "tzdata": "2025.2",
        "dask": "2026.8.0",
        "msgpack": "1.1.2",
        "typing-extensions": "4.15.0",
        "ruamel-yaml": "0.18.1",
        "six": "1.17.0",
    }


def test_versions_of_a_bare_list() -> None:
    """In a list that does not say what packages need, their builds tell."""
    names = ["python-3.13.9-h1_0_cp313", "zlib-1.3-h4_0", "numpy-2.1.0-py313h7_0", "zict-3.0.0-pyhd8_0"]
    packages = tuple(_package(name, is_recorded=False) for name in names)
    lock = EnvLock(profile="file", platform="linux-64", packages=packages)
    assert pypi_versions(lock) == {"numpy": "2.1.0", "zict": "3.0.0"}


@pytest.mark.parametrize(
    "text",
    [
        "numpy",
        "Zope.interface>=5,<8",
        "dask[array, dataframe] == 2026.*",
        "lz4~=4.3 ; python_version < '3.14'",
        "numpy (>=2)",
        "a!=1",
    ],
)
def test_requirement(text: str) -> None:
    """A name with extras, versions and a marker is taken as it is; what is around it is not."""
    assert read_requirement(f" {text}  # why", source="it") == text
    Requirement(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-r more.txt",
        "-e .",
        "--index-url https://anna:s3cret@packages.example/simple",
        "numpy --hash=sha256:00",
        "numpy>=2 --hash=sha256:00",
        ".",
        "./folder",
        "folder/thing",
        "thing-1.0-py3-none-any.whl",
        "thing-1.0.tar.gz",
        "git+https://anna:s3cret@packages.example/thing",
        "thing @ git+ssh://git@packages.example/thing",
        "thing @ https://anna:s3cret@packages.example/thing-1.0-py3-none-any.whl",
        "numpy\n-e .",
        "numpy>=2\n-e .",
        "numpy numba",
    ],
)
def test_no_requirement(text: str) -> None:
    """All else is refused, with what stands there and without the passwords in it."""
    with pytest.raises(BadInput, match="which nodes cannot get") as caught:
        read_requirement(text, source="environment.yml")
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "scherbelberg",
        " Scherbelberg[main] ==0.0.6 # us",
        "scherbelberg @ git+https://ADDRESS-OF-THIS-REPOSITORY",
        "scherbelberg; a == 'b'",
    ],
)
def test_ourselves(text: str) -> None:
    """An index has another program of our name, which no node gets; of ours it needs nothing."""
    with pytest.raises(BadInput) as caught:
        read_requirement(text, source="environment.yml")
    assert caught.value.message == (
        "environment.yml asks for scherbelberg, of which nodes need nothing, and which is another, dead program on"
        " PyPI: leave it out."
    )
    assert read_requirement("scherbelberg-plugin", source="it") == "scherbelberg-plugin"


@given(st.text(alphabet="aZ0-_.[]<>=!~;,()@ \n'", max_size=12))
def test_nothing_but_names(text: str) -> None:
    """What is taken has one line and, where Python's own reader takes it too, no address."""
    try:
        taken = read_requirement(text, source="it")
    except BadInput:
        return
    assert taken.splitlines() == [taken]
    try:
        assert Requirement(taken).url is None
    except InvalidRequirement:
        assert "@" not in taken or any(sign in taken for sign in "<>=!~;(")


@given(st.from_regex(r"[0-9]{1,2}([.a-z+_!]{1,4}[0-9a-z]{0,2}){0,3}", fullmatch=True))
def test_fixed(version: str) -> None:
    """What is held fast has a version that an index can have."""
    if pinnable({"Some_Thing": version}):
        assert pinnable({"Some_Thing": version}) == {"some-thing": version}
        Version(version)


@pytest.mark.parametrize("version", ["9e", "1.1.1w", "1.0_2", "1.0-1"])
def test_not_fixed(version: str) -> None:
    """Versions that only conda knows are left out."""
    assert pinnable({"thing": version}) == {}


def test_secrets() -> None:
    """User names and passwords are taken out of addresses, also those with signs in them that belong elsewhere."""
    said = "see `https://anna:p@ss@a.b/simple/` and (http://tok-en@c.d:81/x@y) or git@e.f"
    assert without_secrets(said) == "see `https://a.b/simple/` and (http://c.d:81/x@y) or git@e.f"


_OLD = """\
warning: Requirements file `constraints.txt` does not contain any dependencies
  \u00d7 No solution found when resolving dependencies:
  ╰─▶ Because only src==1.0 is available and src==1.0 has no usable wheels, we
      can conclude that all versions of src cannot be used.
      And because you require src, we can conclude that your requirements
      are unsatisfiable.

      hint: Wheels are required for `src` because building from source is
      disabled for all packages (i.e., with `--no-build`)
"""
_NEW = """\
error: Failed to fetch: http://anna:s3cret@127.0.0.1:9/simple/alpha/
  cause: error sending request for url (http://127.0.0.1:9/simple/alpha/)
  cause: tcp connect error
  cause: Connection refused (os error 111)
"""


def test_explained() -> None:
    """What several versions of uv say becomes one sentence without frames, folds and secrets."""
    assert uv_error(_OLD, ["src"]).message == (
        "src cannot be put on nodes: the index has no wheel of it, but source only, and nodes build nothing; take a"
        " version with wheels, or conda's package (wanted: src; because only src==1.0 is available and src==1.0 has no"
        " usable wheels, we can conclude that all versions of src cannot be used; and because you require src, we can"
        " conclude that your requirements are unsatisfiable)."
    )
    assert uv_error(_NEW, ["alpha"]).message == (
        "The Python package index at 127.0.0.1:9 does not answer as it should (Connection refused (os error 111)); uv's"
        " settings say which index is asked and with which credentials (UV_DEFAULT_INDEX, uv.toml, netrc)."
    )
    assert uv_error("", ["a", "b"]).message == (
        "No wheels for a, b go with what the environment has: uv failed without a word."
    )
