# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Arguments of 0.0.6, what became of them, and hints for names that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scherbelberg import Cluster, ClusterSpec, Ports, sync
from scherbelberg.errors import BadInput, TokenMissing
from scherbelberg.spec.legacy import ParsedArguments, old_token_variable, parse_legacy_arguments

OLD = {
    "tokenvar": ("MY_TOKEN", "use token="),
    "wait": (0.5, "use timeouts=Timeouts"),
    "datacenter": ("fsn1-dc14", "use location="),
    "dask_ipc": (8900, r"use ports=Ports\(scheduler="),
    "dask_dash": (8901, r"use ports=Ports\(dashboard="),
    "dask_nanny": (8902, r"use ports=Ports\(nanny="),
}


def _translated(spec: ClusterSpec | str | None, **given: Any) -> ParsedArguments:
    with pytest.warns(DeprecationWarning, match=r"is of scherbelberg 0\.0\.6"):
        return parse_legacy_arguments(spec, given, call="f")


@pytest.mark.parametrize("name", OLD)
def test_each_old_name_is_warned_of_once(name: str) -> None:
    """Every old argument names its successor, in one warning."""
    value, words = OLD[name]
    with pytest.warns(DeprecationWarning, match=f"'{name}' is of scherbelberg 0.0.6: {words}") as caught:
        parse_legacy_arguments(None, {name: value}, call="f")
    assert len(caught) == 1


def test_translation() -> None:
    """Values arrive under today's names, and what has no meaning any more is dropped."""
    given = {name: value for name, (value, _) in OLD.items()}
    assert _translated(None, workers=3, **given) == ParsedArguments(
        spec=None,
        fields={"workers": 3, "location": "fsn1", "ports": Ports(scheduler=8900, dashboard=8901, nanny=8902)},
        token_variable="MY_TOKEN",
    )


def test_ports_of_a_spec_stay() -> None:
    """An old port changes one of a spec's ports and leaves the others."""
    spec = ClusterSpec(ports=Ports(scheduler=7000, worker=7100))
    assert _translated(spec, dask_dash=7001).fields == {"ports": Ports(scheduler=7000, dashboard=7001, worker=7100)}


def test_prefix_without_its_name() -> None:
    """What was the first argument of old is the prefix."""
    assert _translated("lab", workers=1) == ParsedArguments(
        spec=None, fields={"prefix": "lab", "workers": 1}, token_variable=None
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"datacenter": "fsn1-dc14", "location": "nbg1"}, "'location' contradict each other"),
        ({"dask_ipc": 8900, "ports": Ports()}, "'ports' contradict each other"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_contradictions(given: dict[str, Any], words: str) -> None:
    """An old argument that says something else than its successor is refused."""
    with pytest.raises(BadInput, match=words):
        parse_legacy_arguments(None, given, call="f")


def test_nothing_old_nothing_said() -> None:
    """Today's names pass without a word."""
    assert parse_legacy_arguments(None, {"workers": 1}, call="f").fields == {"workers": 1}
    assert old_token_variable({}, call="f") is None


@pytest.mark.parametrize("face", [Cluster, sync.Cluster])
@pytest.mark.parametrize(
    ("call", "name", "words"),
    [
        ("from_new", "worker_count", r"from_new has no argument 'worker_count': did you mean 'worker"),
        ("from_new", "secret", "did you mean 'secrets'"),
        ("from_new", "zzz", "there are prefix, workers, .* secrets"),
        ("from_existing", "tokn", r"from_existing has no argument 'tokn': did you mean 'token'"),
        ("from_existing", "workers", "has no argument 'workers'"),
        ("nuke", "perfix", r"nuke has no argument 'perfix': did you mean 'prefix'"),
    ],
)
def test_unknown_names(face: Any, call: str, name: str, words: str) -> None:
    """A name that is none is refused at the call, and the nearest one is suggested."""
    with pytest.raises(TypeError, match=words):
        getattr(face, call)(**{name: 1})


def _calls() -> dict[str, Callable[[], Any]]:
    return {
        "new": lambda: sync.Cluster.from_new(tokenvar="NO_SUCH_VARIABLE"),
        "existing": lambda: sync.Cluster.from_existing("x", tokenvar="NO_SUCH_VARIABLE"),
        "nuke": lambda: sync.Cluster.nuke("x", tokenvar="NO_SUCH_VARIABLE"),
    }


@pytest.mark.parametrize("name", ["new", "existing", "nuke"])
def test_warnings_point_at_the_caller(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning is of the line that calls; the variable it names is read, and said to be missing if it is."""
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    with (
        pytest.warns(DeprecationWarning, match="tokenvar") as caught,
        pytest.raises(TokenMissing, match="NO_SUCH_VARIABLE"),
    ):
        _calls()[name]()
    assert [warning.filename for warning in caught] == [__file__]


async def test_warnings_of_coroutines_point_at_the_caller() -> None:
    """Also what is awaited later, as a task, warns at the line that calls."""
    for call in (Cluster.from_new, Cluster.from_existing, Cluster.nuke):
        with pytest.warns(DeprecationWarning, match="wait") as caught:
            work = call(wait=1.0)
        work.close()
        assert [warning.filename for warning in caught] == [__file__]
