# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dask's configuration for the nodes, from whatever the user has it in; mistakes are found before renting."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scherbelberg.errors import BadInput
from scherbelberg.spec.strict_yaml import read_yaml
from scherbelberg.spec.text_files import read_text

DaskConfig = str | Mapping[str, Any] | os.PathLike[str]


def read_dask_config(config: DaskConfig | None) -> str:
    """Read Dask's configuration.

    Args:
        config: YAML as text, the path of a file (as a `Path`), or a mapping.

    Returns:
        YAML, or the empty text.

    Raises:
        BadInput: It cannot be read, or is no mapping. What it holds is not repeated, since that may be secret.
    """
    if config is None:
        return ""
    if isinstance(config, Mapping):
        try:
            return json.dumps(dict(config))  # YAML reads JSON
        except (TypeError, ValueError):
            raise BadInput("Dask's configuration contains values that YAML does not support.") from None
    text = config if isinstance(config, str) else _read(Path(config))
    content = read_yaml(text, source="Dask's configuration")
    if content is not None and not isinstance(content, dict):
        raise BadInput("Dask's configuration is not a YAML mapping. To name a file, pass a pathlib.Path.")
    if not _has_text_keys(content):
        raise BadInput("Dask's configuration has keys that are not strings. Quote them.")
    return text


def _has_text_keys(content: Any) -> bool:
    if isinstance(content, dict):
        return all(isinstance(key, str) and _has_text_keys(value) for key, value in content.items())
    return True


def _read(path: Path) -> str:
    return read_text(path, what=f"Dask's configuration {path}")
