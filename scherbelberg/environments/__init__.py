# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Environments of nodes: locks that are read, compared, solved and chosen."""
