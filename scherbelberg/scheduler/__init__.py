# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dask's scheduler: where it is found, its client, and the proof that it computes."""
