# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Holds every answer of the emulated API against Hetzner's own description of its API, where that is at hand."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has stubs in a package that nothing else needs
from tornado.httputil import HTTPServerRequest

OPENAPI = Path(__file__).parents[2] / "shared" / "hetzner-cloud-openapi.json"
Json = dict[str, Any]

#: Required in the description, and taken out of the API since.
GONE = {"datacenter", "deprecated"}
#: Required in the description, and optional since April 2026.
OPTIONAL = {"assignee_type"}
#: Words that a field's values have got since.
NEW_WORDS = {"assignee_type": ["unassigned"]}
#: Newer than the description.
NEW_PATHS = {"/networks/{id}/members"}
#: Numbers where the description knows text: the API takes a resource's number or its name here, and clients send both.
NUMBER_OR_NAME = {"image", "server_type", "location"}
#: Status codes whose bodies the description does not describe for each request.
ERRORS = range(400, 600)


class Description:
    """The API's description as JSON schemas."""

    def __init__(self) -> None:
        self._all = json.loads(OPENAPI.read_text(encoding="utf-8"))
        known = [*self._all["paths"], *NEW_PATHS]
        patterns = {path: re.sub(r"\{\w+\}", r"\\d+", path) for path in known}
        # Fixed words before parameters: /actions is none of /{id}.
        self._paths = sorted(
            ((re.compile(one), path) for path, one in patterns.items()), key=lambda row: row[1].count("{")
        )
        self._check = functools.cache(self._make_check)

    def template(self, path: str) -> str | None:
        """The path as the description writes it, or None if it does not know it."""
        return next((path_ for pattern, path_ in self._paths if pattern.fullmatch(path)), None)

    def complaint(self, method: str, path: str, status: int, body: Json | None) -> str | None:
        """What is wrong with an answer, or None."""
        return self._judge(self.template(path), method.lower(), str(status), body)

    def objection(self, method: str, path: str, body: Any) -> str | None:
        """What is wrong with a request, or None."""
        return self._judge(self.template(path), method.lower(), "request", body)

    def _judge(self, template: str | None, method: str, what: str, body: Any) -> str | None:
        if template is None or method not in self._all["paths"].get(template, {}):
            return None if template in NEW_PATHS else "the description does not know this request"
        return self._check(template, method, what)(body)

    def _make_check(self, template: str, method: str, what: str) -> Callable[[Any], str | None]:
        found = self._schema(self._all["paths"][template][method], what)
        if found is None:
            return lambda body: None if not body else "the description has no body here"
        schema = self._resolve(found)
        if what == "request":
            schema = _relaxed(schema)
        validator = jsonschema.Draft4Validator(schema)

        def check(body: Any) -> str | None:
            error = next(validator.iter_errors(body), None)
            return f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" if error else None

        return check

    def _schema(self, operation: Json, what: str) -> Any:
        if what == "request":
            content = operation.get("requestBody", {}).get("content")
        else:
            responses = operation["responses"]
            found = responses.get(what) or responses.get(f"{what[0]}xx")
            if found is None:
                return {"not": {}}
            content = found.get("content")
        return content["application/json"]["schema"] if content else None

    def _resolve(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self._resolve(entry) for entry in schema]
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            return self._resolve(self._all["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        resolved = {key: self._resolve(value) for key, value in schema.items()}
        for name in NEW_WORDS.keys() & resolved.get("properties", {}).keys():
            resolved["properties"][name] = {"type": "string", "enum": ["server", *NEW_WORDS[name]]}
        if isinstance(resolved.get("required"), list):
            resolved["required"] = [name for name in resolved["required"] if name not in GONE | OPTIONAL]
            if not resolved["required"]:
                del resolved["required"]  # the old JSON Schema has no empty list here
        # OpenAPI 3.0 writes "or null" in a way that JSON Schema does not know.
        return {"anyOf": [resolved, {"type": "null"}]} if schema.get("nullable") is True else resolved


def _relaxed(schema: Json) -> Json:
    fields = dict(schema.get("properties", {}))
    for name in NUMBER_OR_NAME & set(fields):
        fields[name] = {"type": ["string", "integer"]}
    if "dns_ptr" in fields:
        fields["dns_ptr"] = {"type": ["string", "null"]}  # null resets the name: for servers the description says so
    if "ssh_keys" in fields:
        fields["ssh_keys"] = {"type": "array", "items": {"type": ["string", "integer"]}}
    return {**schema, "properties": fields} if fields else schema


class Witness:
    """Sees all that a sandbox answers and notes what the description does not allow."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self._description = description() if OPENAPI.exists() else None

    def __call__(self, request: HTTPServerRequest, status: int, body: Any) -> None:
        """Look at one answer, and at its request if that was accepted."""
        if self._description is None or status in (404, 405, 501):
            return
        method, path = str(request.method), request.path.removeprefix("/v1")
        if path.startswith("/datacenters"):
            return  # gone since
        complaint = self._description.complaint(method, path, status, body)
        if complaint is None and status < 300 and request.body:
            complaint = self._description.objection(method, path, json.loads(request.body))
            complaint = complaint and f"accepted although {complaint}"
        if complaint:
            self.complaints.append(f"{method} {path} {status}: {complaint}")


@functools.cache
def description() -> Description:
    """The description, read once."""
    return Description()
