#!/usr/bin/env bash
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Turns a machine into a node of a Dask cluster and keeps it one.
#
#   up                   everything, in phases; speaks on stdout and asks on stdin, logs on stderr
#   settle               deletes the host keys that were planted, once the client came in by the new one
#   start | stop         starts, or ends for good, the service that `up` installed
#   ready                waits until Dask answers
#   status               prints running or stopped
#   enter [COMMAND...]   runs a command or a shell inside the cluster's environment
#   exec ROLE            becomes Dask, in the foreground
#   supervise ROLE       keeps `exec ROLE` running where there is no systemd
#   idle                 prints for how many seconds nothing was done here, or unknown
#   watch                notes who is logged in, and wakes the warden, if there is one
#   fence                cuts Dask's user off from the cloud's metadata
#
# Bash 3.2 and what Linux and macOS have in common are enough. Source it to call its functions one by one.

PAYLOAD=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
SYSROOT=${SCHERBELBERG_SYSROOT:-} # where a process host keeps its /etc, /opt, /run and /var
BASE=$SYSROOT/opt/scherbelberg
PYTHON=$BASE/env/bin/python3
TLS=$BASE/etc/tls
RUN=$SYSROOT/run/scherbelberg
HOST_KEY=$SYSROOT/etc/ssh/scherbelberg_host_ed25519_key
DROP_IN=$SYSROOT/etc/ssh/sshd_config.d/10-scherbelberg.conf
SETTINGS="NODE_NAME NODE_ROLE CLUSTER_UID ENV_DIGEST PRIVATE_IP SCHEDULER_IP SCHEDULER_PORT DASHBOARD_HOST
  DASHBOARD_PORT WORKER_PORT NANNY_PORT CORES MEMORY_BYTES MEMORY_PERCENT PROCESSES PROCESS_THREADS PROCESS_MEMORY
  RESOURCES DIRECT_HOST DASHBOARD_ORIGINS WAIT_S BOOTSTRAP_S CHANNEL_MIRROR MINIFORGE_MIRROR SCRIPT_DIGEST TOOL_VERSION"
# What every machine has to have, and what those where Dask is a unit.
PROGRAMS="awk base64 cat chmod cksum cmp cp cut date df dirname env grep head install ls mkdir mkfifo mv openssl
  readlink rm sed sh sleep ssh-keygen systemctl tail tar tr uname wc"
SYSTEM_PROGRAMS="chgrp chown id journalctl nft useradd"
SSHD_S=15 # for sshd to take a new configuration
PHASE=
FAILURE=failed # or hopeless

# shellcheck source=/dev/null # checked on its own
source "$PAYLOAD/service.sh"
# shellcheck source=/dev/null
source "$PAYLOAD/record.sh"
# shellcheck source=/dev/null
source "$PAYLOAD/watch.sh"
# shellcheck source=/dev/null
source "$PAYLOAD/environment.sh"
# shellcheck source=/dev/null
source "$PAYLOAD/downloads.sh"

# --- talking with the client: descriptor 3 leads to it, descriptor 4 comes from it ---

speak() {
  printf '@%s\n' "$*" >&3
}

phase() { # phase NAME [STATE [DETAIL]]
  PHASE=$1
  [[ ${2:-} == progress ]] || record "phase $PHASE ${2:-start}${3:+ $3}"
  speak "phase $PHASE ${2:-start}${3:+ $3}"
}

fail() { # fail SENTENCE
  trap - ERR
  # A subshell leaves the announcement to the script, which sees its exit code.
  [[ -z $PHASE || $BASH_SUBSHELL -gt 0 ]] || speak "$FAILURE $PHASE $1"
  printf 'bootstrap.sh: %s\n' "$1" >&2
  exit 1
}

hopeless() { # hopeless COMMAND...: fails by it for a reason that every other node would have, too: none is tried
  FAILURE=hopeless
  "$@"
}

listen() { # listen WORD: takes the line "WORD [REST]" from the client, leaves REST in REPLY
  local line='' code=0
  read -r -t "$WAIT_S" line <&4 || code=$?
  ((code <= 128)) || fail "the client did not answer \"$1\" within $WAIT_S s"
  ((code == 0)) || fail "the connection ended before the client answered \"$1\""
  [[ ${line%% *} == "$1" ]] || fail "expected the answer \"$1\" and got \"${line%% *}\""
  REPLY=${line#"$1"}
  REPLY=${REPLY# }
}

# --- small tools ---

within() { # within SECONDS COMMAND...: repeats a command until it succeeds; false when time is up
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

not() {
  ! "$@"
}

python() { # the standard library alone: nothing installed and no setting of anybody can interfere
  "$PYTHON" -I -S -c "$@"
}

put() { # put FILE MODE [OWNER]: writes stdin to a file that never has another mode or half a content
  rm -f "$1.new"
  (umask 077 && : >"$1.new")
  [[ -z ${3:-} ]] || chown "$3" "$1.new"
  chmod "$2" "$1.new"
  cat >"$1.new"
  mv -f "$1.new" "$1"
}

try_lock() { # try_lock DESCRIPTOR: the lock lasts as long as somebody holds the descriptor open
  if command -v flock >/dev/null; then
    flock -n "$1"
  else
    python 'import fcntl, sys; fcntl.flock(int(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)' "$1" 2>/dev/null
  fi
}

alone() { # two runs at once would undo each other's work
  install -d -m 0755 "$RUN"
  exec 9>"$RUN/lock"
  within "$WAIT_S" try_lock 9 || fail "another run of this script is still busy on this machine"
}

load_settings() { # load_settings FILE
  local name
  # shellcheck source=/dev/null
  source "$1"
  for name in $SETTINGS; do
    [[ -n ${!name:-} ]] || fail "node.env lacks $name"
  done
  MARK=$NODE_NAME.$CLUSTER_UID # tells our processes, host keys and certificates from anybody else's
}

is_node() {
  [[ -e $BASE/etc/node.env ]]
}

load_node() {
  is_node || fail "this machine is not a node yet: it has no $BASE/etc/node.env"
  load_settings "$BASE/etc/node.env"
}

make_folders() {
  install -d -m 0755 "$BASE" "$BASE/bin" "$BASE/etc" "$BASE/etc/dask"
  install -d -m 0700 "$TLS"
  [[ $SUPERVISION == systemd ]] || return 0
  chgrp "$SERVICE_USER" "$TLS"
  chmod 0750 "$TLS"
}

# --- what the machine has to have ---

missing_programs() {
  local name wanted=$PROGRAMS
  [[ $SUPERVISION == plain ]] || wanted+=" $SYSTEM_PROGRAMS"
  [[ -x $PYTHON ]] || wanted+=" flock"
  environment_is_there || wanted+=" curl"
  for name in $wanted; do command -v "$name" >/dev/null || echo "$name"; done
  command -v sha256sum >/dev/null || command -v shasum >/dev/null || echo sha256sum
}

missing_services() {
  if [[ $SUPERVISION == systemd ]]; then
    [[ $(systemctl show --property LoadState --value ssh.service) == loaded ]] || echo "the unit ssh.service"
    [[ -d ${CLAIM%/*} ]] || echo cloud-init
  else
    [[ -n $SYSROOT ]] || echo systemd # without it nothing would keep Dask from being root
  fi
}

check_machine() { # before anything is made, fetched or waited for
  local lacks
  lacks=$(missing_programs && missing_services)
  [[ -z $lacks ]] || hopeless fail "this machine's image lacks ${lacks//$'\n'/, }, and no node can do without"
}

# --- phase hostkey ---

make_host_key() {
  install -d -m 0755 "${HOST_KEY%/*}"
  rm -f "$HOST_KEY.new" "$HOST_KEY.new.pub"
  ssh-keygen -q -t ed25519 -N '' -C "$MARK" -f "$HOST_KEY.new"
  mv -f "$HOST_KEY.new.pub" "$HOST_KEY.pub"
  mv -f "$HOST_KEY.new" "$HOST_KEY"
}

host_key_is_ours() { # not that of the node whose snapshot this machine was made from
  [[ -s $HOST_KEY && $(cut -d ' ' -f 3 "$HOST_KEY.pub" 2>/dev/null) == "$MARK" ]]
}

host_key_is_loaded() { # host_key_is_loaded PUBLIC
  cmp -s "$PAYLOAD/10-scherbelberg.conf" "$DROP_IN" && [[ $(cat "$RUN/hostkey" 2>/dev/null) == "$1" ]]
}

sshd_accepts() { # asked before, since an sshd that is started anew would be gone
  [[ $SUPERVISION == plain ]] || /usr/sbin/sshd -t
}

reload_sshd() { # with a reload it may lose the socket at which systemd listens for it: then it is started anew
  if systemctl --quiet is-active ssh.socket; then
    systemctl restart ssh # sessions go on, and who connects meanwhile waits
  else
    systemctl reload ssh
  fi
}

load_host_key() { # load_host_key PUBLIC
  install -d -m 0755 "${DROP_IN%/*}"
  put "$DROP_IN" 0644 <"$PAYLOAD/10-scherbelberg.conf"
  # In its first minute a machine may start sshd anew by itself, which cancels what is asked of systemd meanwhile.
  if ! { sshd_accepts && within "$SSHD_S" reload_sshd; }; then
    rm -f "$DROP_IN" # sshd must find a configuration that it accepts at the next boot
    fail "sshd did not accept its new configuration"
  fi
  put "$RUN/hostkey" 0644 <<<"$1"
}

phase_hostkey() {
  local public
  phase hostkey
  host_key_is_ours || make_host_key
  public=$(cut -d ' ' -f 1,2 "$HOST_KEY.pub")
  speak "hostkey $public"
  listen pinned # before the reload, or the client could not come back
  if host_key_is_loaded "$public"; then
    phase hostkey skipped "sshd has it already"
  else
    load_host_key "$public"
    phase hostkey "done"
  fi
}

settle() {
  exec 3>&1 1>&2
  PHASE=hostkey
  load_node
  host_key_is_ours && [[ -s $DROP_IN ]] || fail "the planted host keys stay: this node has no other one yet"
  rm -f "$SYSROOT"/etc/ssh/ssh_host_*
}

# --- the machine ---

can_bind() { # by address, since the name of the private interface differs between machines
  python 'import socket, sys; socket.socket().bind((sys.argv[1], 0))' "$1" 2>/dev/null
}

await_address() {
  within "$WAIT_S" can_bind "$PRIVATE_IP" || fail "the private address $PRIVATE_IP did not appear within $WAIT_S s"
}

smaller() {
  echo $(($1 < $2 ? $1 : $2))
}

larger() {
  echo $(($1 > $2 ? $1 : $2))
}

read_machine() { # what there is, and what of it Dask may use
  local facts
  facts=$(python '
import os, sys
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
print(sys.version.split()[0], cores, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
') || fail "the environment's Python does not run"
  read -r PYTHON_VERSION MACHINE_CORES MACHINE_BYTES <<<"$facts"
  THREADS=$PROCESS_THREADS MEMORY_LIMIT=$PROCESS_MEMORY
  [[ $THREADS != auto ]] || THREADS=$(larger 1 $(($(smaller "$CORES" "$MACHINE_CORES") / PROCESSES)))
  [[ $MEMORY_LIMIT != auto ]] ||
    MEMORY_LIMIT=$(($(smaller "$MEMORY_BYTES" "$MACHINE_BYTES") * MEMORY_PERCENT / 100 / PROCESSES))
}

tell_facts() {
  speak "fact python $PYTHON_VERSION"
  speak "fact digest $ENV_DIGEST"
  speak "fact script_digest $SCRIPT_DIGEST"
  speak "fact tool $TOOL_VERSION"
  speak "fact cores $MACHINE_CORES"
  speak "fact memory_bytes $MACHINE_BYTES"
  speak "fact threads $THREADS"
  speak "fact memory_limit_bytes $MEMORY_LIMIT"
}

# --- phase tls ---

examine() { # examine CA IDENTITY: talks to itself over TLS as Dask does, both ends checked; prints the expiry
  python '
import ssl, sys, time

def end(purpose, incoming, outgoing, server):
    context = ssl.create_default_context(purpose, cafile=sys.argv[1])
    context.load_cert_chain(sys.argv[2])
    context.check_hostname, context.verify_mode = False, ssl.CERT_REQUIRED
    return context.wrap_bio(incoming, outgoing, server_side=server)

try:
    back, forth = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = end(ssl.Purpose.SERVER_AUTH, back, forth, False)
    server = end(ssl.Purpose.CLIENT_AUTH, forth, back, True)
    for side in (client, server) * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    certificate = client.getpeercert()
    server.getpeercert()
except (OSError, ValueError) as error:
    sys.exit(str(error))
begin, until = (ssl.cert_time_to_seconds(certificate[key]) for key in ("notBefore", "notAfter"))
if until - time.time() < (until - begin) / 10:
    sys.exit("it expires soon")
print(certificate["notAfter"])
' "$1" "$2"
}

has_identity() {
  cmp -s "$PAYLOAD/ca.pem" "$TLS/ca.pem" &&
    [[ $(head -n 1 "$TLS/node.pem" 2>/dev/null) == "scherbelberg $MARK" ]] &&
    VALID_UNTIL=$(examine "$TLS/ca.pem" "$TLS/node.pem" 2>/dev/null)
}

request_certificate() {
  rm -f "$TLS"/new.*
  openssl ecparam -name prime256v1 -genkey -noout -out "$TLS/new.key"
  openssl req -new -key "$TLS/new.key" -subj "/CN=$NODE_NAME" -sha256 -out "$TLS/new.csr"
  speak "csr $(base64 <"$TLS/new.csr" | tr -d '\n')"
}

install_certificate() { # install_certificate BASE64: key and certificate become one file, replaced as one
  local owner='' mode=0600 verdict
  [[ $SUPERVISION == plain ]] || owner=:$SERVICE_USER mode=0640
  base64 --decode <<<"$1" >"$TLS/new.crt" 2>/dev/null || fail "the client's certificate is not base64"
  { echo "scherbelberg $MARK" && cat "$TLS/new.key" "$TLS/new.crt"; } >"$TLS/new.pem"
  verdict=$(examine "$PAYLOAD/ca.pem" "$TLS/new.pem" 2>&1) || fail "the client's certificate is refused: $verdict"
  put "$TLS/ca.pem" 0644 <"$PAYLOAD/ca.pem"
  put "$TLS/node.pem" "$mode" "$owner" <"$TLS/new.pem"
  rm -f "$TLS"/new.*
}

phase_tls() {
  phase tls
  if has_identity; then
    phase tls skipped "valid until $VALID_UNTIL"
    return
  fi
  request_certificate
  listen certificate
  install_certificate "$REPLY"
  phase tls "done"
}

# --- commands ---

up() {
  exec 3>&1 4<&0 </dev/null # no other command may speak, or take the client's answers
  trap leave EXIT
  begin_record
  exec 1>&2
  PHASE=hostkey
  load_settings "$PAYLOAD/node.env"
  check_machine
  verify_script
  alone
  end_jobs
  make_user
  [[ $SUPERVISION == plain ]] || fence || hopeless fail "nft cannot set rules on this machine"
  make_folders
  phase_hostkey
  phase_environment
  phase_tls
  phase_service
  sweep
}

leave() { # leave [COMMAND]: after a run of `up`, whatever ended it
  local code=$?
  trap - ERR
  "$@"
  exec >/dev/null # it leads to the recorder as well, which would wait for more
  end_record "$code"
}

enter() { # enter [COMMAND...]
  export PATH=$BASE/env/bin:$PATH
  [[ $# -gt 0 ]] || set -- "${SHELL:-/bin/bash}"
  exec "$@"
}

main() {
  [[ ${BASH_SOURCE[0]} == "$0" ]] || return 0 # sourced
  [[ ${1:-} == enter ]] || umask 077          # whose files are the user's own business
  set -Eeuo pipefail
  # In a subshell a failure is an answer; the script itself has to succeed in all that it does not ask about.
  trap '((BASH_SUBSHELL)) || fail "${BASH_SOURCE[0]##*/}, line $LINENO failed: $BASH_COMMAND"' ERR
  choose_supervision
  case ${1:-} in
    up | settle | start | ready | stop | status | enter | supervise | idle | watch | fence) "$@" ;;
    exec) exec_dask "${2:-}" ;;
    *) fail "unknown command \"${1:-}\"; the first lines of this script list them all" ;;
  esac
}

main "$@"
