# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The proof that a cluster computes, by the interpreter with which it will be used."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from scherbelberg.children import run_child
from scherbelberg.daskdoor import PRELOAD, Door, difference
from scherbelberg.environment import compare, versions_in
from scherbelberg.errors import NodeUnreachable, VersionMismatch, WaitTimeout
from scherbelberg.fitting import Environment
from scherbelberg.settings import environment_with

#: For another interpreter to load Dask.
_LOADING_S = 60.0


async def prove(door: Door, *, workers: tuple[str, ...], environment: Environment, within_s: float) -> dict[str, str]:
    """Show that a cluster computes: exactly the planned workers, the client's versions everywhere, and a sum on each.

    Args:
        door: Where the scheduler is found.
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
    if Path(environment.client.path) == Path(sys.executable):
        from scherbelberg import daskclient  # noqa: PLC0415 - heavy, and loaded in a thread by now

        await daskclient.prove(door, workers=workers, environment=environment, within_s=within_s)
    else:
        await _prove_elsewhere(door, workers=workers, environment=environment, within_s=within_s)
    return {"python": environment.versions.python, **environment.versions.packages}


async def _prove_elsewhere(door: Door, *, workers: tuple[str, ...], environment: Environment, within_s: float) -> None:
    asked = {
        "address": door.address,
        "authority": str(door.authority),
        "certificate": str(door.certificate),
        "key": str(door.key),
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
    text = (files("scherbelberg") / "elsewhere.py").read_text(encoding="utf-8")
    done = await run_child(
        [python, "-c", text],
        what=f"The proof by {python}",
        within_s=2 * within_s + _LOADING_S,
        stdin=json.dumps(asked).encode(),
        # Dask is not what lies in the folder where we happen to be.
        environ=environment_with({"PYTHONSAFEPATH": "1", "DASK_DISTRIBUTED__CLIENT__PRELOAD": str(PRELOAD)}),
    )
    if done.code:
        lines = done.err.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {done.code}"
        raise NodeUnreachable(
            f"The client's Python {python} could not use the cluster ({reason}).",
            node="scheduler",
            log_tail=tuple(lines[-20:]),
        )
    found: dict[str, Any] = json.loads(done.out)
    return found
