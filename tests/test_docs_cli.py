# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""docs/cli.md says what the program does: each command, each option, each exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from schemas import FOLDER

from scherbelberg.cli.main import CANCELLED, UNEXPECTED, USAGE, group
from scherbelberg.errors import ExitCode, ScherbelbergError

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
#: Said once for all commands.
SHARED = {"--help", "--quiet", "--verbose", "--version"}
_SUFFIXES = {".md", ".py", ".sh", ".nix", ".yml", ".toml", ".ipynb"}
#: What options and a command were called before; no text may lead a user to them.
_OLD = re.compile(
    r"(?<![\w-])--(?:worker|scheduler|with|direct|warden|keep|idle|shorten|here|cidr)(?![\w-])|scherbelberg put\b"
)


def _commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _commands(inner, (*words, name))
    else:
        yield " ".join(words), command


def _sections() -> dict[str, str]:
    """Command to what the page says of it."""
    parts = re.split(r"^### `scherbelberg (.*)`$", PAGE, flags=re.MULTILINE)
    texts = [re.split(r"^#+ ", text, flags=re.MULTILINE)[0] for text in parts[2::2]]
    return {_named(heading): text for heading, text in zip(parts[1::2], texts, strict=True)}


def _named(heading: str) -> str:
    """The command that a heading is about, or the heading itself."""
    names = sorted((name for name, _ in _commands(group)), key=len, reverse=True)
    return next((name for name in names if f"{heading} ".startswith(f"{name} ")), heading)


def test_commands() -> None:
    """Each command has a section, and no section is about something else."""
    assert sorted(_sections()) == sorted(name for name, _ in _commands(group))


def test_options() -> None:
    """Each option is in its command's section by its long name, and no section tells of an option that is not there."""
    sections = _sections()
    for name, command in _commands(group):
        options = [option for option in command.params if isinstance(option, click.Option)]
        own = {max(option.opts, key=len) for option in options} - SHARED
        told = set(re.findall(r"--[a-z][a-z-]+", sections[name]))
        assert own - told == set(), name
        assert told - own - SHARED == set(), name


def _texts() -> dict[str, str]:
    """All that users read: help, and files by their paths."""
    helps = {name: one.get_help(click.Context(one, info_name=name)) for name, one in _commands(group)}
    folders = [ROOT / name for name in ("docs", "scherbelberg", "nix", "bench")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in _SUFFIXES]
    paths += [ROOT / "README.md", ROOT / "SECURITY.md"]
    return helps | {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def test_no_old_words() -> None:
    """No help, document or message names an option or a command by the word that it had before."""
    assert {name: found for name, text in _texts().items() if (found := _OLD.findall(text))} == {}


def test_help_is_laid_out() -> None:
    """No help shows the marks by which click is told how to lay it out."""
    texts = [one.get_help(click.Context(one, info_name=name)) for name, one in _commands(group)]
    assert [text for text in texts if "\\b" in text or "\b" in text] == []


@pytest.mark.parametrize("word", ["--worker cx23", "--keep,", "`--with`", "--idle=2h", "scherbelberg put a b:c"])
def test_old_words_are_found(word: str) -> None:
    """An old word is found wherever it stands, and a longer one of today is not taken for it."""
    assert _OLD.search(word)
    assert not _OLD.search("--workers 2 --worker-type x --without --keep-on-failure --idle-timeout scherbelberg putty")


def _parts(text: str, heading: str) -> dict[str, str]:
    """Headings of a text to what stands below them; what stands above the first is that of an empty one."""
    first, *others = re.split(heading, text, flags=re.MULTILINE)
    return {"": first} | dict(zip(others[::2], others[1::2], strict=True))


@pytest.mark.parametrize("name", ["create", "with"])
def test_headings(name: str) -> None:
    """Help lists each option once, and under the heading under which the page tells of it."""
    command = dict(_commands(group))[name]
    context = click.Context(command, info_name=name)
    listed = _parts(command.get_help(context), r"^(\S.*):$")
    told = _parts(_sections()["create"], r"^\*\*(.*)\*\*$")
    assert list(listed)[2:] == list(told)[1:]
    found = {heading: re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.MULTILINE) for heading, text in listed.items()}
    options = [max(one.opts, key=len) for one in command.get_params(context) if isinstance(one, click.Option)]
    assert sorted(option for names in found.values() for option in names) == sorted(options)
    for heading, names in found.items():
        text = told["" if heading == "Options" else heading]
        assert [option for option in names if option not in text and option not in SHARED] == [], heading


def test_shared_options() -> None:
    """What all commands have in common is told once."""
    before = PAGE.partition("## Commands")[0]
    assert {option for option in SHARED if option not in before} == set()


def _kinds(kind: type[ScherbelbergError]) -> list[type[ScherbelbergError]]:
    return [kind, *(found for one in kind.__subclasses__() for found in _kinds(one))]


def test_exit_codes() -> None:
    """The table has each exit code with all the words that programs may find beside it, and no other."""
    rows = re.findall(r"^\| (\d+) \|([^|]*)\|", PAGE, flags=re.MULTILINE)
    table = {int(code): set(re.findall(r"`([a-z_]+)`", words)) for code, words in rows}
    expected: dict[int, set[str]] = {int(code): set() for code in ExitCode}
    for kind in _kinds(ScherbelbergError):
        expected[int(kind.exit_code)].add(kind.code)
    expected[int(ExitCode.USAGE)].add(USAGE)
    expected[int(ExitCode.FAILURE)].add(UNEXPECTED)
    expected[int(ExitCode.INTERRUPTED)].add(CANCELLED)
    expected[int(ExitCode.TERMINATED)].add(CANCELLED)
    assert table == expected


def test_schemas() -> None:
    """Each schema is linked."""
    assert set(re.findall(r"\(schema/([a-z-]+)\.json\)", PAGE)) == {path.stem for path in FOLDER.iterdir()}
