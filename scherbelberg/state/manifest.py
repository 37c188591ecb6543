# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What this computer remembers of a cluster, as values, and in which files of the cluster's folder."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from attrs import asdict, evolve, field, frozen, validators

from scherbelberg.environments.versions import Allowed
from scherbelberg.errors import FailedAttempt
from scherbelberg.planning.plan import ClusterState, Identity, NodePlan, NodeRole
from scherbelberg.spec.model import ClusterSpec, Ports, Timeouts
from scherbelberg.state.keys import Certified, SshPair

SCHEMA = 2
ENDPOINT = "endpoint"
MAKER = "maker"
MANIFEST = "manifest.json"
KNOWN_HOSTS = "known_hosts"
SSH_KEY = "id_ed25519"
AUTHORITY = "ca.pem"
AUTHORITY_KEY = "ca-key.pem"
CLIENT = "client.pem"
CLIENT_KEY = "client-key.pem"
PLANTED = "planted.json"
IMPORTED = "imported"


@frozen(kw_only=True)
class EnvRecord:
    """The environment of a cluster's nodes as this computer remembers it.

    Args:
        name: ``main``, ``science``, ``image``, ``solved``, or what it was made from.
        digests: Digest by platform.
        client: Program of the interpreter for which it was chosen.
        client_source: Who said that it is the client.
        allowed: Package, the client's version, the nodes': in what they may differ.
    """

    name: str
    digests: Mapping[str, str] = field(hash=False)
    client: str
    client_source: str
    allowed: Allowed = ()


@frozen(kw_only=True)
class NodeRecord:
    """A node as this computer remembers it.

    Args:
        name: As users know it.
        role: What it does.
        server_type: What is rented, by name.
        location: Where, or empty for where the cluster is.
        host_keys: Public host keys that may be met, one line each.
        public_ip: IPv4 address for SSH, or None while unknown.
        public_ipv6: IPv6 address for SSH, or None while unknown.
        private_ip: Address in the cluster's network, or None while unknown.
        lock: Digest of the environment that it said it has.
        script: Digest of the scripts that it said it runs.
        tool: Version of the tool that made it, as it said.
    """

    name: str
    role: NodeRole
    server_type: str
    host_keys: tuple[str, ...]
    public_ip: str | None = None
    public_ipv6: str | None = None
    private_ip: str | None = None
    location: str = ""
    lock: str = ""
    script: str = ""
    tool: str = ""


def new_record(node: NodePlan, planted: SshPair) -> NodeRecord:
    """What there is to remember of a node before it is rented.

    Args:
        node: Its plan.
        planted: Its first host key.
    """
    return NodeRecord(
        name=node.name,
        role=node.role,
        server_type=node.server_type.name,
        location=node.location,
        host_keys=(planted.public,),
    )


@frozen(kw_only=True)
class Manifest:
    """What this computer remembers of a cluster.

    Args:
        identity: Who it is.
        endpoint: The API where it lives.
        state: How far its making came.
        spec: What the user wanted.
        ssh_port: Port on which its nodes take SSH.
        location: Where its scheduler is.
        environment: The environment of its nodes.
        nodes: Its nodes.
        phases: Phase to seconds that it took.
        versions: Package to version, equal on client and nodes as proven at the end of its making.
        tried: What was tried in vain for its nodes, in order.
        api_requests: How many requests its making sent to the cloud, or None in records that do not tell.
        is_protected: Whether nothing of it may be deleted, as far as this computer has changed that.
    """

    identity: Identity
    endpoint: str
    state: ClusterState
    spec: ClusterSpec
    ssh_port: int
    location: str
    environment: EnvRecord
    nodes: tuple[NodeRecord, ...]
    phases: Mapping[str, float] = field(factory=dict, hash=False)
    versions: Mapping[str, str] = field(factory=dict, hash=False)
    tried: tuple[FailedAttempt, ...] = ()
    api_requests: int | None = None
    is_protected: bool = field(default=False, validator=validators.instance_of(bool))

    def with_node(self, record: NodeRecord) -> Manifest:
        """The same with one node's record replaced."""
        return evolve(self, nodes=tuple(record if node.name == record.name else node for node in self.nodes))

    def without_node(self, name: str) -> Manifest:
        """The same without one node."""
        return evolve(self, nodes=tuple(node for node in self.nodes if node.name != name))

    def node(self, name: str) -> NodeRecord | None:
        """The record of a node, or None."""
        return next((node for node in self.nodes if node.name == name), None)


@frozen(kw_only=True)
class Keyring:
    """What it takes to use a cluster, and to make nothing new in it.

    Args:
        ssh: Logs in as root.
        authority: The certificate, PEM, by which its nodes know each other.
        client: The client's own.
    """

    ssh: SshPair
    authority: bytes
    client: Certified


@frozen(kw_only=True)
class Credentials:
    """All keys of a cluster that live on this computer.

    Args:
        ssh: Logs in as root.
        authority: Signs certificates.
        client: The client's own.
        planted: First host key by node name.
    """

    ssh: SshPair
    authority: Certified
    client: Certified
    planted: Mapping[str, SshPair] = field(repr=False, hash=False)

    @property
    def keyring(self) -> Keyring:
        """Those that it takes to use the cluster."""
        return Keyring(ssh=self.ssh, authority=self.authority.certificate, client=self.client)


def manifest_document(manifest: Manifest) -> dict[str, Any]:
    """A manifest as JSON values."""
    return {"schema": SCHEMA, **asdict(manifest, value_serializer=_plain)}


def _plain(instance: object, attribute: object, value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value


def read_manifest(document: dict[str, Any]) -> Manifest:
    """Make a manifest of JSON values; they may make no sense, which raises exceptions of any kind."""
    if document.pop("schema") != SCHEMA:
        raise ValueError("it was written by another version of scherbelberg")
    for name, kind in (("ssh_port", int), ("location", str), ("phases", dict), ("versions", dict), ("nodes", list)):
        if not isinstance(document[name], kind):
            raise TypeError(f"{name} is no {kind.__name__}")
    if not isinstance(document.get("api_requests"), int | None):
        raise TypeError("api_requests is no int")
    document["identity"] = Identity(**document["identity"])
    spec = document["spec"]
    document["spec"] = ClusterSpec(**spec | {"ports": Ports(**spec["ports"]), "timeouts": Timeouts(**spec["timeouts"])})
    environment = document["environment"]
    allowed = tuple((package, here, there) for package, here, there in environment["allowed"])
    document["environment"] = EnvRecord(**environment | {"allowed": allowed})
    document["nodes"] = tuple(
        NodeRecord(**node | {"host_keys": tuple(node["host_keys"])}) for node in document["nodes"]
    )
    document["tried"] = tuple(FailedAttempt(**row) for row in document.get("tried", ()))
    return Manifest(**document)
