# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Brings one node from its first SSH connection to a running Dask service.

Everything is pushed in one go, the script is run once, its lines become events and its two questions are answered: the
node's own host key is pinned before sshd uses it, and its certificate request is signed.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from attrs import frozen

from scherbelberg.errors import BootstrapFailed, BootstrapHopeless, ScherbelbergError
from scherbelberg.events import Event, Listener, Phase
from scherbelberg.nodes.payload import FOLDER, RemoteFile, command, pack, unpack_command
from scherbelberg.nodes.ssh import TAIL, Remote
from scherbelberg.spec.model import Timeouts

#: A node that was just reached answers again at once, unless something is wrong.
_AGAIN_S = 60.0
#: Exit status where there is no tar or no bash.
_NOT_FOUND = 127
_PHASES = {phase.value for phase in Phase}
_STATES = {"start", "progress", "done", "skipped"}
#: So many bytes of so many, or of nobody knows how many, and perhaps what holds up the rest.
_PROGRESS = re.compile(r"(\d{1,18}) (\d{1,18})(?: (.+))?", re.ASCII)


@frozen(kw_only=True)
class NodeFacts:
    """What a node said of itself.

    Args:
        cores: Cores of the machine.
        memory_bytes: Memory of the machine in bytes.
        python: Full version of its environment's Python.
        digest: Digest of its environment.
        script: Digest of the scripts that it runs.
        tool: Version of the tool that it was made by.
    """

    cores: int
    memory_bytes: int
    python: str
    digest: str
    script: str
    tool: str


@frozen(kw_only=True)
class BootstrapCallbacks:
    """How the script's questions are answered.

    Args:
        pin: Is given the node's own host key; from its return on, that key is accepted too.
        pin_only: Is called when the node was told to use its own key; from then on no other is accepted.
        sign: Is given a certificate request, PEM, and returns the certificate, PEM.
    """

    pin: Callable[[str], None]
    pin_only: Callable[[str], None]
    sign: Callable[[bytes], bytes]


class _BootstrapSession:
    """What was said while the script ran on a node."""

    def __init__(self, node: str, listener: Listener, callbacks: BootstrapCallbacks) -> None:
        self.node = node
        self.facts: dict[str, str] = {}
        self.host_key = ""
        self.failure = ""
        self.is_hopeless = False
        self.phase: Phase | None = None
        self.log: deque[str] = deque(maxlen=TAIL)
        self._listener = listener
        self._callbacks = callbacks

    def answer(self, line: str) -> str | None:
        """Take a line of the script's standard output and return what it waits for, or None.

        Raises:
            BootstrapFailed: The line makes no sense.
        """
        word, _, rest = line.partition(" ")
        if word == "@phase":
            self._note_phase(rest)
        elif word == "@fact":
            name, _, value = rest.partition(" ")
            self.facts[name] = value
        elif word in {"@failed", "@hopeless"}:
            self.is_hopeless = word == "@hopeless"
            self._fail(rest)
        elif word == "@hostkey":
            self.host_key = rest.strip()
            self._callbacks.pin(self.host_key)
            return "pinned"
        elif word == "@csr":
            certificate = self._callbacks.sign(self._request(rest))
            return f"certificate {base64.b64encode(certificate).decode()}"
        else:
            self.log.append(line)
        return None

    def _request(self, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            raise self._nonsense("a certificate request that is not base64") from None

    def _note_phase(self, rest: str) -> None:
        name, state, detail = (*rest.split(" ", 2), "", "")[:3]
        if name not in _PHASES or state not in _STATES:
            raise self._nonsense(f"the phase '{rest}'")
        self.phase = Phase(name)
        if state == "progress":
            self._note_progress(self.phase, detail)
        else:
            self._listener(Event(node=self.node, phase=self.phase, state=state, detail=detail))  # type: ignore[arg-type] # checked above

    def _note_progress(self, phase: Phase, detail: str) -> None:
        counts = _PROGRESS.fullmatch(detail)
        if counts is None:
            raise self._nonsense(f"the progress '{detail}'")
        done, total = int(counts[1]), int(counts[2])
        words = counts[3] or ""
        self._listener(
            Event(node=self.node, phase=phase, state="progress", done=done, total=total or None, detail=words)
        )

    def _nonsense(self, what: str) -> BootstrapFailed:
        return BootstrapFailed(f"Node {self.node} sent {what}, which makes no sense here.", node=self.node)

    def _fail(self, rest: str) -> None:
        name, _, self.failure = rest.partition(" ")
        if name not in _PHASES:
            raise self._nonsense(f"the phase '{name}'")
        self.phase = Phase(name)
        self._listener(Event(node=self.node, phase=self.phase, state="failed", detail=self.failure))


async def bootstrap(
    remote: Remote,
    files: tuple[RemoteFile, ...],
    *,
    packages: Mapping[str, Path] = MappingProxyType({}),
    callbacks: BootstrapCallbacks,
    listener: Listener,
    timeouts: Timeouts,
    digest: str,
) -> NodeFacts:
    """Bring a node that was reached to a running service. Doing it again changes nothing.

    Args:
        remote: The node.
        files: All that is pushed at once.
        packages: What is too large for that: path on this computer by path in the payload.
        callbacks: How the script's questions are answered.
        listener: Is told of the phases.
        timeouts: Deadlines in seconds.
        digest: Digest of the environment that the node must have.

    Raises:
        BootstrapFailed: The script failed; the error has its last lines.
        BootstrapHopeless: It failed for a reason that every other node would have.
        NodeUnreachable: The connection was lost.
        WaitTimeout: The script did not end in time.
    """
    session = _BootstrapSession(remote.node, listener, callbacks)
    session.phase = Phase.PUSH
    try:
        await _push(remote, files, packages, listener, timeouts)
        return await _run(remote, session, callbacks=callbacks, timeouts=timeouts, digest=digest)
    except ScherbelbergError as error:
        if error.phase is None and session.phase is not None:
            error.phase = session.phase.value
        error.log_tail = error.log_tail or tuple(session.log)
        raise


async def _run(
    remote: Remote, session: _BootstrapSession, *, callbacks: BootstrapCallbacks, timeouts: Timeouts, digest: str
) -> NodeFacts:
    code = await remote.converse(
        command("up"), answer=session.answer, log=session.log.append, within_s=timeouts.bootstrap
    )
    if code != 0:
        session.is_hopeless = session.is_hopeless or code == _NOT_FOUND
        raise _bootstrap_error(session, session.failure or f"the script ended with exit status {code}")
    facts = _facts(session, digest)
    if session.host_key:
        await _finish_key_rotation(remote, session, callbacks, timeouts)
    return facts


async def _push(
    remote: Remote,
    files: tuple[RemoteFile, ...],
    packages: Mapping[str, Path],
    listener: Listener,
    timeouts: Timeouts,
) -> None:
    count = len(files) + len(packages)
    listener(Event(node=remote.node, phase=Phase.PUSH, state="start", total=count))
    result = await remote.run(unpack_command(), within_s=timeouts.bootstrap, stdin=pack(files))
    if result.exit_code != 0:
        # The shell did not find the program.
        kind = BootstrapHopeless if result.exit_code == _NOT_FOUND else BootstrapFailed
        raise kind(
            f"Node {remote.node} did not take the pushed files (exit status {result.exit_code}).",
            node=remote.node,
            log_tail=result.tail,
        )
    # From file to file: a hundred nodes may get hundreds of megabytes each.
    if packages:
        await remote.run(f"mkdir -p {FOLDER}/packages", within_s=timeouts.node_wait)
    for path, source in packages.items():
        await remote.put(source, f"{FOLDER}/{path}", within_s=timeouts.bootstrap)
    listener(Event(node=remote.node, phase=Phase.PUSH, state="done", done=count, total=count))


async def _finish_key_rotation(
    remote: Remote, session: _BootstrapSession, callbacks: BootstrapCallbacks, timeouts: Timeouts
) -> None:
    """Prove by a new connection that the node's own host key is in use, then have the planted ones deleted."""
    callbacks.pin_only(session.host_key)
    await remote.close()
    await remote.reach(within_s=min(_AGAIN_S, timeouts.reach))
    result = await remote.run(command("settle"), within_s=timeouts.node_wait)
    if result.exit_code != 0:
        session.phase = Phase.HOSTKEY
        session.log.extend(result.tail)
        raise _bootstrap_error(session, f"its planted host keys could not be deleted (exit status {result.exit_code})")


def _facts(session: _BootstrapSession, digest: str) -> NodeFacts:
    try:
        facts = NodeFacts(
            cores=int(session.facts["cores"]),
            memory_bytes=int(session.facts["memory_bytes"]),
            python=session.facts["python"],
            digest=session.facts["digest"],
            script=session.facts["script_digest"],
            tool=session.facts["tool"],
        )
    except (KeyError, ValueError) as error:
        raise _bootstrap_error(session, f"it did not say what it is ({error!r})") from None
    if facts.digest != digest:
        raise _bootstrap_error(session, f"it has the environment {facts.digest[:12]} where {digest[:12]} was asked for")
    return facts


def _bootstrap_error(session: _BootstrapSession, reason: str) -> BootstrapFailed:
    where = f" in phase {session.phase.value}" if session.phase else ""
    kind = BootstrapHopeless if session.is_hopeless else BootstrapFailed
    return kind(
        f"Bootstrap of node {session.node} failed{where}: {reason}.",
        node=session.node,
        phase=session.phase.value if session.phase else None,
        log_tail=tuple(session.log),
    )
