# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Supervision by systemd, as far as it can be seen on a computer that runs none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from process_node import UID, Node, free_port, make_node

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="nodes run Linux, and process hosts a Unix")
_UNIT = Path(__file__).parents[2] / "scherbelberg/share/units/scherbelberg-dask@.service"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A machine that has been pushed to."""
    return make_node(tmp_path, role="scheduler", scheduler_port=free_port())


async def test_systemd(node: Node) -> None:
    """Under systemd the unit of the node's role is enabled and restarted, and both roles' units are stopped."""
    script = 'install -d "${UNIT_FILE%/*}"; : >"$UNIT_FILE"; systemd_start; systemd_stop'
    assert (await node.source(script)).code == 0
    unit = "scherbelberg-dask@scheduler.service"
    assert node.read("systemctl.calls").splitlines() == [
        "daemon-reload",
        f"enable {unit}",
        f"restart {unit}",
        f"disable --now {unit} scherbelberg-dask@worker.service",
    ]


async def test_claim(node: Node) -> None:
    """Where systemd starts Dask the machine is marked as this node's; where nothing starts it, it is not."""
    folder = node.path("var/lib/cloud/instance")
    folder.mkdir(parents=True)
    assert (await node.source("claim_machine")).code == 0
    assert not (folder / "scherbelberg").exists()
    assert (await node.source("SUPERVISION=systemd; claim_machine")).code == 0
    assert (folder / "scherbelberg").read_text(encoding="utf-8") == f"{node.settings['NODE_NAME']}.{UID}\n"


async def test_units_are_for_one_machine() -> None:
    """No unit starts where that mark is not."""
    units = sorted(_UNIT.parent.iterdir())
    assert len(units) == 3
    wanted = "ConditionPathExists=/var/lib/cloud/instance/scherbelberg\n"
    assert [path.name for path in units if wanted not in path.read_text(encoding="utf-8")] == []


async def test_fence(node: Node) -> None:
    """The rule that keeps Dask's user from the metadata address names that user's id and replaces itself."""
    ended = await node.source("id() { echo 998; }; nft() { cat; }; fence")
    assert "    meta skuid 998 ip daddr 169.254.169.254 reject" in ended.said
    assert "    meta skuid 998 ip6 daddr fe80::a9fe:a9fe reject" in ended.said
    assert ended.said[1] == "delete table inet scherbelberg"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_unit() -> None:
    """Systemd understands every line of the unit."""
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", _UNIT], check=False, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


async def test_files_for_the_unprivileged_user(node: Node) -> None:
    """Where systemd runs Dask as a user of its own, that user's group may read the key, and nobody else."""
    script = (
        "SUPERVISION=systemd; SERVICE_USER=$(id -gn); useradd() { :; }; make_user; make_folders; request_certificate; "
        'examine() { :; }; install_certificate ""; ls -ld "$TLS" "$TLS/node.pem" | cut -c 1-10'
    )
    assert (await node.source(script)).said[-2:] == ["drwxr-x---", "-rw-r-----"]
