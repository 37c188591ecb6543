# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg ssh``."""

from __future__ import annotations

import subprocess
import sys

import click

from scherbelberg.cli.options import node_names, prefix_option, voice_options
from scherbelberg.cli.programs import program
from scherbelberg.cli.signals import left_to_child
from scherbelberg.spec import check_prefix


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@prefix_option
@click.argument("node", shell_complete=node_names)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@voice_options
def ssh(prefix: str, node: str, command: tuple[str, ...]) -> None:
    """Log into a node, or run a command there, in the cluster's environment.

    NODE is scheduler, worker000, worker001, ...; the exit code is the command's. This needs OpenSSH's ssh.
    """
    check_prefix(prefix)
    from scherbelberg.cli.actions import folder_of  # noqa: PLC0415 - heavy
    from scherbelberg.dialing import first_way  # noqa: PLC0415
    from scherbelberg.links import find_node  # noqa: PLC0415
    from scherbelberg.sshcommand import ssh_arguments  # noqa: PLC0415

    words = command[1:] if command[:1] == ("--",) else command
    folder = folder_of(prefix)
    manifest = folder.read()
    record = find_node(manifest, node)
    arguments = ssh_arguments(
        folder.path, record, port=manifest.ssh_port, words=words, host=first_way(record.public_ip, record.public_ipv6)
    )
    line = [program("ssh"), *arguments]
    with left_to_child():
        sys.exit(subprocess.run(line, check=False).returncode)
