# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Programs that a host's image has and this computer may not: ``ssh-keygen``, ``openssl``; and ``systemctl``.

Runs as a script of its own, outside the package, in processes of hosts. Knows exactly the calls that are made of it and
fails loudly on any other.
"""

from __future__ import annotations

import getpass
import os
import socket
import sys
from pathlib import Path

#: sshd's keys as it read them at boot or at the last reload, below the host's root.
LOADED_KEYS = "run/sshd.host_keys"
#: What systemctl's ``is-active`` ends with then.
_INACTIVE = 3


def main(program: str, arguments: list[str]) -> int:
    """Run one of the programs.

    Args:
        program: Its name.
        arguments: Its command line.

    Returns:
        The exit code.
    """
    try:
        return {"systemctl": systemctl, "ssh-keygen": ssh_keygen, "openssl": openssl}[program](arguments)
    except ValueError as reason:
        sys.stderr.write(f"{program}: {reason}\n")
        return 1


def systemctl(arguments: list[str]) -> int:
    """Reload sshd, or tell that it listens by itself, and nothing else."""
    if arguments == ["--quiet", "is-active", "ssh.socket"]:
        return _INACTIVE
    if arguments != ["reload", "ssh"]:
        raise ValueError("System has not been booted with systemd as init system (PID 1). Can't operate.")
    load_host_keys(Path(os.environ["SCHERBELBERG_SYSROOT"]))
    return 0


def load_host_keys(root: Path) -> None:
    """Read sshd's configuration and keys, as sshd does when it starts or is told to reload.

    Args:
        root: The host's root.

    Raises:
        ValueError: There is no key.
    """
    keys = [path.read_bytes() for path in host_key_files(root) if path.is_file()]
    if not keys:
        raise ValueError("sshd: no hostkeys available -- exiting.")
    _write(root / LOADED_KEYS, b"".join(keys))


def host_key_files(root: Path) -> list[Path]:
    """List the host keys that sshd's configuration names, or else those in their usual places.

    Args:
        root: The host's root.
    """
    named: list[Path] = []
    for part in sorted((root / "etc/ssh/sshd_config.d").glob("*.conf")):
        for line in part.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) == 2 and words[0].lower() == "hostkey":
                named.append(root / words[1].lstrip("/"))
    return named or sorted((root / "etc/ssh").glob("ssh_host_*_key"))


def ssh_keygen(arguments: list[str]) -> int:
    """Make an ed25519 key pair without a passphrase."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - systemctl needs none of it
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - as above

    comment, target = _ssh_keygen_call(arguments)
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    _write(target, private)
    _write(target.with_name(target.name + ".pub"), public + b" " + comment.encode() + b"\n", mode=0o644)
    return 0


def _ssh_keygen_call(arguments: list[str]) -> tuple[str, Path]:
    match arguments:
        case ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file]:
            return comment, Path(file)
        case ["-q", "-t", "ed25519", "-N", "", "-f", file]:
            return f"{getpass.getuser()}@{socket.gethostname()}", Path(file)
    raise ValueError(f"this stand-in of the sandbox does not know: {' '.join(arguments)}")


def openssl(arguments: list[str]) -> int:
    """Make an EC key, or a certificate signing request."""
    match arguments:
        case ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file]:
            _ec_key(Path(file))
        case ["req", "-new", "-key", key, "-subj", subject, "-sha256", "-out", file] if subject.startswith("/CN="):
            _request(Path(key), subject.removeprefix("/CN="), Path(file))
        case _:
            raise ValueError(f"this stand-in of the sandbox does not know: {' '.join(arguments)}")
    return 0


def _ec_key(target: Path) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - systemctl needs none of it
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    key = ec.generate_private_key(ec.SECP256R1())
    target.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


def _request(key_file: Path, name: str, target: Path) -> None:
    from cryptography import x509  # noqa: PLC0415 - systemctl needs none of it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("this stand-in of the sandbox knows EC keys only")  # noqa: TRY004 - its one kind of error
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    target.write_bytes(request.public_bytes(serialization.Encoding.PEM))


def _write(target: Path, content: bytes, *, mode: int = 0o600) -> None:
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
    aside.replace(target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
