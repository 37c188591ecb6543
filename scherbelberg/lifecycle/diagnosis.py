# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What findings about the surroundings mean: each becomes a check with a sentence and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from attrs import field, frozen

from scherbelberg.environments.versions import REQUIRED, Versions, differences
from scherbelberg.errors import ExitCode, ScherbelbergError, TokenRefused, pluralize
from scherbelberg.inventory.validity import MOST_BEHIND_S

Status = Literal["ok", "warn", "fail"]
#: A create of N workers sends about N + 15 requests.
_FEW_REQUESTS = 120
_SLOW_S = 2.0
_CLOCK_WARN_S = 60.0
_OLDEST, _NEWEST = (3, 11), (3, 14)
_DISK_WARN, _DISK_FAIL = 200 * 2**20, 10 * 2**20


@frozen(kw_only=True)
class Check:
    """One thing that was looked at.

    Args:
        name: A stable word for programs.
        status: Whether it is as it should be.
        message: One sentence.
        advice: What to do, or empty.
        exit_code: What the program exits with if this fails.
    """

    name: str
    status: Status
    message: str
    advice: str = ""
    exit_code: ExitCode = ExitCode.OK


@frozen(kw_only=True)
class ApiFacts:
    """What two requests to the API showed: one that reads, one that would change nothing.

    Args:
        place: The cloud's name for people.
        proxy: The proxy on the way, or None.
        token_source: Where the token came from, or None if there is none.
        read_error: What became of reading, None if it worked.
        write_error: What became of the other one, None if the cloud would have done it.
        took_s: Seconds until the answer, or None if there was none.
        limit: Requests per hour, or None.
        remaining: How many are left, or None.
        ahead_s: How many seconds this computer's clock is ahead of the API's, or None.
    """

    place: str
    proxy: str | None = None
    token_source: str | None = None
    read_error: ScherbelbergError | None = None
    write_error: ScherbelbergError | None = None
    took_s: float | None = None
    limit: int | None = None
    remaining: int | None = None
    ahead_s: float | None = None


@frozen(kw_only=True)
class FolderFacts:
    """What the clusters' folders on this computer hold.

    Args:
        count: How many there are.
        damage: One sentence for each that cannot be read.
        exposed: Paths that others may enter or read.
        versions: What clusters run that this computer can use, by prefix.
    """

    count: int
    damage: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    versions: Mapping[str, Versions] = field(factory=dict, hash=False)


@frozen(kw_only=True)
class TlsFacts:
    """What a process speaks TLS with.

    Args:
        python: Full version.
        openssl: Version, as OpenSSL tells it.
        cure: What keeps a connection that breaks from breaking others: a way, ``not needed``, or None if nothing does.
    """

    python: str
    openssl: str
    cure: str | None

    def __str__(self) -> str:
        return f"Python {self.python} with {self.openssl}, protection from others' broken connections: " + (
            self.cure or "none"
        )


def code_of(checks: Iterable[Check]) -> ExitCode:
    """The exit code of the first check that fails.

    Args:
        checks: In the order in which one would mend them.
    """
    return next((check.exit_code for check in checks if check.status == "fail"), ExitCode.OK)


def failed_check(name: str, error: ScherbelbergError, *, advice: str = "") -> Check:
    """A check that ends with an error.

    Args:
        name: Of the check.
        error: What happened.
        advice: What to do, unless the error's sentence says so.
    """
    return Check(name=name, status="fail", message=error.message, advice=advice, exit_code=error.exit_code)


def unknown_check(name: str, why: str) -> Check:
    """A check that could not be made.

    Args:
        name: Of the check.
        why: The rest of a sentence.
    """
    return Check(name=name, status="warn", message=f"Not looked at: {why}.", advice="Mend what fails, then look again.")


def judge_token(facts: ApiFacts) -> Check:
    """Whether the token is accepted, and may write.

    Args:
        facts: What the API showed; there is a token.
    """
    advice = "Make a token with Read & Write in the project's console under Security, API tokens."
    for error in (facts.read_error, facts.write_error):
        if isinstance(error, TokenRefused):
            return failed_check("token", error, advice=advice)
    if facts.took_s is None:
        return unknown_check("token", "the cloud does not answer")
    if facts.read_error or facts.write_error:
        return unknown_check("token", "the cloud does not answer as it should")
    return Check(name="token", status="ok", message=f"The token from {facts.token_source} may read and write.")


def judge_route(facts: ApiFacts) -> Check:
    """Whether the API is reached, how fast and through what.

    Args:
        facts: What the API showed.
    """
    through = f" through the proxy {facts.proxy}" if facts.proxy else ""
    error = facts.read_error
    if error is not None and not isinstance(error, TokenRefused):
        advice = f"Check the proxy {facts.proxy}, too." if facts.proxy else ""
        return failed_check("route", error, advice=advice)
    if facts.took_s is None:
        return unknown_check("route", "there was no answer to measure")
    message = f"{facts.place} answers in {facts.took_s * 1000:.0f} ms{through}."
    if facts.took_s > _SLOW_S:
        return Check(name="route", status="warn", message=message, advice="Expect a slow create; try another network.")
    return Check(name="route", status="ok", message=message)


def judge_budget(facts: ApiFacts) -> Check:
    """Whether the project may send enough requests.

    Args:
        facts: What the API showed.
    """
    if facts.took_s is None:
        return unknown_check("rate_budget", "the cloud does not answer")
    if facts.remaining is None or facts.limit is None:
        return Check(name="rate_budget", status="warn", message="The cloud's answer does not tell what is left of it.")
    message = f"{facts.remaining} of {facts.limit} requests per hour are left."
    if facts.remaining < _FEW_REQUESTS:
        advice = "A create of N workers takes N + 15: wait, or stop what else uses this project; it refills steadily."
        return Check(name="rate_budget", status="warn", message=message, advice=advice)
    return Check(name="rate_budget", status="ok", message=message)


def judge_clock(ahead_s: float | None) -> Check:
    """Whether this computer's clock is right enough for certificates.

    Args:
        ahead_s: Seconds that it is ahead of the API's, or None if unknown.
    """
    if ahead_s is None:
        return unknown_check("clock", "the cloud does not tell the time")
    how = "ahead of" if ahead_s > 0 else "behind"
    message = f"This computer's clock is {abs(ahead_s):.0f} s {how} the cloud's."
    advice = "Set the clock, for example by switching on network time."
    if abs(ahead_s) >= MOST_BEHIND_S:
        return Check(name="clock", status="fail", message=message, advice=advice, exit_code=ExitCode.FAILURE)
    if abs(ahead_s) >= _CLOCK_WARN_S:
        return Check(name="clock", status="warn", message=message, advice=advice)
    return Check(name="clock", status="ok", message=message)


def judge_versions(own: Versions, clusters: Mapping[str, Versions]) -> Check:
    """Whether what is installed fits together, and fits the clusters of this computer.

    Args:
        own: What this interpreter has.
        clusters: What clusters have, by prefix.
    """
    words = ", ".join(f"{name} {version}" for name, version in own.packages.items())
    message = f"python {own.python}, {words}."
    minor = tuple(int(part) for part in own.python_minor.split("."))
    missing = [name for name in REQUIRED if name not in own.packages]
    dask, distributed = own.packages.get("dask"), own.packages.get("distributed")
    wrong = ""
    if minor < _OLDEST:
        wrong = "This Python is too old: use 3.11 or newer."
    elif missing:
        wrong = f"Install {', '.join(missing)}."
    elif dask != distributed:
        wrong = f"Install dask and distributed of one version: 'pip install dask=={dask} distributed=={dask}'."
    if wrong:
        return Check(name="versions", status="fail", message=message, advice=wrong, exit_code=ExitCode.MISMATCH)
    if rows := differences(own, clusters):
        prefix, package, here, there = rows[0]
        message = (
            f"{package} is {here} here and {there} on cluster '{prefix}' ({pluralize(len(rows), 'difference')} in all)."
        )
        advice = "Use the Python environment with which that cluster was made."
        return Check(name="versions", status="warn", message=message, advice=advice)
    if minor > _NEWEST:
        return Check(name="versions", status="warn", message=message, advice="This Python is newer than any tried.")
    return Check(name="versions", status="ok", message=message)


def judge_tls(here: TlsFacts) -> Check:
    """Whether a client's connections survive that others break.

    Args:
        here: Of the client's Python.
    """
    if here.cure is None:
        advice = "Use another Python: this one's connections to Dask break at random (python/cpython#148594)."
        return Check(name="tls", status="fail", message=f"{here}.", advice=advice, exit_code=ExitCode.FAILURE)
    return Check(name="tls", status="ok", message=f"{here}.")


def judge_dask(python: str) -> Check:
    """That the client's Python can use Dask; what speaks against that is an error of its own.

    Args:
        python: Its program.
    """
    return Check(name="dask", status="ok", message=f"{python} loads Dask, and makes a client as it is configured here.")


def judge_tls_on_nodes(there: Mapping[str, TlsFacts]) -> Check:
    """Whether the connections of a cluster's processes do.

    Args:
        there: By the name of the process; not empty.
    """
    by_facts: dict[TlsFacts, list[str]] = {}
    for name, facts in sorted(there.items()):
        by_facts.setdefault(facts, []).append(name)
    message = "; ".join(f"{', '.join(names)}: {facts}" for facts, names in by_facts.items()) + "."
    if any(facts.cure is None for facts in by_facts):
        advice = "Make the cluster anew: connections there break at random (python/cpython#148594)."
        return Check(name="tls_on_nodes", status="fail", message=message, advice=advice, exit_code=ExitCode.FAILURE)
    return Check(name="tls_on_nodes", status="ok", message=message)


def judge_openssh(missing: tuple[str, ...]) -> Check:
    """Whether OpenSSH's client is there, which a few commands start.

    Args:
        missing: Programs that are not there.
    """
    if not missing:
        return Check(name="openssh", status="ok", message="OpenSSH's ssh and scp are there.")
    words = " and ".join(missing)
    advice = "Install OpenSSH's client if you want 'scherbelberg ssh' or 'scp'; nothing else needs it."
    return Check(name="openssh", status="warn", message=f"There is no program {words}.", advice=advice)


def judge_folders(facts: FolderFacts) -> Check:
    """Whether the clusters' folders can be read.

    Args:
        facts: What they hold.
    """
    if facts.damage:
        return Check(name="folders", status="fail", message=" ".join(facts.damage), exit_code=ExitCode.STATE)
    words = {0: "There are no cluster folders.", 1: "1 cluster folder can be read."}
    message = words.get(facts.count, f"{facts.count} cluster folders can be read.")
    return Check(name="folders", status="ok", message=message)


def judge_permissions(facts: FolderFacts) -> Check:
    """Whether the clusters' keys are private.

    Args:
        facts: What their folders hold.
    """
    if not facts.exposed:
        return Check(name="permissions", status="ok", message="The clusters' keys are private.")
    return Check(
        name="permissions",
        status="fail",
        message=f"Others may enter or read {', '.join(facts.exposed)}.",
        advice="Take that from them with 'chmod -R go-rwx' on these.",
        exit_code=ExitCode.STATE,
    )


def judge_state(*, alone: Mapping[str, str], keyless: Mapping[str, str], broken: Mapping[str, str]) -> Check:
    """Whether the cloud's clusters and this computer's folders are the same.

    Args:
        alone: Folders whose cluster is gone, path by prefix.
        keyless: Clusters of this user and computer without a folder, described, by prefix.
        broken: Clusters with a folder that are not whole, described, by prefix.
    """
    sentences = [f"The folder {path} has no cluster any more." for path in alone.values()]
    sentences += [f"Cluster {words} was made here, but its folder is gone." for words in keyless.values()]
    sentences += [f"Cluster {words} is not whole." for words in broken.values()]
    if not sentences:
        return Check(
            name="state", status="ok", message="Every cluster of this computer has its folder, and the reverse."
        )
    hints = [f"scherbelberg destroy -p {prefix}" for prefix in (*alone, *broken)]
    hints += [f"scherbelberg nuke -p {prefix}" for prefix in keyless]
    advice = f"To clean up: {', '.join(dict.fromkeys(hints))}."
    return Check(name="state", status="warn", message=" ".join(sentences), advice=advice)


def judge_certificates(endings: tuple[str, ...]) -> Check:
    """Whether the certificates of this computer's clusters live on.

    Args:
        endings: One sentence for each cluster whose certificates have ended, or soon will.
    """
    if endings:
        return Check(name="certificates", status="warn", message=" ".join(endings))
    return Check(name="certificates", status="ok", message="No cluster of this computer outlives its certificates.")


def judge_orphans(found: Mapping[str, Sequence[str]]) -> Check:
    """Whether anything that does not go with servers has outlived clusters, and is paid for on.

    Args:
        found: What it is and costs, by the cluster's prefix.
    """
    if not found:
        return Check(name="outliving", status="ok", message="Nothing that is paid for has outlived a cluster.")
    words = "; ".join(f"{row} (cluster '{prefix}')" for prefix, rows in found.items() for row in rows)
    hints = ", ".join(f"'scherbelberg destroy -p {prefix} --forget'" for prefix in found)
    advice = f"Delete it in Hetzner's console if nobody needs it, or have it forgotten: {hints}."
    return Check(name="outliving", status="warn", message=f"Still paid for: {words}.", advice=advice)


def judge_disk(*, path: str, free_bytes: int, is_writable: bool) -> Check:
    """Whether a cluster's folder can be written.

    Args:
        path: Where it would be.
        free_bytes: What is free there.
        is_writable: Whether this user may write there.
    """
    free = f"{free_bytes / 2**20:.0f} MiB are free at {path}"
    if not is_writable:
        message = f"You may not write to {path}."
        advice = "Name another folder with SCHERBELBERG_HOME."
        return Check(name="disk", status="fail", message=message, advice=advice, exit_code=ExitCode.STATE)
    advice = "Free some space, or name another folder with SCHERBELBERG_HOME."
    if free_bytes < _DISK_FAIL:
        return Check(name="disk", status="fail", message=f"Only {free}.", advice=advice, exit_code=ExitCode.STATE)
    if free_bytes < _DISK_WARN:
        return Check(name="disk", status="warn", message=f"Only {free}.", advice=advice)
    return Check(name="disk", status="ok", message=f"{free}.")
