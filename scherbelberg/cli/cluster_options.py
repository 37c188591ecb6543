# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The options that say what cluster is wanted, and what they say together with a file of wishes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from attrs import field, frozen
from click.core import ParameterSource

from scherbelberg.cli.options import (
    ENVIRONMENT_FIELDS,
    ENVIRONMENT_OPTIONS,
    Command,
    cost_option,
    machine_option,
    network_option,
    prefix_option,
    workload_option,
)
from scherbelberg.cloud.public_address import HERE, resolve_ranges
from scherbelberg.errors import BadInput
from scherbelberg.settings import Settings, address_url_in, variables
from scherbelberg.spec.model import ANYWHERE, AUTO, ClusterSpec
from scherbelberg.spec.text_files import read_text
from scherbelberg.spec.toml import read_duration, read_resources, read_spec
from scherbelberg.spec.workload import WorkEnvironment

_FILE = click.Path(path_type=Path, dir_okay=False)
#: Options that are fields of the wishes, and the field's name where it is another.
_FIELDS = {"wait": "wait_s", "ttl": "ttl_s", "idle": "idle_s"}
_RANGES = ("ssh_from", "direct")
_OPTIONS = (
    prefix_option,
    click.option("--spec", "spec_file", type=_FILE, help="TOML file that describes the cluster; options override it."),
    click.option("--spec-out", type=_FILE, help="Write the description of the cluster to a TOML file."),
    machine_option(
        "-w", "--workers", type=int, metavar="N", default=2, show_default=True, help="Number of worker nodes."
    ),
    machine_option(
        "--min-workers",
        type=int,
        metavar="N",
        help="Succeed with at least N workers if the others fail or are unavailable.  [default: all]",
    ),
    machine_option(
        "--worker-type",
        "worker",
        multiple=True,
        metavar="TYPE",
        help="Server type of the workers. Repeatable: tried in order.  [default: the cheapest that fits]",
    ),
    machine_option(
        "--scheduler-type",
        "scheduler",
        metavar="TYPE",
        help="Server type of the scheduler.  [default: the cheapest that fits]",
    ),
    machine_option(
        "--location",
        multiple=True,
        metavar="NAME",
        help="Location, such as fsn1. Repeatable: tried in order.  [default: the best in eu-central]",
    ),
    machine_option(
        "--wait",
        metavar="TIME",
        default="none",
        show_default=True,
        help="Retry this long if there is no capacity: 30m, 2h, seconds, or none.",
    ),
    machine_option(
        "--image", metavar="NAME", help="Image of the nodes.  [default: the pinned Ubuntu LTS, or else the newest]"
    ),
    cost_option("--max-hourly", metavar="AMOUNT", help="Maximum gross price per hour for the whole cluster."),
    cost_option("--max-total", metavar="AMOUNT", help="Maximum gross cost of the whole cluster over its time to live."),
    cost_option(
        "--ttl", metavar="TIME", default="12h", show_default=True, help="Time to live: 12h, 90m, seconds, or none."
    ),
    cost_option(
        "--idle-timeout",
        "idle",
        metavar="TIME",
        default="none",
        show_default=True,
        help="Also expire after this long without work: 30m, 2h, seconds, or none.",
    ),
    cost_option(
        "--self-destruct",
        "warden",
        is_flag=True,
        help="Give the scheduler the API token so that it deletes the cluster when it expires.",
    ),
    network_option(
        "--ssh-from",
        multiple=True,
        metavar="CIDR|here",
        help="Allow SSH from this range only. Repeatable.  [default: anywhere]",
    ),
    network_option(
        "--expose-scheduler",
        "direct",
        multiple=True,
        metavar="CIDR|here",
        help="Open the scheduler's TLS port to this range (no SSH tunnel). Repeatable.",
    ),
    network_option(
        "--dashboard-origin",
        multiple=True,
        metavar="HOST[:PORT]",
        help="Allow pages of this host, such as a JupyterHub, to show the dashboard.  [default: this computer only]",
    ),
    *ENVIRONMENT_OPTIONS,
    workload_option(
        "--processes", metavar="M|auto", default="1", show_default=True, help="Dask worker processes per worker node."
    ),
    workload_option("--threads", type=int, metavar="N", help="Threads per process.  [default: its share of the cores]"),
    workload_option(
        "--memory-limit",
        metavar="BYTES",
        help="Memory per process, such as 4GiB or 0.5.  [default: its share of the memory]",
    ),
    workload_option(
        "--resources", multiple=True, metavar="K=V", help="Dask resources of each process, such as GPU=2. Repeatable."
    ),
    workload_option(
        "--env-var",
        "env_vars",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set an environment variable for work on the nodes. Repeatable.",
    ),
    workload_option(
        "--secret",
        "secrets",
        multiple=True,
        metavar="KEY[=@FILE]",
        help="Set a secret variable: the value of the local variable KEY, or the content of FILE. Repeatable.",
    ),
    workload_option("--dask-config", type=_FILE, help="YAML file with Dask's configuration for the nodes."),
)


@frozen(kw_only=True)
class Wishes:
    """What the user wants, as far as it is known without asking anybody.

    Args:
        fields: Fields of `ClusterSpec` that somebody asked for; ranges of addresses may still be ``here``.
        work_environment: What work finds on the nodes.
        client: Program of the interpreter with which the cluster is used, or None for that of the active environment.
        spec_out: Where the wishes are written, or None.
    """

    fields: dict[str, Any] = field(hash=False)
    work_environment: WorkEnvironment
    client: Path | None
    spec_out: Path | None

    def spec(self, settings: Settings) -> ClusterSpec:
        """All wishes.

        Args:
            settings: The surroundings, which tell what is ``here``.

        Raises:
            BadInput: They cannot be.
            PublicAddressUnknown: The address of this computer cannot be found out.
        """
        known = {name: tuple(self.fields[name]) for name in _RANGES if name in self.fields}
        if any(HERE in ranges for ranges in known.values()):
            url = address_url_in()
            known = {name: resolve_ranges(ranges, settings.access, address_url=url) for name, ranges in known.items()}
        return ClusterSpec(**self.fields | known)


def wish_options(command: Command) -> Command:
    """Give a command all options that say what cluster is wanted."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def wished(context: click.Context) -> Wishes:
    """Read what the user wants, from the options and the file that they name.

    Everything is checked here that can be without asking anybody.

    Args:
        context: The command's, whose options are `wish_options`.

    Raises:
        BadInput: It cannot be; one sentence says which.
    """
    params = context.params
    fields = _from_file(params["spec_file"]) | _from_options(context)
    # ``here`` is an address of its own until somebody is asked.
    check = {name: [text for text in fields.get(name, ()) if text != HERE] or ANYWHERE for name in _RANGES}
    ClusterSpec(**fields | check)
    work_environment = WorkEnvironment(
        environ=_pairs(params["env_vars"]),
        secrets=_secrets(params["secrets"]),
        dask_config=_dask_config(params["dask_config"]),
    )
    return Wishes(
        fields=fields, work_environment=work_environment, client=params["client"], spec_out=params["spec_out"]
    )


def _from_file(path: Path | None) -> dict[str, Any]:
    return {} if path is None else read_spec(_text(path), source=str(path))


def _from_options(context: click.Context) -> dict[str, Any]:
    """Fields that the command line sets; what it leaves to defaults is the file's or `ClusterSpec`'s business."""
    readers = {
        "processes": _processes,
        "resources": read_resources,
        "wait": read_duration,
        "ttl": read_duration,
        "idle": read_duration,
    }
    names = (
        "prefix",
        "workers",
        "min_workers",
        "worker",
        "scheduler",
        "location",
        "max_hourly",
        "max_total",
        "image",
        "processes",
    )
    found = {}
    for name in (
        *names,
        "threads",
        "memory_limit",
        "resources",
        "wait",
        "ttl",
        "idle",
        "warden",
        *_RANGES,
        "dashboard_origin",
        *ENVIRONMENT_FIELDS,
    ):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            value = context.params[name]
            found[_FIELDS.get(name, name)] = readers[name](value) if name in readers else value
    return found


def _processes(text: str) -> int | str:
    if text == AUTO:
        return AUTO
    if not (text.isascii() and text.isdigit()):
        raise BadInput(f"Invalid number of processes '{text}'. Use a number, or '{AUTO}'.")
    return int(text)


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise BadInput(f"--env-var {text} has no value. Use {text}=VALUE.")
        if name in found:
            raise BadInput(f"--env-var sets {name} twice. Set it once.")
        found[name] = value
    return found


def _secrets(texts: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, sign, place = text.partition("=")
        if name in found:
            raise BadInput(f"--secret sets {name} twice. Set it once.")
        if not sign:
            found |= variables([name])
        elif place.startswith("@"):
            # The end of the file's last line is the editor's, not the secret's.
            found[name] = _text(Path(place[1:])).removesuffix("\n").removesuffix("\r")
        else:
            # The value is not repeated: everybody on this computer could see it, and logs should not as well.
            raise BadInput(f"Do not write a secret on the command line. Use --secret {name} or --secret {name}=@FILE.")
    return found


def _dask_config(path: Path | None) -> str:
    if path is None:
        return ""
    from scherbelberg.spec.dask_config import read_dask_config  # noqa: PLC0415 - needed by few

    return read_dask_config(path)


def _text(path: Path) -> str:
    return read_text(path, what=str(path))
