# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether it is this computer that has nothing left for another connection."""

from __future__ import annotations

import errno

from scherbelberg.errors import ScherbelbergError

#: What says that this computer has nothing left for a connection, whoever is at its other end.
_NOTHING_LEFT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def is_local_exhaustion(error: BaseException | None) -> bool:
    """Whether it was this computer that had nothing left for another connection, whoever is at its other end.

    Args:
        error: How it failed; what caused it counts, too.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NOTHING_LEFT:
            return True
        error = error.__cause__
    return False


def exhaustion_error(error: BaseException) -> ScherbelbergError:
    """The error that says so.

    Args:
        error: How a connection failed.
    """
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ScherbelbergError(
        f"This computer cannot open another connection: {reason}. Close programs here, or allow this one more open"
        " files."
    )
