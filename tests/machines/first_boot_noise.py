# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Runs on machines, from their first boot on: locks, a busy disk, wrong clocks, and a witness of files' modes."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path

_LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock")
_WATCHED = ("/etc/ssh", "/opt/scherbelberg/etc", "/opt/scherbelberg/etc/tls", "/opt/scherbelberg/etc/dask")
_PUSHED = "/root/scherbelberg-payload"
_SEEN = Path("/root/seen.json")
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
#: For all of it, in seconds: until every test is done.
_END_S = 900.0


def hold_locks() -> list[int]:
    """Be what an unattended upgrade is to others."""
    held = []
    for name in _LOCKS:
        held.append(os.open(name, os.O_RDWR | os.O_CREAT, 0o640))
        fcntl.lockf(held[-1], fcntl.LOCK_EX)
    return held


def turn_clock() -> None:
    """Let Dask and openssl believe that it is another time: later on the scheduler, earlier on workers."""
    offset = "+90s" if socket.gethostname().endswith("scheduler") else "-90s"
    variables = {"LD_PRELOAD": _FAKETIME, "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    folder = Path("/etc/systemd/system/scherbelberg-dask@.service.d")
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"Environment={name}={value}\n" for name, value in variables.items())
    (folder / "clock.conf").write_text(f"[Service]\n{lines}", encoding="utf-8")
    words = " ".join(f"{name}={value}" for name, value in variables.items())
    wrapper = Path("/usr/local/bin/openssl")
    wrapper.write_text(f'#!/bin/sh\nexec env {words} /usr/bin/openssl "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)


def keep_disk_busy(end_s: float) -> None:
    """Write without a cache, as long as a first boot may have it."""
    block = os.urandom(2**20)
    while time.monotonic() < min(end_s, 120):
        with Path("/root/noise").open("wb") as file:
            file.write(block)
            os.fsync(file.fileno())


def watch(end_s: float) -> None:
    """Note every combination of mode and owner in which a file is ever seen."""
    seen: set[tuple[str, int, int, int]] = set()
    while time.monotonic() < end_s:
        before = len(seen)
        for folder in (*_WATCHED, _PUSHED):
            try:
                for entry in os.scandir(folder):
                    state = entry.stat(follow_symlinks=False)
                    seen.add((entry.path, state.st_mode & 0o7777, state.st_uid, state.st_gid))
                state = Path(folder).stat()
                seen.add((folder, state.st_mode & 0o7777, state.st_uid, state.st_gid))
            except OSError:
                continue  # it is not there, yet or any more
        if len(seen) > before:
            _SEEN.with_suffix(".new").write_text(json.dumps(sorted(seen)), encoding="utf-8")
            _SEEN.with_suffix(".new").rename(_SEEN)


if __name__ == "__main__":
    turn_clock()
    held_locks = hold_locks()
    last_s = time.monotonic() + _END_S
    threading.Thread(target=keep_disk_busy, args=(last_s,), daemon=True).start()
    watch(last_s)
