# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated project: what is in it, what can be had, and what takes time."""
