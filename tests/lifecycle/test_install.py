# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a create gives to nodes besides their environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from scherbelberg.cloud.access import Access
from scherbelberg.errors import BadInput
from scherbelberg.lifecycle.install import mirror_certificates
from scherbelberg.settings import Settings


def _settings(folder: Path, authorities: Path | None, **mirrors: Any) -> Settings:
    access = Access(endpoint="http://127.0.0.1:9/v1", token="none", token_source="the test")
    access = evolve(access, authorities=None if authorities is None else str(authorities))
    return Settings(access=access, ssh_port=22, network_range="10.0.0.0/16", home=folder, owner="o", **mirrors)


@pytest.mark.parametrize("mirror", ["channel_mirror", "miniforge_mirror"])
def test_authorities_of_a_mirror(tmp_path: Path, mirror: str) -> None:
    """Nodes get a company's authorities for a mirror, and for nothing else; a file that is not there is named."""
    path = tmp_path / "ca.pem"
    path.write_bytes(b"PEM")
    mirrors = {mirror: "https://mirror.example"}
    assert mirror_certificates(_settings(tmp_path, path, **mirrors)) == {"mirror-ca.pem": b"PEM"}
    assert (
        mirror_certificates(_settings(tmp_path, path))
        == mirror_certificates(_settings(tmp_path, None, **mirrors))
        == {}
    )
    with pytest.raises(BadInput, match=r"certificates in .*gone\.pem cannot be read"):
        mirror_certificates(_settings(tmp_path, tmp_path / "gone.pem", **mirrors))
