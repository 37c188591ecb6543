# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What work finds on nodes, as values: what is refused, and what nobody gets to see."""

from __future__ import annotations

import mmap
import shutil
import subprocess
import sys

import pytest
from catalogues import FEW
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.errors import BadInput
from scherbelberg.spec.workload import WorkEnvironment

_BASH = shutil.which("bash")
_VALUE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"A-B": "x"}, "'A-B' is not the name"),
        ({"": "x"}, "'' is not the name"),
        ({"1A": "x"}, "'1A' is not the name"),
        ({"A\n": "x"}, "is not the name"),
        ({"A": "x\0"}, "contains a zero byte"),
        ({"A": 1}, "is not a string"),
        ({"A": "\udce9"}, "variable A cannot be encoded as UTF-8"),
        ({"A": "1", "B": "x" * 2**17}, "variable B has 131074 bytes, and all together have 131077"),
        ({f"A{number}": "x" * 10**5 for number in range(10)}, "and all together have 1000030"),
        ({"PATH": "/x"}, "PATH cannot be set on nodes"),
        ({"LD_PRELOAD": "/x"}, "cannot be set on nodes"),
        ({"PYTHONPATH": "/x"}, "cannot be set on nodes"),
        ({"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "False"}, "cannot be set on nodes"),
        ({"SCHERBELBERG_DIRECT": "tls://x"}, "cannot be set on nodes"),
        ({"SECONDS": "1"}, "the shell reserves it"),
        ({"UID": "1"}, "the shell reserves it"),
        ({"_": "1"}, "the shell reserves it"),
    ],
)
@pytest.mark.parametrize("kind", ["environ", "secrets"])
def test_refused(kind: str, environ: dict[str, str], words: str) -> None:
    """Names that are none, values that no variable holds, and what decides over Dask itself are refused."""
    with pytest.raises(BadInput, match=words):
        WorkEnvironment(**{kind: environ})  # type: ignore[arg-type] # one of two fields of the same type


def test_nothing_is_shown() -> None:
    """The representation holds no value, and an error names variables only."""
    provisions = WorkEnvironment(environ={"A": "plain"}, secrets={"KEY": "hush"}, dask_config="token: hush")
    assert repr(provisions) == "WorkEnvironment()"
    with pytest.raises(BadInput) as caught:
        WorkEnvironment(secrets={"KEY": "hush\0"})
    assert "hush" not in caught.value.message


def test_a_secret_wins() -> None:
    """Of a variable and a secret of one name, the secret is set; Dask's own settings but for its encryption may be."""
    provisions = WorkEnvironment(
        environ={"B": "1", "A": "no", "DASK_LOGGING__DISTRIBUTED": "info"}, secrets={"A": "yes"}
    )
    assert provisions.script() == "export A=yes\nexport B=1\nexport DASK_LOGGING__DISTRIBUTED=info\n"


@pytest.mark.skipif(
    _BASH is None or sys.platform != "linux" or mmap.PAGESIZE != 4096, reason="needs bash on a common Linux"
)
def test_largest_value() -> None:
    """What is taken at the most is what Linux starts a program with, and no byte more."""
    text = "x" * (2**17 - 3)
    for more, code in (("", 0), ("x", 126)):
        script = f"export A={text}{more}; exec env true"
        done = subprocess.run([str(_BASH)], input=script.encode(), env={}, check=False, capture_output=True, timeout=20)
        assert done.returncode == code
    assert WorkEnvironment(environ={"A": text}).environ == {"A": text}
    with pytest.raises(BadInput, match="131072 bytes"):
        WorkEnvironment(environ={"A": f"{text}x"})
    many = [{f"{letter}{number}": "x" * 10**5 for number in range(5)} for letter in "AB"]
    with pytest.raises(BadInput, match="all together"):
        WorkEnvironment(environ=many[0], secrets=many[1])


@pytest.mark.skipif(_BASH is None, reason="bash is not installed")
@FEW
@given(st.dictionaries(st.from_regex(r"V[A-Z_]{0,8}", fullmatch=True), _VALUE, min_size=1, max_size=9))
def test_values_survive_bash(variables: dict[str, str]) -> None:
    """Whatever a value holds, a program that bash starts finds exactly that in its environment."""
    script = "set -eu; source /dev/stdin; exec env -0"
    done = subprocess.run(
        [str(_BASH), "-c", script],
        input=WorkEnvironment(secrets=variables).script().encode(),
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
        timeout=20,
    )
    found = dict(row.split("=", 1) for row in done.stdout.decode().split("\0")[:-1])
    assert {name: found[name] for name in variables} == variables
