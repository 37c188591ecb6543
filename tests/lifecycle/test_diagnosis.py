# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What findings about the surroundings mean, stated in full."""

from __future__ import annotations

import pytest
from attrs import evolve

from scherbelberg.environments.versions import REQUIRED, Versions
from scherbelberg.errors import CloudError, CloudUnreachable, TokenMissing, TokenRefused
from scherbelberg.lifecycle.diagnosis import (
    ApiFacts,
    Check,
    FolderFacts,
    Status,
    TlsFacts,
    code_of,
    failed_check,
    judge_budget,
    judge_clock,
    judge_disk,
    judge_folders,
    judge_openssh,
    judge_permissions,
    judge_route,
    judge_state,
    judge_tls,
    judge_tls_on_nodes,
    judge_token,
    judge_versions,
    unknown_check,
)

FINE = ApiFacts(place="SANDBOX", token_source="a file", took_s=0.0123, limit=3600, remaining=3000, ahead_s=0.4)
REFUSED = TokenRefused("It may not.")
SILENT = CloudUnreachable("Nobody answers.")
OWN = Versions(python="3.12.4", packages=dict.fromkeys(REQUIRED, "1.0"))


def _summary(check: Check) -> tuple[str, str, int]:
    return check.name, check.status, int(check.exit_code)


def test_code() -> None:
    """The first failure in the list decides on the exit code; warnings do not."""
    warning = unknown_check("route", "nobody asked")
    checks = (warning, failed_check("token", TokenMissing("There is none.")), failed_check("route", SILENT))
    assert [int(code_of(checks)), int(code_of(checks[::-1])), int(code_of((warning,)))] == [3, 12, 0]
    assert (warning.status, warning.message) == ("warn", "Not looked at: nobody asked.")


@pytest.mark.parametrize(
    ("facts", "status", "code", "sentence"),
    [
        (FINE, "ok", 0, "The token from a file may read and write."),
        (evolve(FINE, read_error=REFUSED), "fail", 3, "It may not."),
        (evolve(FINE, write_error=REFUSED), "fail", 3, "It may not."),
        (evolve(FINE, took_s=None, read_error=SILENT), "warn", 0, "Not looked at: the cloud does not answer."),
        (evolve(FINE, read_error=SILENT), "warn", 0, "Not looked at: the cloud does not answer as it should."),
        (evolve(FINE, write_error=SILENT), "warn", 0, "Not looked at: the cloud does not answer as it should."),
    ],
)
def test_token(facts: ApiFacts, status: Status, code: int, sentence: str) -> None:
    """A token has to read and to write."""
    check = judge_token(facts)
    assert (*_summary(check), check.message) == ("token", status, code, sentence)
    assert ("Read & Write" in check.advice) is (status == "fail")


@pytest.mark.parametrize(
    ("facts", "status", "code", "sentence"),
    [
        (FINE, "ok", 0, "SANDBOX answers in 12 ms."),
        (evolve(FINE, read_error=REFUSED), "ok", 0, "SANDBOX answers in 12 ms."),
        (evolve(FINE, proxy="gate:3128"), "ok", 0, "SANDBOX answers in 12 ms through the proxy gate:3128."),
        (evolve(FINE, took_s=2.1), "warn", 0, "SANDBOX answers in 2100 ms."),
        (evolve(FINE, took_s=None, read_error=SILENT), "fail", 12, "Nobody answers."),
        (evolve(FINE, read_error=CloudError("Not the API.", api_code="x")), "fail", 12, "Not the API."),
    ],
)
def test_route(facts: ApiFacts, status: Status, code: int, sentence: str) -> None:
    """Who is refused for a token has arrived; slowness and proxies are named."""
    check = judge_route(facts)
    assert (*_summary(check), check.message) == ("route", status, code, sentence)


@pytest.mark.parametrize(("remaining", "status"), [(120, "ok"), (119, "warn"), (0, "warn"), (None, "warn")])
def test_budget(remaining: int | None, status: Status) -> None:
    """A project that has few requests left is warned of."""
    check = judge_budget(evolve(FINE, remaining=remaining))
    assert _summary(check) == ("rate_budget", status, 0)
    if remaining is not None:
        assert check.message == f"{remaining} of 3600 requests per hour are left."


@pytest.mark.parametrize(
    ("ahead_s", "status", "code"),
    [(0.4, "ok", 0), (-59, "ok", 0), (60, "warn", 0), (-3299, "warn", 0), (-3300, "fail", 1), (9e5, "fail", 1)],
)
def test_clock(ahead_s: float, status: Status, code: int) -> None:
    """A clock that is wrong by minutes is a warning, by an hour a failure: certificates would not be valid."""
    check = judge_clock(ahead_s)
    assert _summary(check) == ("clock", status, code)
    assert ("ahead of" in check.message) is (ahead_s > 0)
    assert judge_clock(None).status == "warn"


@pytest.mark.parametrize(
    ("own", "status", "code", "words"),
    [
        (OWN, "ok", 0, "python 3.12.4, dask 1.0, distributed 1.0"),
        (evolve(OWN, python="3.10.9"), "fail", 7, "3.11 or newer"),
        (evolve(OWN, python="3.15.0"), "warn", 0, "newer than any tried"),
        (evolve(OWN, packages={**OWN.packages, "dask": "2.0"}), "fail", 7, "'pip install dask==2.0 distributed==2.0'"),
        (evolve(OWN, packages={"dask": "1.0", "distributed": "1.0"}), "fail", 7, "Install cloudpickle, msgpack, toolz"),
    ],
)
def test_versions(own: Versions, status: Status, code: int, words: str) -> None:
    """What is installed has to be complete and of one release."""
    check = judge_versions(own, {})
    assert _summary(check) == ("versions", status, code)
    assert words in check.message + check.advice


def test_versions_of_clusters() -> None:
    """A cluster that was made with other versions is named; one with the same is not."""
    assert judge_versions(OWN, {"same": OWN}).status == "ok"
    other = evolve(OWN, packages={**OWN.packages, "msgpack": "1.1"})
    check = judge_versions(OWN, {"same": OWN, "tour": other})
    assert check.status == "warn"
    assert check.message == "msgpack is 1.0 here and 1.1 on cluster 'tour' (1 difference in all)."


def test_openssh() -> None:
    """OpenSSH is never necessary."""
    assert judge_openssh(()).status == "ok"
    check = judge_openssh(("ssh", "scp"))
    assert (*_summary(check), check.message) == ("openssh", "warn", 0, "There is no program ssh and scp.")


def test_folders() -> None:
    """What cannot be read, and what others can read, fails."""
    facts = FolderFacts(count=1)
    assert [judge_folders(facts).message, judge_permissions(facts).status] == ["1 cluster folder can be read.", "ok"]
    assert judge_folders(evolve(facts, count=0)).message == "There are no cluster folders."
    assert judge_folders(evolve(facts, count=2)).message == "2 cluster folders can be read."
    check = judge_folders(evolve(facts, damage=("One is broken.", "Two are.")))
    assert (*_summary(check), check.message) == ("folders", "fail", 11, "One is broken. Two are.")
    check = judge_permissions(evolve(facts, exposed=("/a", "/b")))
    assert (*_summary(check), check.message) == ("permissions", "fail", 11, "Others may enter or read /a, /b.")


def test_state() -> None:
    """Each cluster without a folder, folder without a cluster, and broken cluster is told with its way out."""
    assert judge_state(alone={}, keyless={}, broken={}).status == "ok"
    check = judge_state(alone={"a": "/home/a"}, keyless={"b": "'b' of me"}, broken={"c": "'c' of me, creating"})
    assert (*_summary(check), check.message) == (
        "state",
        "warn",
        0,
        " ".join(
            (
                "The folder /home/a has no cluster any more.",
                "Cluster 'b' of me was made here, but its folder is gone.",
                "Cluster 'c' of me, creating is not whole.",
            )
        ),
    )
    assert check.advice == (
        "To clean up: scherbelberg destroy -p a, scherbelberg destroy -p c, scherbelberg nuke -p b."
    )


@pytest.mark.parametrize(
    ("mebibytes", "is_writable", "status", "code"),
    [(200, True, "ok", 0), (199, True, "warn", 0), (9, True, "fail", 11), (900, False, "fail", 11)],
)
def test_disk(mebibytes: int, is_writable: bool, status: Status, code: int) -> None:
    """A cluster's folder has to find room."""
    check = judge_disk(path="/home", free_bytes=mebibytes * 2**20, is_writable=is_writable)
    assert _summary(check) == ("disk", status, code)
    assert "/home" in check.message


_NEW = TlsFacts(python="3.14.1", openssl="OpenSSL 3.6.5", cure="ERR_clear_error")
_OLD = TlsFacts(python="3.11.7", openssl="OpenSSL 3.0.19", cure="not needed")


def test_tls() -> None:
    """What a client speaks TLS with is told, and one whose connections cannot be protected is no good."""
    assert _summary(judge_tls(_NEW)) == ("tls", "ok", 0)
    words = "Python 3.11.7 with OpenSSL 3.0.19, protection from others' broken connections: not needed."
    assert judge_tls(_OLD).message == words
    bad = judge_tls(evolve(_NEW, cure=None))
    assert (_summary(bad), "cpython#148594" in bad.advice) == (("tls", "fail", 1), True)
    assert bad.message.endswith(": none.")


def test_tls_on_nodes() -> None:
    """Processes of the same kind are told together, and one that is not protected is enough to fail."""
    fine = judge_tls_on_nodes({"worker000": _NEW, "scheduler": _OLD, "worker000's nanny": _NEW})
    assert (_summary(fine), fine.message) == (
        ("tls_on_nodes", "ok", 0),
        f"scheduler: {_OLD}; worker000, worker000's nanny: {_NEW}.",
    )
    bad = judge_tls_on_nodes({"worker000": _NEW, "scheduler": evolve(_NEW, cure=None)})
    assert _summary(bad) == ("tls_on_nodes", "fail", 1)
    assert bad.message.startswith("scheduler: Python 3.14.1 ")
