# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A computer without a way by IPv4 makes a cluster, uses it and gives it back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ipv6_world import inside, is_possible

_PROGRAM = Path(__file__).parent.parent / "ipv6_world.py"


@pytest.mark.skipif(not is_possible(), reason="this computer lets us make no network namespace")
def test_computer_without_ipv4() -> None:
    """In a network where no packet finds the nodes' IPv4 addresses, a cluster is made, computes, and is given back."""
    done = subprocess.run(
        inside(sys.executable, str(_PROGRAM)), check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["power"] == 9
    assert found["here"] == "2a01:4f8:1:2::/64"
    assert found["direct"] == f"tls://[{found['nodes'][0]['ipv6']}]:8786"
    assert found["direct_power"] == 27
    for node in found["nodes"]:
        assert node["ipv4"].startswith("127.")
        assert node["ipv6"].startswith("2001:db8:")
        assert (node["has_ipv4_route"], node["ping"]) == (False, True)
