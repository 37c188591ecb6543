# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Errors: their words for programs, their exit codes, their data."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from scherbelberg import errors
from scherbelberg.errors import (
    BootstrapFailed,
    CloudError,
    ExitCode,
    LeftOver,
    QuotaReached,
    ScherbelbergError,
    VersionMismatch,
    WaitTimeout,
    error_context,
)

#: Class to its word for programs and the command line's exit code. Scripts rely on both: they do not change.
TABLE = {
    "ScherbelbergError": ("failure", 1),
    "BadInput": ("bad_input", 2),
    "TokenMissing": ("token_missing", 3),
    "TokenRefused": ("token_refused", 3),
    "QuotaReached": ("quota", 4),
    "NoCapacity": ("capacity", 5),
    "WaitTimeout": ("timeout", 6),
    "VersionMismatch": ("version_mismatch", 7),
    "LeftOver": ("left_over", 8),
    "NameTaken": ("name_taken", 9),
    "ClusterExists": ("cluster_exists", 9),
    "ClusterNotFound": ("cluster_not_found", 10),
    "NodeNotFound": ("node_not_found", 10),
    "StateMissing": ("state_missing", 11),
    "StateDamaged": ("state_damaged", 11),
    "CloudError": ("cloud", 12),
    "CloudUnreachable": ("cloud_unreachable", 12),
    "ClusterBroken": ("cluster_broken", 13),
    "ClusterProtected": ("protected", 16),
    "NodeUnreachable": ("node_unreachable", 13),
    "BootstrapFailed": ("bootstrap_failed", 13),
    "BootstrapHopeless": ("bootstrap_hopeless", 13),
    "TransferFailed": ("transfer_failed", 13),
    "SandboxFailed": ("sandbox", 14),
    "EnvironmentUnavailable": ("environment_unavailable", 15),
    "ChannelUnreachable": ("channel_unreachable", 15),
    "PublicAddressUnknown": ("public_address_unknown", 1),
}


def test_table() -> None:
    """Every error has the word and the exit code that the table states."""
    found = {
        name: (kind.code, int(kind.exit_code))
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, ScherbelbergError)
    }
    assert found == TABLE


def test_words_are_distinct() -> None:
    """No two errors share their word for programs."""
    words = [word for word, _ in TABLE.values()]
    assert len(words) == len(set(words))


def test_exit_codes() -> None:
    """The exit codes are these; 130 and 143 are the shell's for SIGINT and SIGTERM."""
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "FAILURE": 1,
        "USAGE": 2,
        "TOKEN": 3,
        "QUOTA": 4,
        "CAPACITY": 5,
        "TIMEOUT": 6,
        "MISMATCH": 7,
        "LEFTOVERS": 8,
        "EXISTS": 9,
        "NOT_FOUND": 10,
        "STATE": 11,
        "CLOUD": 12,
        "NODE": 13,
        "SANDBOX": 14,
        "ENVIRONMENT": 15,
        "PROTECTED": 16,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }


def test_data() -> None:
    """An error carries its sentence, the node, the phase and the last log lines."""
    error = BootstrapFailed("It failed.", node="worker000", phase="tls", log_tail=("one", "two"))
    assert (error.message, str(error), error.node, error.phase, error.log_tail) == (
        "It failed.",
        "It failed.",
        "worker000",
        "tls",
        ("one", "two"),
    )


def test_data_of_special_errors() -> None:
    """Errors with more to say say it as data."""
    refused = QuotaReached("No.", api_code="resource_limit_exceeded", correlation_id="c0ffee")
    mismatch = VersionMismatch("No.", differences=(("worker000", "dask", "1", "2"),))
    left = LeftOver("No.", left_over=("server cluster-scheduler",))
    assert (refused.api_code, refused.correlation_id) == ("resource_limit_exceeded", "c0ffee")
    assert isinstance(refused, CloudError)
    assert mismatch.differences == (("worker000", "dask", "1", "2"),)
    assert left.left_over == ("server cluster-scheduler",)
    assert (refused.node, refused.phase, refused.log_tail) == (None, None, ())


_FOR_CLOUD = {"api_code": "invalid_input", "correlation_id": "c0ffee"}
#: What some classes are made with, beside their sentence.
_DATA: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("CloudError", "QuotaReached", "NoCapacity", "NameTaken"), _FOR_CLOUD),
    "VersionMismatch": {"differences": (("worker000", "dask", "1", "2"),)},
    "LeftOver": {"left_over": ("server cluster-scheduler",)},
}


def _example(name: str) -> ScherbelbergError:
    if name == "WaitTimeout":
        return WaitTimeout(what="The end", within_s=2.5, last="nothing", node="scheduler")
    error: ScherbelbergError = getattr(errors, name)("It fäiled.", **_DATA.get(name, {}))
    return error


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_travel(name: str, protocol: int) -> None:
    """An error keeps its class, sentence, data and notes on its way to another process."""
    error = _example(name)
    error.node, error.phase, error.log_tail = "worker000", "tls", ("one", "two")
    error.add_note("seen twice")
    for arrived in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(arrived) is type(error)
        assert (arrived.message, str(arrived), arrived.args) == (error.message, str(error), error.args)
        assert vars(arrived) == vars(error)


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        ("", "The end did not happen within 2.5 s."),
        ("nothing", "The end did not happen within 2.5 s (last seen: nothing)."),
    ],
)
def test_wait_timeout(last: str, sentence: str) -> None:
    """A timeout says what did not happen, within how long, and what was seen last."""
    error = WaitTimeout(what="The end", within_s=2.5, last=last, node="scheduler")
    assert (error.message, error.what, error.within_s, error.last, error.node) == (
        sentence,
        "The end",
        2.5,
        last,
        "scheduler",
    )


@pytest.mark.parametrize(
    ("own", "told"),
    [({}, ("worker000", "rent")), ({"node": "scheduler", "phase": "tls"}, ("scheduler", "tls"))],
)
def test_where_it_happened(own: dict[str, Any], told: tuple[str, str]) -> None:
    """An error that does not know where it happened is told so; one that does knows better, and others are let be."""
    with pytest.raises(ScherbelbergError) as caught, error_context("rent", "worker000"):
        raise ScherbelbergError("It broke.", **own)
    assert (caught.value.node, caught.value.phase) == told
    with pytest.raises(ValueError, match="other"), error_context("rent"):
        raise ValueError("other")
