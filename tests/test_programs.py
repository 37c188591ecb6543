# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a program is missing, tests are skipped, or fail where that was asked for."""

from __future__ import annotations

import shutil

import pytest
from programs import SWITCH, need


def test_present(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is there is found, whatever is required."""
    monkeypatch.setenv(SWITCH, "required")
    assert need("sh", package="dash") == shutil.which("sh")


@pytest.mark.parametrize(
    ("word", "ending"),
    [(None, pytest.skip.Exception), ("", pytest.skip.Exception), ("required", pytest.fail.Exception)],
)
def test_missing(monkeypatch: pytest.MonkeyPatch, word: str | None, ending: type[BaseException]) -> None:
    """One that is not is a reason to skip, and to fail where it is required."""
    monkeypatch.delenv(SWITCH, raising=False)
    if word is not None:
        monkeypatch.setenv(SWITCH, word)
    # Both are caught: the wrong one would end this test as it ends the others, unnoticed.
    with pytest.raises(
        (pytest.skip.Exception, pytest.fail.Exception), match=r"no such-program .* package such"
    ) as ended:
        need("such-program", package="such")
    assert ended.type is ending
