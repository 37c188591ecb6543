# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the user wants: one value with every default, and the files and words it is read from."""

from scherbelberg.spec.model import ClusterSpec, Ports, Timeouts, check_prefix, suggest_prefix

__all__ = ["ClusterSpec", "Ports", "Timeouts", "check_prefix", "suggest_prefix"]
