# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lets ``python -m scherbelberg`` be the command line."""

from scherbelberg.cli import main

main()
