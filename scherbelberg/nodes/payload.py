# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a node is given: cloud-init's user data, the files that are pushed, the command that is run. Values only."""

from __future__ import annotations

import io
import json
import math
import shlex
import tarfile
from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

from scherbelberg.planning.plan import ClusterPlan, NodePlan, dashboard_host
from scherbelberg.spec.model import AUTO
from scherbelberg.spec.workload import NOTHING, WorkEnvironment
from scherbelberg.state.keys import SshPair

#: Relative to root's home folder.
FOLDER = "scherbelberg-payload"
#: What the script tells sshd.
DROP_IN = "/etc/ssh/sshd_config.d/10-scherbelberg.conf"
_NO_PASSWORDS = "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
#: Share of the memory that Dask may use, in percent; the rest is the system's.
MEMORY_PERCENT = 85


@frozen(kw_only=True)
class RemoteFile:
    """A file for a node.

    Args:
        path: Relative to the login's home folder.
        content: All of it.
        mode: Permission bits.
    """

    path: str
    content: bytes = field(repr=False)
    mode: int


@frozen(kw_only=True)
class Addresses:
    """Addresses, as the cloud chose them; private ones unless it says otherwise.

    Args:
        node: The node's own.
        scheduler: The scheduler's.
        public: The node's public ones, IPv4 first.
    """

    node: str
    scheduler: str
    public: tuple[str, ...]


def command(*words: str) -> str:
    """Write the command line that runs a command of the pushed script.

    Args:
        words: The script's command and its arguments.
    """
    return shlex.join(["env", "LC_ALL=C.UTF-8", "bash", f"{FOLDER}/bootstrap.sh", *words])


def user_data(planted: SshPair) -> str:
    """Write cloud-init's configuration.

    It holds one secret, the node's first host key, which is replaced and deleted over the first connection.

    Args:
        planted: That key.
    """
    config = {
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": planted.private, "ed25519_public": planted.public},
        # In a node's snapshot, sshd has that node's own host key, by which nobody would know the new machine. With
        # "ssh_pwauth", cloud-init would start sshd anew when we are logged in already.
        "write_files": [{"path": DROP_IN, "content": _NO_PASSWORDS}],
    }
    # YAML reads JSON, and JSON needs no indentation rules.
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


@frozen(kw_only=True)
class Release:
    """What of ours and of the environment's sources a node is told.

    Args:
        script: Digest of the scripts.
        tool: Version of this tool.
        channel_mirror: URL that stands for the place of conda channels, or None.
        miniforge_mirror: URL that stands for the place of Miniforge's releases, or None.
    """

    script: str
    tool: str
    channel_mirror: str | None = None
    miniforge_mirror: str | None = None


def node_settings(
    plan: ClusterPlan, node: NodePlan, addresses: Addresses, *, digest: str, release: Release
) -> dict[str, str]:
    """List the settings that the script reads.

    Args:
        plan: The cluster's plan.
        node: The node's plan.
        addresses: Addresses.
        digest: Digest of the environment that the node must have.
        release: What else it is told.
    """
    ports, processes = plan.spec.ports, len(node.workers) or 1
    return {
        "NODE_NAME": node.name,
        "NODE_ROLE": node.role,
        "CLUSTER_UID": plan.identity.uid,
        "ENV_DIGEST": digest,
        "SCRIPT_DIGEST": release.script,
        "TOOL_VERSION": release.tool,
        "CHANNEL_MIRROR": release.channel_mirror or "none",
        "MINIFORGE_MIRROR": release.miniforge_mirror or "none",
        "PRIVATE_IP": addresses.node,
        "SCHEDULER_IP": addresses.scheduler,
        "SCHEDULER_PORT": str(ports.scheduler),
        "DASHBOARD_HOST": dashboard_host(addresses.scheduler),
        "DASHBOARD_PORT": str(ports.dashboard),
        "WORKER_PORT": _range(ports.worker, processes),
        "NANNY_PORT": _range(ports.nanny, processes),
        "CORES": str(node.server_type.cores),
        "MEMORY_BYTES": str(node.server_type.memory_bytes),
        "MEMORY_PERCENT": str(MEMORY_PERCENT),
        "PROCESSES": str(processes),
        "PROCESS_THREADS": str(plan.spec.threads or AUTO),
        "PROCESS_MEMORY": plan.spec.memory_limit or AUTO,
        "RESOURCES": " ".join(f"{name}={amount:g}" for name, amount in plan.spec.resources.items()) or "none",
        "DIRECT_HOST": ",".join(addresses.public) if plan.spec.direct and node.role == "scheduler" else "none",
        "DASHBOARD_ORIGINS": " ".join(plan.spec.dashboard_origin) or "none",
        "WAIT_S": str(math.ceil(plan.spec.timeouts.node_wait)),
        "BOOTSTRAP_S": str(math.ceil(plan.spec.timeouts.bootstrap)),
    }


def _range(first: int, count: int) -> str:
    """Ports as Dask writes them."""
    return str(first) if count == 1 else f"{first}:{first + count - 1}"


def payload(
    settings: Mapping[str, str],
    *,
    authority: bytes,
    share: Mapping[str, bytes],
    environment: Mapping[str, bytes] = MappingProxyType({}),
    work_environment: WorkEnvironment = NOTHING,
) -> tuple[RemoteFile, ...]:
    """List the files that are pushed to a node.

    Args:
        settings: The node's settings.
        authority: The cluster's CA certificate, PEM.
        share: The package's own files by relative path.
        environment: The lock, and files that the node cannot get by itself, by relative path.
        work_environment: What work finds there.
    """
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())
    files = [
        RemoteFile(path=f"{FOLDER}/node.env", content=lines.encode(), mode=0o600),
        RemoteFile(path=f"{FOLDER}/work.env", content=work_environment.script().encode(), mode=0o600),
        RemoteFile(path=f"{FOLDER}/work.yaml", content=work_environment.dask_config.encode(), mode=0o600),
        RemoteFile(path=f"{FOLDER}/ca.pem", content=authority, mode=0o644),
    ]
    files += [
        RemoteFile(path=f"{FOLDER}/{path}", content=content, mode=0o755 if path.endswith(".sh") else 0o644)
        for path, content in sorted({**share, **environment}.items())
    ]
    return tuple(files)


def warden_file(*, token: str, endpoint: str, uid: str) -> RemoteFile:
    """Write what lets a scheduler give its cluster back by itself; the script lets root alone read it.

    Args:
        token: The API token.
        endpoint: URL of the API.
        uid: The cluster's.
    """
    text = json.dumps({"token": token, "endpoint": endpoint, "uid": uid})
    return RemoteFile(path=f"{FOLDER}/warden.json", content=text.encode(), mode=0o600)


def pack(files: tuple[RemoteFile, ...]) -> bytes:
    """Pack files into a tar archive, with the modes that they get before their content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path)
            entry.size = len(file.content)
            entry.mode = file.mode
            archive.addfile(entry, io.BytesIO(file.content))
    return buffer.getvalue()


def unpack_command() -> str:
    """Write the command line that unpacks such an archive from its standard input, into a folder of root's alone."""
    return f"umask 077 && mkdir -p {FOLDER} && chmod 700 {FOLDER} && tar -x -p -f -"
