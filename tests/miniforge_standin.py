# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Writes what stands in for Miniforge's installer: the same command line, and a mamba that makes real environments.

The real one refuses folders with a space in their name. This one does not, since hosts of the emulated cloud live in
such folders.
"""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
from pathlib import Path

import mamba_standin

#: Ends the text that the installer carries.
_END = "END_OF_MAMBA"
_INSTALLER = f"""\
#!/bin/sh
# Stands in for Miniforge's installer: bash FILE -b -p PREFIX
case $0 in
*.sh) ;;
*) echo 'Please run using "bash" and a file whose name ends with .sh' >&2 && exit 1 ;;
esac
batch= prefix=
while getopts bp: option; do
  case $option in
  b) batch=yes ;;
  p) prefix=$OPTARG ;;
  *) exit 1 ;;
  esac
done
if [ -z "$batch" ] || [ -z "$prefix" ]; then
  echo "ERROR: -b and -p PREFIX are needed" >&2
  exit 1
fi
if [ -e "$prefix" ]; then
  echo "ERROR: File or directory already exists: '$prefix'" >&2
  exit 1
fi
mkdir -p "$prefix/bin" "$prefix/conda-meta" "$prefix/libexec" "$prefix/pkgs" || exit 1
prefix=$(cd "$prefix" && pwd) || exit 1
cat >"$prefix/libexec/mamba.py" <<'{_END}' || exit 1
@PROGRAM@
{_END}
cat >"$prefix/bin/mamba" <<'{_END}' || exit 1
#!/bin/sh
here=$(cd "$(dirname "$0")/.." && pwd) || exit 1
exec @PYTHON@ -I "$here/libexec/mamba.py" "$here" "$@"
{_END}
chmod +x "$prefix/bin/mamba" || exit 1
echo "installation finished."
"""


def installer(executable: str = sys.executable) -> bytes:
    """Write the installer.

    Args:
        executable: The Python that runs mamba's stand-in, with py-rattler.

    Returns:
        What the file holds.
    """
    program = Path(mamba_standin.__file__).read_text(encoding="utf-8").rstrip("\n")
    return _INSTALLER.replace("@PYTHON@", shlex.quote(executable)).replace("@PROGRAM@", program).encode()


def place(root: Path, tag: str) -> str:
    """Put the installer where a mirror has it.

    Args:
        root: The mirror's folder; the mirror of Miniforge is at its URL with ``/miniforge``.
        tag: Miniforge's release.

    Returns:
        The file's SHA-256, hexadecimal.
    """
    path = root / "miniforge" / tag / f"Miniforge3-{tag}-Linux-{platform.machine()}.sh"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(installer())
    return hashlib.sha256(path.read_bytes()).hexdigest()
