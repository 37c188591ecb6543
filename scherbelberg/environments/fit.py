# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which environment fits a client: what is asked of channels for it, what may differ, and why one is refused. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from attrs import field, frozen

from scherbelberg.environments.environment_file import spec_name
from scherbelberg.environments.lock import CONDA_NAMES, EnvLock
from scherbelberg.environments.versions import (
    OPTIONAL,
    REQUIRED,
    Allowed,
    Baked,
    Client,
    Versions,
    baked_digest,
    compare,
    differences,
)
from scherbelberg.errors import EnvironmentUnavailable, VersionMismatch, pluralize

#: Locks that are shipped, the smallest first.
PROFILES = ("main", "science")
CHANNEL = "conda-forge"
#: An environment that the nodes' image holds.
IMAGE = "image"
#: The oldest with which clusters can be used, as pyproject.toml has them.
LEAST_PYTHON = (3, 11)
LEAST_DASK = (2026, 6)
#: Never another version than the client's; the others may be the nearest of the same major version.
EXACT = ("dask", "distributed")
#: What Dask's dashboard is made of; no client needs it.
DASHBOARD = "bokeh"


@frozen(kw_only=True)
class Environment:
    """What all nodes of a cluster get.

    Args:
        name: ``main``, ``science``, ``image``, ``solved``, or the name of the user's file.
        client: For whom it was chosen.
        versions: The compared versions on the nodes.
        locks: Its files by platform; none if the nodes' image holds it.
        allowed: In what it may differ from the client.
    """

    name: str
    client: Client
    versions: Versions
    locks: Mapping[str, EnvLock] = field(factory=dict, hash=False)
    allowed: Allowed = ()

    def digest(self, platform: str) -> str:
        """What a node's stamp says when it has this environment.

        Args:
            platform: The node's.
        """
        return self.locks[platform].digest if self.locks else baked_digest(self.versions)

    @property
    def digests(self) -> dict[str, str]:
        """Digest by platform; that of an image is the same on all."""
        if not self.locks:
            return {IMAGE: baked_digest(self.versions)}
        return {platform: lock.digest for platform, lock in self.locks.items()}


def image_environment(client: Client, image: Versions, *, may_differ: bool = False) -> Environment | None:
    """The environment that an image was baked with, or None if it does not fit a client.

    Args:
        client: The client.
        image: What the image has.
        may_differ: Whether all differences are allowed.
    """
    if baked_digest(image) == baked_digest(client.versions):
        return Environment(name=IMAGE, client=client, versions=client.versions)
    if not may_differ:
        return None
    allowed = tuple(row[1:] for row in differences(client.versions, {IMAGE: image}))
    return Environment(name=IMAGE, client=client, versions=image, allowed=allowed)


#: What starts a sandbox anew, whose image then holds what is installed by now.
AGAIN = ('eval "$(scherbelberg sandbox stop)"', 'eval "$(scherbelberg sandbox start)"')


def check_unchanged(client: Client, image: Baked, *, folder: str) -> None:
    """Refuse a client whose environment is the one that the sandbox's image was baked with, and has changed since.

    Args:
        client: The client.
        image: What the image holds.
        folder: Stands for the folder of the client's program.

    Raises:
        VersionMismatch: It has changed; the rows say in what.
    """
    rows = changes(client.versions, image.versions)
    if folder != image.folder or not rows:
        return
    raise VersionMismatch(
        f"The environment of {client.path} has changed since the sandbox was started with it: {_join(rows)}. Start the"
        f" sandbox again, with all that it holds, by '{AGAIN[0]}' and '{AGAIN[1]}'.",
        differences=tuple((IMAGE, *row) for row in rows),
    )


def changes(now: Versions, before: Versions) -> tuple[tuple[str, str, str], ...]:
    """List in what an environment differs from what it was.

    Args:
        now: What it has.
        before: What it had.

    Returns:
        Rows of (package, version now, version before); ``-`` stands for absent.
    """
    rows = [("python", now.python_minor, before.python_minor)]
    rows += [(name, now.packages.get(name, "-"), before.packages.get(name, "-")) for name in REQUIRED + OPTIONAL]
    return tuple(row for row in rows if row[1] != row[2])


def _join(rows: Iterable[tuple[str, str, str]]) -> str:
    words = []
    for name, here, there in rows:
        if there == "-":
            words.append(f"{name} {here} is new")
        elif here == "-":
            words.append(f"{name} {there} is gone")
        else:
            words.append(f"{name} is {here} and was {there}")
    return ", ".join(words)


def profiles_for(client: Client) -> tuple[str, ...]:
    """The shipped profiles, the one first that is most like what a client has."""
    return tuple(reversed(PROFILES)) if client.is_scientific else PROFILES


def fits(client: Client, lock: EnvLock) -> bool:
    """Whether a lock has all of a client's versions."""
    return not client.editable_packages and not differences(client.versions, {"": lock.versions})


def environment_of(
    name: str, locks: Mapping[str, EnvLock], client: Client, *, may_differ: bool, soft: Iterable[str] = ()
) -> Environment:
    """Make an environment of locks that were chosen for a client, unless they differ from it.

    Args:
        name: Its name.
        locks: By platform.
        client: The client.
        may_differ: Whether all differences are allowed.
        soft: Packages that may differ anyway.

    Raises:
        EnvironmentUnavailable: There is no Dask in it, or the platforms' locks have other versions than each other.
        VersionMismatch: They differ from the client.
    """
    first, *others = locks.items()
    versions = first[1].versions
    for platform, lock in others:
        if rows := differences(versions, {platform: lock.versions}):
            _, package, one, other = rows[0]
            raise EnvironmentUnavailable(
                f"The environment '{name}' has {package} {one} on {first[0]} and {other} on {platform}: nodes of"
                " different processors must have the same; use server types of one kind."
            )
    if missing := [package for package in EXACT if package not in versions.packages]:
        raise EnvironmentUnavailable(
            f"The environment '{name}' has no {missing[0]}, without which nodes are no cluster: add it to it, for"
            f" example by --package {missing[0]}."
        )
    rows = differences(client.versions, {name: versions})
    accepted = tuple(row[1:] for row in rows if may_differ or row[1] in set(soft))
    try:
        compare(client.versions, {name: versions}, allowed=accepted)
    except VersionMismatch as error:
        raise _mismatch(name, client, error) from None
    return Environment(name=name, client=client, versions=versions, locks=locks, allowed=accepted)


def _mismatch(name: str, client: Client, error: VersionMismatch) -> VersionMismatch:
    _, package, here, there = error.differences[0]
    return VersionMismatch(
        f"The environment '{name}' has {package} {there} and the client's Python {client.path} has {here}"
        f" ({pluralize(len(error.differences), 'difference')} in all): use a client with the same versions, leave --env"
        " out, or allow it with --allow-mismatch.",
        differences=error.differences,
    )


def check_age(client: Client) -> None:
    """Refuse a client that is too old for what nodes run.

    Args:
        client: The client.

    Raises:
        EnvironmentUnavailable: Its Python or its Dask is.
    """
    for name, found, least in (
        ("Python", client.versions.python, LEAST_PYTHON),
        ("dask", client.versions.packages["dask"], LEAST_DASK),
    ):
        if tuple(int(part) for part in re.findall("[0-9]+", found)[:2]) < least:
            words = ".".join(map(str, least))
            raise EnvironmentUnavailable(
                f"The client's Python {client.path} has {name} {found}, and {name} {words} is the oldest with which"
                " clusters can be used: take a newer one."
            )


def check_releases(client: Client, *, may_differ: bool) -> None:
    """Refuse versions that no channel can have.

    Args:
        client: The client.
        may_differ: Whether the user allowed everything.

    Raises:
        VersionMismatch: A compared package is no release.
    """
    if client.editable_packages and not may_differ:
        name = client.editable_packages[0]
        version = client.versions.packages[name]
        raise VersionMismatch(
            f"{name} {version} of the client's Python {client.path} is no release (it is installed to be edited, or has"
            " a local version), so no node can have the same: install a release, or allow it with --allow-mismatch.",
            differences=(("client", name, version, "-"),),
        )


def exact_specs(versions: Versions, *, free: Collection[str] = ()) -> tuple[str, ...]:
    """What an environment for a client must have, as match specs.

    Args:
        versions: The client's.
        free: What may have any version.
    """
    pins = {"python": f"python {versions.python_minor}.*"}
    pins |= {name: f"{conda_name(name)} =={public_version(versions.packages[name])}" for name in EXACT}
    return tuple(conda_name(name) if name in free else pin for name, pin in pins.items())


def loosened_packages(more: Iterable[str], versions: Versions) -> tuple[frozenset[str], ...]:
    """What of a client's versions is let go, step by step, where everything may differ.

    At first nothing, then what was asked for by name, then Dask with it, and in the end everything.

    Args:
        more: What was asked for beside it, as match specs.
        versions: The client's.
    """
    everything = frozenset({"python", *versions.packages})
    asked = {spec_name(spec) for spec in more}
    named = frozenset(name for name in everything if {name, conda_name(name)} & asked)
    steps = (frozenset[str](), named | set(EXACT) if named & set(EXACT) else named, named | set(EXACT), everything)
    return tuple(dict.fromkeys(steps))


def relaxable_pins(versions: Versions) -> dict[str, str]:
    """What it should have: package to version."""
    return {name: public_version(version) for name, version in versions.packages.items() if name not in EXACT}


def relaxed_spec(name: str, version: str) -> str:
    """Ask for a version of a compared package."""
    return f"{conda_name(name)} =={version}"


def any_of_major(name: str, version: str) -> str:
    """Ask for any version of a compared package with the same first number."""
    return f"{conda_name(name)} {version.split('.', maxsplit=1)[0]}.*"


def conda_name(name: str) -> str:
    """How conda calls a package that is compared."""
    return CONDA_NAMES.get(name, name)


def public_version(version: str) -> str:
    """A version without its local part."""
    return version.partition("+")[0]


def not_in_channel(name: str, wanted: str, found: tuple[str, ...], *, both: str | None, client: Client) -> Exception:
    """Say that a channel has not what must be the same.

    Args:
        name: The package.
        wanted: The client's version of it.
        found: The channel's versions, the newest first.
        both: The newest version of dask that there is of distributed, too, or None.
        client: The client.
    """
    newest = f"its newest is {found[0]}" if found else "it has none at all"
    way = f"install what it has (pip install 'dask=={both}' 'distributed=={both}'), or " if both else ""
    return EnvironmentUnavailable(
        f"The channel has no {name} {wanted}, which the client's Python {client.path} has; {newest}. Before anything"
        f" is rented: {way}take a shipped environment with --env main and a client that fits (in a clone of"
        " scherbelberg: pip install '.[main]')."
    )


def unsolvable(reason: str, *, client: Client | None = None, may_differ: bool = False) -> EnvironmentUnavailable:
    """Say that what was asked for cannot be had together.

    Args:
        reason: The solver's words, over several lines.
        client: Whose versions were asked for, too, or None.
        may_differ: Whether all of these were given up already.
    """
    lines = tuple(line for line in reason.splitlines() if line.strip())
    also, way = "", "ask for less or for other versions"
    if client is not None and not may_differ:
        versions = {"python": client.versions.python, **client.versions.packages}
        words = ", ".join(f"{name} {version}" for name, version in versions.items())
        also = f" and with what the client's Python {client.path} has ({words})"
        way += ", use a client with what is asked for, or let them differ with --allow-mismatch"
    return EnvironmentUnavailable(
        f"The channel has no environment with all that was asked for{also}: {way}; the lines above say what excludes"
        " what.",
        log_tail=lines[-20:],
    )
