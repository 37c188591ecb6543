# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""How long ``scherbelberg --help`` takes next to an interpreter that imports click and nothing else.

Usage: python bench/help.py [ROUNDS]

The programs take turns, so that whatever else the computer does slows all of them; what counts is the ratio of the
medians. The interpreter alone is the third of them: what neither can save.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROUNDS = 15
WITHIN_S = 60.0
ROOT = Path(__file__).parents[1]
HELP, CLICK, NOTHING = "scherbelberg --help", 'python -c "import click"', 'python -c ""'
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    HELP: ("-m", "scherbelberg", "--help"),
    CLICK: ("-c", "import click"),
    NOTHING: ("-c", ""),
}


def run_once(words: tuple[str, ...]) -> float:
    """Run a program; returns the seconds that it took."""
    begin_s = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=WITHIN_S)
    return time.perf_counter() - begin_s


def main() -> int:
    """Let the programs take turns."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    for words in PROGRAMS.values():
        run_once(words)  # bytecode is written, files are in memory
    took: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, words in PROGRAMS.items():
            took[name].append(run_once(words))
    medians = {name: statistics.median(row) for name, row in took.items()}
    for name, median in medians.items():
        low, high = min(took[name]) * 1000, max(took[name]) * 1000
        ratio = median / medians[CLICK]
        print(f"{name:<26} {median * 1000:6.0f} ms ({low:.0f} to {high:.0f}) = {ratio:.2f} x {CLICK}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
