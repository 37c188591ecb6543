# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the surroundings decide of environments: mirrors, the place for what is found out, and the active client."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scherbelberg.errors import BadInput
from scherbelberg.settings import active_client, cache_folder, home_folder, mirror_in, read_settings


def test_mirrors() -> None:
    """Mirrors come from environment variables, without a slash at the end; empty ones are none."""
    environ = {
        "HCLOUD_TOKEN": "t",
        "SCHERBELBERG_CHANNEL_MIRROR": "https://a.b/c/",
        "SCHERBELBERG_MINIFORGE_MIRROR": "",
    }
    settings = read_settings(environ=environ)
    assert (settings.channel_mirror, settings.miniforge_mirror) == ("https://a.b/c", None)
    assert mirror_in("MINIFORGE", {"SCHERBELBERG_MINIFORGE_MIRROR": "http://m/x"}) == "http://m/x"
    environ["SCHERBELBERG_MINIFORGE_MIRROR"] = "https://me:s3cret@a.b"
    with pytest.raises(BadInput, match="Put credentials into") as caught:
        read_settings(environ=environ)
    assert "s3cret" not in caught.value.message


def test_cache_folder(tmp_path: Path) -> None:
    """What can be found out again lies where the platform keeps such things, or below the folder that was given."""
    environ = {"HCLOUD_TOKEN": "t", "SCHERBELBERG_HOME": str(tmp_path / "home")}
    assert read_settings(environ=environ).cache == cache_folder(environ) == tmp_path / "home" / "cache"
    elsewhere = cache_folder({})
    assert elsewhere.name == "scherbelberg"
    assert elsewhere != home_folder({})


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
@pytest.mark.parametrize("program", ["bin/python", "Scripts/python.exe", "python.exe"])
def test_active_client(tmp_path: Path, variable: str, program: str) -> None:
    """The Python of the active environment is found, as it lies on each operating system."""
    python = tmp_path / program
    python.parent.mkdir(exist_ok=True)
    python.touch()
    assert active_client({variable: str(tmp_path)}) == (python, variable)


def test_which_client_is_active(tmp_path: Path) -> None:
    """A virtual environment wins over conda's, since it was activated within; this program's own is nothing else."""
    both = {"VIRTUAL_ENV": str(tmp_path / "venv"), "CONDA_PREFIX": str(tmp_path / "conda")}
    assert active_client(both) == (tmp_path / "venv" / "bin" / "python", "VIRTUAL_ENV")
    assert active_client({}) is None
    assert active_client({"VIRTUAL_ENV": ""}) is None
    assert active_client({"VIRTUAL_ENV": f"{sys.prefix}/"}) is None
    assert active_client(both | {"VIRTUAL_ENV": sys.prefix}) is None
