# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether the running interpreter fits a cluster that is there already."""

from __future__ import annotations

import logging

from scherbelberg.environments.fit import IMAGE, PROFILES, fits, profiles_for
from scherbelberg.environments.interpreter import own_client
from scherbelberg.environments.lock import PLATFORMS
from scherbelberg.environments.shipped import shipped_lock
from scherbelberg.environments.versions import Client, Versions, compare
from scherbelberg.state.manifest import Manifest

_LOG = logging.getLogger("scherbelberg")


def matched(manifest: Manifest) -> Versions:
    """Compare this interpreter with what was proven of a cluster when it was made.

    It is logged when the cluster's lock is not the one that this interpreter would get now, though nothing that is
    compared differs.

    Args:
        manifest: What this computer remembers of the cluster.

    Returns:
        This interpreter's versions.

    Raises:
        VersionMismatch: They differ.
    """
    client = own_client()
    compare(client.versions, {"scheduler": _proven(manifest)}, allowed=manifest.environment.allowed)
    if note := other_lock(client, manifest):
        _LOG.warning("%s", note)
    return client.versions


def _proven(manifest: Manifest) -> Versions:
    packages = dict(manifest.versions)
    return Versions(python=packages.pop("python"), packages=packages)


def other_lock(client: Client, manifest: Manifest) -> str | None:
    """Say that a cluster has another lock than a client would get now for the same wishes, or None.

    Args:
        client: The client.
        manifest: What this computer remembers of the cluster.
    """
    environment, spec = manifest.environment, manifest.spec
    if environment.name == IMAGE or spec.packages or spec.channels or spec.env not in {None, *PROFILES}:
        return None
    minor = client.versions.python_minor
    profiles = (spec.env,) if spec.env else profiles_for(client)
    locks = [shipped_lock(name, minor, platform) for name in profiles for platform in PLATFORMS.values()]
    fitting = [lock for lock in locks if lock is not None and fits(client, lock)]
    own = {lock.platform: lock for lock in reversed(fitting)}
    for platform, digest in environment.digests.items():
        if platform in own and own[platform].digest != digest:
            return (
                f"The nodes have the environment '{environment.name}' ({digest[:12]}), and this client would get"
                f" '{own[platform].profile}' ({own[platform].digest[:12]}) today; what is compared is the same in both."
            )
    return None
