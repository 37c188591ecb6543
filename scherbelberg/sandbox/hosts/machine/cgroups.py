# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Control groups: one for each machine in whichever hierarchies there are, by which all of its processes are found."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from scherbelberg.concurrency.waiting import until

#: Begins the name of every interface, namespace and control group of ours.
MARK = "sbg-"
_TOPS = [Path("/sys/fs/cgroup", kind) for kind in ("", "systemd", "unified", "memory", "pids")]
_END_S = 20.0
_LOOK_S = 0.02
#: A script that goes into groups of its own and becomes another program: ``sh -c SCRIPT sh NAME PROGRAM...``.
#: systemd inside believes that it has the whole of what it sees.
GROUPED = f"""name=$1; shift
for top in {" ".join(map(str, _TOPS))}; do
  [ -w "$top/cgroup.procs" ] || continue
  mkdir -p "$top/$name" && echo $$ >"$top/$name/cgroup.procs"
done
exec "$@"
"""


def group_names() -> set[str]:
    """Names of all groups of ours."""
    return {path.name for top in _TOPS for path in top.glob(f"{MARK}*")}


async def end_group(name: str) -> None:
    """Kill all processes of a machine, and remove its groups, which are busy for a moment afterwards.

    Args:
        name: The machine's.

    Raises:
        WaitTimeout: Something does not end.
    """

    async def probe() -> bool | None:
        busy = [top for top in _TOPS if not _remove(top / name)]
        return None if busy else True

    await until(probe, every_s=_LOOK_S, within_s=_END_S, what=f"The end of machine {name}")


def _remove(group: Path) -> bool:
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            for number in Path(folder, "cgroup.procs").read_text(encoding="utf-8").split():
                os.kill(int(number), signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    return not group.exists()
