# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""One word for one thing: the glossary is true, and names that were replaced do not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from architecture import ROOT, is_in, package

_GLOSSARY = ROOT / "docs" / "glossary.md"
#: What has a vocabulary of its own: emulated hosts and files that run on nodes.
_ELSEWHERE = {"sandbox", "share"}

#: Functions, classes and constants of modules that have other names now.
_OLD_DEFINITIONS = """
    Answered Answers Busy Carried Clock DEAREST Door Ears Ended Garbage Gone HARD Holding Judged Kept Leaving Links
    Modern Outliving Passing Provisions Remaining Remembered Renting Roster Tried Verdict WhereaboutsUnknown _Talk
    _bywrite_price _lead _worth around at_once attached billed call_out carried charged charges chosen complaints
    counted created decoded described despite_standstills err explained finish fixed freed give_back give_back_all
    give_up guarded happening heard holdings ignore is_connections is_held_against_us is_of is_our_own kept lead
    leave left left_out left_words let_in limited linked make mirrored modern normalized noted nothing_left offered
    out outliving overview packed paid_on part_in_peace place planned point_out public quiet_s raised read_whole
    redacted remedied resolved returned say sift soft_pins soon_s spent still_paid_for stranger_in sum_of survey
    take_in together told triage unasked undone_on_failure unproven voice_options watched way_from whatever where
    whole with_heard words_for worth
"""
#: Methods and properties likewise.
_OLD_METHODS = """
    _do_without again anew described ensure given_up is_doomed least_workers let_live lives may_go_on moved noted
    renew rented replaces settled standstills take_in visit whole
"""
#: Fields of classes likewise.
_OLD_FIELDS = "REMAINS holding kept links own provisions quiet_s replaces"


def _rows() -> list[list[str]]:
    """Term, meaning and name in the code, of each row of the glossary."""
    lines = [line for line in _GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]


def _definitions(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names that a module defines, each with the list of old names that it must not have."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield _OLD_DEFINITIONS, node.name
        elif isinstance(node, ast.Assign):
            yield from ((_OLD_DEFINITIONS, one.id) for one in node.targets if isinstance(one, ast.Name))
    for kind in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for node in kind.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield _OLD_METHODS, node.name
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield _OLD_FIELDS, node.target.id
            elif isinstance(node, ast.Assign):
                yield from ((_OLD_FIELDS, one.id) for one in node.targets if isinstance(one, ast.Name))


def test_old_names_stay_away() -> None:
    """Nothing in the product has a name that was replaced by a plainer one."""
    found = [
        f"{module}: {name}"
        for module, tree in package().items()
        if not is_in(module, _ELSEWHERE)
        for old, name in _definitions(tree)
        if name in old.split()
    ]
    assert found == []


def test_glossary_has_one_sentence_for_each_term() -> None:
    """Terms stand in order, none twice, and each is explained by one sentence."""
    rows = _rows()
    terms = [row[0] for row in rows]
    assert terms == sorted(set(terms))
    assert len(terms) >= 30
    assert [row[0] for row in rows if not re.fullmatch(r"[A-Z][^.]*\.", row[1])] == []


def test_glossary_names_what_there_is() -> None:
    """Every name in the glossary is one of a class, function, method or field of the product."""
    known = {name for tree in package().values() for _, name in _definitions(tree)}
    names = {name for row in _rows() for name in re.findall(r"`(\w+)`", row[2])}
    assert len(names) >= 30
    assert names - known == set()


def test_glossary_is_linked() -> None:
    """The README leads to the glossary."""
    assert "](docs/glossary.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
