# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Tests that need nothing but the package: no network beyond this computer, no OpenSSH, no clone.
[
  "tests/environments/test_versions.py"
  "tests/test_errors.py"
  "tests/test_events.py"
  "tests/nodes/test_payload.py"
  "tests/cloud/test_pricing.py"
  "tests/environments/test_shipped.py"
  "tests/spec/test_model.py"
  "tests/nodes/test_openssh.py"
]
