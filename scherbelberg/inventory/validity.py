# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""From when until when a cluster's certificates are valid, by the clocks that judge that. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from scherbelberg.errors import BadInput
from scherbelberg.inventory.clusters import CloudCluster, format_duration
from scherbelberg.planning.plan import BACKDATED_S

#: From so many seconds before a computer's clock is that far behind, it is refused: making a cluster takes time, too.
MOST_BEHIND_S = BACKDATED_S - 300
#: From so many seconds before their end, users are told of it.
_SOON_S = 30 * 86400


def check_clock(*, here_s: float, cloud_s: float) -> None:
    """Refuse a computer whose clock is so far behind that it would not take the certificates that are made now.

    Args:
        here_s: This computer's clock, epoch seconds.
        cloud_s: The API's, by which certificates are dated.

    Raises:
        BadInput: It is.
    """
    if cloud_s - here_s >= MOST_BEHIND_S:
        raise BadInput(
            f"This computer's clock is {format_duration(cloud_s - here_s)} behind the cloud's, so it would take the"
            " cluster's certificates for not valid yet: set the clock, for example by switching on network time."
        )


def check_deadline(prefix: str, *, deadline_s: int | None, certified_s: int | None) -> None:
    """Refuse a deadline after which nobody could use the cluster any more.

    Args:
        prefix: The cluster's name.
        deadline_s: The deadline, epoch seconds, or None for none.
        certified_s: Until when its certificates are valid, epoch seconds, or None if nobody knows.

    Raises:
        BadInput: It is one.
    """
    if deadline_s is None or certified_s is None or deadline_s <= certified_s:
        return
    raise BadInput(
        f"Cluster '{prefix}' cannot live until {_day(deadline_s)}: its certificates end on {_day(certified_s)}, and"
        " cannot be renewed; ask for less time, or make a new cluster."
    )


def ending_line(cluster: CloudCluster, now_s: float) -> str | None:
    """Warn of the end of a cluster's certificates if it is near, or has passed, and no deadline comes before.

    Args:
        cluster: What the cloud holds of it.
        now_s: The API's clock, epoch seconds.
    """
    ends_s, deadline_s = cluster.certified_s, None if cluster.is_protected else cluster.deadline_s
    if ends_s is None or (deadline_s is not None and deadline_s <= ends_s) or ends_s - now_s > _SOON_S:
        return None
    if ends_s <= now_s:
        return (
            f"The certificates of cluster '{cluster.prefix}' ended on {_day(ends_s)}, and nobody can use it any more:"
            f" 'scherbelberg destroy -p {cluster.prefix}' gives it back."
        )
    return (
        f"The certificates of cluster '{cluster.prefix}' end on {_day(ends_s)}, in {format_duration(ends_s - now_s)},"
        " and nobody can use it after that: make a new one before."
    )


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).date().isoformat()
