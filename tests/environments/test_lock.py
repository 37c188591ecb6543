# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Locks as text and back, and texts that are none."""

from __future__ import annotations

import contextlib
import hashlib
import json

import pytest
from attrs import evolve
from catalogues import CALM
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.environments.lock import EnvLock, Package, Wheel, lock_name, read_lock, write_lock, write_records
from scherbelberg.environments.pypi import normalize_name
from scherbelberg.errors import BadInput

_FORGE = "https://conda.anaconda.org/conda-forge"
_SHA = st.text("0123456789abcdef", min_size=64, max_size=64)
_WORD = st.from_regex(r"[a-z0-9][a-z0-9_.]{0,8}", fullmatch=True)
_NAME = st.from_regex(r"[a-z_][a-z0-9_.-]{0,9}", fullmatch=True)
_SPECS = st.lists(st.text(max_size=20), max_size=3).map(tuple)


@st.composite
def _packages(draw: st.DrawFn, name: str | None = None) -> Package:
    stem = f"{name or draw(_NAME)}-{draw(_WORD)}-{draw(_WORD)}"
    where = f"{_FORGE}/{draw(st.sampled_from(['noarch', 'linux-64']))}"
    bare = Package(
        url=f"{where}/{stem}{draw(st.sampled_from(['.conda', '.tar.bz2']))}", sha256=draw(_SHA), is_recorded=False
    )
    if not draw(st.booleans()):
        return bare
    size = draw(st.integers(0, 10**12))
    return evolve(bare, size=size, depends=draw(_SPECS), constrains=draw(_SPECS), is_recorded=True)


@st.composite
def _wheels(draw: st.DrawFn) -> Wheel:
    name, version = draw(_NAME), draw(_WORD)
    url = f"https://files.example/{draw(_WORD)}/{name}-{version}-py3-none-any.whl"
    return Wheel(name=name, version=version, url=url, sha256=draw(_SHA))


@st.composite
def _locks(draw: st.DrawFn) -> EnvLock:
    others = st.lists(_packages().filter(lambda one: one.name != "python"), max_size=4)
    rows = (*draw(others), draw(_packages("python")))
    return EnvLock(
        profile=draw(_WORD),
        platform=draw(st.sampled_from(["linux-64", "linux-aarch64"])),
        packages=tuple({one.name: one for one in rows}.values()),
        wheels=tuple(draw(st.lists(_wheels(), max_size=2, unique_by=lambda one: normalize_name(one.name)))),
        specs=draw(_SPECS),
    )


def _package(stem: str, **more: str) -> Package:
    return Package(url=f"{_FORGE}/linux-64/{stem}.conda", sha256=more.get("sha256", "0" * 64), is_recorded=False)


_PYTHON, _DASK = _package("python-3.13.14-h1_0_cp313"), _package("dask-core-2026.7.1-py_0")
_WHEEL = Wheel(name="rio", version="1.0", url="https://files.example/rio-1.0-py3-none-any.whl", sha256="ab" * 32)
_LOCK = EnvLock(profile="main", platform="linux-aarch64", packages=(_PYTHON, _DASK), specs=("python 3.13.*",))


@CALM
@given(_locks())
def test_round_trip(lock: EnvLock) -> None:
    """What was written reads back as it was, with records and with wheels."""
    assert read_lock(write_lock(lock), source="it", records=write_records(lock)) == lock


@CALM
@given(_locks())
def test_digest_is_of_what_follows(lock: EnvLock) -> None:
    """The digest is that of all bytes behind the mark, as a shell counts it."""
    head, mark, body = write_lock(lock).partition("@EXPLICIT\n")
    assert mark
    assert f"# digest: {hashlib.sha256(body.encode()).hexdigest()}\n" in head
    assert evolve(lock, profile="other", specs=("x",)).digest == lock.digest


@CALM
@given(st.data())
def test_damaged(data: st.DataObject) -> None:
    """Whatever is changed behind the mark, it is refused, or what is read is the very same."""
    lock = evolve(_LOCK, wheels=(_WHEEL,))
    text = write_lock(lock)
    place = data.draw(st.integers(text.index("@EXPLICIT\n") + 10, len(text) - 1))
    changed = text[:place] + data.draw(st.text(max_size=3)) + text[place + data.draw(st.integers(0, 90)) :]
    with contextlib.suppress(BadInput):
        read = read_lock(changed, source="it")
        assert (read.packages, read.wheels) == (lock.packages, lock.wheels)


def test_written_in_full() -> None:
    """The file as conda, mamba and a person see it: a head of comments, then address and hash in each line."""
    text = write_lock(evolve(_LOCK, wheels=(_WHEEL,)))
    assert text.splitlines() == [
        "# scherbelberg environment",
        "# profile: main",
        "# python: 3.13.14",
        "# platform: linux-aarch64",
        '# specs: ["python 3.13.*"]',
        f"# digest: {hashlib.sha256(text.partition('@EXPLICIT' + chr(10))[2].encode()).hexdigest()}",
        "@EXPLICIT",
        f"{_FORGE}/linux-64/python-3.13.14-h1_0_cp313.conda#sha256:{'0' * 64}",
        f"{_FORGE}/linux-64/dask-core-2026.7.1-py_0.conda#sha256:{'0' * 64}",
        f"# pip rio==1.0 @ https://files.example/rio-1.0-py3-none-any.whl --hash=sha256:{'ab' * 32}",
    ]


def test_size() -> None:
    """A lock has a size if all of its files have one, and its head tells it."""
    sized = evolve(_PYTHON, size=5, is_recorded=True)
    lock = evolve(_LOCK, packages=(sized, evolve(_DASK, size=7, is_recorded=True)))
    assert (lock.size, _LOCK.size, evolve(lock, wheels=(_WHEEL,)).size) == (12, None, None)
    assert "# bytes: 12\n" in write_lock(lock)
    assert "# bytes" not in write_lock(_LOCK)


def test_ourselves() -> None:
    """A list with a wheel of our name, which is another program's, is refused."""
    line = f"# pip scherbelberg==0.0.6 @ https://a.b/scherbelberg-0.0.6-py3-none-any.whl --hash=sha256:{'0' * 64}\n"
    with pytest.raises(BadInput, match=r"^it asks for scherbelberg, of which nodes need nothing"):
        read_lock(f"@EXPLICIT\n{line}", source="it")


@pytest.mark.parametrize("mark", ["#sha256:", "#"])
def test_foreign_list(mark: str) -> None:
    """A list of anybody's is read with either way to write a hash; what it does not say is told by who reads it."""
    sha256 = "c" * 64
    text = f"# made by somebody\n\n@EXPLICIT\n\n# a comment\n{_PYTHON.url}{mark}{sha256}\n"
    lock = read_lock(text, source="list.txt", platform="linux-aarch64")
    assert lock == EnvLock(profile="file", platform="linux-aarch64", packages=(evolve(_PYTHON, sha256=sha256),))
    assert not lock.packages[0].is_recorded


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is no explicit list: it has no line @EXPLICIT"),
        ("@EXPLICIT\n# nothing\n", "it lists no package"),
        (f"@EXPLICIT\n{_PYTHON.url}#{'a' * 32}\n", "which is no URL with #sha256:HASH behind it"),
        (f"@EXPLICIT\n{_PYTHON.url}#sha256:{'A' * 64}\n", "which is no URL with #sha256:HASH"),
        (f"@EXPLICIT\npython-3.13.14-h1_0_cp313.conda#{'a' * 64}\n", "which is no URL"),
        (f"@EXPLICIT\n{_PYTHON.url}\n", "which is no URL with #sha256:HASH"),
        (f"@EXPLICIT\nhttps://a.b/python.zip#sha256:{'a' * 64}\n", "https://a.b/python.zip is no conda package"),
        ("# specs: [1\n@EXPLICIT\n", "specs in its header"),
        (write_lock(_LOCK).replace("0" * 64, "1" + "0" * 63), "it was changed: its digest is not the one"),
        (write_lock(_LOCK).replace("# digest: ", "# digest: 0"), "it was changed"),
        (write_lock(_LOCK).replace(f"{_DASK.url}#sha256:{'0' * 64}\n", ""), "it was changed"),
        (
            write_lock(evolve(_LOCK, wheels=(_WHEEL,))).replace("# pip rio", "#  pip rio"),
            "which is for pip, and names no wheel",
        ),
    ],
)
def test_no_lock(text: str, words: str) -> None:
    """What is no list, has a weaker hash than SHA-256, or was changed, is refused in a sentence."""
    with pytest.raises(BadInput) as caught:
        read_lock(
            text.replace("# specs: [1\n@EXPLICIT\n", f"# specs: [1\n@EXPLICIT\n{_PYTHON.url}#{'a' * 64}\n"), source="it"
        )
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ("", "The records of it cannot be read"),
        ("[]", "The records of it cannot be read"),
        ('{"schema":1}', "The records of it cannot be read"),
        ('{"schema":2,"packages":{}}', "were written by another version of scherbelberg"),
        ('{"schema":1,"packages":{"linux-64/python-3.13.14-h1_0_cp313.conda":{"size":1}}}', "The records of it cannot"),
        ('{"schema":1,"packages":{"linux-64/python-3.13.14-h1_0_cp313.conda":7}}', "The records of it cannot"),
    ],
)
def test_no_records(records: str, words: str) -> None:
    """Records that make no sense are refused in a sentence."""
    with pytest.raises(BadInput) as caught:
        read_lock(write_lock(_LOCK), source="it", records=records)
    assert words in caught.value.message


def test_records_of_some() -> None:
    """Records say of each package what it needs; packages of which they say nothing are known as such."""
    recorded = evolve(_PYTHON, size=3, depends=("a >=1",), constrains=("b <2",), is_recorded=True)
    records = write_records(evolve(_LOCK, packages=(recorded, _DASK)))
    assert json.loads(records) == {
        "schema": 1,
        "packages": {
            "linux-64/python-3.13.14-h1_0_cp313.conda": {"size": 3, "depends": ["a >=1"], "constrains": ["b <2"]}
        },
    }
    assert read_lock(write_lock(_LOCK), source="it", records=records).packages == (recorded, _DASK)
    assert json.loads(write_records(_LOCK)) == {"schema": 1, "packages": {}}


def test_parts_of_a_package() -> None:
    """Name, version and build are in the file's name, from behind, since names have dashes."""
    package = Package(url="https://a.b/c/noarch/python-dateutil-2.9.0.post0-pyhe01879c_2.tar.bz2", sha256="0" * 64)
    found = (package.name, package.version, package.build, package.subdir)
    assert found == ("python-dateutil", "2.9.0.post0", "pyhe01879c_2", "noarch")


def test_versions() -> None:
    """Compared are versions under the names that Python knows; what is installed over a package wins."""
    packages = (_PYTHON, _DASK, _package("msgpack-python-1.2.1-py_0"), _package("zict-3.0-py_0"))
    wheels = tuple(evolve(_WHEEL, name=name, version="9") for name in ("dask", "lz4", "zict"))
    assert evolve(_LOCK, packages=packages).versions.packages == {"dask": "2026.7.1", "msgpack": "1.2.1"}
    versions = evolve(_LOCK, packages=packages, wheels=wheels).versions
    assert versions.packages == {"dask": "9", "msgpack": "1.2.1", "lz4": "9"}
    assert versions.python == "3.13.14"


def test_no_python() -> None:
    """An environment without Python has no versions."""
    with pytest.raises(BadInput, match=r"The environment 'main' for linux-aarch64 has no Python in it\."):
        _ = evolve(_LOCK, packages=(_DASK,)).versions


def test_name() -> None:
    """A lock's file is named for profile, Python and platform."""
    assert _LOCK.name == lock_name("main", "3.13", "linux-aarch64") == "main-py313-linux-aarch64"


_SIX = "https://files.example/packages/aa/six-1.17.0-py2.py3-none-any.whl"


@pytest.mark.parametrize("end", ["#sha256=", "#sha256:", " --hash=sha256:"])
def test_wheels_of_conda_lock(end: str) -> None:
    """What conda-lock writes for pip into an explicit list is read, and not taken for a comment."""
    text = f"@EXPLICIT\n{_PYTHON.url}#{'0' * 64}\n# pip six @ {_SIX}{end}{'ab' * 32}\n"
    wheel = Wheel(name="six", version="1.17.0", url=_SIX, sha256="ab" * 32)
    assert read_lock(text, source="it").wheels == (wheel,)


@pytest.mark.parametrize(
    "line",
    [
        f"# pip six @ {_SIX}",
        f"# pip six @ {_SIX}#md5={'a' * 32}",
        f"# pip six @ https://files.example/six-1.17.0.tar.gz#sha256={'a' * 64}",
        "# pip six @ git+https://a.b/six",
        "# pip six === 1.17.0",
        "#pip six==1.17.0",
        "# pip six",
        "# pip install six",
    ],
)
def test_lines_for_pip(line: str) -> None:
    """What is for pip and is no wheel with a hash is refused with its line; prose is none of it."""
    with pytest.raises(BadInput, match=r"^it has in line 3 '#.*', which is for pip, and names no wheel"):
        read_lock(f"@EXPLICIT\n{_PYTHON.url}#{'0' * 64}\n{line}\n", source="it")
    assert read_lock(f"@EXPLICIT\n# pip packages follow\n{_PYTHON.url}#{'0' * 64}\n", source="it").wheels == ()


def test_before_the_mark() -> None:
    """A package before the mark, which nobody would install, is refused with its line."""
    row = f"{_PYTHON.url}#{'0' * 64}\n"
    with pytest.raises(BadInput, match=r"^it has a line before @EXPLICIT that would count for nothing \(line 2\)"):
        read_lock(f"# x\n{row}@EXPLICIT\n{row}", source="it")


def test_twice() -> None:
    """A package, a wheel or a word of the header that stands twice is refused with both lines."""
    row, other = f"{_PYTHON.url}#{'0' * 64}\n", _PYTHON.url.replace("3.13.14", "3.13.9")
    with pytest.raises(BadInput, match=r"^it has python twice, in line 2 and in line 4,"):
        read_lock(f"@EXPLICIT\n{row}\n{other}#{'0' * 64}\n", source="it")
    wheels = "".join(f"# pip {name} @ {_SIX}#sha256={'a' * 64}\n" for name in ("a-b", "A_B"))
    with pytest.raises(BadInput, match=r"^it has a-b twice, in line 3 and in line 4,"):
        read_lock(f"@EXPLICIT\n{row}{wheels}", source="it")
    with pytest.raises(BadInput, match=r"^it has 'platform' twice in its header, in line 1 and in line 2"):
        read_lock(f"# platform: linux-64\n# platform: linux-aarch64\n@EXPLICIT\n{row}", source="it")


def test_md5() -> None:
    """A list with MD5 is refused with the command that writes a better one."""
    with pytest.raises(BadInput, match=r"an MD5, .* 'conda list --explicit --sha256'"):
        read_lock(f"@EXPLICIT\n{_PYTHON.url}#{'0' * 32}\n", source="it")


@pytest.mark.parametrize("specs", ['"abc"', "5", "{}", "[1]", "[null]", "[" * 9999])
def test_specs_that_are_none(specs: str) -> None:
    """A header with nonsense for what was asked for is refused."""
    with pytest.raises(BadInput, match="specs in its header"):
        read_lock(f"# specs: {specs}\n@EXPLICIT\n{_PYTHON.url}#{'0' * 64}\n", source="it")


@CALM
@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text(text: str, records: str) -> None:
    """Whatever stands in a list and its records, it is read or refused."""
    for whole in (text, f"@EXPLICIT\n{text}", f"# specs: {text}\n@EXPLICIT\n{_PYTHON.url}#{'0' * 64}\n"):
        with contextlib.suppress(BadInput):
            read_lock(whole, source="it", records=records)
