# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Files that describe an environment."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.environments.environment_file import (
    EnvWish,
    FileKind,
    conversion_hint,
    kind_of,
    read_wish,
    skipped_files,
)
from scherbelberg.errors import BadInput

_WISH = """\
name: thing
channels:
  - conda-forge  # ours
  - nodefaults
  - https://packages.example/own
dependencies:
  - python=3.13
  - conda-forge::xarray>=2025
  - pip
  - pip:
      - rioxarray>=0.19  # not in conda-forge
      - dask-ml[all]; python_version < "3.14"
prefix: /home/anna/envs/thing
"""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("# a list\n@EXPLICIT\r\nhttps://a.b/c\r\n", FileKind.EXPLICIT),
        ("version: 6\nenvironments:\n  default: {}\npackages: []\n", FileKind.PIXI),
        ("version: 7\nplatforms:\n- name: linux-64\nenvironments:\n  default:\n", FileKind.PIXI),
        ("# made by conda-lock\nversion: 1\nmetadata:\n  platforms: []\npackage:\n- name: a\n", FileKind.CONDA_LOCK),
        ("package: []\nmetadata: {}\nversion: 1\n", FileKind.CONDA_LOCK),
        (_WISH, FileKind.WISH),
        ("'dependencies':\n- a\n", FileKind.WISH),
    ],
)
def test_kind(text: str, kind: FileKind) -> None:
    """What a file is, is told by what is in it."""
    assert kind_of(text, source="it") is kind


@pytest.mark.parametrize("text", ["", "[dependencies]\nnumpy = '*'\n", "x: 1\n", "  dependencies: []\n"])
def test_no_kind(text: str) -> None:
    """What is none of these is told which there are."""
    with pytest.raises(BadInput, match=r"^it describes no environment: .* explicit list, pixi\.lock, conda-lock\.yml"):
        kind_of(text, source="it")


def test_wish() -> None:
    """Channels keep their order, specs and requirements their words."""
    assert read_wish(_WISH, source="environment.yml") == EnvWish(
        channels=("conda-forge", "https://packages.example/own"),
        specs=("python=3.13", "conda-forge::xarray>=2025", "pip"),
        pip=("rioxarray>=0.19", 'dask-ml[all]; python_version < "3.14"'),
    )


def test_little() -> None:
    """Channels and dependencies may be missing or empty."""
    assert read_wish("dependencies:\n", source="it") == EnvWish(channels=(), specs=())
    assert read_wish("name: x\n", source="it") == EnvWish(channels=(), specs=())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [\n", r"is not valid YAML \(line 2\)"),
        ("- a\n", "is not a YAML mapping"),
        ("!!python/object/apply:print ['x']\n", r"is not valid YAML \(line 1\)"),
        ("variables: {A: b}\n", "sets variables"),
        ("dependancies: [a]\n", "has 'dependancies' in it"),
        ("channels: conda-forge\n", "has under 'channels' what is no list"),
        ("channels: [defaults]\n", "wants a channel that cannot be: The channel 'defaults' belongs to Anaconda"),
        ("channels: ['https://repo.anaconda.com/pkgs/main']\n", "wants a channel that cannot be: .* 'https://repo"),
        ("dependencies: [1]\n", "has '1' under 'dependencies'"),
        ("dependencies: [a, {npm: [b]}]\n", "has 'npm:' under 'dependencies'"),
        ("dependencies: [a, {pip: b}]\n", "has under 'pip' what is no list"),
        ("dependencies: [a, {pip: [-r more.txt]}]\n", "asks for '-r more.txt'"),
        ("dependencies: [a, {pip: [-e .]}]\n", r"asks for '-e \.'"),
        ("dependencies: [a, {pip: ['git+https://a.b/c']}]\n", r"asks for 'git\+https://a\.b/c'"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    """What nodes cannot have is refused, with what stands there."""
    with pytest.raises(BadInput, match=f"^environment.yml {reason}"):
        read_wish(text, source="environment.yml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dependencies: [a]\nname: x\ndependencies: [b]\n", "has 'dependencies' twice, in line 1 and in line 3"),
        ("dependencies:\n- numpy\n- b\n- numpy>=2\n", r"has numpy twice .* in line 2 \(numpy\) and in line 4"),
        ("dependencies:\n- numpy=1\n- conda-forge::NumPy=2\n", "has numpy twice .* in line 2 .* and in line 3"),
        ("dependencies:\n- pip: [a_b==1, A-b==2]\n", "has a-b twice under 'pip', in line 2 .* and in line 2"),
        ("dependencies:\n- pip: [a]\n- pip: [b]\n", "has pip: twice under 'dependencies', in line 2 and in line 3"),
        ("dependencies:\n- {pip: [a],\n   pip: [b]}\n", "has 'pip' twice, in line 2 and in line 3"),
    ],
)
def test_contradictions(text: str, words: str) -> None:
    """What stands twice is refused with both lines, instead of the last one winning."""
    with pytest.raises(BadInput, match=f"^it {words}"):
        read_wish(text, source="it")


def test_choice_by_marker() -> None:
    """Markers may choose among several wishes for a package."""
    text = "dependencies:\n- pip: ['a==1; python_version < \"3.12\"', 'a==2; python_version >= \"3.12\"']\n"
    assert len(read_wish(text, source="it").pip) == 2


@pytest.mark.parametrize("channel", ["main-of-us", "pkgs-main", "https://repo.example/pkgs/main", "robostack", "r-own"])
def test_channels_of_others(channel: str) -> None:
    """Channels whose names only look like Anaconda's are taken."""
    assert read_wish(f"channels: [{channel}]\n", source="it").channels == (channel,)


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    """Whatever stands in a file, it is read or refused."""
    for read in (read_wish, kind_of, skipped_files):
        with contextlib.suppress(BadInput):
            read(text, source="it")


@pytest.mark.parametrize(
    ("text", "name", "way"),
    [
        ("numpy==2\nscipy >=1  # of late\n-r more.txt\n", "a list of requirements", "uv pip compile 'it' --universal"),
        (
            'version = 1\n[[package]]\nname = "a"\nsource = { registry = "x" }\n',
            "a uv.lock",
            "uv export --format pylock",
        ),
        ("# This file is automatically @generated by Poetry 2.1\n[[package]]\n", "a poetry.lock", "poetry export"),
        ("# This file is @generated by PDM.\n[metadata]\n", "a pdm.lock", "pdm export"),
        ('{\n    "_meta": {}\n}\n', "a Pipfile.lock", "pipenv requirements"),
        ('[project]\nname = "a"\ndependencies = ["dask"]\n', "a pyproject.toml", "uv pip compile 'it'"),
        ('[tool.poetry]\nname = "a"\n', "a pyproject.toml", "uv pip compile 'it'"),
        ('[workspace]\nchannels = ["conda-forge"]\n[dependencies]\ndask = "*"\n', "a pixi.toml", "pixi lock"),
        ('[[source]]\nurl = "https://a.b"\n[packages]\ndask = "*"\n', "a Pipfile", "pipenv lock"),
        ("from setuptools import setup\n\nsetup(\n    name='a',\n)\n", "a setup.py", "uv pip compile 'it'"),
        ("[metadata]\nname = a\n", "a setup.cfg", "uv pip compile 'it'"),
        (
            "# platform: linux-64\nnumpy=2.0=py313_0\n",
            "a list of 'conda list --export'",
            "conda list --explicit --sha256",
        ),
    ],
)
def test_known(text: str, name: str, way: str) -> None:
    """What is none of our kinds is called by its name, and told how it becomes one."""
    with pytest.raises(BadInput) as caught:
        kind_of(text, source="it")
    assert caught.value.message.startswith(f"it is {name}, which locks nothing for nodes: make a lock of it ({way}")


@given(st.text(max_size=80))
def test_any_other_file(text: str) -> None:
    """Whatever there is in a file, there is an answer or none."""
    assert conversion_hint(text, source="it") is None or text
