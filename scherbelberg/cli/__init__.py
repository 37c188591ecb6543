# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command line."""

from scherbelberg.cli.main import main

__all__ = ["main"]
