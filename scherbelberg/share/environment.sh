#!/usr/bin/env bash
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# The part of bootstrap.sh, which sources it, that installs Dask's environment exactly as env.lock says: nothing is
# solved here, and every file is verified before that file is used. An environment lies in envs/DIGEST; the link env
# leads to the one that is complete and in use, so that where it leads is the stamp.

ENVS=$BASE/envs
MINIFORGE=$BASE/miniforge
LOCK=$PAYLOAD/env.lock
PINS=$PAYLOAD/pins.toml
HEAD_START_S=5 # for Miniforge's download
NODE_FILES="bootstrap.sh service.sh record.sh watch.sh environment.sh downloads.sh logs.sh direct.py scratch.py preloads.py activity.py
  dashboard_guard.py openssl_errors.py warden.py 10-scherbelberg.conf units/scherbelberg-dask@.service units/scherbelberg-watch.service
  units/scherbelberg-watch.timer"

verify_script() {
  local digest
  # shellcheck disable=SC2086 # a list of words
  digest=$(cd "$PAYLOAD" && cat $NODE_FILES | sha256)
  [[ $digest == "$SCRIPT_DIGEST" ]] || fail "the pushed script has the digest $digest where $SCRIPT_DIGEST was sent"
}

pin() { # pin SECTION KEY: from pins.toml, where each value is a string on a line of its own
  local line section='' pattern='^([A-Za-z0-9_-]+) *= *"([^"]*)"'
  while IFS= read -r line; do
    if [[ $line == \[*\] ]]; then
      section=${line:1:${#line}-2}
    elif [[ $section == "$1" && $line =~ $pattern && ${BASH_REMATCH[1]} == "$2" ]]; then
      printf '%s\n' "${BASH_REMATCH[2]}"
      return
    fi
  done <"$PINS"
  hopeless fail "pins.toml lacks $2 in [$1]"
}

# --- what the lock says ---

lock_body() {
  sed '1,/^@EXPLICIT$/d' "$LOCK"
}

choose_machine() { # leaves Miniforge's word for this machine in MACHINE
  local platform
  platform=$(sed -n 's/^# platform: //p' "$LOCK")
  case $platform/$(uname -m) in
    linux-64/x86_64) MACHINE=x86_64 ;;
    linux-aarch64/aarch64 | linux-aarch64/arm64) MACHINE=aarch64 ;;
    *) hopeless fail "the environment $ENV_DIGEST is for ${platform:-an unknown platform}, and this machine is $(uname -m)" ;;
  esac
}

check_lock() {
  local digest
  [[ -e $LOCK ]] || hopeless fail "this machine's image does not hold the environment $ENV_DIGEST, and none was sent"
  digest=$(lock_body | sha256)
  [[ $digest == "$ENV_DIGEST" ]] || hopeless fail "env.lock has the digest $digest where $ENV_DIGEST was asked for"
  choose_machine
}

list_packages() { # of conda packages by platform, as mamba wants it; of wheels in wheels/
  local line name url
  local package='^([^ ]+/([a-z0-9-]+)/([^/ ]+))#sha256:([0-9a-f]{64})$'
  local wheel='^# pip ([^ ]+) @ ([^ ]+/([^/ ]+)) --hash=sha256:([0-9a-f]{64})$'
  while IFS= read -r line; do
    if [[ $line =~ $package ]]; then
      name=${BASH_REMATCH[2]}/${BASH_REMATCH[3]} url=${BASH_REMATCH[1]}
    elif [[ $line =~ $wheel ]]; then
      name=wheels/${BASH_REMATCH[3]} url=${BASH_REMATCH[2]}
    else
      hopeless fail "env.lock has a line that makes no sense: $line"
    fi
    printf '%s %b %s\n' "${BASH_REMATCH[4]}" "${name//%/\\x}" "$url"
  done < <(lock_body)
}

list_miniforge() {
  local url tag sha
  url=$(pin miniforge url)
  tag=$(pin miniforge tag)
  sha=$(pin miniforge.sha256 "$MACHINE")
  url=${url//"{tag}"/$tag}
  url=${url//"{machine}"/$MACHINE}
  printf '%s\n' "$sha installer/${url##*/} $url"
}

file_url() { # file_url PATH
  local LC_ALL=C at byte number url=''
  for ((at = 0; at < ${#1}; at++)); do
    byte=${1:at:1}
    if [[ $byte != [a-zA-Z0-9/._~+-] ]]; then
      printf -v number %d "'$byte"
      printf -v byte '%%%02X' $((number & 255))
    fi
    url+=$byte
  done
  printf 'file://%s\n' "$url"
}

# --- installation ---

cleanly() { # cleanly COMMAND...: with no setting of anybody; what it said is shown only if it fails
  local code=0
  mkdir -p "$DOWNLOADS/home" "$DOWNLOADS/tmp"
  env -i PATH="$PATH" HOME="$DOWNLOADS/home" TMPDIR="$DOWNLOADS/tmp" LC_ALL=C.UTF-8 \
    MAMBA_ROOT_PREFIX="$MINIFORGE" CONDA_PKGS_DIRS="$DOWNLOADS/cache" "$@" >"$DOWNLOADS/$PHASE.log" 2>&1 || code=$?
  ((code == 0)) && return
  tail -n 20 "$DOWNLOADS/$PHASE.log" >&2
  ! grep -qi 'no space left' "$DOWNLOADS/$PHASE.log" || give_up "$(no_space "$BASE")"
  give_up "${1##*/} ended with exit status $code"
}

miniforge_is_there() { # miniforge_is_there SHA
  [[ -x $MINIFORGE/bin/mamba && $(cat "$MINIFORGE/scherbelberg.sha256" 2>/dev/null) == "$1" ]]
}

provide_miniforge() {
  local sha name
  read -r sha name _ <"$DOWNLOADS/miniforge/list"
  if miniforge_is_there "$sha"; then
    : >"$DOWNLOADS/miniforge/here"
    phase miniforge skipped "already there"
    return
  fi
  fetch miniforge
  : >"$DOWNLOADS/miniforge/here"
  phase miniforge
  rm -rf "$MINIFORGE"
  cleanly bash "$DOWNLOADS/miniforge/whole/$name" -b -p "$MINIFORGE"
  put "$MINIFORGE/scherbelberg.sha256" 0644 <<<"$sha"
  phase miniforge "done"
}

fetch_packages() { # many files would leave next to nothing of the line to one, and that one takes long to install
  within "$HEAD_START_S" test -e "$DOWNLOADS/miniforge/here" || true
  fetch packages
}

list_for_mamba() {
  local sha name url
  echo @EXPLICIT
  while read -r sha name url; do
    [[ $name == wheels/* ]] || printf '%s\n' "$(file_url "$DOWNLOADS/packages/whole/$name")#sha256:$sha"
  done <"$DOWNLOADS/packages/list"
}

list_for_pip() {
  local name url sha
  sed -n 's/^# pip \([^ ]*\)==[^ ]* @ \([^ ]*\) --hash=sha256:\(.*\)$/\1 \2 \3/p' "$LOCK" |
    while read -r name url sha; do
      printf -v url %b "${url//%/\\x}"
      printf '%s\n' "$name @ $(file_url "$DOWNLOADS/packages/whole/wheels/${url##*/}") --hash=sha256:$sha"
    done
}

make_environment() {
  local prefix=$ENVS/$ENV_DIGEST
  rm -rf "$prefix"
  list_for_mamba >"$DOWNLOADS/explicit.txt"
  cleanly "$MINIFORGE/bin/mamba" create --yes --offline --no-rc --prefix "$prefix" --file "$DOWNLOADS/explicit.txt"
  list_for_pip >"$DOWNLOADS/wheels.txt"
  [[ ! -s $DOWNLOADS/wheels.txt ]] || cleanly "$prefix/bin/python3" -I -m pip --isolated install --no-input \
    --disable-pip-version-check --no-cache-dir --no-deps --no-index --require-hashes -r "$DOWNLOADS/wheels.txt"
  cleanly "$prefix/bin/python3" -I -c 'import distributed'
  "$prefix/bin/python3" -I -S -c '
import contextlib, os, sys
with contextlib.suppress(FileNotFoundError):
    os.unlink(sys.argv[2] + ".new")
os.symlink(sys.argv[1], sys.argv[2] + ".new")
os.replace(sys.argv[2] + ".new", sys.argv[2])
' "envs/$ENV_DIGEST" "$BASE/env"
}

install_environment() {
  check_lock
  install -d -m 0755 "$ENVS"
  install -d -m 0700 "$DOWNLOADS" "$DOWNLOADS/packages" "$DOWNLOADS/miniforge" # a mirror's address may be a secret
  list_packages >"$DOWNLOADS/packages/list"
  list_miniforge >"$DOWNLOADS/miniforge/list"
  TOTAL_BYTES=$(sed -n 's/^# bytes: //p' "$LOCK")
  TOTAL_BYTES=${TOTAL_BYTES:-0}
  install -d -m 0700 "$JOBS"
  : >"$JOBS/words"
  exec 6<"$JOBS/words"
  trap 'leave end_jobs' EXIT
  phase download
  spawn fetch_packages
  spawn provide_miniforge
  await_jobs
  phase download "done"
  phase environment
  spawn make_environment
  await_jobs
  end_jobs
  trap leave EXIT
}

sweep() { # what only an installation needs, and the environments that nothing runs in any more; a link is not followed
  local old
  rm -rf "$DOWNLOADS" "$PAYLOAD/packages"
  for old in "$ENVS"/*; do
    [[ $old == "$ENVS/$ENV_DIGEST" ]] || rm -rf "$old"
  done
}

# --- phases download, miniforge and environment ---

environment_is_there() {
  [[ -x $PYTHON && $(readlink "$BASE/env") == "envs/$ENV_DIGEST" ]]
}

phase_environment() {
  local outcome="done"
  PHASE=environment
  if environment_is_there; then
    phase environment
    outcome="skipped already there"
  else
    install_environment
  fi
  await_address
  read_machine
  tell_facts
  record "phase environment $outcome"
  speak "phase environment $outcome"
}
