#!/usr/bin/env bash
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# The part of bootstrap.sh, which sources it, that fetches files as lists say, in jobs beside the script. What there is
# in DOWNLOADS: WHAT/list, lines of SHA-256, name and URL; WHAT/partial and WHAT/whole, the files; WHAT/headers, what
# servers answered.

DOWNLOADS=$BASE/download
JOBS=$RUN/jobs                      # a file for each, named by its number; what they say to the client, and their log
CHANNELS=https://conda.anaconda.org # which a mirror may stand in for
RELEASES=https://github.com/conda-forge/miniforge/releases/download
TRIES=5            # rounds of downloads that bring nothing, before that is the end of it,
PATIENCE_S=600     # unless a server says that it is busy: then this long after the last byte that came
PAUSE_S=1          # before the second round; doubled each time
LONGEST_PAUSE_S=30 # but for a server that asks for more
CONNECT_S=20       # for a connection
STALLED_S=30       # a transfer this long below STALLED_BYTES a second is broken off, and resumed
STALLED_BYTES=512  # the least that is worth waiting for
AT_ONCE=16         # transfers
RUNNING=()         # jobs of this run
TOLD_S=0           # when progress was told, and how much
TOLD_BYTES=0

sha256() { # of stdin
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1
}

# --- jobs: process groups of their own, which the next run ends, should this one be killed ---

give_up() { # give_up SENTENCE: a job tells the script, which tells the client
  trap - ERR
  speak "$FAILURE $PHASE $1"
  exit 1
}

spawn() { # spawn COMMAND...: a job holds nothing open that the client waits for
  set -m
  (
    trap '((BASH_SUBSHELL > 1)) || give_up "${BASH_SOURCE[0]##*/}, line $LINENO failed: $BASH_COMMAND"' ERR
    umask 022 # Dask's user is another one
    : >"$JOBS/$(exec sh -c 'echo $PPID')"
    "$@"
  ) </dev/null >>"$JOBS/log" 2>&1 3>>"$JOBS/words" 4<&- 6<&- 9>&- &
  RUNNING+=("$!")
  set +m
}

is_ours() { # is_ours JOB: while members of a group are left, its number is nobody else's
  local command
  command=$(command_of "$1") || return 0
  [[ -z $command || $command == *bootstrap.sh* ]]
}

end_jobs() { # of this run or of one that was killed
  local job
  disown -a # or bash tells the user whom it killed
  for job in "$JOBS"/[0-9]*; do
    job=${job##*/}
    kill -0 -- "-$job" 2>/dev/null && is_ours "$job" && kill -KILL -- "-$job" 2>/dev/null || true
  done
  # Without a wait here, bash would tell the user whom it lost.
  { [[ ${#RUNNING[@]} == 0 ]] || wait "${RUNNING[@]}"; } 2>/dev/null || true
  rm -rf "$JOBS"
}

any_runs() {
  local job
  for job in "${RUNNING[@]}"; do kill -0 "$job" 2>/dev/null && return; done
  return 1
}

relay() { # what jobs say
  local line
  while IFS= read -r line <&6; do
    if [[ $line == "@failed "* || $line == "@hopeless "* ]]; then
      tail -n 20 "$JOBS/log" >&2
      read -r FAILURE PHASE line <<<"${line#@}"
      fail "$line"
    fi
    printf '%s\n' "$line" >&3
  done
}

await_jobs() { # the first that fails ends them all
  local job code=0
  while any_runs; do
    relay
    tell_progress
    sleep 0.2
  done
  relay
  for job in "${RUNNING[@]}"; do wait "$job" || code=$?; done
  RUNNING=()
  ((code == 0)) || fail "a part of the installation ended with exit status $code"
}

tell_progress() { # about once a second, as long as files grow
  local bytes
  [[ $PHASE == download && $SECONDS -gt $TOLD_S ]] || return 0
  TOLD_S=$SECONDS
  bytes=$(bytes_of packages)
  [[ $bytes == "$TOLD_BYTES" ]] || speak "phase download progress $bytes $TOTAL_BYTES"
  TOLD_BYTES=$bytes
}

bytes_of() { # bytes_of WHAT
  # shellcheck disable=SC2012 # no find can print sizes on both Linux and macOS
  ls -lnR "$DOWNLOADS/$1/partial" "$DOWNLOADS/$1/whole" 2>/dev/null |
    awk '/^-/ { sum += $5 } END { printf "%.0f\n", sum }' || true # a file may just be moved
}

# --- downloads ---

mirrored() { # mirrored URL: where it is fetched from
  local pair
  for pair in "$CHANNELS $CHANNEL_MIRROR" "$RELEASES $MINIFORGE_MIRROR"; do
    if [[ ${pair#* } != none && $1 == "${pair% *}"/* ]]; then
      printf '%s\n' "${pair#* }${1#"${pair% *}"}"
      return
    fi
  done
  printf '%s\n' "$1"
}

transfer() { # transfer WHAT SHA NAME URL: writes curl's configuration for one file; no URL is seen in a command line
  local from protocols='=https' said
  from=$(mirrored "$4")
  [[ $from == "$4" || $from != http://* ]] || protocols='=http,https'
  said="$2 ${3//%/%%} ${from//%/%%}"
  printf '%s = "%s"\n' url "$from" output "$DOWNLOADS/$1/partial/$3" dump-header "$DOWNLOADS/$1/headers/$3.txt" \
    continue-at - max-redirs 5 \
    proto "$protocols" proto-redir "$protocols" connect-timeout "$CONNECT_S" speed-time "$STALLED_S" \
    speed-limit "$STALLED_BYTES" write-out "%{stderr}@ %{exitcode} %{http_code} $said %{errormsg}\\n"
  printf '%s\n' silent fail location globoff
  [[ $from == "$4" || ! -e $PAYLOAD/mirror-ca.pem ]] || printf 'cacert = "%s"\n' "$PAYLOAD/mirror-ca.pem"
}

missing() { # missing WHAT: the lines of its list whose files are not there
  local sha name url
  while read -r sha name url; do
    [[ -e $DOWNLOADS/$1/whole/$name ]] || printf '%s\n' "$sha $name $url"
  done <"$DOWNLOADS/$1/list"
}

take() { # take WHAT SHA NAME: an arrived file counts only if it is the one that was asked for
  local folder=$DOWNLOADS/$1
  [[ $(sha256 <"$folder/partial/$3") == "$2" ]] || return 1
  mv -f "$folder/partial/$3" "$folder/whole/$3"
}

take_or_refuse() { # take_or_refuse WHAT SHA NAME URL: a spoiled file is fetched once more, from its beginning
  take "$1" "$2" "$3" && return
  rm -f "$DOWNLOADS/$1/partial/$3"
  if grep -qxF "$3" "$DOWNLOADS/$1/spoiled"; then
    hopeless give_up "package ${3##*/} from $4 has another SHA-256 than its lock says"
  fi
  echo "$3" >>"$DOWNLOADS/$1/spoiled"
  hindered "$1" "package ${3##*/} from $4 came spoiled"
}

hindered() { # hindered WHAT SENTENCE: it may go better the next time, for which a busy server sets the moment
  [[ -e $DOWNLOADS/$1/busy ]] || printf '%s\n' "$2" >"$DOWNLOADS/$1/problem"
}

busy() { # busy WHAT STATUS NAME SENTENCE: the server may have more time later, and perhaps says when
  local wanted
  wanted=$(asked_s "$DOWNLOADS/$1/headers/$3.txt")
  printf '%s\n' "$4: HTTP status $2$([[ $wanted == 0 ]] || echo " (Retry-After: $wanted s)")" >"$DOWNLOADS/$1/problem"
  printf '%s\n' "$wanted" >>"$DOWNLOADS/$1/busy"
}

asked_s() { # asked_s HEADERS: for how many seconds a server wants to be left alone, by its last answer, or 0
  local name value now='' after='' number='^ *([0-9]+) *$'
  [[ ! -e $1 ]] || while IFS=: read -r name value; do # curl adds to what earlier rounds have left there
    value=${value%$'\r'}
    case $name in
      HTTP/*) now='' after='' ;;
      [Dd][Aa][Tt][Ee]) now=$value ;;
      [Rr][Ee][Tt][Rr][Yy]-[Aa][Ff][Tt][Ee][Rr]) after=$value ;;
    esac
  done <"$1"
  if [[ $after =~ $number ]]; then
    after=${BASH_REMATCH[1]}
    if ((${#after} > 7)); then echo 9999999; else echo $((10#$after)); fi
  elif [[ $after == *GMT ]] && after=$(moment "$after") && now=$(moment "${now:-now}"); then
    larger 0 $((after - now))
  else
    echo 0
  fi
}

moment() { # moment DATE: in seconds; fails where it is none, or where this system cannot read it
  date -u -d "$1" +%s 2>/dev/null
}

host_of() { # host_of URL
  local host=${1#*://}
  printf '%s\n' "${host%%/*}"
}

no_space() { # no_space FOLDER: what to say when it takes no more
  local free
  free=$(df -Pk "$1" | awk 'NR == 2 { printf "%d\n", $4 / 1024 }')
  if ((free < 16)); then echo "no space is left in $1: $free MiB are free"; else echo "$1 cannot be written to"; fi
}

judge() { # judge WHAT CURL_CODE HTTP_STATUS SHA NAME URL WORDS: what has become of a transfer
  local package="package ${5##*/} from $6"
  case $2/$3 in
    33/* | 36/* | */416) # cannot be resumed
      rm -f "$DOWNLOADS/$1/partial/$5"
      hindered "$1" "$package has to be fetched from its beginning"
      ;;
    0/*) take_or_refuse "$1" "$4" "$5" "$6" ;;
    22/408 | 22/425 | 22/429 | 22/5*) busy "$1" "$3" "$5" "$package" ;;
    22/*) hopeless give_up "$package: HTTP status $3" ;;
    23/*) give_up "$package: $(no_space "$DOWNLOADS")" ;;
    35/*) give_up "$package: ${7:-no TLS}" ;;
    1/* | 3/* | 51/* | 53/* | 54/* | 58/* | 59/* | 60/* | 66/* | 77/* | 80/* | 83/*) # address or certificate
      hopeless give_up "$package: ${7:-curl ended with code $2}"
      ;;
    6/*) hindered "$1" "$package: the name of the host $(host_of "$6") is not known" ;;
    7/*) hindered "$1" "$package: no connection to $(host_of "$6") (${7:-refused, or no route})" ;;
    *) hindered "$1" "$package: ${7:-curl ended with code $2}" ;;
  esac
}

fetch_missing() { # fetch_missing WHAT: all at the same time; each is judged as it arrives
  local folder=$DOWNLOADS/$1 between='' at code status sha name url words
  missing "$1" | while read -r sha name url; do
    printf %b "$between"
    transfer "$1" "$sha" "$name" "$url"
    between='next\n' # what follows has options of its own
  done >"$folder/curl"
  { curl -q --no-progress-meter --parallel --parallel-immediate --parallel-max "$AT_ONCE" \
    --config "$folder/curl" 2>&1 >/dev/null || true; } |
    while read -r at code status sha name url words; do
      if [[ $at == @ ]]; then
        judge "$1" "$code" "$status" "$sha" "$name" "$url" "$words"
      else
        hindered "$1" "$at $code $status $sha $name $url $words"
      fi
    done
}

take_what_is_there() { # take_what_is_there WHAT: of an earlier run, which may have been killed, or of the client
  local folder=$DOWNLOADS/$1 sha name url pushed
  while read -r sha name url; do
    mkdir -p "$folder/partial/${name%/*}" "$folder/whole/${name%/*}" "$folder/headers/${name%/*}"
    [[ ! -e $folder/whole/$name ]] || mv -f "$folder/whole/$name" "$folder/partial/$name"
    pushed=$PAYLOAD/packages/${url##*/}
    [[ ! -e $pushed ]] || cp -f "$pushed" "$folder/partial/$name"
    [[ -e $folder/partial/$name ]] || continue
    take "$1" "$sha" "$name" || [[ ! -e $pushed ]] ||
      give_up "package ${name##*/}, which was sent along, has another SHA-256 than its lock says"
  done <"$folder/list"
}

pause_for() { # pause_for WHAT SECONDS: until the next round: as long as a server wants, and not for all nodes the same
  local pause=$2 wanted
  [[ ! -e $DOWNLOADS/$1/busy ]] || while read -r wanted; do
    pause=$(larger "$pause" "$wanted")
  done <"$DOWNLOADS/$1/busy"
  echo $((pause + RANDOM % (pause / 4 + $2 + 1)))
}

go_on_in() { # go_on_in SECONDS WHAT TRIES SINCE: is there to be another round then?
  # Later, the client would give up first, and not know why.
  ((SECONDS + $1 < BOOTSTRAP_S * 9 / 10)) || return 1
  if [[ -e $DOWNLOADS/$2/busy ]]; then ((SECONDS + $1 <= $4 + PATIENCE_S)); else (($3 > 0)); fi
}

tell_pause() { # tell_pause WHAT SECONDS
  local words
  words="$(sed 's/^package [^ ]* from [^ ]*: //' "$DOWNLOADS/$1/problem"); next try in $2 s"
  speak "phase download progress $(bytes_of packages) $TOTAL_BYTES $words"
  printf '%s\n' "$words" >&2
}

fetch() { # fetch WHAT: in rounds, until all of it is there and verified
  local tries=$TRIES pause=$PAUSE_S since=$SECONDS before=0 bytes rest
  : >"$DOWNLOADS/$1/spoiled"
  take_what_is_there "$1"
  while [[ -n $(missing "$1") ]]; do
    rm -f "$DOWNLOADS/$1/busy"
    hindered "$1" "curl did nothing"
    fetch_missing "$1"
    [[ -n $(missing "$1") ]] || break
    bytes=$(bytes_of "$1")
    ((bytes <= before)) || tries=$TRIES pause=$PAUSE_S since=$SECONDS
    before=$bytes
    rest=$(pause_for "$1" "$pause")
    go_on_in "$rest" "$1" $((--tries)) "$since" || give_up "$(cat "$DOWNLOADS/$1/problem")"
    tell_pause "$1" "$rest"
    sleep "$rest"
    pause=$(smaller $((pause * 2)) "$LONGEST_PAUSE_S")
  done
}
