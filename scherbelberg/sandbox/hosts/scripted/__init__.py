# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hosts that play a node's part: its script, its Dask, its private network."""
