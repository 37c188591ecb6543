# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the command line, in the test's own process or in one of its own."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from surroundings import environment_for

from scherbelberg.cli import main
from scherbelberg.settings import Settings

#: Variables that lead elsewhere, or to another client than the test's own interpreter.
_OTHERS = (
    *("HETZNER", "HCLOUD_CONTEXT", "HCLOUD_CONFIG", "XDG_CONFIG_HOME", "VIRTUAL_ENV", "CONDA_PREFIX"),
    *("SCHERBELBERG_CHANNEL_MIRROR", "SCHERBELBERG_MINIFORGE_MIRROR"),
)


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        """They sit at a terminal."""
        return True


class Shell:
    """Runs commands in this process, as a shell with only the test's own environment variables would."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.settings = settings
        self.monkeypatch = monkeypatch
        self._capfd = capfd
        for name in _OTHERS:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment_for(settings).items():
            monkeypatch.setenv(name, value)

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Run a command; returns exit code, output and complaints."""
        self._capfd.readouterr()
        try:
            main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
        else:
            code = 0
        output, complaints = self._capfd.readouterr()
        return code, output, complaints


@contextmanager
def program(settings: Settings, *words: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The command line in a process of its own, which is gone at the end whatever happened."""
    environ = environment_for(settings) | {"PYTHONUNBUFFERED": "1"} | variables
    process = subprocess.Popen(
        [sys.executable, "-m", "scherbelberg", *words],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
