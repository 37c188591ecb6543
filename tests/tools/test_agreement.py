# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether locks agree with each other, and constraints with locks."""

from __future__ import annotations

from agreement import between_platforms, pinned_lines, with_requirements
from architecture import ROOT
from changed_locks import with_version
from repository import locks_in, read

_CONSTRAINTS = read(ROOT / "constraints.txt")


def test_broken_constraints() -> None:
    """Constraints that pin a compared package otherwise for a Python that has a lock are found, and no others."""
    locks = locks_in(ROOT)

    def found(text: str) -> tuple[str, ...]:
        return with_requirements(pinned_lines(text), locks, source="it")

    assert found(_CONSTRAINTS) == ()
    changed = _CONSTRAINTS.replace("\ndask==2026.7.1", "\ndask==2026.7.0")
    assert changed != _CONSTRAINTS
    assert "it has dask==2026.7.0 for Python 3.12, main-py312-linux-64 2026.7.1" in found(changed)
    assert (
        found("dask==1; python_version == '3.11'\nrequests==1\ndask>=1\n-r other.txt\n# dask==1\n--hash=dask==1\n")
        == ()
    )
    assert len(found("dask==1; python_version >= '3.13' \\\n    --hash=sha256:0\n")) == 4
    assert len(found("dask==1; python_full_version < '3.13.1' # via x\n")) == 4


def test_between_platforms() -> None:
    """What must not differ is told apart from what may; different Pythons and profiles may differ in everything."""
    locks = locks_in(ROOT)
    wrong, noted = between_platforms(locks.values())
    assert (wrong, len(noted)) == ((), 1)
    changed = {**locks, "main-py312-linux-64": with_version(locks["main-py312-linux-64"], "pyarrow", "1.0")}
    assert len(between_platforms(changed.values())[0]) == 1
