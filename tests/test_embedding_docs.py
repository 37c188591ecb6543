# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What docs/embedding.md shows is what is there."""

from __future__ import annotations

import ast
import re

from architecture import ROOT

from scherbelberg import Cluster, Phase
from scherbelberg.concurrency.operations import Operation
from scherbelberg.scheduler import client

_DOCS = (ROOT / "docs/embedding.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"^```python\n(.*?)^```$", _DOCS, re.MULTILINE | re.DOTALL)
_EXAMPLE = (ROOT / "docs/examples/pyside6_progress.py").read_text(encoding="utf-8")


def test_example_is_the_file() -> None:
    """The page shows the whole example that is tested, word by word."""
    assert _EXAMPLE in _BLOCKS


def test_other_examples_are_python() -> None:
    """Each example can be compiled, a cell with await too."""
    assert len(_BLOCKS) == 8
    for block in _BLOCKS:
        compile(block, "docs/embedding.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_named_things_exist() -> None:
    """Phases, methods and what a lost connection is told are as the page says."""
    words = set(re.findall(r"`(\w+)", _DOCS))
    assert words >= {phase.value for phase in Phase}
    public = {name for name in vars(Operation) if not name.startswith("_")}
    assert public <= words
    names = ("from_new", "from_existing", "get_client", "export", "extend", "destroy")
    assert all(hasattr(Cluster, name) for name in names)
    plain = re.sub(r"\s*\n>?\s*", " ", _DOCS)
    assert client._LOST in plain
    assert f"{client.RECONNECT_S} s" in _DOCS
