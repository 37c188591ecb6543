# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Python packages as their index knows them: their names, what is wanted of them, why they are not there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from scherbelberg.environments.lock import CONDA_NAMES, EnvLock, Package, check_foreign
from scherbelberg.errors import BadInput, ChannelUnreachable, EnvironmentUnavailable, ScherbelbergError

#: What the index calls otherwise than conda-forge, by conda-forge's name.
_PYPI_NAMES = {conda: name for name, conda in CONDA_NAMES.items()} | {
    "brotli-python": "brotli",
    "matplotlib-base": "matplotlib",
    "py-opencv": "opencv-python",
    "pyarrow-core": "pyarrow",
    "pytables": "tables",
    "python-graphviz": "graphviz",
    "python-tzdata": "tzdata",
    "python-xxhash": "xxhash",
    "pytorch": "torch",
}
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?) *(\[[A-Za-z0-9._, -]*\])? *([(<>=!~;][^\r\n]*)?\Z"
)
#: What such an index takes as a version, as far as conda has it too.
_VERSION = re.compile(r"([0-9]+!)?[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?(\+[a-z0-9.]+)?\Z")
#: What uv draws around its errors.
_FRAME = re.compile("[\u00d7\u2500-\u257f\u25b6]")
#: Before the address of an index that does not answer, or not us.
_ASKED = re.compile(r"(?:Failed to fetch: `?|for url \(|An index URL \()(?P<url>https?://[^\s`)]+)")


def normalize_name(name: str) -> str:
    """Write a name as indexes compare it.

    Args:
        name: In any spelling.
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def read_requirement(text: str, *, source: str) -> str:
    """Check that a requirement is a name with perhaps extras, versions and a marker.

    Args:
        text: Such as ``rioxarray>=0.19``.
        source: Where it stands, for the error.

    Returns:
        It without what is around it.

    Raises:
        BadInput: It is an option, a path, a URL, nothing that can be read, or asks for scherbelberg itself.
    """
    wanted = re.sub(r"(^|\s)#.*", "", text).strip()
    check_foreign(re.split(r"[^A-Za-z0-9._-]", wanted, maxsplit=1)[0], source=source)
    match = _REQUIREMENT.match(wanted)
    if match is None or " --" in wanted or wanted.endswith((".whl", ".zip", ".tar.gz")):
        raise BadInput(
            f"{source} asks for '{without_secrets(wanted)[:200]}', which nodes cannot get: give packages of an index"
            " by name, such as 'rioxarray>=0.19'; no options, paths, URLs or repositories (indexes stand in uv's own"
            " settings)."
        )
    return wanted


def pypi_versions(lock: EnvLock) -> dict[str, str]:
    """List what of an environment an index for Python has too.

    Args:
        lock: The environment.

    Returns:
        Version by normalized name.
    """
    found = {pypi_name(one.name): one.version for one in lock.packages if _is_for_python(one)}
    return found | {normalize_name(one.name): one.version for one in lock.wheels}


def pypi_name(conda_name: str) -> str:
    """Tell how an index calls a package.

    Args:
        conda_name: What conda-forge calls it.
    """
    return normalize_name(_PYPI_NAMES.get(conda_name, conda_name))


def _is_for_python(package: Package) -> bool:
    if package.is_recorded:
        return any(re.split(r"[\s=<>!~]", spec, maxsplit=1)[0] == "python" for spec in package.depends)
    # Nobody said what it needs; conda-forge's builds of Python packages are called py_0, pyh..., np20py313h... .
    return "py" in package.build


def pinnable(having: Mapping[str, str]) -> dict[str, str]:
    """Pick what can be held fast in a resolution.

    Args:
        having: Version by name; conda has versions that no index takes, such as ``1.1.1w``.
    """
    return {normalize_name(name): version for name, version in having.items() if _VERSION.match(version)}


def without_secrets(text: str) -> str:
    """Take user names and passwords out of URLs.

    Args:
        text: A URL, or a text with URLs in it.
    """
    return re.sub(r"://[^/\s'\"`]*@", "://", text)


def uv_error(said: str, requirements: Iterable[str]) -> ScherbelbergError:
    """Tell why uv has found no wheels.

    Args:
        said: What it wrote to stderr; almost every version words and folds it in another way.
        requirements: What was asked for.
    """
    words = " ".join(_FRAME.sub(" ", without_secrets(said)).split())
    if match := _ASKED.search(words):
        return _unreachable(match["url"], words)
    wanted = ", ".join(requirements)
    reason = _reason(words)
    if sources := re.findall(r"([\w.-]+?)(?:[=<>!~]=?\S*)? ha(?:s|ve) no usable wheels", reason):
        return EnvironmentUnavailable(
            f"{', '.join(sorted(set(sources)))} cannot be put on nodes: the index has no wheel of it, but source only,"
            f" and nodes build nothing; take a version with wheels, or conda's package (wanted: {wanted}; {reason})."
        )
    if unknown := re.search(r"([\w.-]+) was not found in the package registry", reason):
        return EnvironmentUnavailable(f"There is no package {unknown[1]} in the index (wanted: {wanted}; {reason}).")
    return EnvironmentUnavailable(f"No wheels for {wanted} go with what the environment has: {reason}.")


def _reason(words: str) -> str:
    _, found, proof = words.partition("Because ")
    if not found:
        return words[-500:].rstrip(".") or "uv failed without a word"
    return re.sub(r"\.? And because ", "; and because ", f"because {proof.partition(' hint: ')[0]}").rstrip(".")


def _unreachable(url: str, words: str) -> ChannelUnreachable:
    denied = re.search(r"lack of valid authentication credentials \([^)]*\)", words)
    cause = denied[0] if denied else re.split(r"(?:Caused by|cause): ", words)[-1].partition(" hint: ")[0]
    return ChannelUnreachable(
        f"The Python package index at {urlsplit(url).netloc} does not answer as it should ({cause.rstrip('.')[:300]});"
        " uv's settings say which index is asked and with which credentials (UV_DEFAULT_INDEX, uv.toml, netrc)."
    )
