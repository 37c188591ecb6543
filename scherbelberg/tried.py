# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What was tried in vain for the nodes of a cluster, as errors, records and tables show it."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

#: ``sold_out``: the cloud had no such machine there; ``quota``: a limit of the account was reached; ``failed``: the
#: machine was rented, did not come as far as a worker that has joined, and was given back.
Outcome = Literal["sold_out", "quota", "failed"]


@frozen(kw_only=True)
class Tried:
    """One try.

    Args:
        node: Name of the node.
        server_type: What it was to be.
        location: Where.
        outcome: What came of it.
        said: The cloud's or the node's own words.
    """

    node: str
    server_type: str
    location: str
    outcome: Outcome
    said: str
