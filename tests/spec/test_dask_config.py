# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dask's configuration, in any form, and mistakes in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from scherbelberg.errors import BadInput
from scherbelberg.spec.dask_config import read_dask_config

_CONFIG = {"dataframe": {"shuffle": {"method": "tasks"}}, "größe": 1}


def test_forms(tmp_path: Path) -> None:
    """Text, a file and a mapping come to the same."""
    text = yaml.safe_dump(_CONFIG, allow_unicode=True)
    file = tmp_path / "dask.yaml"
    file.write_text(text, encoding="utf-8")
    assert [yaml.safe_load(read_dask_config(one)) for one in (text, file, _CONFIG)] == [_CONFIG] * 3


@pytest.mark.parametrize("config", [None, "", "# nothing\n", {}])
def test_nothing(config: Any) -> None:
    """None, an empty text and an empty mapping are no configuration."""
    assert not yaml.safe_load(read_dask_config(config))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("dask.yaml", "pass a pathlib.Path"),
        ("- hush\n", "not a YAML mapping"),
        ("a: 1\nb: [hush\n", "is not valid YAML .line"),
        ("!!python/object:os.system {hush: 1}", "is not valid YAML"),
        ("1: hush\n", "keys that are not strings"),
        ("distributed: {worker: {true: hush}}", "Quote them"),
        ({"a": {1, 2}}, "values that YAML does not support"),
        (Path("no such file"), "no such file cannot be read"),
    ],
)
def test_refused(config: Any, words: str) -> None:
    """What is no mapping is refused before anything is made, and not repeated."""
    with pytest.raises(BadInput, match=words) as caught:
        read_dask_config(config)
    assert "hush" not in caught.value.message
