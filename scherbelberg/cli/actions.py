# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The commands' common work; this module and what it imports are heavy, so commands load it when they run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

import click
from rich.console import Console

from scherbelberg.cli.documents import cluster_document
from scherbelberg.cli.output import SCHEMA, Json, get_reporter, info
from scherbelberg.cli.progress import pause_progress, show_progress
from scherbelberg.cli.signals import read_line, run
from scherbelberg.cli.tables import print_cluster
from scherbelberg.cluster import Cluster
from scherbelberg.environments.versions import Client
from scherbelberg.errors import StateDamaged, StateMissing
from scherbelberg.events import Listener, Phase, Stopwatch, ignore_events
from scherbelberg.inventory.billing import read_charges, read_entries
from scherbelberg.inventory.ledger import entry_document
from scherbelberg.inventory.listing import KnownCluster, find_own, remembered_folder
from scherbelberg.inventory.orphans import Orphan, write_orphan
from scherbelberg.inventory.reminders import remind
from scherbelberg.lifecycle.destroy import delete_clusters
from scherbelberg.lifecycle.order import always_agree, describe
from scherbelberg.lifecycle.update import protect
from scherbelberg.planning.plan import ClusterPlan
from scherbelberg.settings import Settings, endpoint_in, home_folder, read_settings
from scherbelberg.spec.model import ClusterSpec, Timeouts
from scherbelberg.spec.workload import NOTHING, WorkEnvironment
from scherbelberg.state.manifest import Manifest
from scherbelberg.state.store import Folder


def create_cluster(
    spec: ClusterSpec,
    settings: Settings,
    console: Console,
    *,
    client: Client | None = None,
    work_environment: WorkEnvironment = NOTHING,
    keep: bool = False,
    asks: bool = False,
) -> Cluster:
    """Make a cluster and show how, if who can be asked agrees; the handle that is returned has open connections."""
    if spec.warden:
        info(
            "With --self-destruct the scheduler gets the API token, which is good for all of the project:"
            " whoever becomes root on that machine can use it."
        )
    with show_progress(console) as listen:
        consent = Consent(listen) if asks and is_a_person_there() else None
        return run(
            Cluster.from_new(
                spec,
                settings=settings,
                client=client,
                listen=listen,
                environ=work_environment.environ,
                secrets=work_environment.secrets,
                dask_config=work_environment.dask_config,
                keep=keep,
                agree=consent.agree if consent else always_agree,
            ),
            on_first="Interrupted: giving everything back ...",
            unproven=spec.prefix,
            too_late=Cluster.destroy,
            between=consent.put if consent else None,
        )


@contextmanager
def warn_if_it_stays(prefix: str, settings: Settings) -> Iterator[None]:
    """When what comes after the making of a cluster fails or is interrupted, say that the cluster stays."""
    before = remembered_folder(settings.home, settings.access.endpoint, prefix)
    try:
        yield
    except BaseException:
        with suppress(StateDamaged):  # what has happened counts for more
            folder = remembered_folder(settings.home, settings.access.endpoint, prefix)
            is_new = folder is not None and (before is None or folder.uid != before.uid)
            if folder is not None and is_new and folder.read().state == "ready":
                get_reporter().remains = (f"cluster {prefix}",)
                info(f"Cluster '{prefix}' is ready and stays; give it back with: scherbelberg destroy -p {prefix}")
        raise


def print_cluster_of(prefix: str, settings: Settings, console: Console, *, as_json: bool) -> None:
    """Print a cluster of this computer."""
    (document,) = documents_of([run(find_own(settings, prefix))], settings)
    if as_json:
        get_reporter().answer(document)
    else:
        print_cluster(document, console)


def documents_of(found: Collection[KnownCluster], settings: Settings) -> list[Json]:
    """Describe clusters; what they cost is asked of the cloud and of this computer's history."""
    prices = run(read_charges(settings)) if found else None
    earlier = read_entries(settings, [known.cluster.uid for known in found])
    return [
        cluster_document(known, _manifest_of(known), prices, [one for one in earlier if one.uid == known.cluster.uid])
        for known in found
    ]


def folder_of(prefix: str) -> Folder:
    """The folder of a cluster of this computer; the cloud is asked only to say why there is none."""
    folder = remembered_folder(home_folder(), endpoint_in(), prefix)
    if folder is not None:
        remind(folder)
        return folder
    known = run(find_own(read_settings(), prefix))
    raise StateMissing(f"The keys of cluster '{known.cluster.prefix}' are not on this computer.")


def _manifest_of(known: KnownCluster) -> Manifest | None:
    """What this computer remembers of a cluster, if it does and can be read."""
    try:
        return known.folder.read() if known.folder else None
    except StateDamaged:
        return None


def protect_new(prefix: str, settings: Settings) -> None:
    """Protect a cluster that was just made."""
    run(protect(settings, prefix, wanted=True))


def close_cluster(cluster: Cluster) -> None:
    """Close a handle's connections; the cluster lives on."""
    run(cluster.close())


def destroy_clusters(
    prefix: str,
    uids: tuple[str, ...],
    settings: Settings,
    console: Console,
    *,
    forgets: bool = False,
    is_cancelled: bool = True,
) -> Json:
    """Give clusters back and show how; returns what there is to say of it."""
    get_reporter().remains = (f"cluster {prefix}",)
    forgotten: list[Orphan] = []
    watch = Stopwatch(ignore_events)
    try:
        with show_progress(console) as listen:
            watch = Stopwatch(listen)
            entries = run(
                delete_clusters(
                    settings,
                    prefix,
                    uids,
                    listener=watch,
                    timeouts=Timeouts(),
                    forget=forgotten.extend if forgets else None,
                ),
                on_first="Interrupted: what is being deleted is deleted first ...",
                unproven=prefix,
                is_cancelled=is_cancelled,
            )
    finally:
        if len(uids) == 1 and Phase.EMPTY.value in watch.seconds:  # that was proven, whatever came afterwards
            get_reporter().remains = ()
    get_reporter().remains = ()
    return {
        "schema": SCHEMA,
        "prefix": prefix,
        "uids": list(uids),
        "phases": watch.seconds,
        "left_over": [],
        "forgotten": [write_orphan(one) for one in forgotten],
        "bills": [entry_document(entry) for entry in entries],
    }


class Consent:
    """A question that the work has on the private loop, and that is put in the main thread, where signals end it.

    Args:
        listener: What shows the work's events.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._question: tuple[ClusterPlan, concurrent.futures.Future[bool]] | None = None

    async def agree(self, plan: ClusterPlan) -> None:
        """On the private loop: wait for the answer.

        Args:
            plan: What would be made.

        Raises:
            Abort: It is not to be made.
        """
        answer: concurrent.futures.Future[bool] = concurrent.futures.Future()
        self._question = plan, answer
        if not await asyncio.wrap_future(answer):
            raise click.Abort

    def put(self) -> None:
        """In the main thread: put the question if there is one."""
        if self._question is None:
            return
        (plan, answer), self._question = self._question, None
        with pause_progress(self._listener):
            answer.set_result(_ask_for_consent(plan))


def is_a_person_there() -> bool:
    """Whether there is somebody to give an answer; in the main thread."""
    reporter = get_reporter()
    is_silent = reporter.is_for_programs or reporter.is_quiet
    return not is_silent and all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def _ask_for_consent(plan: ClusterPlan) -> bool:
    if get_reporter().progress == "none":
        info(describe(plan))  # else the plan was shown as an event
    click.echo("Make it? [y/N]: ", nl=False, err=True)
    is_wanted = read_line().strip().lower() in {"y", "yes"}
    if not is_wanted:
        info("Nothing was made.")
    return is_wanted
