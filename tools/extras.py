# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The extras ``main`` and ``science`` of pyproject.toml, as the shipped environments have them. Pure.

Both pin what is compared between client and nodes; ``science`` pins what its environment was asked for, too.
"""

from __future__ import annotations

from collections.abc import Iterable

from repository import replace_part

from scherbelberg.environments.fit import PROFILES
from scherbelberg.environments.lock import EnvLock
from scherbelberg.environments.pypi import pypi_name
from scherbelberg.errors import BadInput

#: Pip's clients get one version for all processors, which `agreement` compares.
_PLATFORM = "linux-64"
#: Asked for on nodes, and of no use for a client's versions.
_NODES_ONLY = {"python", "pip", "cryptography"}


def with_extras(text: str, locks: Iterable[EnvLock]) -> str:
    """Bring the extras up to date.

    Args:
        text: Of pyproject.toml.
        locks: All that are shipped.

    Returns:
        The text with the extras that the locks ask for.

    Raises:
        BadInput: There is no place for an extra, or no lock for it.
    """
    shipped = tuple(locks)
    for profile in PROFILES:
        own = tuple(lock for lock in shipped if (lock.profile, lock.platform) == (profile, _PLATFORM))
        if not own:
            raise BadInput(f"There is no lock of {profile} for {_PLATFORM}.")
        body = "".join(f'  "{row}",\n' for row in requirements(own))
        pattern = rf"^{profile} = \[\n.*?^\]\n"
        text = replace_part(text, pattern, f"{profile} = [\n{body}]\n", source="pyproject.toml")
    return text


def requirements(locks: Iterable[EnvLock]) -> tuple[str, ...]:
    """Pin what locks have, by markers; what is the same for all Pythons stands once.

    Args:
        locks: Of one profile and platform.
    """
    by_python = dict(
        sorted(((lock.versions.python_minor, _pins(lock)) for lock in locks), key=lambda row: _minor(row[0]))
    )
    first, last = next(iter(by_python)), _minor(list(by_python)[-1])
    rows: list[str] = []
    for name in sorted({name for found in by_python.values() for name in found}):
        versions = {python: found[name] for python, found in by_python.items() if name in found}
        if len(versions) == len(by_python) and len(set(versions.values())) == 1:
            rows.append(f"{name}=={versions[first]}; python_version >= '{first}' and python_version < '3.{last + 1}'")
        else:
            rows += [f"{name}=={version}; python_version == '{python}'" for python, version in versions.items()]
    return tuple(rows)


def _pins(lock: EnvLock) -> dict[str, str]:
    found = dict(lock.versions.packages)
    if lock.profile != "main":
        asked = {spec.split()[0] for spec in lock.specs} - _NODES_ONLY
        found |= {pypi_name(one.name): one.version for one in lock.packages if one.name in asked}
    return found


def _minor(python: str) -> int:
    return int(python.split(".")[1])
