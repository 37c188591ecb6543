#!/usr/bin/env bash
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Prints one of a machine's logs. The client sends it to bash's standard input, so that nothing of ours need be there yet,
# or work.
#
#   bash -s -- SOURCE COUNT [BYTES]  prints the last lines of cloud-init, bootstrap or dask, and of them the last bytes
#   bash -s -- SOURCE COUNT follow   goes on with those that come, until standard input ends
#
# Where there is no such log yet, stderr says so in a few words, and the exit code is 3 unless it is followed.

LOGS=${SCHERBELBERG_SYSROOT:-}/var/log
UNITS=(--unit scherbelberg-dask@scheduler.service --unit scherbelberg-dask@worker.service)
MISSING=3

is_in_journal() { # is_in_journal SOURCE
  [[ $1 == dask && -z ${SCHERBELBERG_SYSROOT:-} && -d /run/systemd/system ]]
}

find_files() { # find_files SOURCE: leaves the log's file in FILES, or those that it may become
  local file
  case $1 in
    cloud-init) FILES=("$LOGS/cloud-init-output.log" "$LOGS/cloud-init.log") ;;
    bootstrap) FILES=("$LOGS/scherbelberg/bootstrap.log") ;;
    dask) FILES=("$LOGS/scherbelberg/scheduler.log" "$LOGS/scherbelberg/worker.log") ;;
  esac
  for file in "${FILES[@]}"; do
    [[ ! -s $file ]] || FILES=("$file")
    [[ ! -s $file ]] || return 0
  done
  return 1
}

is_there() { # is_there SOURCE
  if is_in_journal "$1"; then
    [[ -n $(journalctl "${UNITS[@]}" --quiet --lines 1) ]]
  else
    find_files "$1"
  fi
}

tell_missing() { # tell_missing SOURCE
  case $1 in
    cloud-init) echo "cloud-init has written no log here" ;;
    bootstrap) echo "the bootstrap has not begun here" ;;
    dask) echo "Dask has not been started here" ;;
  esac >&2
}

print_log() { # print_log SOURCE COUNT
  if is_in_journal "$1"; then
    journalctl "${UNITS[@]}" --quiet --no-pager --lines "$2"
  else
    tail -n "$2" "${FILES[@]}"
  fi
}

follow_log() { # follow_log SOURCE COUNT: files by name, since a long log is set aside
  if is_in_journal "$1"; then
    exec journalctl "${UNITS[@]}" --quiet --no-pager --lines "$2" --follow
  else
    exec tail -q -n "$2" -F "${FILES[@]}" 2>/dev/null
  fi
}

go_on() { # go_on SOURCE COUNT: until nobody listens any more
  local follower
  exec 5<&0
  follow_log "$@" </dev/null 5<&- &
  follower=$!
  (
    cat <&5
    kill "$follower"
  ) >/dev/null 2>&1 &
  exec 5<&-
  wait "$follower"
}

main() {
  set -euo pipefail
  if ! is_there "$1"; then
    tell_missing "$1"
    [[ ${3:-} == follow ]] || exit "$MISSING"
  fi
  case ${3:-} in
    follow) go_on "$1" "$2" ;;
    '') print_log "$1" "$2" ;;
    *) print_log "$1" "$2" | tail -c "$3" ;;
  esac
}

{
  main "$@"
  exit
}
