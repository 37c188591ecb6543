# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What work finds on the nodes besides the environment: variables, secrets, Dask's configuration.

None of it is part of what a cluster is, and none of it is remembered on this computer: it goes over SSH, into files
that only Dask's user reads.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from attrs import field, frozen

from scherbelberg.errors import BadInput

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
#: These decide what Dask and its Python are, which is not for users' variables to change.
_RESERVED = re.compile(
    r"(DASK_CONFIG|DASK_ROOT_CONFIG|DASK_DISTRIBUTED__COMM__.*|PATH|HOME|LD_.*|PYTHON.*|SCHERBELBERG_.*)\Z"
)
#: These are the shell's own: it refuses to set them, or gives them values of its own.
_SHELL = re.compile(
    r"(BASH.*|COMP_.*|DIRSTACK|ENV|EPOCH.*|EUID|FUNCNAME|GROUPS|HISTCMD|IFS|LINENO|OLDPWD|PIPESTATUS|PPID|PWD|RANDOM"
    r"|SECONDS|SHELLOPTS|SHLVL|SRANDOM|UID|_)\Z"
)


#: What Linux takes of one variable, name and value, in bytes, and what is left of a program's two million for all.
_MOST_BYTES = 2**17 - 1
_MOST_BYTES_OF_ALL = 10**6


def _check_variables(instance: object, attribute: object, value: Mapping[str, str]) -> None:
    for name, text in value.items():
        if not isinstance(name, str) or not _NAME.match(name):
            raise BadInput(f"'{name}' is not the name of an environment variable. Use letters, digits and underscores.")
        if _RESERVED.match(name):
            raise BadInput(f"The environment variable {name} cannot be set on nodes: it changes how Dask runs.")
        if _SHELL.match(name):
            raise BadInput(f"The environment variable {name} cannot be set on nodes: the shell reserves it.")
        if not isinstance(text, str) or "\0" in text:
            raise BadInput(f"The value of the environment variable {name} is not a string, or contains a zero byte.")


def _check_sizes(value: Mapping[str, str]) -> None:
    sizes = {}
    for name, text in value.items():
        try:
            sizes[name] = len(f"{name}={text}".encode())
        except UnicodeEncodeError:
            raise BadInput(f"The value of the environment variable {name} cannot be encoded as UTF-8.") from None
    name = max(sizes, key=sizes.__getitem__, default="")
    if sizes.get(name, 0) > _MOST_BYTES or sum(sizes.values()) > _MOST_BYTES_OF_ALL:
        raise BadInput(
            f"The environment variable {name} has {sizes[name]} bytes, and all together have {sum(sizes.values())}:"
            f" Linux starts no program with more than {_MOST_BYTES} in one or {_MOST_BYTES_OF_ALL} in all; put that"
            " into files, or into storage."
        )


def _plain(value: Mapping[str, str] | None) -> dict[str, str]:
    return dict(value or {})


@frozen(kw_only=True)
class WorkEnvironment:
    """What work finds on the nodes.

    Args:
        environ: Environment variables of scheduler and workers.
        secrets: The same, with values that nobody may see.
        dask_config: Dask's configuration as YAML, or the empty text.

    Raises:
        BadInput: A name or a value cannot be.
    """

    environ: Mapping[str, str] = field(factory=dict, converter=_plain, validator=_check_variables, repr=False)
    secrets: Mapping[str, str] = field(factory=dict, converter=_plain, validator=_check_variables, repr=False)
    dask_config: str = field(default="", repr=False)

    def __attrs_post_init__(self) -> None:
        _check_sizes({**self.environ, **self.secrets})

    def script(self) -> str:
        """The lines by which a shell sets the variables; a secret wins over a variable of its name."""
        both = {**self.environ, **self.secrets}
        return "".join(f"export {name}={shlex.quote(text)}\n" for name, text in sorted(both.items()))


NOTHING = WorkEnvironment()
