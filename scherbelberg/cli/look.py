# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg ls`` and ``scherbelberg show``."""

from __future__ import annotations

from pathlib import Path

import click

from scherbelberg.cli.options import json_option, prefix_option, token_option, voice_options, where
from scherbelberg.cli.output import SCHEMA, out
from scherbelberg.spec import check_prefix


@click.command()
@token_option
@json_option
@voice_options
def ls(token_file: Path | None, as_json: bool) -> None:
    """List the project's clusters, whoever made them, and what each has cost so far."""
    settings = where(token_file)
    from scherbelberg.cli.documents import outliving_document, outliving_lines, print_overview  # noqa: PLC0415 - heavy
    from scherbelberg.cli.signals import run  # noqa: PLC0415
    from scherbelberg.cli.story import documents_of, print_json  # noqa: PLC0415
    from scherbelberg.keeping import overview, paid_on  # noqa: PLC0415

    found = run(overview(settings))
    left = run(paid_on(settings))
    documents = documents_of(found, settings)
    if as_json:
        print_json({"schema": SCHEMA, "clusters": documents, "outliving": outliving_document(left)})
        return
    print_overview(documents, out())
    for line in outliving_lines(left):
        out().print(line, highlight=False, markup=False, soft_wrap=True)


@click.command()
@prefix_option
@token_option
@json_option
@voice_options
def show(prefix: str, token_file: Path | None, as_json: bool) -> None:
    """Show a cluster's nodes, prices, cost so far, environment, versions and phases."""
    check_prefix(prefix)
    settings = where(token_file)
    from scherbelberg.cli.story import described  # noqa: PLC0415 - heavy

    described(prefix, settings, out(), as_json=as_json)
