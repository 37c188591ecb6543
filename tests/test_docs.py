# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The documents keep up with the program: exit codes, commands, and links between pages."""

from __future__ import annotations

import inspect
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from scherbelberg import errors
from scherbelberg.cli.env import env
from scherbelberg.cli.main import _COMMANDS, group
from scherbelberg.cli.options import ENVIRONMENT_FIELDS, environment_options
from scherbelberg.environments.environment_file import FileKind
from scherbelberg.environments.fit import PROFILES
from scherbelberg.environments.versions import OPTIONAL, REQUIRED
from scherbelberg.errors import ExitCode, ScherbelbergError

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "SECURITY.md"])
_PARTS = ("**What happened.**", "**Usual causes.**", "**What to do.**")


def _read(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def _sections() -> dict[int, str]:
    """The sections of the page of troubles, by exit code."""
    pieces = re.split(r"^## (\d+): .*$", _read("troubleshooting.md"), flags=re.MULTILINE)[1:]
    assert len(pieces) == 2 * len(set(pieces[::2]))
    return {int(code): text for code, text in zip(pieces[::2], pieces[1::2], strict=True)}


def _kinds() -> list[type[ScherbelbergError]]:
    """All kinds of errors."""
    classes = (kind for _, kind in inspect.getmembers(errors, inspect.isclass))
    return [kind for kind in classes if issubclass(kind, ScherbelbergError)]


def test_every_exit_code_has_its_section() -> None:
    """The page of troubles has one section for each exit code, in order, and each says the same three things."""
    sections = _sections()
    assert list(sections) == sorted(int(code) for code in ExitCode)
    for text in sections.values():
        assert [text.count(part) for part in _PARTS] == [1, 1, 1]


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.code)
def test_every_error_is_in_its_section(kind: type[ScherbelbergError]) -> None:
    """The word of each error stands where its exit code is explained."""
    assert f"`{kind.code}`" in _sections()[int(kind.exit_code)]


def test_every_command_has_its_row() -> None:
    """The page of platforms has one row for each command, in order, and says one of three words in each place."""
    rows = re.findall(r"^\| `([a-z]+)` \|[^|]*\|(.*)\|$", _read("platforms.md"), flags=re.MULTILINE)
    assert [name for name, _ in rows] == sorted(_COMMANDS)
    for _, words in rows:
        cells = [cell.strip() for cell in words.split("|")]
        assert len(cells) == 4
        assert set(cells) <= {"proven", "unproven", "unsupported"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """What a page refers to beside it is there."""
    targets = re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def _anchors(page: Path) -> set[str]:
    """How the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_headings(page: Path) -> None:
    """What a page refers to within a page is a heading there."""
    targets = re.findall(r"\]\(([^):]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    found = [(name, anchor) for name, anchor in targets if anchor not in _anchors(page.parent / name if name else page)]
    assert found == []


def test_environments() -> None:
    """The page of environments names all that can be asked for, all that is compared, and all that can be read."""
    page = _read("environments.md")
    options = [max(one.opts, key=len) for one in environment_options(click.Command("x")).params]
    assert {"--env", "--client"} <= set(options)
    words = [*options, *ENVIRONMENT_FIELDS, *(f"env {name}" for name in env.commands), *REQUIRED, *OPTIONAL]
    words += [*PROFILES, *(kind.value for kind in FileKind)]
    words += ["SCHERBELBERG_CHANNEL_MIRROR", "SCHERBELBERG_MINIFORGE_MIRROR", "VIRTUAL_ENV", "CONDA_PREFIX"]
    assert [word for word in words if word not in page] == []


def test_readme_uses_the_extras() -> None:
    """The README installs the versions of the shipped environments, and their extras are there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert [name for name in PROFILES if f"'.[{name}]'" not in readme or name not in extras] == []


#: "pip install 'scherbelberg[main]'", "uvx scherbelberg", "pipx run scherbelberg", ...
_COMMAND = (
    r"\b(?:(?:pip3?|pipx|uv|poetry|pdm|pixi|conda|mamba)\b[^\n`]*?\b(?:install|add|run)|uvx)\b"
    r"[^\n`]*?[\s'\"]scherbelberg(?![\w./-])(?:\[[^\]\n]*\])?+(?! @ )"
)
#: A line of requirements, or of an environment.yml.
_REQUIREMENT = r"(?m)^ *(?:- )?['\"]?scherbelberg(?:\[[^\]\n]*\])? *['\"]?(?:[=<>~!]=.*)?$"


def _told() -> list[Path]:
    """All files that users read, or that say something to them."""
    roots = [ROOT / name for name in ("docs", "scherbelberg", "nix", "bench", ".github")]
    found = [path for root in roots for path in root.rglob("*") if path.suffix in {".md", ".py", ".nix", ".yml", ".sh"}]
    return [*found, ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "flake.nix", ROOT / "pyproject.toml"]


def _by_name(text: str) -> list[str]:
    """What in a text would have an index say what scherbelberg is."""
    joined = re.sub(r"['\"]\s*\n\s*f?['\"]", "", text)  # sentences in Python stand on several lines
    return [
        match[0]
        for pattern in (_COMMAND, _REQUIREMENT)
        for one in {text, joined}
        for match in re.finditer(pattern, one)
    ]


def test_nobody_is_led_to_another_program() -> None:
    """No document, message or example installs scherbelberg by its name alone, under which an index has another."""
    assert {str(path): found for path in _told() if (found := _by_name(path.read_text(encoding="utf-8")))} == {}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "Never install it by its name alone" in readme
    assert "'scherbelberg[main] @ git+https://ADDRESS-OF-THIS-REPOSITORY'" in readme


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("pip install scherbelberg", True),
        ("`pip install 'scherbelberg[main]'`", True),
        ("- run: pip install -U 'scherbelberg[main]'", True),
        ('"and a client that fits (pip install"\n        " \'scherbelberg[main]\')."', True),
        ("uv add scherbelberg==0.1", True),
        ("uvx scherbelberg create", True),
        ("pipx run --spec scherbelberg scherbelberg", True),
        ("dependencies:\n  - pip:\n      - scherbelberg[main]\n", True),
        ("scherbelberg>=0.1\n", True),
        ("pip install '.[main]'", False),
        ("pip install 'scherbelberg[main] @ git+https://ADDRESS-OF-THIS-REPOSITORY'", False),
        (".venv/bin/pip install . && .venv/bin/scherbelberg demo", False),
        ("nix run .#scherbelberg -- demo", False),
    ],
)
def test_installing_by_name_is_found(text: str, is_found: bool) -> None:
    """Whatever installs by the name is found, and what names a folder or an address is not."""
    assert bool(_by_name(text)) is is_found


def test_security_names_tests_that_are_there() -> None:
    """Each test that SECURITY.md calls a proof exists."""
    named = re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_workflow_for_github() -> None:
    """The example for GitHub Actions calls commands that there are, with options that they have."""
    workflow = yaml.safe_load((ROOT / "docs" / "examples" / "github-actions.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    lines = [step["run"].partition("||")[0] for step in steps if step.get("run", "").startswith("scherbelberg")]
    assert [line.split()[1] for line in lines] == ["with", "nuke", "gc"]
    for line in lines:
        _, name, *words = shlex.split(line.replace("$PREFIX", workflow["env"]["PREFIX"]))
        found = group.get_command(click.Context(group), name)
        assert found is not None
        assert found.make_context(name, words).params["prefix"] == "nightly"
    (always,) = [step for step in steps if step.get("if") == "always()"]
    assert always["run"].startswith("scherbelberg nuke")
