# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Tests that need nothing but the package: no network beyond this computer, no OpenSSH, no clone.
[
  "tests/test_environment.py"
  "tests/test_errors.py"
  "tests/test_events.py"
  "tests/test_payload.py"
  "tests/test_pricing.py"
  "tests/test_shipped.py"
  "tests/test_spec.py"
  "tests/test_sshcommand.py"
]
