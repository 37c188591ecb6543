# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Anaconda's own channels are taken from nowhere: not by name, not by address, not by way of a lock or a mirror."""

from __future__ import annotations

from pathlib import Path

import pytest

from scherbelberg.environments.environment_file import read_wish
from scherbelberg.environments.foreign_locks import read_any_lock
from scherbelberg.errors import BadInput
from scherbelberg.spec.licence import is_licensed
from scherbelberg.spec.model import ClusterSpec
from scherbelberg.spec.urls import check_mirror

_SHA = "a" * 64
_FILE = "linux-64/python-3.13.9-h1_0.conda"
_THEIRS = (
    "https://repo.anaconda.com/pkgs/main",
    "https://repo.anaconda.com",
    "HTTPS://Repo.Anaconda.COM/pkgs/r/",
    "https://repo.anaconda.com:443/pkgs/main",
    "https://repo.anaconda.com./pkgs/main",
    "https://me@repo.anaconda.com/pkgs/main",
    "https://repo.anaconda.cloud/repo/main",
    "http://repo.continuum.io/pkgs/free",
    "https://conda.anaconda.org/main",
    "https://conda.anaconda.org/anaconda/",
    "https://conda.anaconda.org/t/to-ken/main",
    "https://conda.anaconda.org/pkgs/main",
)


@pytest.mark.parametrize("text", [*_THEIRS, "defaults", "Defaults", "main", "pkgs/main", "pkgs/r/", "anaconda"])
def test_theirs(text: str) -> None:
    """Each way to write one of these channels is known."""
    assert is_licensed(text)


@pytest.mark.parametrize(
    "text",
    [
        "conda-forge",
        "main-of-us",
        "https://conda.anaconda.org/conda-forge",
        "https://conda.anaconda.org/mainly/linux-64",
        "https://repo.example/pkgs/main",
        "https://repo.anaconda.com.example/pkgs/main",
        "https://mirror.example/repo.anaconda.com",
        "",
        "https://[",
    ],
)
def test_others(text: str) -> None:
    """What only looks like that is anybody's."""
    assert not is_licensed(text)


def _list(url: str) -> str:
    return f"@EXPLICIT\n{url}/{_FILE}#{_SHA}\n"


def _pixi(url: str) -> str:
    row = f"{url}/{_FILE}"
    return (
        f"version: 6\nenvironments:\n  default:\n    channels:\n    - url: {url}/\n    packages:\n      linux-64:\n"
        f"      - conda: {row}\npackages:\n- conda: {row}\n  sha256: {_SHA}\n"
    )


def _conda_lock(url: str) -> str:
    return (
        "version: 1\nmetadata:\n  content_hash: {linux-64: a}\n  channels: []\n  platforms: [linux-64]\n  sources: []\n"
        "package:\n- name: python\n  version: '3.13.9'\n  manager: conda\n  platform: linux-64\n  dependencies: {}\n"
        f"  url: {url}/{_FILE}\n  hash: {{sha256: {_SHA}}}\n  category: main\n  optional: false\n"
    )


@pytest.mark.parametrize("write", [_list, _pixi, _conda_lock])
@pytest.mark.parametrize("url", ["https://repo.anaconda.com/pkgs/main", "https://conda.anaconda.org/main"])
def test_locks(write: object, url: str, tmp_path: Path) -> None:
    """A lock of any kind with a package of theirs is refused, and the same of conda-forge is read."""
    assert callable(write)
    path = tmp_path / "a.lock"
    path.write_text(write("https://conda.anaconda.org/conda-forge"), encoding="utf-8")
    assert read_any_lock(path, platform="linux-64").versions.python == "3.13.9"
    path.write_text(write(url), encoding="utf-8")
    with pytest.raises(
        BadInput, match=r"^a\.lock.* belongs to Anaconda, and many users need a licence for it\. Use conda-forge"
    ):
        read_any_lock(path, platform="linux-64")


def test_wheels(tmp_path: Path) -> None:
    """A wheel from their host is refused, too."""
    wheel = f"# pip a==1 @ https://repo.anaconda.com/a-1-py3-none-any.whl --hash=sha256:{_SHA}\n"
    path = tmp_path / "a.lock"
    path.write_text(_list("https://conda.anaconda.org/conda-forge") + wheel, encoding="utf-8")
    with pytest.raises(BadInput, match="belongs to Anaconda"):
        read_any_lock(path, platform="linux-64")


_SPECS = (
    "defaults::numpy",
    "main::numpy >=2",
    "pkgs/main/linux-64::numpy",
    "numpy[channel=defaults]",
    "numpy[version='>=2', channel='pkgs/main']",
)


@pytest.mark.parametrize("spec", _SPECS)
def test_specs(spec: str) -> None:
    """A package that names its channel is refused in a file and on a command line."""
    with pytest.raises(BadInput, match=r"belongs to Anaconda, and many users need a licence for it"):
        read_wish(f'dependencies: ["{spec}"]\n', source="it")
    with pytest.raises(BadInput, match=r"belongs to Anaconda, and many users need a licence for it"):
        ClusterSpec(prefix="a", workers=1, packages=(spec,))
    assert read_wish("dependencies: ['conda-forge::numpy']\n", source="it").specs == ("conda-forge::numpy",)


@pytest.mark.parametrize("url", _THEIRS)
def test_settings(url: str) -> None:
    """Neither a channel nor a mirror can be theirs."""
    with pytest.raises(BadInput):
        check_mirror(url)
    with pytest.raises(BadInput):
        ClusterSpec(prefix="a", workers=1, channels=(url,))
    with pytest.raises(BadInput):
        read_wish(f"channels: ['{url}']\n", source="it")


@pytest.mark.parametrize("url", ["https://me:s3cret@a.b/c", "https://a.b/t/s3cret/c", "ftp://a.b/c", "../here"])
def test_channels_of_files(url: str) -> None:
    """What can be no channel on a command line can be none in a file, and a password is not shown."""
    with pytest.raises(BadInput, match=r"^it wants a channel that cannot be") as caught:
        read_wish(f"channels: ['{url}']\n", source="it")
    assert "s3cret" not in caught.value.message
