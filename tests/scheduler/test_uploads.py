# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Modules and packages made ready for a cluster: what can be imported, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from distributed.utils import import_file

from scherbelberg.errors import BadInput
from scherbelberg.scheduler.uploads import pack_modules


def _archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


def _package(path: Path) -> Path:
    for file in ("__init__.py", "inner/__init__.py", "data.txt", "__pycache__/x.cpython-311.pyc", ".git/config"):
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_text("", encoding="utf-8")
    return path


def test_module(tmp_path: Path) -> None:
    """A module is sent as it is."""
    path = tmp_path / "süß.py"
    path.write_text("", encoding="utf-8")
    with pack_modules(path) as upload:
        assert (upload.file, upload.modules) == (path, ("süß",))


def test_folder(tmp_path: Path) -> None:
    """A package folder becomes an archive of its sources and data, always the same, which is gone in the end."""
    path = _package(tmp_path / "my_package")
    with pack_modules(path) as one, pack_modules(path) as two:
        assert (one.file.name, one.modules) == ("my_package.zip", ("my_package",))
        names = zipfile.ZipFile(one.file).namelist()
        assert one.file.read_bytes() == two.file.read_bytes()
    assert names == ["my_package/__init__.py", "my_package/data.txt", "my_package/inner/__init__.py"]
    assert not one.file.exists()


@pytest.mark.parametrize(("suffix", "sent"), [(".whl", ".zip"), (".zip", ".zip"), (".egg", ".egg")])
def test_archives(tmp_path: Path, suffix: str, sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives are sent under a name from which Dask imports, and what they bring is known."""
    names = ("alpha_p1/__init__.py", "alpha_p1/deep.py", "beta_p1.py", "alpha-1.dist-info/METADATA")
    path = _archive(tmp_path / f"alpha-1-py3-none-any{suffix}", *names)
    monkeypatch.syspath_prepend(str(tmp_path))  # restores sys.path in the end
    with pack_modules(path) as upload:
        assert (upload.file.suffix, upload.modules) == (sent, ("alpha_p1", "beta_p1"))
        assert sorted(module.__name__ for module in import_file(str(upload.file))) == ["alpha_p1", "beta_p1"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.py", None, "There is no file or folder"),
        ("my-module.py", (), "is no Python module, package"),
        ("notes.txt", (), "is no Python module, package"),
        ("broken.whl", (), "is no Python module, package"),
        ("native.whl", ("n/__init__.py", "n/_fast.so"), "compiled parts"),
        ("empty.zip", ("readme.md",), "no module and no package at its top"),
    ],
)
def test_refused_files(tmp_path: Path, name: str, content: tuple[str, ...] | None, words: str) -> None:
    """What could not be imported is refused before it is sent."""
    path = tmp_path / name
    if content:
        _archive(path, *content)
    elif content is not None:
        path.write_text("", encoding="utf-8")
    with pytest.raises(BadInput, match=words), pack_modules(path):
        pass


@pytest.mark.parametrize(
    ("name", "files", "words"),
    [
        ("my-package", ("__init__.py",), "is no Python package"),
        ("plain", ("a.py",), "is no Python package"),
        ("native", ("__init__.py", "_fast.so"), "compiled parts"),
    ],
)
def test_refused_folders(tmp_path: Path, name: str, files: tuple[str, ...], words: str) -> None:
    """A folder that is no package, or that an archive cannot hold, is refused."""
    folder = tmp_path / name
    folder.mkdir()
    for file in files:
        (folder / file).write_text("", encoding="utf-8")
    with pytest.raises(BadInput, match=words), pack_modules(folder):
        pass
