# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Locks of others, written by their own library where it writes them."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
import yaml
from catalogues import CALM
from hypothesis import given
from hypothesis import strategies as st
from rattler import BuildString, PackageRecord, RepoDataRecord
from rattler.lock import LockChannel, LockFile, LockPlatform

from scherbelberg.environments.foreign_locks import platforms_of, read_any_lock
from scherbelberg.environments.lock import EnvLock, Package, Wheel, read_lock, write_lock, write_records
from scherbelberg.errors import BadInput

_CHANNEL = "https://conda.anaconda.org/conda-forge"
_SHA, _OTHER, _MD5 = "a" * 64, "0b" * 32, "c" * 32
_SIX = "https://files.example/packages/aa/six-1.17.0-py2.py3-none-any.whl"
_PYTHON = f"{_CHANNEL}/linux-64/python-3.13.9-h1_0_cp313.conda"
_ZICT = f"{_CHANNEL}/noarch/zict-3.0.0-pyhd8_1.conda"
_EXPECTED = (
    Package(url=_PYTHON, sha256=_SHA, size=7, depends=("python_abi 3.13.* *_cp313",), constrains=("pypy <0a0",)),
    Package(url=_ZICT, sha256=_OTHER, size=8, depends=("python >=3.9",)),
)
_WHEEL = Wheel(name="six", version="1.17.0", url=_SIX, sha256=_SHA)


def _record(package: Package) -> RepoDataRecord:
    record = PackageRecord(
        name=package.name,
        version=package.version,
        build=BuildString(package.build),
        build_number=0,
        subdir=package.subdir,
        arch=None,
        platform=None,
        depends=list(package.depends),
        constrains=list(package.constrains),
        sha256=bytes.fromhex(package.sha256),
        size=package.size,
    )
    return RepoDataRecord(record, file_name=package.file_name, channel=_CHANNEL, url=package.url)


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_records_beside_a_lock(tmp_path: Path) -> None:
    """What was written beside a lock of ours is read with it; beside anybody else's list, it is anybody's."""
    lock = EnvLock(profile="solved", platform="linux-64", packages=_EXPECTED)
    path = _write(tmp_path, "mine.lock", write_lock(lock))
    assert read_any_lock(path, platform="linux-64").size is None
    _write(tmp_path, "mine.json", write_records(lock))
    assert read_any_lock(path, platform="linux-64") == lock
    _write(tmp_path, "mine.json", "{}")
    with pytest.raises(BadInput, match=r"records of mine\.lock"):
        read_any_lock(path, platform="linux-64")
    _write(tmp_path, "mine.lock", write_lock(lock).replace("# scherbelberg environment\n", ""))
    assert read_any_lock(path, platform="linux-64").packages[0].sha256 == _SHA


@pytest.fixture
def newest(tmp_path: Path) -> Path:
    """A pixi.lock as the library writes it now, packages in the wrong order."""
    file = LockFile([LockPlatform("linux-64"), LockPlatform("osx-arm64")])
    file.set_channels("default", [LockChannel(f"{_CHANNEL}/")])
    for package in reversed(_EXPECTED):
        file.add_conda_package("default", LockPlatform("linux-64"), _record(package))
    file.add_conda_package("default", LockPlatform("osx-arm64"), _record(_EXPECTED[1]))
    file.add_pypi_package("default", LockPlatform("linux-64"), "six", "1.17.0", _SIX)
    file.to_path(tmp_path / "pixi.lock")
    # The library writes the wheel without a hash, which pixi has from the index.
    text = (tmp_path / "pixi.lock").read_text(encoding="utf-8")
    assert text.count(f"- pypi: {_SIX}\n  name: six\n") == 1
    return _write(tmp_path, "pixi.lock", text.replace("  name: six\n", f"  name: six\n  sha256: {_SHA}\n"))


def test_newest_pixi(newest: Path) -> None:
    """A pixi.lock gives the packages of its platform in order, and its wheels."""
    lock = read_any_lock(newest, platform="linux-64")
    assert newest.read_text(encoding="utf-8").startswith("version: 7\n")
    assert (lock.packages, lock.wheels) == (_EXPECTED, (_WHEEL,))
    assert (lock.platform, lock.versions.python) == ("linux-64", "3.13.9")


def test_platforms(newest: Path, tmp_path: Path) -> None:
    """A lock tells for which platforms it is: a pixi.lock in its table, a list in its header or by its packages."""
    assert platforms_of(newest) == {"linux-64", "osx-arm64"}
    assert platforms_of(_write(tmp_path, "older.lock", _older(6, platform="linux-aarch64"))) == {"linux-aarch64"}
    text = write_lock(EnvLock(profile="mine", platform="linux-64", packages=_EXPECTED))
    assert platforms_of(_write(tmp_path, "mine.lock", text)) == {"linux-64"}
    assert platforms_of(_write(tmp_path, "list.txt", f"@EXPLICIT\n{_PYTHON}#{_SHA}\n")) == {"linux-64"}
    assert platforms_of(_write(tmp_path, "list.txt", f"@EXPLICIT\n{_ZICT}#{_SHA}\n")) == set()


_FIELDS = """\
  sha256: {0.sha256}
  md5: {1}
  depends: {2}
  constrains: {3}
  size: {0.size}
"""


def _older(version: int, *, platform: str = "linux-64", name: str = "default") -> str:
    rows = "".join(f"      - conda: {one.url}\n" for one in reversed(_EXPECTED))
    text = f"version: {version}\nenvironments:\n  {name}:\n    channels:\n    - url: {_CHANNEL}/\n    packages:\n"
    text += f"      {platform}:\n{rows}      - pypi: {_SIX}\npackages:\n"
    for one in _EXPECTED:
        kind = f"name: {one.name}\n  version: {one.version}\n  build: {one.build}\n  subdir: {one.subdir}\n"
        head = f"- conda: {one.url}\n" if version == 6 else f"- kind: conda\n  {kind}  url: {one.url}\n"
        text += head + _FIELDS.format(one, _MD5, list(one.depends), list(one.constrains))
    head = f"- pypi: {_SIX}\n  name: six\n" if version == 6 else f"- kind: pypi\n  name: six\n  url: {_SIX}\n"
    return text + head + f"  version: 1.17.0\n  sha256: {_SHA}\n  requires_python: '>=2.7'\n"


@pytest.mark.parametrize("version", [4, 5, 6])
def test_older_pixi(version: int, tmp_path: Path) -> None:
    """Older versions of pixi.lock give the same."""
    lock = read_any_lock(_write(tmp_path, "pixi.lock", _older(version)), platform="linux-64")
    assert (lock.packages, lock.wheels) == (_EXPECTED, (_WHEEL,))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "version: 6",
            "version: 99",
            "pixi.lock is a pixi.lock of version 99, newer than this scherbelberg, which knows them up to 7",
        ),
        ("linux-64:", "osx-64:", "is not for linux-64, which the nodes are: it has osx-64"),
        ("  default:", "  docs:", r"no environment 'default', which nodes would get \(it has: docs\)"),
        (f"  sha256: {_OTHER}\n", "", "has no SHA-256 of zict"),
        (f"  version: 1.17.0\n  sha256: {_SHA}\n", "  version: 1.17.0\n", "has no SHA-256 of six"),
        ("six-1.17.0-py2.py3-none-any.whl", "six-1.17.0.tar.gz", r"has six as source \(https://.*tar\.gz\)"),
        ("name: six", "name: scherbelberg", "asks for scherbelberg, of which nodes need nothing"),
        ("'>=2.7'", "'>=3.14'", r"six for Python >=3\.14 and Python 3\.13\.9, which exclude each other"),
        (f"pypi: {_SIX}", "pypi: ./mine", r"has six at \./mine, where nodes cannot download it"),
        (f"pypi: {_SIX}", "pypi: git+https://me:s3cret@a.b/c?rev=d#ef", r"has six at git\+https://a\.b/c"),
    ],
)
def test_refused_pixi(old: str, new: str, reason: str, tmp_path: Path) -> None:
    """What nodes cannot download and verify is refused by name, as is a lock for something else."""
    text = _older(6)
    assert old in text
    with pytest.raises(BadInput, match=reason) as caught:
        read_any_lock(_write(tmp_path, "pixi.lock", text.replace(old, new)), platform="linux-64")
    assert "s3cret" not in caught.value.message


def test_source_package(tmp_path: Path) -> None:
    """A conda package that would have to be built is refused by name."""
    text = _older(6).replace(
        f"conda: {_ZICT}\n", "conda: ./zict\n  name: zict\n  version: '3'\n  build: h\n  subdir: noarch\n"
    )
    text = text.replace(
        "conda: ./zict\n  name: zict\n  version: '3'\n  build: h\n  subdir: noarch\n", "conda: ./zict\n", 1
    )
    with pytest.raises(BadInput, match=r"has zict as source \(\./zict\)"):
        read_any_lock(_write(tmp_path, "pixi.lock", text), platform="linux-64")


def test_secrets(tmp_path: Path) -> None:
    """Logins and tokens in addresses do not get into a lock of ours."""
    text = _older(6).replace("https://conda.anaconda.org/", "https://me:s3cret@conda.anaconda.org/t/tok-s3cret/")
    lock = read_any_lock(_write(tmp_path, "pixi.lock", text), platform="linux-64")
    assert lock.packages == _EXPECTED
    assert "s3cret" not in write_lock(lock)


def _row(package: Package, **changed: object) -> dict[str, object]:
    row = {
        "name": package.name,
        "version": package.version,
        "manager": "conda",
        "platform": "linux-64",
        "dependencies": dict(one.split(" ", 1) for one in package.depends),
        "url": package.url,
        "hash": {"md5": _MD5, "sha256": package.sha256},
        "category": "main",
        "optional": False,
    }
    return row | changed


_PIP = {"manager": "pip", "version": "1.17.0", "name": "six", "url": _SIX, "hash": {"sha256": _SHA}, "dependencies": {}}


def _conda_lock(*rows: dict[str, object]) -> str:
    metadata = {
        "content_hash": {"linux-64": _SHA, "linux-aarch64": _SHA},
        "channels": [{"url": "conda-forge", "used_env_vars": []}],
        "platforms": ["linux-64", "linux-aarch64"],
        "sources": ["environment.yml"],
    }
    return yaml.safe_dump({"version": 1, "metadata": metadata, "package": list(rows)})


def test_conda_lock(tmp_path: Path) -> None:
    """A conda-lock.yml gives the packages of its category main alone."""
    python, zict = _EXPECTED
    rows = [_row(zict), _row(python), _row(python, category="dev"), _row(zict, **_PIP)]
    test = _row(zict, name="tests", url=f"{_CHANNEL}/noarch/tests-1.0-py_0.conda", category="dev", optional=True)
    arm = _row(zict, platform="linux-aarch64", name="arm", url=f"{_CHANNEL}/linux-aarch64/arm-1.0-h0_0.conda")
    path = _write(tmp_path, "conda-lock.yml", _conda_lock(test, arm, *rows))
    lock = read_any_lock(path, platform="linux-64")
    assert [(one.url, one.sha256, one.depends) for one in lock.packages] == [
        (one.url, one.sha256, one.depends) for one in _EXPECTED
    ]
    assert lock.wheels == (_WHEEL,)
    assert [one.name for one in read_any_lock(path, platform="linux-aarch64").packages] == ["arm"]


def test_refused_conda_lock(tmp_path: Path) -> None:
    """A package with an MD5 alone is refused by name, and a platform that is not there with those that are."""
    path = _write(tmp_path, "conda-lock.yml", _conda_lock(_row(_EXPECTED[0], hash={"md5": _MD5})))
    with pytest.raises(BadInput, match="has no SHA-256 of python"):
        read_any_lock(path, platform="linux-64")
    with pytest.raises(BadInput, match="is not for linux-aarch64, which the nodes are: it has linux-64"):
        read_any_lock(path, platform="linux-aarch64")


def test_contradicting_conda_lock(tmp_path: Path) -> None:
    """A package twice with different files is refused with both lines, as is a version that YAML takes for a number."""
    python = _EXPECTED[0]
    other = _row(python, url=python.url.replace("3.13.9", "3.13.8"), version="3.13.8")
    text = _conda_lock(_row(python), other)
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.startswith("- category")]
    with pytest.raises(BadInput, match=f"has python twice for linux-64, in line {lines[0]} and in line {lines[1]}"):
        read_any_lock(_write(tmp_path, "conda-lock.yml", text), platform="linux-64")
    path = _write(tmp_path, "conda-lock.yml", _conda_lock(_row(python, version=3.1)))
    with pytest.raises(BadInput, match=f"in line {lines[0]} the package 'python' with a version that YAML does not"):
        read_any_lock(path, platform="linux-64")
    newer = _conda_lock(_row(python)).replace("version: 1\n", "version: 2\n")
    with pytest.raises(BadInput, match="of version 2, newer than this scherbelberg"):
        read_any_lock(_write(tmp_path, "conda-lock.yml", newer), platform="linux-64")


def test_contradicting_pixi(tmp_path: Path) -> None:
    """A package that two builds stand for, and a file of which two things are said, are refused."""
    text = _older(6)
    second = text.replace(f"      - conda: {_PYTHON}\n", f"      - conda: {_PYTHON}\n      - conda: {_PYTHON}x.conda\n")
    second += f"- conda: {_PYTHON}x.conda\n  sha256: {_OTHER}\n"
    second = second.replace(".condax.conda", "x.conda")
    with pytest.raises(BadInput, match=r"has python twice, as https://.* and as https://"):
        read_any_lock(_write(tmp_path, "pixi.lock", second), platform="linux-64")
    path = _write(tmp_path, "pixi.lock", f"{text}- conda: {_PYTHON}\n  sha256: {_OTHER}\n")
    with pytest.raises(BadInput, match=r"says two things of https://.*, in line \d+ and in line \d+"):
        read_any_lock(path, platform="linux-64")


@CALM
@given(st.data())
def test_mutated(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever is changed in a lock, it is read or refused, and never anything else."""
    text = data.draw(
        st.sampled_from([_older(4), _older(6), _conda_lock(_row(_EXPECTED[0]), _row(_EXPECTED[1], **_PIP))])
    )
    start = data.draw(st.integers(0, len(text)))
    piece = data.draw(st.sampled_from(["", "\n", "0", "- ", "[", "~", "&a ", "'", ": ", "\t"]) | st.text(max_size=3))
    changed = text[:start] + piece + text[start + data.draw(st.integers(0, 12)) :]
    path = tmp_path_factory.getbasetemp() / "mutated.yml"
    path.write_bytes(changed.encode(errors="replace"))
    with contextlib.suppress(BadInput):
        read_any_lock(path, platform="linux-64")


_WORDS = st.from_regex("[a-z][a-z0-9_]{0,8}", fullmatch=True)
_HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)


@st.composite
def _locks(draw: st.DrawFn) -> EnvLock:
    names = draw(st.lists(_WORDS.filter(lambda name: name != "python"), max_size=4, unique=True))
    urls = [_PYTHON, *(f"{_CHANNEL}/noarch/{name}-{draw(_WORDS)}-{draw(_WORDS)}.conda" for name in names)]
    wheels = draw(
        st.lists(
            st.builds(Wheel, name=_WORDS, version=_WORDS, url=st.just(_SIX), sha256=_HASHES),
            max_size=2,
            unique_by=lambda one: one.name.replace("_", "-"),
        )
    )
    packages = tuple(Package(url=url, sha256=draw(_HASHES), is_recorded=False) for url in urls)
    return EnvLock(profile="file", platform="linux-64", packages=packages, wheels=tuple(wheels))


@CALM
@given(_locks())
def test_explicit_list(tmp_path_factory: pytest.TempPathFactory, lock: EnvLock) -> None:
    """Our own lock is read back, also through the file; a list without our header gives the same files."""
    text = write_lock(lock)
    path = _write(tmp_path_factory.getbasetemp(), "our.lock", text)
    assert read_any_lock(path, platform="linux-aarch64") == lock == read_lock(text, source="it", platform="linux-64")
    bare = re.sub("(?s)^.*(?=@EXPLICIT)", "", text)
    assert read_any_lock(_write(path.parent, "bare.txt", bare), platform="linux-64").files == lock.files


def test_records_beside(tmp_path: Path) -> None:
    """What the packages of our own lock need is read from the file beside it; nobody else's file is taken for that."""
    lock = EnvLock(profile="main", platform="linux-64", packages=_EXPECTED)
    path = _write(tmp_path, "our.lock", write_lock(lock))
    assert not any(one.is_recorded for one in read_any_lock(path, platform="linux-64").packages)
    _write(tmp_path, "our.json", write_records(lock))
    assert read_any_lock(path, platform="linux-64") == lock
    _write(tmp_path, "our.json", "{}")
    with pytest.raises(BadInput, match=r"The records of our\.lock"):
        read_any_lock(path, platform="linux-64")
    foreign = _write(tmp_path, "our.txt", "@EXPLICIT" + write_lock(lock).partition("@EXPLICIT")[2])
    assert [one.url for one in read_any_lock(foreign, platform="linux-64").packages] == [one.url for one in _EXPECTED]


@pytest.mark.parametrize("end", [f"#sha256:{_SHA}", ""])
def test_secrets_in_an_explicit_list(tmp_path: Path, end: str) -> None:
    """Logins and tokens in a list do not get into a lock of ours, nor into errors."""
    row = _PYTHON.replace("https://conda.anaconda.org/", "https://me:s3cret@conda.anaconda.org/t/tok-s3cret/")
    path = _write(tmp_path, "list.txt", f"@EXPLICIT\n{row}{end}\n")
    if end:
        lock = read_any_lock(path, platform="linux-64")
        assert [one.url for one in lock.packages] == [_PYTHON]
    else:
        with pytest.raises(BadInput, match="which is no URL with #sha256:HASH") as caught:
            read_any_lock(path, platform="linux-64")
        assert "s3cret" not in caught.value.message


def test_not_there(tmp_path: Path) -> None:
    """A file that is not there, or is none of these, is told so."""
    with pytest.raises(BadInput, match=r"gone\.lock cannot be read"):
        read_any_lock(tmp_path / "gone.lock", platform="linux-64")
    with pytest.raises(BadInput, match="locks nothing yet"):
        read_any_lock(_write(tmp_path, "environment.yml", "dependencies: []\n"), platform="linux-64")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    with pytest.raises(BadInput, match="cannot be read"):
        read_any_lock(tmp_path / "binary", platform="linux-64")
