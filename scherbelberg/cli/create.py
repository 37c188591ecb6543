# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg create`` and ``scherbelberg with``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import evolve

from scherbelberg.cli.cluster_options import Wishes, wish_options, wished
from scherbelberg.cli.options import (
    HeadedCommand,
    client_in,
    cost_option,
    json_option,
    load_settings,
    progress_option,
    token_option,
    verbosity_options,
)
from scherbelberg.cli.output import get_reporter, info, stderr_console, stdout_console
from scherbelberg.cli.signals import postponed, read_line, run, run_program, signals_as_exceptions
from scherbelberg.cloud.pricing import enough
from scherbelberg.cloud.resources import Resource, Server
from scherbelberg.errors import BadInput, ClusterExists, NoCapacity, ScherbelbergError
from scherbelberg.settings import Settings, environment_with
from scherbelberg.spec.model import ClusterSpec
from scherbelberg.spec.toml import write_spec

if TYPE_CHECKING:
    from scherbelberg.cluster import Cluster
    from scherbelberg.environments.versions import Client

_Made = TypeVar("_Made")
#: For so many seconds somebody waits who does not say for how long.
_WAIT_S = 30 * 60


@click.command(cls=HeadedCommand)
@wish_options
@click.option(
    "--plan", "only_plan", is_flag=True, help="Show what create would rent and what it costs, and rent nothing."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@cost_option(
    "--keep-on-failure",
    "keep",
    is_flag=True,
    help="Keep the machines if create fails. You pay for them until you destroy the cluster.",
)
@cost_option(
    "--protect", "protected", is_flag=True, help="Protect the cluster from destroy, nuke and gc once it is ready."
)
@token_option
@json_option
@progress_option
@verbosity_options
@click.pass_context
def create(
    context: click.Context,
    /,
    *,
    only_plan: bool,
    yes: bool,
    keep: bool,
    protected: bool,
    token_file: Path | None,
    as_json: bool,
    **_wishes: Any,
) -> None:
    """Rent machines and start a Dask cluster on them.

    Before the command ends, the cluster computes a test task. On failure or Ctrl-C, everything is deleted again.
    """
    # The user's words are checked before anything is asked or read.
    wishes = wished(context)
    settings = load_settings(token_file)
    spec = wishes.spec(settings)
    client = client_in(wishes.client)
    _write_wishes(wishes, spec)
    if only_plan:
        _show_plan(spec, settings, client, as_json=as_json)
        return
    from scherbelberg.cli import actions  # noqa: PLC0415 - heavy

    prefix = spec.prefix
    with signals_as_exceptions(), actions.warn_if_it_stays(prefix, settings):
        with _tell_if_kept(prefix, settings, is_kept=keep):
            make = partial(
                actions.create_cluster, settings=settings, console=stderr_console(), client=client, keep=keep
            )
            cluster = _create_or_ask(
                spec,
                lambda wanted, is_new: make(wanted, work_environment=wishes.work_environment, asks=is_new and not yes),
                asks=not yes and not keep,  # what was kept of one try would be in the way of the next
            )
        actions.close_cluster(cluster)
        if protected:
            actions.protect_new(prefix, settings)
        actions.print_cluster_of(prefix, settings, stdout_console(), as_json=as_json)
    info(f"Compute with it: scherbelberg.sync.Cluster.from_existing('{prefix}').get_client()")
    first = f"scherbelberg unprotect -p {prefix}, then " if protected else ""
    info(f"Give it back: {first}scherbelberg destroy -p {prefix}")


def _write_wishes(wishes: Wishes, spec: ClusterSpec) -> None:
    """Write the wishes down where that was asked for.

    Args:
        wishes: Say where.
        spec: All of them.

    Raises:
        BadInput: The file cannot be written.
    """
    if wishes.spec_out is None:
        return
    try:
        wishes.spec_out.write_text(write_spec(spec), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{wishes.spec_out} cannot be written: {error}.") from None


def _show_plan(spec: ClusterSpec, settings: Settings, client: Client, *, as_json: bool) -> None:
    from scherbelberg.cli.documents import plan_document  # noqa: PLC0415 - heavy
    from scherbelberg.cli.tables import print_plan  # noqa: PLC0415
    from scherbelberg.lifecycle.order import plan_now  # noqa: PLC0415

    document = plan_document(*run(plan_now(settings, evolve(spec, network_range=settings.network_range), client)))
    if as_json:
        get_reporter().answer(document)
    else:
        print_plan(document, stdout_console())


@click.command("with", cls=HeadedCommand, context_settings={"allow_interspersed_args": False})
@wish_options
@token_option
@progress_option
@verbosity_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def with_(context: click.Context, /, *, token_file: Path | None, command: tuple[str, ...], **_wishes: Any) -> None:
    """Create a cluster, run COMMAND with it, and delete it again in any case.

    Separate COMMAND by two dashes: with [OPTIONS] -- COMMAND. A Client() without arguments in COMMAND connects to the
    cluster. Signals are passed on; after a SIGTERM, COMMAND has 10 seconds to end. The exit code is that of COMMAND,
    or that of create if it fails.
    """
    wishes = wished(context)
    name = shutil.which(command[0])
    if name is None:
        raise BadInput(f"There is no program '{command[0]}' on this computer.")
    settings = load_settings(token_file)
    spec = wishes.spec(settings)
    client = client_in(wishes.client)
    _write_wishes(wishes, spec)
    from scherbelberg.cli import actions  # noqa: PLC0415 - heavy

    # Nothing may come between the cluster and its end: no signal, and nothing that cannot be told.
    with postponed() as signals:
        cluster = actions.create_cluster(
            spec, settings, stderr_console(), client=client, work_environment=wishes.work_environment
        )
        code = 0
        try:
            if not signals:
                code = run_program([name, *command[1:]], environment_with(_cluster_variables(cluster)))
        finally:
            _give_back(cluster, settings)
    sys.exit(code)


def _cluster_variables(cluster: Cluster) -> dict[str, str]:
    return run(cluster.door()).variables


def _give_back(cluster: Cluster, settings: Settings) -> None:
    from scherbelberg.cli import actions  # noqa: PLC0415 - heavy
    from scherbelberg.cli.tables import bill_lines  # noqa: PLC0415

    info("Giving everything back ...")
    try:
        try:
            actions.close_cluster(cluster)
        finally:  # an interrupt may come now, too
            document = actions.destroy_clusters(
                cluster.prefix, (cluster.uid,), settings, stderr_console(), is_cancelled=False
            )
    except ScherbelbergError:
        info(f"Not everything was given back. To try again: scherbelberg destroy -p {cluster.prefix}")
        raise
    for line in bill_lines(document):
        info(line)


def _create_or_ask(spec: ClusterSpec, make: Callable[[ClusterSpec, bool], _Made], *, asks: bool) -> _Made:
    """Make something, and where there is no capacity, make what a person takes instead.

    Args:
        spec: What the user wants.
        make: Makes it, and leaves nothing where it fails; the second argument is whether it was not agreed to before.
        asks: Whether to ask, if there is somebody.

    Raises:
        NoCapacity: There is none, and nobody takes anything else.
    """
    from scherbelberg.cli.actions import is_a_person_there  # noqa: PLC0415 - heavy

    is_new = True
    while True:
        try:
            return make(spec, is_new)
        except NoCapacity as error:
            other = _ask_instead(spec, error) if asks and is_a_person_there() else None
            if other is None:
                raise
            spec, is_new = other, False


def usual_wait_s(spec: ClusterSpec) -> int:
    """For how long to wait for machines where nobody says it, in seconds: within the cluster's time to live."""
    return spec.wait_s or (_WAIT_S if spec.ttl_s is None else max(1, min(_WAIT_S, spec.ttl_s // 2)))


def _ask_instead(spec: ClusterSpec, error: NoCapacity) -> ClusterSpec | None:
    """What the user wants by now, or None if they give up."""
    from scherbelberg.inventory.clusters import format_duration  # noqa: PLC0415 - heavy
    from scherbelberg.planning.remedies import apply_remedy  # noqa: PLC0415

    info("There is none left of what was asked for, and nothing is rented. There is:")
    for number, one in enumerate(error.remedies, 1):
        price = f"{enough(one.hourly.gross)} {one.currency} an hour gross in all"
        info(f"  {number}  {one.words}, {price} (as with {one.options})")
    wait_s = usual_wait_s(spec)
    numbers = {str(number): one for number, one in enumerate(error.remedies, 1)}
    take = f"Take it [{'/'.join(numbers)}], wait" if numbers else "Nothing that would do. Wait"
    click.echo(f"{take} for {format_duration(wait_s)} [w], or give up [Enter]: ", nl=False, err=True)
    answer = read_line().strip().lower()
    if answer in {"w", "wait"}:
        return evolve(spec, wait_s=wait_s)
    return apply_remedy(spec, numbers[answer]) if answer in numbers else None


@contextmanager
def _tell_if_kept(prefix: str, settings: Settings, *, is_kept: bool) -> Iterator[None]:
    """When the making of a cluster fails and what was made is kept, say what that is and how to give it back.

    Args:
        prefix: The cluster's name.
        settings: The ambient configuration.
        is_kept: Whether it is.
    """
    from scherbelberg.inventory.listing import remembered_folder  # noqa: PLC0415 - heavy

    try:
        yield
    except (BadInput, ClusterExists):
        raise  # nothing was made
    except Exception:
        if is_kept and remembered_folder(settings.home, settings.access.endpoint, prefix) is not None:
            _tell_what_is_kept(prefix, settings)
        raise


def _tell_what_is_kept(prefix: str, settings: Settings) -> None:
    # Whatever comes while the cloud is asked.
    get_reporter().remains = (f"cluster {prefix}",)
    info("It failed, and what was made is kept, as --keep-on-failure says; you pay for it until you give it back:")
    for line in _kept_lines(prefix, settings):
        info(f"  {line}")
    info(f"Look at a node: scherbelberg ssh -p {prefix} scheduler")
    info("Try again with the same machines: the same create once more")
    info(f"Give it back: scherbelberg destroy -p {prefix}")


def _kept_lines(prefix: str, settings: Settings) -> list[str]:
    from scherbelberg.inventory.listing import fetch_clusters  # noqa: PLC0415 - heavy

    try:
        found = run(fetch_clusters(settings, prefix=prefix))
    except ScherbelbergError as error:
        return [f"what exactly cannot be said now: {error.message}"]
    own = [resource for known in found if known.folder is not None for resource in known.cluster.resources]
    get_reporter().remains = tuple(resource.description for resource in own)
    return [_kept_line(resource) for resource in own] or ["nothing: it failed before anything was made"]


def _kept_line(resource: Resource) -> str:
    address = f" at {resource.public_ip}" if isinstance(resource, Server) and resource.public_ip else ""
    return f"{resource.description}{address}"
