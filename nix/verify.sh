#!/usr/bin/env bash
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Verifies what the package ships for nodes, in the current folder, against pins.toml there: each script and each lock.
set -euo pipefail

# In the order in which they are digested, written by tools/derive.py: another order gives another digest.
SCRIPTS=(bootstrap.sh service.sh record.sh watch.sh environment.sh downloads.sh logs.sh direct.py scratch.py preloads.py
  activity.py dashboard_guard.py openssl_errors.py warden.py 10-scherbelberg.conf units/scherbelberg-dask@.service
  units/scherbelberg-watch.service units/scherbelberg-watch.timer)

stop() { # WHAT TOOL: what is wrong, and what makes it right
  echo "$1: if that is wanted, run 'python tools/$2.py' in a clone; if not, 'git checkout scherbelberg/share'." >&2
  exit 1
}

digest() {
  sha256sum | cut -d ' ' -f 1
}

pin() { # KEY: its value in pins.toml
  sed -n "s/^$1 = \"\(.*\)\"$/\1/p" pins.toml
}

verify() { # NAME DIGEST PIN
  [ "$2" = "$3" ] || stop "$1 has the digest $2, and pins.toml says ${3:-nothing of it}" derive
}

verify "What runs on nodes" "$(cat "${SCRIPTS[@]}" | digest)" "$(pin digest)"
for lock in env/*.lock; do
  name=$(basename "$lock" .lock)
  found=$(sed '1,/^@EXPLICIT$/d' "$lock" | digest)
  said=$(sed -n 's/^# digest: //p' "$lock")
  [ "$found" = "$said" ] || stop "The lock $name has the digest $found and says $said of itself" refresh_locks
  verify "The lock $name" "$found" "$(pin "$name")"
done
pins=$(sed '1,/^\[env\]$/d; s/ = .*//' pins.toml)
for name in $pins; do
  [ -f "env/$name.lock" ] || stop "pins.toml has the lock $name, and there is no such file" derive
done
