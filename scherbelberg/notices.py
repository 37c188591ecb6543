# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What users should know although they did not ask: a log of its own, which the command line shows."""

from __future__ import annotations

import logging

#: The log's name.
NOTICES = "scherbelberg.notices"
_LOG = logging.getLogger(NOTICES)


def notice(text: str, *, about: str) -> None:
    """Tell users something.

    Args:
        text: A sentence.
        about: What it is about; whoever shows it may leave out the second one about the same.
    """
    _LOG.warning("%s", text, extra={"about": about})
