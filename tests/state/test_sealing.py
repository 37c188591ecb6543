# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is sealed is opened by its passphrase alone, and not at all when a byte of it is another one."""

from __future__ import annotations

import pytest
from cheap_seal import CHEAP
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.errors import BadInput
from scherbelberg.state.sealing import seal, unseal

_PASSPHRASE = "correct horse battery"


@given(content=st.binary(max_size=500), passphrase=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_round_trip(content: bytes, passphrase: str) -> None:
    """What comes out is what went in, and none of a longer content stands in the file."""
    sealed = seal(content, passphrase, cost=CHEAP)
    assert unseal(sealed, passphrase, cost=CHEAP) == content
    assert len(content) < 8 or content not in sealed[len("scherbelberg export 1\n") :]


@given(content=st.binary(max_size=60), data=st.data())
def test_any_other_byte_is_refused(content: bytes, data: st.DataObject) -> None:
    """A file in which one byte is another one is refused, wherever it is."""
    sealed = bytearray(seal(content, _PASSPHRASE, cost=CHEAP))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadInput):
        unseal(bytes(sealed), _PASSPHRASE, cost=CHEAP)


@given(noise=st.binary(max_size=200), with_header=st.booleans())
def test_noise_is_refused(noise: bytes, with_header: bool) -> None:
    """Random bytes are refused, also behind a header."""
    with pytest.raises(BadInput):
        unseal((b"scherbelberg export 1\n" if with_header else b"") + noise, _PASSPHRASE, cost=CHEAP)


def test_sentences() -> None:
    """A wrong passphrase, a cut file and a newer version are told apart, at the real cost."""
    sealed = seal(b"content", _PASSPHRASE)
    assert unseal(sealed, _PASSPHRASE) == b"content"
    with pytest.raises(BadInput, match=r"^The passphrase is not the one"):
        unseal(sealed, "another passphrase")
    with pytest.raises(BadInput, match=r"^The exported file is damaged"):
        unseal(sealed[:-1], _PASSPHRASE)
    with pytest.raises(BadInput, match=r"by a newer scherbelberg"):
        unseal(sealed.replace(b"export 1\n", b"export 2\n"), _PASSPHRASE)
