#!/usr/bin/env bash
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# The part of bootstrap.sh, which sources it, that runs Dask: under systemd, or, where there is none, under a plain
# supervisor of its own. Functions called systemd_X and plain_X do the same thing in either way.

LOGS=$SYSROOT/var/log/scherbelberg
WORK=$SYSROOT/var/lib/scherbelberg
UNIT_FILE=$SYSROOT/etc/systemd/system/scherbelberg-dask@.service
SSH_DROP_IN=$SYSROOT/etc/systemd/system/ssh.service.d
CLAIM=$SYSROOT/var/lib/cloud/instance/scherbelberg # without it no unit starts
SERVICE_USER=scherbelberg
STOP_S=5          # for Dask to end when asked to, before it is made to; a nanny gives its worker 4
LONGEST_PAUSE=8   # seconds between two runs of a Dask that does not stay up
STEADY_S=60       # a run this long was a good one: the pauses start small again
SPILL_PERCENT=80  # of the disk that is free when Dask starts: so much may go there that memory has no room for
LOG_BYTES=5000000 # a plain log that is longer is set aside before the next run

choose_supervision() {
  SUPERVISION=plain
  [[ -n $SYSROOT || ! -d /run/systemd/system ]] || SUPERVISION=systemd
}

make_user() {
  [[ $SUPERVISION == systemd ]] || return 0
  id -u "$SERVICE_USER" >/dev/null 2>&1 || useradd --system --user-group --no-create-home \
    --home-dir "$WORK" --shell /usr/sbin/nologin "$SERVICE_USER"
}

# --- Dask ---

dask_command() { # leaves the whole command line in the array COMMAND; a change of environments does not touch it
  COMMAND=("$ENVS/$ENV_DIGEST/bin/python3" -P -X "scherbelberg=$MARK" -m dask "$NODE_ROLE")
  COMMAND+=(--preload "$BASE/bin/openssl_errors.py" --preload "$BASE/bin/activity.py" --preload "$BASE/bin/preloads.py")
  if [[ $NODE_ROLE == scheduler ]]; then
    COMMAND+=(--preload "$BASE/bin/dashboard_guard.py" --port "$SCHEDULER_PORT"
      --dashboard-address "$DASHBOARD_HOST:$DASHBOARD_PORT")
    [[ $DIRECT_HOST == none ]] || COMMAND+=(--preload "$BASE/bin/direct.py")
  else
    COMMAND+=("tls://$SCHEDULER_IP:$SCHEDULER_PORT" --name "$NODE_NAME" --no-dashboard --nthreads "$THREADS"
      --memory-limit "$MEMORY_LIMIT" --worker-port "$WORKER_PORT" --nanny-port "$NANNY_PORT"
      --local-directory "$WORK" --preload "$BASE/bin/scratch.py"
      --preload-nanny "$BASE/bin/openssl_errors.py" --preload-nanny "$BASE/bin/preloads.py")
    [[ $PROCESSES == 1 ]] || COMMAND+=(--nworkers "$PROCESSES")
    [[ $RESOURCES == none ]] || COMMAND+=(--resources "$RESOURCES")
  fi
  COMMAND+=(--protocol tls --host "$PRIVATE_IP"
    --tls-ca-file "$TLS/ca.pem" --tls-cert "$TLS/node.pem" --tls-key "$TLS/node.pem")
}

bound_spilling() { # the last part of the disk is for logs, and for work; the user's configuration may say otherwise
  local bytes
  ! grep -qs 'max[-_]spill' "$BASE/etc/dask/work.yaml" || return 0
  bytes=$(python 'import shutil, sys; print(shutil.disk_usage(sys.argv[1]).free)' "$WORK")
  export DASK_DISTRIBUTED__WORKER__MEMORY__MAX_SPILL=$((bytes * SPILL_PERCENT / 100 / PROCESSES))
}

exec_dask() { # exec_dask ROLE
  local name
  load_node
  [[ $1 == "$NODE_ROLE" ]] || fail "this node is a $NODE_ROLE, not a \"$1\""
  await_address # which comes late after a boot
  read_machine
  dask_command
  for name in ${!DASK_*}; do unset "$name"; done # the node's files alone decide
  [[ $DASHBOARD_ORIGINS == none ]] || export SCHERBELBERG_ORIGINS=$DASHBOARD_ORIGINS
  [[ $DIRECT_HOST == none ]] || export SCHERBELBERG_DIRECT="$DIRECT_HOST $SCHEDULER_PORT"
  export DASK_CONFIG=$BASE/etc/dask DASK_ROOT_CONFIG=$BASE/etc/dask DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True
  bound_spilling
  export PATH=$ENVS/$ENV_DIGEST/bin:$PATH SCHERBELBERG_SESSION=$SESSION
  cd "$WORK" || fail "there is no folder $WORK to work in"
  set -- "${COMMAND[@]}" # from here on no name of ours counts, since the user's variables may have the same
  unset COMMAND          # as an array it could not become one of them
  # shellcheck source=/dev/null
  [[ ! -e $BASE/etc/work.env ]] || source "$BASE/etc/work.env"
  exec "$@"
}

port_to_watch() { # a worker's nanny listens whether the scheduler is there or not; of several, the first
  if [[ $NODE_ROLE == scheduler ]]; then echo "$SCHEDULER_PORT"; else echo "${NANNY_PORT%%:*}"; fi
}

answers() { # nobody connects: Dask would log a handshake that failed, and may lose others' connections over it
  local a b c d socket
  IFS=. read -r a b c d <<<"$PRIVATE_IP"
  if [[ -e /proc/net/tcp ]]; then
    printf -v socket ': %02X%02X%02X%02X:%04X 00000000:0000 0A ' "$d" "$c" "$b" "$a" "$(port_to_watch)"
    grep -q "$socket" /proc/net/tcp
  else
    netstat -an -p tcp | grep -q "[ .]$PRIVATE_IP\.$(port_to_watch) .*LISTEN"
  fi
}

answers_or_breaks() { # answers_or_breaks TIMES: true as well when Dask has ended more often than that
  ANSWERED=yes
  answers && return
  ANSWERED=
  (($("${SUPERVISION}_ends") > $1))
}

await_service() {
  within "$WAIT_S" answers_or_breaks "$(($("${SUPERVISION}_ends") + 2))" || true
  [[ -z $ANSWERED ]] || return 0
  "${SUPERVISION}_log" >&2
  fail "Dask's $NODE_ROLE does not answer at $PRIVATE_IP:$(port_to_watch)"
}

# --- phase service ---

take_in() { # take_in NAME FILE: a file of the payload that only Dask's user may read; an earlier run may have it
  local owner=''
  [[ -e $PAYLOAD/$1 || ! -e $2 ]] || return 0
  [[ $SUPERVISION == plain ]] || owner=$SERVICE_USER
  put "$2" 0600 "$owner" <"$PAYLOAD/$1"
  rm -f "$PAYLOAD/$1"
}

install_files() { # the script last: it is what calls for the others
  local part
  take_in work.env "$BASE/etc/work.env"
  take_in work.yaml "$BASE/etc/dask/work.yaml"
  put "$BASE/etc/node.env" 0644 <"$PAYLOAD/node.env"
  for part in service.sh record.sh watch.sh environment.sh downloads.sh direct.py scratch.py preloads.py activity.py \
    dashboard_guard.py openssl_errors.py warden.py; do
    put "$BASE/bin/$part" 0644 <"$PAYLOAD/$part"
  done
  put "$BASE/bin/bootstrap.sh" 0755 <"$PAYLOAD/bootstrap.sh"
  bear_updates
  [[ $SUPERVISION == plain ]] || put "$UNIT_FILE" 0644 <"$PAYLOAD/units/${UNIT_FILE##*/}"
}

bear_updates() { # what security updates do by themselves shall end neither Dask nor sshd
  local folder=$SYSROOT/etc/needrestart/conf.d
  # needrestart would restart Dask, and what workers hold would be lost.
  # shellcheck disable=SC2016 # it is Perl
  [[ ! -d $folder ]] || put "$folder/scherbelberg.conf" 0644 <<<'$nrconf{override_rc}{qr(^scherbelberg-)} = 0;'
  [[ $SUPERVISION == systemd ]] || return 0
  # Package by package it may restart sshd again and again, which systemd takes for a fault and then starts no more.
  install -d -m 0755 "$SSH_DROP_IN"
  put "$SSH_DROP_IN/scherbelberg.conf" 0644 <<<$'[Unit]\nStartLimitIntervalSec=0'
}

claim_machine() { # for this node: a snapshot of it takes the file along, and cloud-init's link does not lead there
  [[ $SUPERVISION == plain ]] || put "$CLAIM" 0644 <<<"$MARK"
}

fingerprint() { # of what runs: another command line, environment, certificate or unit asks for a restart
  dask_command
  {
    printf '%s\n' "${COMMAND[@]}" "$ENV_DIGEST"
    cat "$TLS/ca.pem" "$TLS/node.pem" "$BASE/etc/work.env" "$BASE/etc/dask/work.yaml" "$BASE"/bin/*.py
    [[ $SUPERVISION == plain ]] || cat "$UNIT_FILE"
  } | cksum
}

runs_like_this() { # runs_like_this FINGERPRINT
  "${SUPERVISION}_running" && [[ $(cat "$BASE/etc/running" 2>/dev/null) == "$1" ]]
}

phase_service() {
  local wanted outcome=skipped
  phase service
  install_files
  install_warden
  wanted=$(fingerprint)
  if ! runs_like_this "$wanted"; then
    outcome="done"
    "${SUPERVISION}_stop"
    claim_machine
    put "$BASE/etc/running" 0600 <<<"$wanted"
    "${SUPERVISION}_start"
  fi
  start_watch
  await_service
  phase service "$outcome"
}

start() {
  load_node
  alone
  "${SUPERVISION}_running" || "${SUPERVISION}_start"
}

ready() {
  load_node
  await_service
}

stop() {
  is_node || return 0
  load_node
  alone
  "${SUPERVISION}_stop"
}

status() {
  if is_node && load_node && "${SUPERVISION}_running"; then echo running; else echo stopped; fi
}

# --- supervision by systemd ---

unit() {
  echo "scherbelberg-dask@$NODE_ROLE.service"
}

systemd_running() {
  [[ $(systemctl show --property ActiveState --value "$(unit)") == activ* ]]
}

systemd_start() {
  systemctl daemon-reload
  systemctl enable "$(unit)"
  systemctl restart "$(unit)" && return
  systemd_log >&2
  fail "systemd could not start $(unit)"
}

systemd_stop() {
  [[ ! -e $UNIT_FILE ]] || systemctl disable --now scherbelberg-dask@{scheduler,worker}.service
}

systemd_ends() {
  systemctl show --property NRestarts --value "$(unit)"
}

systemd_log() { # its last lines
  journalctl --unit "$(unit)" --lines 20 --no-pager
}

fence() { # the metadata address tells whoever asks about this machine, user_data included
  local uid
  uid=$(id -u "$SERVICE_USER")
  nft -f - <<EOF_RULES
add table inet scherbelberg
delete table inet scherbelberg
table inet scherbelberg {
  chain output {
    type filter hook output priority filter; policy accept;
    meta skuid $uid ip daddr 169.254.169.254 reject
    meta skuid $uid ip6 daddr fe80::a9fe:a9fe reject
  }
}
EOF_RULES
}

# --- plain supervision: a process of our own, in a session of its own ---

log_file() {
  echo "$LOGS/$NODE_ROLE.log"
}

command_of() { # command_of PID: empty for a zombie
  if [[ -d /proc/self ]]; then
    tr '\0' ' ' <"/proc/$1/cmdline"
  else
    ps -ww -o command= -p "$1"
  fi 2>/dev/null
}

note() { # note FILE PID
  put "$1" 0644 <<<"$2 $MARK"
}

alive() { # alive FILE: is the process noted there still the one that was noted? Leaves its id in PID
  local whose=''
  PID=''
  read -r PID whose 2>/dev/null <"$1" && [[ -n $whose && $(command_of "$PID") == *"$whose"* ]]
}

plain_running() {
  alive "$RUN/supervisor.pid"
}

plain_start() {
  install -d -m 0755 "$LOGS"
  install -d -m 0700 "$WORK"
  rm -f "$RUN/ends"
  "$PYTHON" -I -S -c 'import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])' \
    "$BASH" "$BASE/bin/bootstrap.sh" supervise "$NODE_ROLE" "$MARK" \
    </dev/null >>"$(log_file)" 2>&1 3>&- 4<&- 7<&- 9>&- &
  within "$WAIT_S" plain_running || fail "the supervisor did not start; see $(log_file)"
}

end_process() { # end_process FILE: it is asked to, then its process group is made to
  alive "$1" || return 0
  kill -TERM "$PID" 2>/dev/null || true
  within "$STOP_S" not alive "$1" || true
  kill -KILL -- "-$PID" 2>/dev/null || true
  within "$STOP_S" not alive "$1" || fail "process $PID does not end"
}

plain_stop() { # the supervisor first, which ends Dask; then Dask, should it be there without a supervisor
  end_process "$RUN/supervisor.pid"
  end_process "$RUN/dask.pid"
  rm -f "$RUN/supervisor.pid" "$RUN/dask.pid"
}

plain_ends() {
  cat "$RUN/ends" 2>/dev/null || echo 0
}

plain_log() { # its last lines
  tail -n 20 "$(log_file)"
}

open_log() {
  [[ $(wc -c <"$(log_file)") -lt $LOG_BYTES ]] || mv -f "$(log_file)" "$(log_file).1"
  exec >>"$(log_file)" 2>&1
}

end_child() { # the order to end may come at any moment, even before the child has a number
  ORDERED=yes
  [[ -z $CHILD ]] || kill -TERM "$CHILD" 2>/dev/null
}

await_child() { # an order interrupts waiting, so the child may still be there afterwards
  CODE=0
  wait "$CHILD" || CODE=$?
  while kill -0 "$CHILD" 2>/dev/null; do
    CODE=0
    wait "$CHILD" || CODE=$?
  done
}

run_child() { # run_child COMMAND...: in a process group of its own, of which nothing is left afterwards
  set -m
  "$@" </dev/null 8>&- &
  CHILD=$!
  set +m
  [[ -z $ORDERED ]] || end_child
  note "$RUN/dask.pid" "$CHILD"
  await_child
  kill -KILL -- "-$CHILD" 2>/dev/null
  CHILD=
}

rest() { # rest SECONDS: a sleep that an order ends
  sleep "$1" 8>&- &
  CHILD=$!
  [[ -z $ORDERED ]] || end_child
  await_child
  CHILD=
}

supervise() { # supervise ROLE [MARK], which is for those who look at the process from outside
  local pause=1 began
  load_node
  ORDERED='' CHILD=''
  trap end_child TERM INT HUP
  exec 8>"$RUN/supervisor.lock"
  try_lock 8 || return 0 # there is one already
  note "$RUN/supervisor.pid" $$
  trap - ERR
  set +e # from here on it goes on, whatever happens, a full disk included
  while [[ -z $ORDERED ]]; do
    began=$SECONDS
    open_log
    run_child "$BASH" "$BASE/bin/bootstrap.sh" exec "$1" "$MARK"
    echo "supervisor: Dask ended with exit code $CODE"
    [[ -z $ORDERED ]] || break
    ((SECONDS - began < STEADY_S)) || pause=1
    put "$RUN/ends" 0644 <<<"$(($(plain_ends) + 1))"
    rest "$pause"
    pause=$(smaller $((pause * 2)) "$LONGEST_PAUSE")
  done
}
