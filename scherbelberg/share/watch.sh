#!/usr/bin/env bash
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# The part of bootstrap.sh, which sources it, that knows for how long nothing was done on a node, and wakes the warden.

ACTIVITY=$WORK/activity # Dask's own notes: when it looked, and when there was something to do at last
SESSION=$RUN/session    # is made anew whenever somebody is logged in,
WATCHED=$RUN/watched    # whenever it was looked,
ASKED=$RUN/asked        # and whenever the warden asked the cloud
STALE_S=180             # notes that are older say nothing
ASK_EVERY_S=300         # the cloud answers a limited number of requests
WARDEN=$BASE/etc/warden.json
WATCH_UNITS="scherbelberg-watch.service scherbelberg-watch.timer"

sessions() { # sessions [PROC]: how many programs run in SSH sessions; one that only leads to a port runs none
  python '
import os, sys

proc = sys.argv[1]

def look(pid):
    with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as file:
        head, _, rest = file.read().rpartition(")")
    return head.partition("(")[2], int(rest.split()[1])

def is_transfer(pid):
    with open(f"{proc}/{pid}/cmdline", "rb") as file:
        return b"internal-sftp" in file.read()

found = {}
for name in filter(str.isdigit, os.listdir(proc)):
    try:
        found[int(name)] = look(name)
    except (OSError, ValueError):
        pass  # it has ended
own, pid = set(), os.getpid()
while pid in found and pid not in own:
    own.add(pid)
    pid = found[pid][1]
count = 0
for pid, (name, parent) in found.items():
    try:
        if name.startswith("sshd"):
            count += is_transfer(pid)
        else:
            count += pid not in own and found.get(parent, ("", 0))[0].startswith("sshd")
    except OSError:
        pass
print(count)
' "${1:-/proc}"
}

age() { # age FILE: seconds since it was made anew; of one that is not there, very many
  python '
import os, sys, time
try:
    print(max(0, int(time.time() - os.stat(sys.argv[1]).st_mtime)))
except OSError:
    print(10**9)
' "$1"
}

quiet() { # prints for how many seconds nothing was done, or unknown
  local open watched=0
  open=$(sessions)
  [[ $SUPERVISION == plain ]] || watched=$(age "$WATCHED")
  python '
import os, sys, time

activity, open_, session, watched, stale = sys.argv[1], *map(int, sys.argv[2:])
try:
    # Its writer is not trusted: no link is followed, and no pipe waited for.
    with open(os.open(activity, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8") as file:
        looked, since = (time.time() - float(word) for word in file.read(200).split())
    known = -60 <= looked <= stale and watched <= stale
    print(max(0, int(min(since, session))) * (not open_) if known else "unknown")
except (OSError, ValueError, OverflowError):
    print("unknown")
' "$ACTIVITY" "$open" "$(age "$SESSION")" "$watched" "$STALE_S"
}

idle() {
  load_node
  quiet
}

watch() { # what the timer calls
  load_node
  install -d -m 0755 "$RUN"
  (($(sessions) == 0)) || : >"$SESSION"
  : >"$WATCHED"
  [[ ! -e $WARDEN || $(age "$ASKED") -lt $ASK_EVERY_S ]] || wake_warden
}

wake_warden() {
  : >"$ASKED"
  "$PYTHON" -I -S "$BASE/bin/warden.py" "$WARDEN" "$(quiet)" && return
  rm -f "$ASKED" # the next look is not put off
  fail "the warden did not come to an end"
}

install_warden() { # with a token that only root reads; that of another cluster, from a snapshot, goes
  if [[ -e $PAYLOAD/warden.json ]]; then
    put "$WARDEN" 0600 <"$PAYLOAD/warden.json"
    rm -f "$PAYLOAD/warden.json"
  fi
  grep -qF "\"$CLUSTER_UID\"" "$WARDEN" 2>/dev/null || rm -f "$WARDEN"
}

start_watch() { # only systemd looks by itself
  local unit
  [[ $SUPERVISION == systemd ]] || return 0
  for unit in $WATCH_UNITS; do
    put "${UNIT_FILE%/*}/$unit" 0644 <"$PAYLOAD/units/$unit"
  done
  systemctl daemon-reload
  systemctl enable --now "${WATCH_UNITS#* }"
}
