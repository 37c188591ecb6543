# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""An index of Python packages on the loopback, and wheels for it that hold nothing but what they need."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from scherbelberg.environments.pypi import normalize_name


def wheel(name: str, version: str, tag: str = "py3-none-any", *, needs: Iterable[str] = ()) -> tuple[str, bytes]:
    """Make a wheel: its file name and its content."""
    stem = f"{name.replace('-', '_')}-{version}"
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + _lines("Requires-Dist", needs),
        "WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        "RECORD": "",
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for path, text in texts.items():
            file.writestr(f"{stem}.dist-info/{path}", text)
    return f"{stem}-{tag}.whl", content.getvalue()


def _lines(key: str, values: Iterable[str]) -> str:
    extras = sorted(set(re.findall(r"extra == '(\w+)'", " ".join(values))))
    return "".join(f"{key}: {value}\n" for value in values) + "".join(f"Provides-Extra: {extra}\n" for extra in extras)


#: Platform tags of a wheel for x86-64 with an old C library.
X86 = "manylinux_2_17_x86_64.manylinux2014_x86_64"
#: What tests ask an index for.
FILES = dict(
    [
        wheel("plain", "1.0"),
        wheel("plain", "0.9"),
        wheel(
            "marked",
            "1.0",
            needs=[
                "for-windows; sys_platform == 'win32'",
                "for-macos; sys_platform == 'darwin'",
                "for-linux; sys_platform == 'linux'",
                "for-arm; platform_machine == 'aarch64'",
                "for-old; python_version < '3.13'",
                "for-late; python_full_version >= '3.13.5'",
            ],
        ),
        *[wheel(f"for-{what}", "1") for what in ("windows", "macos", "linux", "arm", "old", "late")],
        *[
            wheel("native", "2.0", f"{tag}-{platform}")
            for tag in ("cp312-cp312", "cp313-cp313", "cp313-cp313t")
            for platform in (X86, "manylinux_2_28_aarch64", "musllinux_1_2_x86_64", "win_amd64", "macosx_11_0_arm64")
        ],
        *[wheel("stable", "1.0", f"{tag}-{X86}") for tag in ("cp38-abi3", "cp311-abi3", "cp314-abi3")],
        wheel("stable", "1.0", "py3-none-any"),
        wheel("newest", "1.0", "cp313-cp313-manylinux_2_39_x86_64"),
        wheel("newest", "0.5", "cp313-cp313-manylinux_2_34_x86_64"),
        wheel("windows-only", "1.0", "cp313-cp313-win_amd64"),
        ("source-only-1.0.tar.gz", b"nothing"),
        ("source-only-1.1.tar.gz", b"nothing"),
        wheel("needs-source", "1.0", needs=["source-only"]),
        wheel("needs-unknown", "1.0", needs=["no-such-thing>=2"]),
        wheel("needs-numpy-3", "1.0", needs=["numpy>=3"]),
        wheel("needs-numpy", "1.0", needs=["numpy>=2"]),
        *[wheel("numpy", version, needs=["plain; extra == 'more'"]) for version in ("2.1", "3.1")],
        wheel("needs-more", "1.0", needs=["numpy[more]"]),
    ]
)


class SimpleIndex(ThreadingHTTPServer):
    """An index with pages as PEP 503 has them, which remembers what it was asked.

    Args:
        files: Content by file name.
        login: USER:PASSWORD without which it tells nothing, or empty.
        is_mute: Whether it takes requests and answers none before it is closed.
        has_hashes: Whether its pages tell SHA-256s.
        status: What it answers instead of pages, or None.
    """

    daemon_threads = False

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        login: str = "",
        is_mute: bool = False,
        has_hashes: bool = True,
        status: int | None = None,
    ) -> None:
        self.files, self.login, self.has_hashes, self.status = dict(files), login, has_hashes, status
        self.asked: list[str] = []
        self.was_asked = threading.Event()
        self.may_answer = threading.Event()
        if not is_mute:
            self.may_answer.set()
        super().__init__(("127.0.0.1", 0), _Pages)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self.server_port}"

    def url(self, login: str = "") -> str:
        """Address of the index, with a login in it."""
        return f"http://{login and f'{login}@'}{self.host}/simple"

    def sha256(self, file_name: str) -> str:
        """The hash of a file."""
        return hashlib.sha256(self.files[file_name]).hexdigest()

    def page(self, name: str) -> bytes | None:
        """The page of a package."""
        names = [file for file in self.files if normalize_name(re.split(r"-[0-9]", file)[0]) == name]
        if not names:
            return None
        hashes = {file: f"#sha256={self.sha256(file)}" if self.has_hashes else "" for file in names}
        rows = "".join(f'<a href="../../files/{file}{hashes[file]}">{file}</a><br/>' for file in names)
        return f"<!DOCTYPE html><html><body>{rows}</body></html>".encode()

    def close(self) -> None:
        """End it with all that it still has to answer."""
        self.may_answer.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are what is tested."""


class _Pages(BaseHTTPRequestHandler):
    server: SimpleIndex

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.was_asked.set()
        self.server.may_answer.wait(60)
        login = base64.b64encode(self.server.login.encode()).decode()
        if self.server.login and self.headers.get("Authorization") != f"Basic {login}":
            self._answer(401, b"")
        elif self.server.status is not None:
            self._answer(self.server.status, b"")
        else:
            _, kind, name, *_ = self.path.split("/")
            body = self.server.page(name) if kind == "simple" else self.server.files.get(name)
            self._answer(404 if body is None else 200, body or b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if self.path.startswith("/simple/") else "application/zip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        pass
