# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""An emulated Hetzner Cloud with real hosts: strict, on this computer, for 0 EUR."""
