# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command line."""

from scherbelberg.cli import early_signals

early_signals.begin()  # loading the rest takes a while

from scherbelberg.cli.main import main  # noqa: E402

__all__ = ["main"]
