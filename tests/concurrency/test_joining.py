# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where the product awaits the jobs of the private loop."""

from __future__ import annotations

import ast

from architecture import package


def _is_call(node: ast.AST, method: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method


def _joins(tree: ast.Module) -> list[ast.Call]:
    """Where jobs are joined; texts and threads are joined with an argument."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_call(node, "join")]
    return [call for call in calls if not call.args and not call.keywords]


def test_jobs_are_awaited_where_they_are_begun() -> None:
    """Each job is begun and awaited in one expression: a task that is cancelled in between would let it go on."""
    joins = {call: name for name, tree in package().items() for call in _joins(tree)}
    awaited = {node.value for tree in package().values() for node in ast.walk(tree) if isinstance(node, ast.Await)}
    begun = {call for call in joins if isinstance(call.func, ast.Attribute) and _is_call(call.func.value, "submit")}
    assert joins
    assert [f"{name}:{call.lineno}" for call, name in joins.items() if call not in awaited & begun] == []
