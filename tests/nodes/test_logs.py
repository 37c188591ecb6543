# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Nodes' logs as values: which are looked at, what is hidden of them, and what an error shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.errors import BadInput, BootstrapFailed, CloudError, NodeUnreachable, ScherbelbergError, WaitTimeout
from scherbelberg.nodes.logs import (
    MOST_NODES,
    SOURCES,
    NodeLog,
    check_sources,
    log_command,
    log_file_text,
    main_source,
    nodes_to_ask,
    redact,
    tail_of,
    usual_sources,
    with_error_tail,
)

NAMES = ("scheduler", *(f"worker{number:03}" for number in range(20)))
_LINES = st.lists(st.text(alphabet="ab c", max_size=5), max_size=40).map(tuple)
_LOGS = st.lists(
    st.builds(
        NodeLog, node=st.sampled_from(NAMES[:4]), source=st.sampled_from(SOURCES), lines=_LINES, lacks=st.just("none")
    ),
    max_size=30,
)


def test_command() -> None:
    """The command line in full."""
    assert log_command("cloud-init", 20) == "env LC_ALL=C.UTF-8 bash -s -- cloud-init 20"
    assert log_command("dask", 5, most_bytes=99) == "env LC_ALL=C.UTF-8 bash -s -- dask 5 99"
    assert log_command("dask", 5, follow=True) == "env LC_ALL=C.UTF-8 bash -s -- dask 5 follow"


def test_sources() -> None:
    """What is looked at is Dask's log, or all while a node is being made; names are checked."""
    assert usual_sources(is_made=True) == ("dask",)
    assert usual_sources(is_made=False) == SOURCES
    assert check_sources(("dask", "cloud-init", "dask")) == ("cloud-init", "dask")
    with pytest.raises(BadInput, match="no log 'kernel' of a node; there are: cloud-init, bootstrap, dask"):
        check_sources(("dask", "kernel"))


@pytest.mark.parametrize(
    ("error", "names", "main"),
    [
        (BootstrapFailed("x", node="worker003", phase="tls"), ("worker003",), "bootstrap"),
        (NodeUnreachable("x", node="worker003", phase="reach"), ("worker003",), "bootstrap"),
        (CloudError("x", api_code="conflict", node="worker003"), (), "bootstrap"),
        (WaitTimeout(what="x", within_s=1, last="waiting for nothing"), (), "bootstrap"),
    ],
)
def test_concerned(error: ScherbelbergError, names: tuple[str, ...], main: str) -> None:
    """The nodes that an error is about, unless it is the cloud's; and which log matters."""
    assert (nodes_to_ask(error, NAMES), main_source(error)) == (names, main)


def test_concerned_in_the_proof() -> None:
    """With workers that do not come the scheduler's log is of interest; of many, some are looked at."""
    error = WaitTimeout(what="x", within_s=1, last="missing worker002, worker010")
    error.phase = "proof"
    assert (nodes_to_ask(error, NAMES), main_source(error)) == (("worker002", "worker010", "scheduler"), "dask")
    error.last = "nothing"
    assert nodes_to_ask(error, NAMES) == ("scheduler",)
    error.last = f"missing {', '.join(NAMES[1:])}"
    assert nodes_to_ask(error, NAMES) == (*NAMES[1:MOST_NODES], "scheduler")


def test_redacted() -> None:
    """Secrets, also of several lines, and private keys are hidden; what is left of a key that was cut off, too."""
    key = ("-----BEGIN OPENSSH PRIVATE KEY-----", "AAAA", "-----END OPENSSH PRIVATE KEY-----")
    lines = ("login hunter2!", *key, "one", "second half", "-----BEGIN PRIVATE KEY-----", "BBBB")
    log = redact(NodeLog(node="n", source="dask", lines=lines), ("hunter2", "first half\nsecond half", "", "1"))
    assert log.lines == ("login [hidden]!", "[hidden]", "one", "[hidden]", "[hidden]")


@given(_LOGS, st.lists(st.text(alphabet="abc", min_size=3, max_size=5), max_size=3))
def test_nothing_hidden_is_shown(logs: list[NodeLog], hidden: list[str]) -> None:
    """No secret is in what an error shows, or in the file."""
    clean = [redact(log, hidden) for log in logs]
    text = log_file_text(clean, head="") + "\n".join(tail_of(clean, main="bootstrap"))
    assert [secret for secret in hidden if secret in text.replace("[hidden]", "-")] == []


@given(_LOGS, st.sampled_from(SOURCES))
def test_tail(logs: list[NodeLog], main: str) -> None:
    """However much there is, an error shows at most 20 lines, the last of a log that matters, if there is one."""
    tail = tail_of(logs, main=main)  # type: ignore[arg-type] # one of them
    assert len(tail) <= 20
    matter = [log for log in logs if log.source == main]
    if matter:
        last = (matter[-1].lines or ("[none]",))[-1]
        assert tail[-1] == f"{matter[-1].node} {main}: {last}"


def test_tail_without_marks() -> None:
    """What stands between the runs of a bootstrap is no line that says why."""
    lines = ("--- 2026-11-28T11:12:11Z up begins ---", "why", "--- 2026-11-28T11:12:16Z up ends with exit code 1 ---")
    assert tail_of([NodeLog(node="a", source="bootstrap", lines=lines)], main="bootstrap") == ("a bootstrap: why",)


def test_what_was_heard() -> None:
    """Where the bootstrap's log cannot be read, what was heard of it stands in for it."""
    logs = (NodeLog(node="a", source="bootstrap", lacks="lost"), NodeLog(node="b", source="bootstrap", lacks="lost"))
    error = BootstrapFailed("x", node="a", log_tail=("one", "two"))
    assert [log.lines for log in with_error_tail(logs, error)] == [("one", "two"), ()]
    assert log_file_text(with_error_tail(logs, error), head="head") == (
        "head\n\n===== a, bootstrap =====\none\ntwo\n\n===== b, bootstrap =====\n[lost]\n"
    )
