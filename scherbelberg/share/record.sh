#!/usr/bin/env bash
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# The part of bootstrap.sh, which sources it, that keeps on the machine what a run of `up` says, for root alone: who looks
# later sees what the client saw, and what came after the connection was lost.

RECORD=$LOGS/bootstrap.log
RECORD_BYTES=1000000 # of one file; before a run, one that is half full is set aside
RECORD_MARK=$'\001'  # begins a line that is for the record alone
RECORD_END_S=5       # for the last lines to be written
RECORDING=

time_of_day() {
  date -u +%Y-%m-%dT%H:%M:%SZ
}

begin_record() { # from here on stderr is recorded; descriptor 7 ends with the recorder
  local pipe=$RUN/record.$$
  install -d -m 0755 "$RUN" "$LOGS"
  [[ ! -e $RECORD || $(wc -c <"$RECORD") -lt $((RECORD_BYTES / 2)) ]] || mv -f "$RECORD" "$RECORD.1"
  [[ -e $RECORD ]] || (umask 077 && : >"$RECORD")
  chmod 0600 "$RECORD"
  printf -- '--- %s up begins ---\n' "$(time_of_day)" >>"$RECORD"
  mkfifo -m 0600 "$pipe" "$pipe.end"
  recorder <"$pipe" >/dev/null 3>&- 4<&- 7>"$pipe.end" &
  RECORDING=yes
  exec 2>"$pipe" 7<"$pipe.end"
  rm -f "$pipe" "$pipe.end"
}

recorder() { # copies lines to stderr and to the record, as long as there is room
  local LC_ALL=C line room=$((RECORD_BYTES - $(wc -c <"$RECORD")))
  trap - ERR
  trap '' PIPE # the client may be gone
  set +e
  while IFS= read -r line || [[ -n $line ]]; do
    [[ $line == "$RECORD_MARK"* ]] || printf '%s\n' "$line" >&2
    ((room -= ${#line} + 1, room > 0)) && printf '%s\n' "${line#"$RECORD_MARK"}" >>"$RECORD"
  done
}

record() { # record TEXT: for the record alone
  [[ -z $RECORDING ]] || printf '%s%s %s\n' "$RECORD_MARK" "$(time_of_day)" "$1" >&2
}

end_record() { # end_record CODE: waits for the last lines, unless something holds stderr open
  [[ -n $RECORDING ]] || return 0
  exec 2>/dev/null
  read -r -t "$RECORD_END_S" -u 7 || true
  printf -- '--- %s up ends with exit code %s ---\n' "$(time_of_day)" "$1" >>"$RECORD" || true
}
