# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""docs/sandbox.md, and the command's own help, tell what does not work while the clock is moved."""

from __future__ import annotations

from pathlib import Path

import pytest
from schemas import read
from shells import Shell

from scherbelberg.sandbox.server import SandboxThread

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"


@pytest.mark.hosts("scripted")
def test_create_while_the_clock_is_ahead(sandbox: SandboxThread, shell: Shell) -> None:
    """Clients keep their clocks, so a create is refused until the cloud's is right again; both texts say so."""
    sandbox.set_clock(2 * 3600)
    code, output, _ = shell("create", "-p", "later", "-w", "1", "--json")
    error = read("error", output)["error"]
    assert (code, "This computer's clock is 1 h" in error["message"]) == (2, True), error
    sandbox.set_clock(0)
    assert shell("create", "-p", "later", "-w", "1")[0] == 0
    assert "Reset it before the next create" in " ".join(shell("sandbox", "clock", "--help")[1].split())
    text = PAGE.read_text(encoding="utf-8")
    assert "a `create` is refused while the cloud's is an hour ahead" in text
    assert "`scherbelberg sandbox clock 0` comes first" in text


@pytest.mark.hosts("scripted")
def test_watch_on_scripted_hosts(shell: Shell) -> None:
    """What the page names as a stand-in for a timer is no program of a scripted host."""
    assert shell("create", "-p", "played", "-w", "1")[0] == 0
    assert (
        shell("ssh", "-p", "played", "scheduler", "--", "bash", "scherbelberg-payload/bootstrap.sh", "watch")[0] == 127
    )
    assert "scripted hosts have no such program and answer with exit code 127" in PAGE.read_text(encoding="utf-8")
