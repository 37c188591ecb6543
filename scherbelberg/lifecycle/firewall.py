# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Changes who is let into a cluster that lives."""

from __future__ import annotations

from attrs import evolve

from scherbelberg.cloud.hetzner import open_api
from scherbelberg.cloud.resources import Firewall, Resource
from scherbelberg.errors import BadInput, ClusterBroken, StateMissing
from scherbelberg.inventory.clusters import selector
from scherbelberg.inventory.listing import find_own
from scherbelberg.planning.plan import firewall_rules
from scherbelberg.settings import Settings
from scherbelberg.spec.model import ClusterSpec, Timeouts
from scherbelberg.state.manifest import Manifest


async def let_in(
    settings: Settings, prefix: str, *, ssh_from: tuple[str, ...] | None = None, direct: tuple[str, ...] | None = None
) -> ClusterSpec:
    """Change the rules of a cluster's firewall, and remember them.

    Args:
        settings: The surroundings.
        prefix: The cluster's name.
        ssh_from: Ranges of addresses from which SSH is let in, or None for those of now.
        direct: Ranges of addresses from which Dask's TLS port is let in, or None for those of now.

    Returns:
        The cluster's wishes as they are from now on.

    Raises:
        BadInput: A range cannot be, or the scheduler listens to the private network alone.
        ClusterNotFound: There is none of this name.
        StateMissing: Its keys are not on this computer.
        ClusterBroken: Its firewall is gone.
    """
    kept = await find_own(settings, prefix)
    if kept.folder is None:
        raise StateMissing(f"The keys of cluster '{prefix}' are not on this computer.")
    manifest = kept.folder.read()
    async with open_api(settings.access, Timeouts()) as hetzner:
        found = await hetzner.find("firewalls", selector(prefix=prefix, uid=kept.holding.uid))
        if not found:
            raise ClusterBroken(f"The firewall of cluster '{prefix}' is gone.")
        before = _as_it_is(manifest, *found)
        spec = evolve(
            before,
            ssh_from=before.ssh_from if ssh_from is None else ssh_from,
            direct=before.direct if direct is None else direct,
        )
        if spec.direct and not manifest.spec.direct:
            raise BadInput(
                f"Cluster '{prefix}' was made without --direct: its scheduler listens to the private network alone,"
                " whatever a firewall lets in. Make it anew with --direct."
            )
        for firewall in found:
            rules = firewall_rules(spec, manifest.ssh_port)
            await hetzner.set_rules(firewall, rules, within_s=spec.timeouts.cloud)
    # Somebody else may have written meanwhile, such as a client that pinned a key.
    kept.folder.save(evolve(kept.folder.read(), spec=spec))
    return spec


def _as_it_is(manifest: Manifest, *found: Resource) -> ClusterSpec:
    """A cluster's wishes with who is let in at present: another computer that uses it may have changed that."""
    spec = manifest.spec
    told = [one.let_in for one in found if isinstance(one, Firewall)]
    if None in told:
        return spec
    open_to = {port: ranges for let_in in told if let_in for port, ranges in let_in.items()}
    return evolve(
        spec,
        ssh_from=open_to.get(str(manifest.ssh_port), spec.ssh_from),
        direct=open_to.get(str(spec.ports.scheduler), ()),
    )
