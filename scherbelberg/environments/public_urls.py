# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether anybody gets a file, or only who has credentials: asked with none, as a node would."""

from __future__ import annotations

import asyncio
import ssl
import urllib.error
import urllib.request
from pathlib import Path

#: Some servers say of what only members may see that it is not there.
_DENIED = {401, 403, 404, 407}


async def is_open(url: str, *, authorities: str | None, within_s: float) -> bool:
    """Whether a file can be had without credentials. Where there is no answer at all, the node shall find out.

    Args:
        url: Where it is.
        authorities: File of the certificate authorities to trust instead of the usual ones, or None.
        within_s: Deadline in seconds for the connection and for each part of the answer.
    """
    return await asyncio.to_thread(_ask, url, authorities, within_s)


def _ask(url: str, authorities: str | None, within_s: float) -> bool:
    # The first byte is asked for, since a HEAD may be denied where a GET is not.
    request = urllib.request.Request(url, headers={"Range": "bytes=0-0", "User-Agent": "scherbelberg"})  # noqa: S310
    try:
        is_folder = authorities is not None and Path(authorities).is_dir()
        context = ssl.create_default_context(
            cafile=None if is_folder else authorities, capath=authorities if is_folder else None
        )
        with urllib.request.urlopen(request, timeout=within_s, context=context):  # noqa: S310 - http(s), as checked before
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code not in _DENIED
    except (OSError, ValueError):
        return True
