# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a scripted host plays: a node's script, its Dask, its private network."""
