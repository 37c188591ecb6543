# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The user's text files, in whichever Unicode encoding an editor or a shell has written them."""

from __future__ import annotations

import codecs
from pathlib import Path

from scherbelberg.errors import BadInput

#: Marks at the beginning of files by which editors and shells on Windows tell the encoding; the longer ones first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(content: bytes) -> str:
    """Turn bytes into text: UTF-8, or what a mark at their beginning says, with ends of lines as Unix has them.

    Args:
        content: The bytes.

    Raises:
        ValueError: They are no text; the words say why, and nothing of what they hold.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and content.count(0) * 3 > len(content):
        raise ValueError("it is not text, or UTF-16 without a byte order mark: save it as UTF-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.removesuffix("-sig").upper()
        raise ValueError(f"its byte {error.start} is not valid {name}: save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(path: Path, *, what: str) -> str:
    """Read a text file.

    Args:
        path: Where it is.
        what: Begins the error's sentence, such as ``The token file x``.

    Raises:
        BadInput: It cannot be read, or is no text.
    """
    try:
        return decode(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{what} cannot be read: {error}.") from None
