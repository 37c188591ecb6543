# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated API's answers against Hetzner's own description of its API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sandbox_helpers import (
    Api,
    Json,
    make_firewall,
    make_network,
    new_key,
    order,
    public,
    unique,
)

OPENAPI = Path(__file__).parents[2] / "shared" / "hetzner-cloud-openapi.json"
# What the description, older than the API, has otherwise: (schema, field).
KNOWN_DIFFERENCES = {("server", "datacenter"), ("image", "deprecated")}


class _Description:
    """Hetzner's description of the API as JSON schemas."""

    def __init__(self) -> None:
        self._all = json.loads(OPENAPI.read_text(encoding="utf-8"))

    def check(self, method: str, path: str, status: int, body: Json) -> None:
        """Validate an answer."""
        import jsonschema  # type: ignore[import-untyped]  # has stubs in a package that nothing else needs

        responses = self._all["paths"][path][method.lower()]["responses"]
        found = responses.get(str(status)) or responses[f"{status // 100}xx"]
        schema = self._resolve(found["content"]["application/json"]["schema"])
        jsonschema.validate(body, schema)

    def _resolve(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self._resolve(entry) for entry in schema]
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            return self._resolve(self._all["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        resolved = {key: self._resolve(value) for key, value in schema.items()}
        gone = {field for _, field in KNOWN_DIFFERENCES}
        if isinstance(resolved.get("required"), list) and gone & set(resolved.get("properties", {})):
            resolved["required"] = [field for field in resolved["required"] if field not in gone]
        # OpenAPI 3.0 writes "or null" in a way that JSON Schema does not know.
        return {"anyOf": [resolved, {"type": "null"}]} if schema.get("nullable") is True else resolved


@pytest.mark.skipif(not OPENAPI.exists(), reason="the description of the API is not beside the repository")
def test_answers_fit_the_description(api: Api) -> None:
    """Answers of all kinds validate against Hetzner's own description of them."""
    description = _Description()
    key = api("POST", "/ssh_keys", {"name": unique("key"), "public_key": public(new_key())})
    network, firewall = make_network(api), make_firewall(api)
    body = order(
        networks=[network["id"]], firewalls=[{"firewall": firewall["id"]}], ssh_keys=[key.body["ssh_key"]["id"]]
    )
    made = api("POST", "/servers", body)
    description.check("POST", "/ssh_keys", key.status, key.body)
    description.check("POST", "/servers", made.status, made.body)
    applied = {
        "name": unique("firewall"),
        "apply_to": [{"type": "server", "server": {"id": made.body["server"]["id"]}}],
    }
    second = api("POST", "/firewalls", applied)
    description.check("POST", "/firewalls", second.status, second.body)
    api.done(made.body["action"], *made.body["next_actions"])
    numbers = {
        "/servers/{id}": made.body["server"]["id"],
        "/networks/{id}": network["id"],
        "/firewalls/{id}": firewall["id"],
        "/ssh_keys/{id}": key.body["ssh_key"]["id"],
        "/actions/{id}": made.body["action"]["id"],
        "/images/{id}": 161547269,
        "/locations/{id}": 1,
        "/server_types/{id}": 104,
    }
    for path, number in numbers.items():
        answer = api("GET", path.format(id=number))
        description.check("GET", path, answer.status, answer.body)
    lists = ("/servers", "/networks", "/firewalls", "/ssh_keys", "/images", "/locations", "/server_types", "/pricing")
    for path in lists:
        answer = api("GET", path)
        description.check("GET", path, answer.status, answer.body)
    for path, params in (("/actions", {"id": str(made.body["action"]["id"])}), ("/actions", {})):
        answer = api("GET", path, **params)
        description.check("GET", path, answer.status, answer.body)
    deleted = api("DELETE", f"/servers/{made.body['server']['id']}")
    description.check("DELETE", "/servers/{id}", deleted.status, deleted.body)
