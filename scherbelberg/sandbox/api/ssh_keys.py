# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""SSH keys."""

from __future__ import annotations

import re
from collections.abc import Iterable

import asyncssh

from scherbelberg.sandbox.api import checks
from scherbelberg.sandbox.api.routing import Answer, Context, Request, Route, shared_routes
from scherbelberg.sandbox.api.views import Json, head
from scherbelberg.sandbox.cloud.errors import invalid, taken
from scherbelberg.sandbox.cloud.model import SshKey
from scherbelberg.sandbox.cloud.project import Project

#: Type, base64 and comment; the other formats of public keys are no use in a file of authorized keys.
_ONE_LINE = re.compile(r"(ssh|ecdsa|sk)-[^\s]+ +[A-Za-z0-9+/=]+( [^\n\r]*)?")


def routes(context: Context) -> Iterable[Route]:
    """List what answers."""
    project = context.project
    yield from shared_routes(
        project, "ssh_keys", show, filters=("name", "fingerprint"), sorts=("id", "name"), actions=False
    )
    yield "POST", "/ssh_keys", lambda request: _make(project, request)
    yield "DELETE", r"/ssh_keys/(\d+)", lambda _request, number: _remove(project, number)


def show(key: SshKey) -> Json:
    """Show one."""
    return {**head(key), "fingerprint": key.fingerprint, "public_key": key.public_key}


def _make(project: Project, request: Request) -> Answer:
    known = {"name": checks.name, "labels": checks.labels, "public_key": checks.text}
    values = checks.read_fields(request.body, known, required=("name", "public_key"))
    fingerprint = _fingerprint(values["public_key"])
    project.require_unique("ssh_keys", values["name"])
    if any(key.fingerprint == fingerprint for key in project.ssh_keys.values()):
        raise taken("public_key", "SSH key with the same fingerprint already exists")
    key = SshKey(
        id=project.next_number(),
        created=project.clock.now(),
        name=values["name"],
        labels=values.get("labels", {}),
        public_key=values["public_key"].strip(),
        fingerprint=fingerprint,
    )
    project.ssh_keys[key.id] = key
    return Answer(201, {"ssh_key": show(key)})


def _fingerprint(public_key: str) -> str:
    refused = invalid("public_key", "SSH key is not valid")
    if not _ONE_LINE.fullmatch(public_key.strip()):
        raise refused
    try:
        key = asyncssh.import_public_key(public_key)
    except (asyncssh.KeyImportError, ValueError):
        raise refused from None
    return key.get_fingerprint("md5").removeprefix("MD5:")


def _remove(project: Project, number: int) -> Answer:
    project.get("ssh_keys", number)
    del project.ssh_keys[number]
    return Answer(204)
