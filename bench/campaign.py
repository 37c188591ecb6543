# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is left when everything goes wrong: faults, interrupts and kills at random moments, and how long an end takes.

Usage: python bench/campaign.py [SEEDS [FIRST]]

The trials are those of the tests, which draw 60 of them (tests/campaign). Deadlines and the cloud's delays are seconds
instead of minutes. Besides, creates of many servers are interrupted by Ctrl-C, to see how soon all deletions are sent,
and creates are killed, to see how soon another computer empties the project.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This folder holds a file with the name of a library, and is where Python looks first.
sys.path = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).parent]
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "campaign")]

import concurrent.futures  # noqa: E402
import signal  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402

from campaign_clients import Client, phases, run  # noqa: E402
from campaign_draws import Trial, draw  # noqa: E402
from campaign_trials import Outcome, Place, attempt, killed, nuked, place  # noqa: E402

SEEDS = 1000
#: Clouds side by side: trials mostly wait.
CLOUDS = 3
#: Of a create that is interrupted, and the seconds within which all of its deletions are to be sent.
SERVERS = 20
SENT_S = 2.0


class Numbers:
    """What is counted over all trials."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.survived: Counter[str] = Counter()
        self.leaked = 0
        self.failed_requests: list[int] = []
        self.slowest_s = 0.0

    def take(self, outcome: Outcome) -> None:
        """Count one more."""
        names = (*(outcome.trial.kinds or ("no fault",)), f"end: {outcome.trial.ending}")
        self.tried.update(names)
        self.leaked += len(outcome.leaked)
        self.slowest_s = max(self.slowest_s, outcome.took_s)
        if outcome.ended.code > 0:
            self.failed_requests.append(outcome.requests)
        if outcome.broken or outcome.leaked:
            print(outcome, flush=True)
        else:
            self.survived.update(names)

    def show(self, count: int) -> None:
        """Print everything."""
        for name in sorted(self.tried):
            print(f"{name:<32} survived {self.survived[name]} of {self.tried[name]}")
        few = sorted(self.failed_requests) or [0]
        print(f"{count} trials: {self.leaked} resources leaked; slowest create {self.slowest_s:.1f} s")
        print(f"a failed create and its undoing: {few[len(few) // 2]} requests in the middle, {few[-1]} at most")


def campaign(trials: list[Trial], folder: Path) -> list[Outcome]:
    """Go through trials in a cloud of their own."""
    with place(folder, "scripted") as cloud:
        return [attempt(cloud, trial) for trial in trials]


def ctrl_c(cloud: Place, phase: str) -> tuple[float, float]:
    """Interrupt a create of many servers; returns seconds until all deletions were sent, and until its end."""
    sent_s: list[float] = []

    def act(client: Client, count: int) -> None:
        if not sent_s and phases(client.heard)[-1:] == [phase]:
            sent_s.append(time.monotonic())
            client.send(signal.SIGINT)

    cloud.counter.reset()
    program = cloud.create(SERVERS - 1, home=f"ctrl-c-{phase}", patient=True)
    ended = run(program, within_s=cloud.within_s, act=act)
    ended_s = time.monotonic()
    if ended.code != 130 or cloud.own():
        raise AssertionError(str(ended))
    made = sum((method, path) == ("POST", "/v1/servers") for _, method, path in cloud.counter.arrivals)
    deletions = [at_s for at_s, method, path in cloud.counter.arrivals if method == "DELETE" and "/servers/" in path]
    return deletions[made - 1] - sent_s[0], ended_s - sent_s[0]


def kill(cloud: Place, number: int) -> float:
    """Kill a create at a request; returns the seconds that 'nuke' takes elsewhere until nothing is left."""
    killed(cloud, "after", number, home=f"kill-{number}", workers=2)
    begin_s = time.monotonic()
    if broken := nuked(cloud):
        raise AssertionError(broken)
    return time.monotonic() - begin_s


def ends(folder: Path) -> bool:
    """Measure ends; returns whether deletions are sent in time."""
    with place(folder, "scripted") as cloud:
        sent = {phase: ctrl_c(cloud, phase) for phase in ("reach", "push", "environment", "service")}
        nuked_s = [kill(cloud, number) for number in range(8, 20, 2)]
    for phase, (sent_s, ended_s) in sent.items():
        print(f"Ctrl-C in {phase} of {SERVERS} servers: all deletions sent after {sent_s:.2f} s, end {ended_s:.1f} s")
    print(f"from kill -9 to an empty project with nuke: {min(nuked_s):.1f} to {max(nuked_s):.1f} s")
    return all(sent_s <= SENT_S for sent_s, _ in sent.values())


def main() -> int:
    """Go through all trials."""
    count, first = (*map(int, sys.argv[1:]), *(SEEDS, 0)[len(sys.argv) - 1 :])
    numbers = Numbers()
    with (
        tempfile.TemporaryDirectory(prefix="scherbelberg-campaign-") as name,
        concurrent.futures.ThreadPoolExecutor(CLOUDS) as pool,
    ):
        seeds = [draw(seed) for seed in range(first, first + count)]
        works = [
            pool.submit(campaign, list(batch), Path(name) / str(number))
            for number, batch in enumerate(_batched(seeds, 20))
        ]
        for work in concurrent.futures.as_completed(works):
            for outcome in work.result():
                numbers.take(outcome)
        numbers.show(count)
        in_time = ends(Path(name) / "ends")
    return 0 if in_time and numbers.survived == numbers.tried else 1


def _batched(rows: list[Trial], size: int) -> list[list[Trial]]:
    return [rows[at : at + size] for at in range(0, len(rows), size)]


if __name__ == "__main__":
    sys.exit(main())
