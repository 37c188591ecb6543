# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The proof that a cluster computes, by the interpreter with which it will be used, and its rehearsal."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
import threading
import time
import traceback
from importlib.resources import files
from pathlib import Path
from typing import Any

from scherbelberg.concurrency.subprocess import ProcessResult, run_child
from scherbelberg.concurrency.waiting import timeout_after
from scherbelberg.environments.fit import Environment
from scherbelberg.environments.interpreter import PRELOAD
from scherbelberg.environments.versions import Client, compare, versions_in
from scherbelberg.errors import BadInput, NodeUnreachable, VersionMismatch, WaitTimeout
from scherbelberg.scheduler.endpoint import SchedulerEndpoint, difference
from scherbelberg.settings import environment_with
from scherbelberg.state.keys import make_authority, make_client

#: For another interpreter to load Dask.
_LOADING_S = 60.0
_LONGEST_REASON = 300
#: The line of a traceback that says what was raised.
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|Warning)\b.*", re.MULTILINE)
#: Where a parser stumbled; what it quotes may be secret.
_PLACE = re.compile(r"line \d+, column \d+")


async def rehearse(client: Client) -> None:
    """Show that an interpreter loads Dask and makes a client, with whatever Dask is configured with on this computer.

    Args:
        client: The interpreter.

    Raises:
        BadInput: It does not.
        WaitTimeout: It takes too long.
    """
    authority = make_authority(uid="rehearsal", now_s=time.time())
    own = make_client(authority, uid="rehearsal", now_s=time.time())
    asked = {"authority": authority.certificate, "certificate": own.certificate, "key": own.key}
    texts = {name: pem.decode() for name, pem in asked.items()}
    if not _is_here(client):
        try:
            done = await _run(client.path, texts, what=f"The loading of Dask by {client.path}", within_s=_LOADING_S)
        except OSError as error:
            raise _no_dask(client.path, str(error)) from None
        if done.code:
            raise _no_dask(client.path, done.err.decode(errors="replace") or f"exit code {done.code}")
        return
    try:
        async with timeout_after(_LOADING_S):
            await asyncio.to_thread(_rehearse_here, texts)
    except TimeoutError:
        raise WaitTimeout(what="The loading of Dask", within_s=_LOADING_S) from None
    except Exception as error:  # whatever somebody's packages and configuration raise
        raise _no_dask(client.path, "".join(traceback.format_exception_only(error))) from error


def _is_here(client: Client) -> bool:
    """Whether Dask can be used in this process; when the main thread has ended, it cannot be loaded any more."""
    return Path(client.path) == Path(sys.executable) and threading.main_thread().is_alive()


def _rehearse_here(asked: dict[str, str]) -> None:
    importlib.import_module("scherbelberg.scheduler.client")  # what proves, and takes seconds to load
    asyncio.run(importlib.import_module("scherbelberg.scheduler.proof_program").rehearse(asked))


def _no_dask(python: str, said: str) -> BadInput:
    return BadInput(
        f"The client's Python {python} cannot use Dask as it is installed and configured on this computer"
        f" ({reason_in(said)}): mend that, or name another one with --client PYTHON."
    )


def reason_in(said: str) -> str:
    """Find in what a program of Python's wrote why it ended, in one line.

    Args:
        said: All of it; what a parser quotes of somebody's file is left out.
    """
    raised = list(_RAISED.finditer(said))
    rest = said[raised[-1].start() :] if raised else said
    line = (raised[-1][0] if raised else (said.strip().splitlines() or [""])[-1]).strip().rstrip(":.")
    line, place = line.removesuffix(", original error message")[:_LONGEST_REASON], _PLACE.findall(rest)
    return f"{line}, {place[-1]}" if place and place[-1] not in line else line


async def prove(
    endpoint: SchedulerEndpoint, *, workers: tuple[str, ...], environment: Environment, within_s: float
) -> dict[str, str]:
    """Show that a cluster computes: exactly the planned workers, the client's versions everywhere, and a sum on each.

    Args:
        endpoint: Where the scheduler is found.
        workers: Names of the planned workers.
        environment: What client and nodes must have; it says whose interpreter proves.
        within_s: Deadline in seconds for the workers to be there, and again for the sums.

    Returns:
        Package to version, as on all nodes.

    Raises:
        NodeUnreachable: The scheduler does not answer as it should.
        WaitTimeout: Workers are missing, or do not compute.
        VersionMismatch: Versions differ; the rows say where.
    """
    if _is_here(environment.client):
        from scherbelberg.scheduler.client import prove as prove_here  # noqa: PLC0415 - heavy, and loaded by the rehearsal

        await prove_here(endpoint, workers=workers, environment=environment, within_s=within_s)
    else:
        await _prove_elsewhere(endpoint, workers=workers, environment=environment, within_s=within_s)
    return {"python": environment.versions.python, **environment.versions.packages}


async def _prove_elsewhere(
    endpoint: SchedulerEndpoint, *, workers: tuple[str, ...], environment: Environment, within_s: float
) -> None:
    asked = {
        "address": endpoint.address,
        "authority": str(endpoint.authority),
        "certificate": str(endpoint.certificate),
        "key": str(endpoint.key),
        "workers": len(workers),
        "within_s": within_s,
    }
    answer = await _answer(environment.client.path, asked, within_s)
    missing = set(workers) - set(answer["workers"])
    if missing or len(answer["workers"]) != len(workers):
        last = difference(workers, answer["workers"])
        what = f"The joining of {len(workers)} workers"
        raise WaitTimeout(what=what, within_s=within_s, last=last, missing=tuple(sorted(missing)))
    theirs = {"scheduler": versions_in(answer["scheduler"])}
    theirs |= {name: versions_in(row) for name, row in answer["workers"].items()}
    compare(environment.client.versions, theirs, allowed=environment.allowed)
    if set(answer["sums"].values()) != {2}:
        raise VersionMismatch("A worker did not find that 1 + 1 is 2.", differences=())


async def _answer(python: str, asked: dict[str, Any], within_s: float) -> dict[str, Any]:
    try:
        done = await _run(python, asked, what=f"The proof by {python}", within_s=2 * within_s + _LOADING_S)
    except OSError as error:
        raise BadInput(f"The client's Python {python} cannot be started any more: {error}.") from None
    if done.code:
        said = done.err.decode(errors="replace").strip()
        raise NodeUnreachable(
            f"The client's Python {python} could not use the cluster ({reason_in(said or f'exit code {done.code}')}).",
            node="scheduler",
            log_tail=tuple(said.splitlines()[-20:]),
        )
    found: dict[str, Any] = json.loads(done.out)
    return found


async def _run(python: str, asked: dict[str, Any], *, what: str, within_s: float) -> ProcessResult:
    """Have another interpreter prove, or rehearse that."""
    return await run_child(
        [python, "-c", (files("scherbelberg") / "scheduler" / "proof_program.py").read_text(encoding="utf-8")],
        what=what,
        within_s=within_s,
        stdin=json.dumps(asked).encode(),
        # Dask is not what lies in the folder where we happen to be.
        environ=environment_with({"PYTHONSAFEPATH": "1", "DASK_DISTRIBUTED__CLIENT__PRELOAD": str(PRELOAD)}),
    )
