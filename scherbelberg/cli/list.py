# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Commands that list and show: clusters, what can be rented, what was paid, what could go wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scherbelberg.cli.options import (
    cluster_names,
    json_option,
    load_settings,
    prefix_option,
    token_option,
    verbosity_options,
)
from scherbelberg.cli.output import SCHEMA, Json, get_reporter, info, stdout_console
from scherbelberg.cli.signals import run, run_until_ctrl_c
from scherbelberg.errors import BadInput
from scherbelberg.settings import endpoint_in, home_folder
from scherbelberg.spec.model import check_prefix

if TYPE_CHECKING:
    from scherbelberg.cloud.resources import Catalog
    from scherbelberg.settings import Settings

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])\Z")


@click.command()
@token_option
@json_option
@verbosity_options
def ls(token_file: Path | None, as_json: bool) -> None:
    """List all clusters of the project, with their deadlines and costs so far."""
    settings = load_settings(token_file)
    from scherbelberg.cli.actions import documents_of  # noqa: PLC0415
    from scherbelberg.cli.documents import orphans_document  # noqa: PLC0415 - heavy
    from scherbelberg.cli.tables import orphan_lines, print_overview  # noqa: PLC0415
    from scherbelberg.inventory.listing import fetch_clusters  # noqa: PLC0415
    from scherbelberg.inventory.orphan_records import read_paid_orphans  # noqa: PLC0415

    found = run(fetch_clusters(settings))
    left = run(read_paid_orphans(settings))
    documents = documents_of(found, settings)
    if as_json:
        get_reporter().answer({"schema": SCHEMA, "clusters": documents, "outliving": orphans_document(left)})
        return
    print_overview(documents, stdout_console())
    for line in orphan_lines(left):
        stdout_console().print(line, highlight=False, markup=False, soft_wrap=True)


@click.command()
@prefix_option
@token_option
@json_option
@verbosity_options
def show(prefix: str, token_file: Path | None, as_json: bool) -> None:
    """Show a cluster's nodes, prices, cost so far, environment, versions and timings."""
    check_prefix(prefix)
    settings = load_settings(token_file)
    from scherbelberg.cli.actions import print_cluster_of  # noqa: PLC0415 - heavy

    print_cluster_of(prefix, settings, stdout_console(), as_json=as_json)


@click.command()
@click.argument("location", required=False)
@click.option("--watch", "watches", is_flag=True, help="Check every minute and print changes until Ctrl-C.")
@token_option
@json_option
@verbosity_options
def catalog(location: str | None, watches: bool, token_file: Path | None, as_json: bool) -> None:
    """Show server types with prices and availability, and locations.

    With LOCATION, such as fsn1, show that location only.
    """
    settings = load_settings(token_file)
    if watches:
        _watch_catalog(settings, location, as_json=as_json)
        return
    from scherbelberg.cli.documents import catalog_document  # noqa: PLC0415 - heavy
    from scherbelberg.cli.tables import print_catalog  # noqa: PLC0415
    from scherbelberg.inventory.listing import read_offers  # noqa: PLC0415

    document = catalog_document(run(read_offers(settings)), location)
    if as_json:
        get_reporter().answer(document)
    else:
        print_catalog(document, stdout_console())


def _watch_catalog(settings: Settings, location: str | None, *, as_json: bool) -> None:
    """Show the catalogue, and then what changes in it; a program gets a document a line, whenever something has."""
    from scherbelberg.cli.documents import catalog_document  # noqa: PLC0415 - heavy
    from scherbelberg.cli.tables import print_catalog  # noqa: PLC0415
    from scherbelberg.inventory.listing import watch_offers  # noqa: PLC0415

    reporter = get_reporter()  # asked for here: what changes is shown on another thread
    before: list[Json] = []

    def show(found: Catalog) -> None:
        document = catalog_document(found, location)
        told = catalog_changes(before[-1], document) if before else []
        if as_json and (told or not before):
            click.echo(json.dumps(document))
        elif not before:
            print_catalog(document, stdout_console())
        for line in () if as_json else told:
            click.echo(f"{datetime.now(UTC).astimezone():%H:%M:%S} {line}")
        before[:] = [document]

    run_until_ctrl_c(watch_offers(settings, show, lost=reporter.info), is_for_readers=True)


def catalog_changes(before: Json, after: Json) -> list[str]:
    """Tell what is sold, for how much, and what the cloud says of its stock, as far as that has changed.

    Args:
        before: As `catalog_document` makes it.
        after: The same, later.

    Returns:
        A sentence for each server type and location, the cheapest type first; those that are sold no more come last.
    """
    old, new = dict(_offers_by_place(before)), dict(_offers_by_place(after))
    lines = [
        f"{words} {change}." for words, offer in new.items() if (change := _offer_change(old.get(words), offer, after))
    ]
    return [*lines, *(f"{words} is not sold any more." for words in old if words not in new)]


def _offers_by_place(document: Json) -> Iterator[tuple[str, Json]]:
    for kind in document["server_types"]:
        for offer in kind["offers"]:
            yield f"{kind['name']} in {offer['location']}", offer


def _offer_change(old: Json | None, new: Json, document: Json) -> str:
    from scherbelberg.cli.tables import money  # noqa: PLC0415 - heavy

    words = []
    price = f"{money(new['hourly']['gross'])} {document['currency']} an hour gross"
    if old is None:
        words.append(f"is sold now, for {price}")
    elif old["hourly"] != new["hourly"]:
        words.append(f"costs {price} now")
    if old is None or old["available"] != new["available"]:
        words.append("is in stock" if new["available"] else "is not in stock any more")
    return ", and ".join(words)


@click.command()
@click.option("--month", metavar="YYYY-MM", help="Show one calendar month (UTC), cluster by cluster.")
@json_option
@verbosity_options
def bill(month: str | None, as_json: bool) -> None:
    """Show the costs of all clusters deleted from this computer. Works offline."""
    if month is not None and not _MONTH.match(month):
        raise BadInput(f"Invalid month '{month}'. Use a month such as 2026-11.")
    from scherbelberg.cli.documents import bill_document  # noqa: PLC0415 - heavy
    from scherbelberg.cli.tables import print_bill  # noqa: PLC0415
    from scherbelberg.inventory.history import History  # noqa: PLC0415

    history = History(home_folder())
    entries, damages = history.read()
    document = bill_document(entries, damages, endpoint=endpoint_in(), month=month)
    for damage in damages:
        info(f"Line {damage.line} of {history.path} makes no sense and is left out: {damage.reason}")
    if as_json:
        get_reporter().answer(document)
    else:
        print_bill(document, stdout_console())
        info("Clusters that live are not in it: scherbelberg ls")


@click.command()
@click.option(
    "-p",
    "--prefix",
    metavar="NAME",
    shell_complete=cluster_names,
    help="Also check Python and OpenSSL on the nodes of this cluster.",
)
@token_option
@json_option
@verbosity_options
def doctor(prefix: str | None, token_file: Path | None, as_json: bool) -> None:
    """Check token, cloud, clock, versions and the files on this computer, free of charge.

    The exit code is 0 if no check fails, or that of the first failed check.
    """
    from scherbelberg.cli.documents import checks_document  # noqa: PLC0415 - heavy
    from scherbelberg.cli.tables import print_checks  # noqa: PLC0415
    from scherbelberg.lifecycle.diagnosis import code_of  # noqa: PLC0415
    from scherbelberg.lifecycle.doctor import examine  # noqa: PLC0415

    checks = run(examine(token_file=token_file, prefix=prefix))
    if as_json:
        get_reporter().answer(checks_document(checks))
    else:
        print_checks(checks, stdout_console())
    code = int(code_of(checks))
    if code:
        raise click.exceptions.Exit(code)
