# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from scherbelberg.cli.options import voice_options
from scherbelberg.errors import BadInput

_VARIABLE = "_SCHERBELBERG_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@voice_options
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    r"""Print what lets a shell complete commands, options, clusters and nodes.

    \b
    bash: echo 'eval "$(scherbelberg completion bash)"' >>~/.bashrc
    zsh:  echo 'eval "$(scherbelberg completion zsh)"' >>~/.zshrc
    fish: scherbelberg completion fish >~/.config/fish/completions/scherbelberg.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise BadInput(f"There is no completion for {shell}.")
    click.echo(kind(context.find_root().command, {}, "scherbelberg", _VARIABLE).source())
