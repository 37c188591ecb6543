# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is left when everything goes wrong: faults, interrupts and kills at random moments, and how long an end takes.

Usage: python bench/campaign.py [SEEDS [FIRST]]

The trials are those of the tests, which draw 60 of them (tests/campaign). Deadlines and the cloud's delays are seconds
instead of minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This folder holds a file with the name of a library, and is where Python looks first.
sys.path = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).parent]
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "campaign")]

import concurrent.futures  # noqa: E402
import tempfile  # noqa: E402
from collections import Counter  # noqa: E402

from campaign_draws import Trial, draw  # noqa: E402
from campaign_trials import Outcome, attempt, place  # noqa: E402

SEEDS = 1000
#: Clouds side by side: trials mostly wait.
CLOUDS = 3


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
    return 0 if numbers.survived == numbers.tried else 1


def _batched(rows: list[Trial], size: int) -> list[list[Trial]]:
    return [rows[at : at + size] for at in range(0, len(rows), size)]


if __name__ == "__main__":
    sys.exit(main())
