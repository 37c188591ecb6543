# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What an interpreter has installed, told by itself. Its text runs in any interpreter, so it knows nothing of ours."""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata


def installed(names: list[str]) -> dict[str, object]:
    """Tell versions by metadata, without loading anything.

    Args:
        names: Of distributions.

    Returns:
        JSON values: ``python`` (full version), ``prefix``, ``packages`` (name to version, of those that are there) and
        ``own`` (names of those that are no release: installed to be edited, or with a local version).
    """
    packages: dict[str, str] = {}
    own = []
    for name in names:
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        packages[name] = found.version
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        if "+" in found.version or origin.get("dir_info", {}).get("editable"):
            own.append(name)
    return {"python": platform.python_version(), "prefix": sys.prefix, "packages": packages, "own": own}


if __name__ == "__main__":
    sys.path = [place for place in sys.path if place]  # the current folder is nobody's installation
    print(json.dumps(installed(sys.argv[1:])))  # noqa: T201 - this is how it answers
