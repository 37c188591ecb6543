# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hosts that are machines: a booted systemd each, in a network namespace of its own."""
