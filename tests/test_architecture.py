# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The rules of the house: arrows go one way, a foreign library has one room, nothing ambient is touched elsewhere."""

from __future__ import annotations

import ast
import graphlib
import sys
from functools import cache

import pytest
from architecture import (
    PACKAGE,
    ROOT,
    attrs_classes,
    files_without_encoding,
    imports,
    is_in,
    is_pure,
    is_used,
    own_imports,
    package,
    programs_without_encoding,
    sources,
    uses,
)

#: The rooms, lowest first: each may import from those before it, and from itself where that makes no circle.
ROOMS = (
    "errors",
    "events",
    "spec",
    "concurrency",
    "cloud",
    "settings",
    "environments",
    "planning",
    "state",
    "inventory",
    "scheduler",
    "nodes",
    "lifecycle",
    "node",
    "cluster",
    "sync",
    "cli",
    "__main__",
)
#: What runs on nodes, by value or as a file, imports nothing of ours; `cli` alone imports the demo's work.
BESIDE = {"libstats", "sandbox", "share"}
#: What the sandbox may know of the product.
SANDBOX_KNOWS = {
    "errors",
    "environments.versions",
    "environments.interpreter",
    "environments.installed",
    "concurrency.waiting",
}
#: Modules and rooms that only think: they wait for nothing, ask no clock and reach out to nothing.
PURE = {
    "cloud.access",
    "cloud.answers",
    "cloud.offers",
    "cloud.pricing",
    "cloud.resources",
    "concurrency.exhaustion",
    "environments.environment_file",
    "environments.fit",
    "environments.lock",
    "environments.pylock",
    "environments.pypi",
    "environments.versions",
    "errors",
    "inventory.clusters",
    "inventory.deadlines",
    "inventory.ledger",
    "inventory.orphans",
    "inventory.validity",
    "lifecycle.diagnosis",
    "nodes.logs",
    "nodes.openssh",
    "nodes.payload",
    "nodes.reachability",
    "planning",
    "spec.legacy",
    "spec.licence",
    "spec.model",
    "spec.strict_yaml",
    "spec.toml",
    "spec.urls",
    "state.keys",
    "state.manifest",
}

#: Foreign library to the modules or rooms that may import it. attrs is everybody's.
LIBRARIES = {
    "asyncssh": {"nodes.ssh", "sandbox"},
    "attrs": {""},
    "click": {"cli"},
    "cloudpickle": {"cli.sandbox"},
    "cryptography": {"state.keys", "sandbox"},
    "dask": {"scheduler.client", "cli.sandbox", "share"},
    "distributed": {
        "scheduler.client",
        "scheduler.proof_program",
        "cli.sandbox",
        "sandbox.hosts.scripted.dask",
        "share",
    },
    "hcloud": {"cloud.transport"},
    "platformdirs": {"settings"},
    "psutil": {"concurrency.processes", "sandbox"},
    "packaging": {"environments.foreign_locks", "environments.pylock"},
    "rattler": {"environments.channels", "environments.foreign_locks"},
    "requests": {"cloud.transport"},
    "rich": {"cli"},
    "tornado": {"sandbox", "share"},
    "uv": {"environments.wheels"},
    "yaml": {"spec.strict_yaml", "sandbox"},
}

#: Name, or method with a dot before it, to the rooms that may use it.
ONLY_IN: dict[str, set[str]] = {
    "os.environ": {"settings", "sandbox", "share"},
    "os.environb": {"settings", "sandbox"},
    "os.getenv": {"settings", "sandbox"},
    "os.putenv": set(),
    "os.kill": {"sandbox"},
    "os.killpg": {"sandbox"},
    "os.fork": {"sandbox"},
    "os.forkpty": {"sandbox"},
    "os.chmod": {"sandbox"},
    "os.umask": {"sandbox"},
    ".chmod": {"sandbox"},
    ".add_signal_handler": {"sandbox"},
    "fcntl": {"sandbox"},
    "msvcrt": {"sandbox"},
    "pty": {"sandbox"},
    "termios": {"sandbox"},
    "signal": {"concurrency.loop", "cli.early_signals", "cli.signals", "sandbox"},
    "asyncio.sleep": {"concurrency.waiting", "share"},
    "time.sleep": {"concurrency.waiting", "share"},
    "logging.basicConfig": {"sandbox"},
}

#: What thought has no use for: everything that reaches out, and the clock.
IMPURE = (
    *("asyncio", "concurrent", "getpass", "glob", "http", "logging", "multiprocessing", "os", "platform.machine"),
    *("platform.node", "platform.python_version", "platform.system", "random", "secrets", "select", "shutil"),
    *("signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "open", "print"),
    *("input", ".read_text", ".read_bytes", ".write_text", ".write_bytes", ".exists", ".iterdir", ".mkdir"),
    *(".unlink", "datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow"),
    *("datetime.date.today"),
)

MOST_LINES = 600
_SPDX = [
    "# SPDX-FileCopyrightText: The scherbelberg authors",
    "# SPDX-License-Identifier: BSD-3-Clause",
]


@cache
def arrows() -> dict[str, set[str]]:
    """Which of our modules each of them imports."""
    return own_imports(package())


def _top(name: str) -> str:
    return name.partition(".")[0]


def _place(name: str) -> int:
    return ROOMS.index(_top(name)) if _top(name) in ROOMS else -1


def test_every_module_has_a_room() -> None:
    """A new module is put into a room, and a new room is given its place here."""
    tops = {_top(name) for name in package()} - {""}
    assert tops == set(ROOMS) | BESIDE


def test_arrows_go_one_way() -> None:
    """No room imports from one that comes after it."""
    wrong = [
        f"{name} -> {other}"
        for name, others in arrows().items()
        for other in sorted(others)
        if _place(other) > _place(name) >= 0
    ]
    assert wrong == []


def test_no_circles() -> None:
    """No module imports itself by way of others, not even in a function."""
    try:
        graphlib.TopologicalSorter(arrows()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_package_itself_imports_nothing() -> None:
    """Importing the package costs nothing; its names are loaded when they are used."""
    assert arrows()[""] == set()
    assert {_top(name) for name in imports(package()[""], package())} <= set(sys.stdlib_module_names)


def test_only_the_door_imports_what_stands_beside() -> None:
    """The product does not know that there is a sandbox or a demo, and runs one file of those for nodes itself."""
    wrong = [
        f"{name} -> {other}"
        for name, others in arrows().items()
        for other in sorted(others)
        if _top(other) in BESIDE and _top(name) not in {"cli", _top(other)} and other != "share.openssl_errors"
    ]
    assert wrong == []


def test_what_stands_beside_knows_little() -> None:
    """The sandbox uses four modules of the product's, and the demo's work none."""
    known = {other for name, others in arrows().items() if _top(name) == "sandbox" for other in others}
    assert {name for name in known if not is_in(name, {"sandbox"})} <= SANDBOX_KNOWS
    assert arrows()["libstats"] == set()


def test_one_foreign_library_per_room() -> None:
    """Every foreign library is imported in its room alone, and none that is not in the table."""
    wrong = [
        f"{name} imports {library}"
        for name, tree in package().items()
        for library in sorted({_top(full) for full in imports(tree, package())})
        if library not in sys.stdlib_module_names and library != PACKAGE
        if not ("" in LIBRARIES.get(library, ()) or is_in(name, LIBRARIES.get(library, ())))
    ]
    assert wrong == []


def test_rooms_are_used() -> None:
    """The table of foreign libraries names none that is not used."""
    imported = {_top(full) for tree in package().values() for full in imports(tree, package())}
    assert set(LIBRARIES) <= imported


@pytest.mark.parametrize("name", sorted(name for name in package() if is_in(name, PURE)))
def test_thought_is_pure(name: str) -> None:
    """What only thinks waits for nothing, asks no clock and reaches out to nothing."""
    used = uses(package()[name])
    assert is_pure(package()[name])
    assert [wanted for wanted in IMPURE if is_used(wanted, used)] == []


@pytest.mark.parametrize(("wanted", "rooms"), ONLY_IN.items())
def test_only_in_its_room(wanted: str, rooms: set[str]) -> None:
    """What depends on the surroundings or the operating system sits in one place."""
    found = [name for name, tree in package().items() if not is_in(name, rooms) and is_used(wanted, uses(tree))]
    assert found == []


def test_values_are_frozen() -> None:
    """The product's values cannot be changed, and are made by naming their fields."""
    wrong = [
        f"{name}.{kind}: {how}"
        for name, tree in package().items()
        if not is_in(name, {"sandbox"})
        for kind, how in attrs_classes(tree).items()
        if how != "frozen(kw_only=True)"
    ]
    assert wrong == []


def everything() -> dict[str, ast.Module]:
    """All Python files of product, tests and tools, by their paths."""
    return sources(PACKAGE) | sources("tests") | sources("tools")


def test_licence() -> None:
    """Every file begins with the two lines that say whose it is and under which licence."""
    files = [ROOT / path for path in everything()] + [
        path for path in (ROOT / PACKAGE / "share").rglob("*") if path.is_file()
    ]
    files = [path for path in files if path.suffix not in {".json", ".pyc"}]  # which take no comment
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8").splitlines() for path in files}
    begins = {path: [line for line in lines[:3] if not line.startswith("#!")][:2] for path, lines in texts.items()}
    assert [path for path, lines in begins.items() if lines != _SPDX] == []


@pytest.mark.parametrize("folder", [PACKAGE, "tests", "tools"])
def test_length(folder: str) -> None:
    """No file is longer than one wants to read."""
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in sources(folder)}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


def test_encoding() -> None:
    """Text is written and read as UTF-8 because it says so, not because the computer likes to."""
    found = {path: files_without_encoding(tree) for path, tree in everything().items()}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_encoding_of_programs() -> None:
    """What other programs say is read in an encoding that is stated, or as bytes."""
    found = {name: programs_without_encoding(tree) for name, tree in package().items()}
    assert {name: lines for name, lines in found.items() if lines} == {}
