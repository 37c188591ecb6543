# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Everything that can go wrong, as classes with data and one sentence for the user.

Every error carries the exit code of the command line and a stable ``code`` for programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

if TYPE_CHECKING:
    from scherbelberg.planning.remedies import Remedy


#: ``sold_out``: the cloud had no such machine there; ``quota``: a limit of the account was reached; ``failed``: the
#: machine was rented, did not come as far as a worker that has joined, and was given back.
Outcome = Literal["sold_out", "quota", "failed"]


@frozen(kw_only=True)
class FailedAttempt:
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


class ExitCode(IntEnum):
    """Exit codes of the command line, one per kind of failure."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    TOKEN = 3
    QUOTA = 4
    CAPACITY = 5
    TIMEOUT = 6
    MISMATCH = 7
    LEFTOVERS = 8
    EXISTS = 9
    NOT_FOUND = 10
    STATE = 11
    CLOUD = 12
    NODE = 13
    SANDBOX = 14
    ENVIRONMENT = 15
    PROTECTED = 16
    INTERRUPTED = 130
    TERMINATED = 143


#: Of a table of differences.
_MOST_ROWS = 19


class ScherbelbergError(Exception):
    """Base of all errors of this library.

    Attributes:
        exit_code: What the command line exits with.
        code: A stable word for programs.
        node: Name of the node concerned, or None.
        phase: Phase in which it happened, or None.
        log_tail: The last lines of what failed, oldest first.
        log_file: File on this computer with more of them, or None.
        tried: What was tried in vain for the nodes of the cluster, in order.
    """

    exit_code: ExitCode = ExitCode.FAILURE
    code: str = "failure"
    log_file: str | None = None
    tried: tuple[FailedAttempt, ...] = ()

    def __init__(
        self, message: str, *, node: str | None = None, phase: str | None = None, log_tail: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.node = node
        self.phase = phase
        self.log_tail = log_tail

    def __reduce__(self) -> tuple[Any, ...]:
        """Let errors travel between processes with their data."""
        return _restore, (type(self), self.args, self.__dict__)

    @property
    def message(self) -> str:
        """The one sentence for the user."""
        return str(self.args[0])

    def add_logs(self, tail: tuple[str, ...], file: str | None) -> None:
        """Add what the nodes concerned have logged.

        Args:
            tail: The last lines of it.
            file: Where more of it is, or None.
        """
        self.log_tail = tail
        if file is not None:
            self.log_file = file
            self.args = (f"{self.message} What the nodes concerned have logged is kept in {file}.", *self.args[1:])


def _restore(kind: type[ScherbelbergError], args: tuple[Any, ...], data: dict[str, Any]) -> ScherbelbergError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(data)
    return error


@contextmanager
def error_context(phase: str, node: str | None = None) -> Iterator[None]:
    """Let errors of ours say in which phase and on which node they happened, unless they know better.

    Args:
        phase: Which.
        node: Name of the node, or None.
    """
    try:
        yield
    except ScherbelbergError as error:
        error.phase = error.phase or str(phase)
        error.node = error.node or node
        raise


class BadInput(ScherbelbergError):
    """The user asked for something that cannot be: nothing was made."""

    exit_code = ExitCode.USAGE
    code = "bad_input"


class TokenMissing(ScherbelbergError):
    """No API token was found in any of the places where one may be."""

    exit_code = ExitCode.TOKEN
    code = "token_missing"


class TokenRefused(ScherbelbergError):
    """The API does not accept the token, or the token may not do this."""

    exit_code = ExitCode.TOKEN
    code = "token_refused"


class CloudError(ScherbelbergError):
    """The API refused a request for a reason that repeating does not change.

    Attributes:
        api_code: The API's own error code, such as ``invalid_input``.
        correlation_id: What Hetzner's support asks for, or None.
        said: The API's own words, if it said any.
    """

    exit_code = ExitCode.CLOUD
    code = "cloud"

    def __init__(
        self,
        message: str,
        *,
        api_code: str,
        correlation_id: str | None = None,
        node: str | None = None,
        said: str = "",
    ) -> None:
        super().__init__(message, node=node)
        self.said = said
        self.api_code = api_code
        self.correlation_id = correlation_id


class CloudUnreachable(ScherbelbergError):
    """The API did not answer, or kept answering with passing faults until the deadline."""

    exit_code = ExitCode.CLOUD
    code = "cloud_unreachable"


class QuotaReached(CloudError):
    """A limit of the account is reached; only its owner can raise it."""

    exit_code = ExitCode.QUOTA
    code = "quota"


class NoCapacity(CloudError):
    """What was asked for is not available in this place now.

    Attributes:
        remedies: What there is instead, the best first.
    """

    remedies: tuple[Remedy, ...] = ()
    exit_code = ExitCode.CAPACITY
    code = "capacity"


class NameTaken(CloudError):
    """A resource of this name exists and belongs to somebody else."""

    exit_code = ExitCode.EXISTS
    code = "name_taken"


class WaitTimeout(ScherbelbergError):
    """A wait reached its deadline.

    Attributes:
        what: What was waited for.
        within_s: The deadline in seconds.
        last: What was seen last.
        missing: Names of the Dask workers that were waited for in vain.
    """

    exit_code = ExitCode.TIMEOUT
    code = "timeout"

    def __init__(
        self,
        *,
        what: str,
        within_s: float,
        last: str = "",
        node: str | None = None,
        missing: tuple[str, ...] = (),
    ) -> None:
        tail = f" (last seen: {last})" if last else ""
        super().__init__(f"{what} did not happen within {within_s:g} s{tail}.", node=node)
        self.what = what
        self.within_s = within_s
        self.last = last
        self.missing = missing


class ClusterExists(ScherbelbergError):
    """A cluster of this prefix exists already."""

    exit_code = ExitCode.EXISTS
    code = "cluster_exists"


class ClusterNotFound(ScherbelbergError):
    """No cluster of this prefix exists."""

    exit_code = ExitCode.NOT_FOUND
    code = "cluster_not_found"


class ClusterBroken(ScherbelbergError):
    """The cluster exists, but is half made or has lost its scheduler."""

    exit_code = ExitCode.NODE
    code = "cluster_broken"


class ClusterProtected(ScherbelbergError):
    """The cluster is protected: nothing of it was deleted."""

    exit_code = ExitCode.PROTECTED
    code = "protected"


class NodeNotFound(ScherbelbergError):
    """The cluster has no node of this name."""

    exit_code = ExitCode.NOT_FOUND
    code = "node_not_found"


class StateMissing(ScherbelbergError):
    """The cluster exists, but its keys are not on this computer."""

    exit_code = ExitCode.STATE
    code = "state_missing"


class StateDamaged(ScherbelbergError):
    """The cluster's folder on this computer cannot be read, or not be written."""

    exit_code = ExitCode.STATE
    code = "state_damaged"


class NodeUnreachable(ScherbelbergError):
    """A node could not be reached over SSH, or the connection to it was lost."""

    exit_code = ExitCode.NODE
    code = "node_unreachable"


class TransferFailed(ScherbelbergError):
    """A file or folder could not be copied to a node or from one, for a reason that is not the connection's."""

    exit_code = ExitCode.NODE
    code = "transfer_failed"


class BootstrapFailed(ScherbelbergError):
    """The bootstrap script failed on a node."""

    exit_code = ExitCode.NODE
    code = "bootstrap_failed"


class BootstrapHopeless(BootstrapFailed):
    """The bootstrap script failed on a node for a reason that every other node would have: no other one is tried."""

    code = "bootstrap_hopeless"


class VersionMismatch(ScherbelbergError):
    """Client, scheduler and workers do not run the same versions.

    Its log tail is a table of the differences.

    Attributes:
        differences: Rows of (node, package, version here, version there).
    """

    exit_code = ExitCode.MISMATCH
    code = "version_mismatch"

    def __init__(self, message: str, *, differences: tuple[tuple[str, str, str, str], ...]) -> None:
        super().__init__(message, log_tail=_table(differences))
        self.differences = differences


def pluralize(number: int, word: str) -> str:
    """Write how many there are of something: ``1 difference``, ``2 differences``.

    Args:
        number: How many.
        word: What, as one is called; several have an s at the end.
    """
    return f"{number} {word}{'' if number == 1 else 's'}"


def _table(rows: tuple[tuple[str, str, str, str], ...]) -> tuple[str, ...]:
    """Lines of equal columns, at most as many as are shown of a log."""
    if not rows:
        return ()
    lines = [("node", "package", "client", "node's"), *rows[:_MOST_ROWS]]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return tuple(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


class EnvironmentUnavailable(ScherbelbergError):
    """No environment for the nodes can be had that is what was asked for: nothing was made."""

    exit_code = ExitCode.ENVIRONMENT
    code = "environment_unavailable"


class ChannelUnreachable(ScherbelbergError):
    """A channel or index of packages, or a mirror of one, does not answer as it should."""

    exit_code = ExitCode.ENVIRONMENT
    code = "channel_unreachable"


class LeftOver(ScherbelbergError):
    """Deletion was not proven: some resources were still listed at the deadline.

    Attributes:
        left_over: Kind and name of each resource.
        is_rest: Whether all that was rented is gone, and these outlive it: nothing of them is ever deleted by us.
    """

    exit_code = ExitCode.LEFTOVERS
    code = "left_over"

    def __init__(self, message: str, *, left_over: tuple[str, ...], is_rest: bool = False) -> None:
        super().__init__(message)
        self.left_over = left_over
        self.is_rest = is_rest

    def after(self, cause: ScherbelbergError) -> LeftOver:
        """The same, told together with what went wrong before.

        Args:
            cause: That.
        """
        self.args = (f"{cause.message} {self.message}",)
        self.node, self.phase, self.tried = cause.node, cause.phase, cause.tried
        self.log_tail, self.log_file = cause.log_tail, cause.log_file
        return self


class SandboxFailed(ScherbelbergError):
    """The sandbox cannot run here, or did not start or stop as it should."""

    exit_code = ExitCode.SANDBOX
    code = "sandbox"


class PublicAddressUnknown(ScherbelbergError):
    """The public address of this computer could not be found out: nothing was opened to anybody."""

    code = "public_address_unknown"
