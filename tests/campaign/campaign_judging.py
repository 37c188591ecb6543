# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What must hold after a create: judged by what it said and by what is there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from campaign_clients import Ended
from campaign_draws import PREFIX, Trial

from scherbelberg.errors import ExitCode

_NODE = re.compile(r"\b(scheduler|worker\d+)\b")
#: Of failures that are those of a node.
_AT_NODES = (ExitCode.TIMEOUT, ExitCode.NODE)


def unfinished(trial: Trial, held: list[str]) -> tuple[str, ...]:
    """What a create that succeeded must have made and has not.

    Args:
        trial: The create.
        held: Kind and name of what is there.
    """
    servers = [name for name in held if name.startswith("servers/")]
    if (len(servers), len(held)) != (trial.workers + 1, trial.workers + 4):
        return (f"it made {', '.join(held)}",)
    return ()


def unexpected(trial: Trial, ended: Ended, left: list[str], kept: list[str]) -> Iterator[str]:
    """What a create that failed must not have left, in sentences.

    Args:
        trial: The create.
        ended: How it ended.
        left: Kind and name of what is left.
        kept: Names of the folders that are left.
    """
    abandoned = trial.ending == "sigint twice at a terminal" and ended.code == 130
    if left and not was_told(ended, left):
        yield f"{', '.join(left)} left, and nobody was told"
    if abandoned or (trial.keep and ended.code < 128):
        return
    if left and not trial.holds_on:
        yield f"{', '.join(left)} left although nothing held it"
    if kept and not left and ended.code != ExitCode.LEFTOVERS:
        yield "the folder stayed when the cluster was gone"
    if left and not kept:
        yield "the folder went and the cluster stayed"


def was_told(ended: Ended, left: list[str]) -> bool:
    """Whether a create that failed told of what is left.

    Args:
        ended: How it ended.
        left: Kind and name of it.
    """
    named = (ended.document or {}).get("left_over", [])
    if named and named != [f"cluster {PREFIX}"]:
        return set(left) <= {_as_held(name) for name in named}
    return not left or bool(named) or f"nuke -p {PREFIX}" in ended.error.get("message", "")


def _as_held(name: str) -> str:
    kind, _, rest = name.rpartition(" ")
    return f"{kind.replace(' ', '_')}s/{rest}"


def unsaid(ended: Ended) -> Iterator[str]:
    """What a create that failed did not say, or should not have said.

    Args:
        ended: How it ended.
    """
    error = ended.error
    message, code = error.get("message", ""), error.get("code")
    if code in ("CancelledError", "SystemExit"):
        return
    if "Traceback" in ended.text or code in (None, "unexpected"):
        yield "it ended in a way that nobody thought of"
    if "\n" in message or not message:
        yield f"it did not say in a sentence what happened: {message!r}"
    is_of_node = ended.code in _AT_NODES or ("POST /servers:" in message and ended.code != ExitCode.LEFTOVERS)
    if is_of_node and not (error.get("phase") and (error.get("node") or _NODE.search(message))):
        yield "it did not name node and phase"
    if code == "bootstrap_failed" and not error.get("log_tail"):
        yield "it did not show the last lines of the log"
