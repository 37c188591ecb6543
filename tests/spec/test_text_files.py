# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Files of Windows' editors and shells, which begin with a mark: read in whatever place a file is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.environments.environment_file import FileKind, kind_of
from scherbelberg.environments.foreign_locks import read_any_lock
from scherbelberg.errors import BadInput
from scherbelberg.settings import passphrase_in, read_settings
from scherbelberg.spec.dask_config import read_dask_config
from scherbelberg.spec.text_files import decode, read_text

_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
_LIST = "@EXPLICIT\r\nhttps://conda.anaconda.org/conda-forge/linux-64/python-3.13.9-h1_0.conda#" + "a" * 64 + "\r\n"


@pytest.mark.parametrize("encoding", _ENCODINGS)
def test_each_file(encoding: str, tmp_path: Path) -> None:
    """A token, a passphrase, a context of the hcloud CLI, Dask's configuration and a lock are read in any encoding."""
    path = tmp_path / "file"
    path.write_bytes("t0ken\r\n".encode(encoding))
    assert read_settings(token_file=path, environ={}).access.token == "t0ken"
    assert passphrase_in(path, {}) == "t0ken"
    path.write_bytes("a: {b: ü}\r\n".encode(encoding))
    assert read_dask_config(path) == "a: {b: ü}\n"
    path.write_bytes(_LIST.encode(encoding))
    assert read_any_lock(path, platform="linux-64").versions.python == "3.13.9"
    path.write_bytes('active_context = "a"\n[[contexts]]\nname = "a"\ntoken = "t0ken"\n'.encode(encoding))
    assert read_settings(environ={"HCLOUD_CONFIG": str(path)}).access.token == "t0ken"


@pytest.mark.parametrize(
    "content", ["dependencies:\n- a\n".encode("utf-16-le"), b"\x00\x01", b"\xff", b"a\xfc", b"\xef\xbb\xbf\xff"]
)
def test_no_text(content: bytes, tmp_path: Path) -> None:
    """What is no text is named for what it is, with the way out."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BadInput, match=r"^The file cannot be read: .*save it as UTF-8"):
        read_text(tmp_path / "file", what="The file")


@given(st.binary(max_size=60))
def test_any_bytes(content: bytes) -> None:
    """Whatever bytes there are, they are text or refused."""
    try:
        text = decode(content)
    except ValueError as error:
        text = str(error)
        assert type(error) is ValueError  # noqa: PT017 - bytes may be a text as well
    assert "\r" not in text


def test_mark_is_no_content() -> None:
    """The mark does not hide what a file is."""
    assert kind_of(decode(b"\xef\xbb\xbfdependencies:\n- a\n"), source="it") is FileKind.WISH
