# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A channel and a Miniforge for environment.sh, of nothing but small files, on a server that can be made to fail."""

from __future__ import annotations

import hashlib
import io
import platform
import ssl
import sys
import threading
import zipfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import Factory, define, field, frozen
from process_node import Ended, Node, free_port, make_node

CHANNEL = "https://conda.anaconda.org"
#: The phase that this is about, without the pauses between its tries.
INSTALL = "PAUSE_S=0; phase_environment"
#: The phase with them, on a clock that they alone move: how long they were is in a file.
PACED = """
sleep() {
  if [[ $1 == *.* ]]; then command sleep "$1"; else echo "$1" >>"$SYSROOT/slept" && SECONDS=$((SECONDS + $1)); fi
}
phase_environment
"""
#: Stands for mamba. Packages are Python modules here, or, if they begin with a slash, folders to look for modules in.
_MAMBA = """
import hashlib, os, pathlib, sys, time, urllib.parse, venv

assert set(os.environ) - {"LC_CTYPE", "PWD", "SHLVL", "_", "__CF_USER_TEXT_ENCODING"} == {
    "PATH", "HOME", "TMPDIR", "LC_ALL", "MAMBA_ROOT_PREFIX", "CONDA_PKGS_DIRS"
}, os.environ
assert sys.argv[1:6] == ["create", "--yes", "--offline", "--no-rc", "--prefix"] and sys.argv[7] == "--file", sys.argv
prefix, base = pathlib.Path(sys.argv[6]), pathlib.Path(os.environ["MAMBA_ROOT_PREFIX"]).parent
assert not prefix.exists()
prefix.mkdir()
(prefix / "half-made").write_text(str(os.getpid()))
end = time.monotonic() + 20
while (base / "mamba-waits").exists() and time.monotonic() < end:
    time.sleep(0.02)
if (base / "mamba-fails").exists():
    print((base / "mamba-fails").read_text())
    sys.exit(3)
first, *lines = pathlib.Path(sys.argv[8]).read_text().splitlines()
assert first == "@EXPLICIT"
venv.create(prefix, symlinks=True)
for line in lines:
    url, _, digest = line.partition("#sha256:")
    assert url.startswith("file:///") and url.isascii() and " " not in url, url
    path = pathlib.Path(urllib.parse.unquote(url[7:]))
    content = path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    assert path.parent.name == "noarch"
    name = path.name.rsplit("-", 2)[0] + (".pth" if content.startswith(b"/") else ".py")
    (next(prefix.glob("lib/python*/site-packages")) / name).write_bytes(content)
(prefix / "half-made").unlink()
"""


def _installer() -> bytes:
    """An installer that takes Miniforge's options."""
    return f"""#!/bin/sh
test "$1 $2" = "-b -p" || exit 4
test ! -e "$3" || exit 5
mkdir -p "$3/bin"
cat >"$3/bin/mamba.py" <<'END'
{_MAMBA}
END
cat >"$3/bin/mamba" <<END
#!/bin/sh
exec "{sys.executable}" -I "$3/bin/mamba.py" "\\$@"
END
chmod 755 "$3/bin/mamba"
""".encode()


@frozen
class Package:
    """A file of the channel.

    Args:
        name: Its file name.
        content: All of it.
    """

    name: str
    content: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """Where it is below the mirror."""
        return f"/conda-forge/noarch/{self.name}"

    @property
    def sha256(self) -> str:
        """Its digest."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def lock_line(self) -> str:
        """What a lock has of it."""
        if self.name.endswith(".whl"):
            name, version, *_ = self.name.split("-")
            return f"# pip {name}=={version} @ https://files.example/{self.name} --hash=sha256:{self.sha256}\n"
        return f"{CHANNEL}{self.path}#sha256:{self.sha256}\n"


DISTRIBUTED = Package("distributed-1.0-0.conda", b"# stands for distributed\n")
OTHER = Package("other-2.0-py_1.conda", b"# other\n" * 50_000)


def make_wheel(name: str, version: str) -> Package:
    """Make a wheel with one module."""
    info, buffer = f"{name}-{version}.dist-info", io.BytesIO()
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return Package(f"{name}-{version}-py3-none-any.whl", buffer.getvalue())


def _machine() -> str:
    return "x86_64" if platform.machine() == "x86_64" else "aarch64"


def platform_here() -> str:
    """The channel's word for this machine, which passes for one with Linux."""
    return {"x86_64": "linux-64", "aarch64": "linux-aarch64"}[_machine()]


def lock_text(*packages: Package, more: str = "") -> tuple[str, str]:
    """Write a lock; returns it and its digest."""
    body = "".join(package.lock_line for package in packages) + more
    digest = hashlib.sha256(body.encode()).hexdigest()
    head = f"# scherbelberg environment\n# platform: {platform_here()}\n# digest: {digest}\n"
    return f"{head}@EXPLICIT\n{body}", digest


def miniforge_pins() -> str:
    """Pins of the installer that the mirror has."""
    url = "https://github.com/conda-forge/miniforge/releases/download/{tag}/Miniforge3-{tag}-Linux-{machine}.sh"
    sha256 = hashlib.sha256(_installer()).hexdigest()
    return f'[miniforge]\ntag = "1-0"\nurl = "{url}"\n[miniforge.sha256]\n{_machine()} = "{sha256}"\n'


_INSTALLER_PATH = f"/miniforge/1-0/Miniforge3-1-0-Linux-{_machine()}.sh"


@frozen(kw_only=True)
class Request:
    """What was asked for."""

    path: str
    range: str | None


@define
class _Fault:
    status: int = 200
    headers: dict[str, str] = Factory(dict)
    spoiled: bool = False
    after: int | None = None
    hold: threading.Event | None = None


class Mirror:
    """The server's files, the requests it had, and what goes wrong with the next ones."""

    def __init__(self) -> None:
        self.url = ""
        self.ranges = True
        self.requests: list[Request] = []
        self.held = threading.Event()
        self.files = {_INSTALLER_PATH: _installer()}
        self._faults: dict[str, list[_Fault]] = defaultdict(list)

    @property
    def asked(self) -> list[str]:
        """Paths that were asked for."""
        return [request.path for request in self.requests]

    def offer(self, package: Package) -> None:
        """Have one package more."""
        self.files[f"/channel{package.path}"] = package.content

    def forget(self) -> None:
        """Forget the requests."""
        self.requests.clear()

    async def has_held(self) -> bool | None:
        """Whether a request is held up."""
        return self.held.is_set() or None

    def hold(self, package: Package, *, after: int = 0) -> threading.Event:
        """Hold up the next answer after so many bytes, until the event is set."""
        event = threading.Event()
        self._next(package, _Fault(after=after, hold=event))
        return event

    def hold_installer(self) -> threading.Event:
        """Hold up Miniforge, until the event is set."""
        event = threading.Event()
        self._faults[_INSTALLER_PATH].append(_Fault(after=0, hold=event))
        return event

    def spoil(self, package: Package, *, times: int) -> None:
        """Send something else instead."""
        self._next(package, *[_Fault(spoiled=True)] * times)

    def answer(self, package: Package, *statuses: int, retry_after: str | None = None) -> None:
        """Answer with these statuses, and perhaps say when to come again."""
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        self._next(package, *(_Fault(status=status, headers=headers) for status in statuses))

    def cut(self, package: Package, *, after: int) -> None:
        """Break off the next answer."""
        self._next(package, _Fault(after=after))

    def _next(self, package: Package, *faults: _Fault) -> None:
        self._faults[f"/channel{package.path}"] += faults

    def take(self, request: Request) -> tuple[bytes, _Fault]:
        """Note a request; returns the file and what goes wrong."""
        self.requests.append(request)
        content, faults = self.files.get(request.path), self._faults[request.path]
        if content is None:
            return b"", _Fault(status=404)
        return content, faults.pop(0) if faults else _Fault()


class _Handler(BaseHTTPRequestHandler):
    mirror: ClassVar[Mirror]

    def do_GET(self) -> None:
        request = Request(path=self.path, range=self.headers.get("Range"))
        content, fault = self.mirror.take(request)
        if fault.status != 200:
            self._refuse(fault.status, fault.headers)
            return
        begin = int(request.range[6:-1]) if request.range and self.mirror.ranges else 0
        part = (b"?" * len(content) if fault.spoiled else content)[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self._send(part, fault)

    def _refuse(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, part: bytes, fault: _Fault) -> None:
        if fault.after is not None:
            self.wfile.write(part[: fault.after])
            if fault.hold is None:
                return
            self.mirror.held.set()
            fault.hold.wait(20)
            part = part[fault.after :]
        try:
            self.wfile.write(part)
        except OSError:
            self.close_connection = True  # whoever was held up has gone

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        pass


@contextmanager
def serve(*packages: Package, certificate: Path | None = None) -> Iterator[Mirror]:
    """Serve packages and Miniforge on loopback; with a certificate for localhost by HTTPS."""
    mirror = Mirror()
    for package in packages:
        mirror.offer(package)
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"mirror": mirror})) as server:
        server.daemon_threads = True
        mirror.url = f"http://127.0.0.1:{server.server_port}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            mirror.url = f"https://localhost:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield mirror
        finally:
            server.shutdown()
            thread.join()


def give(node: Node, mirror: Mirror, *packages: Package, more: str = "") -> str:
    """Push a lock and what belongs to it; returns its digest."""
    text, digest = lock_text(*packages, more=more)
    node.push(ENV_DIGEST=digest, CHANNEL_MIRROR=f"{mirror.url}/channel", MINIFORGE_MIRROR=f"{mirror.url}/miniforge")
    (node.payload / "env.lock").write_text(text, encoding="utf-8")
    (node.payload / "pins.toml").write_text(miniforge_pins(), encoding="utf-8")
    return digest


def told(ended: Ended) -> list[str]:
    """What was said of phases, without progress."""
    return [line for line in ended.said if line.startswith("@phase") and " progress " not in line]


def failure(ended: Ended) -> str:
    """The one sentence of a run that failed."""
    assert ended.code == 1, ended
    (line,) = [line for line in ended.said if line.startswith(("@failed", "@hopeless"))]
    return line


def slept(node: Node) -> list[int]:
    """How many seconds it paused between two tries, in order."""
    return [int(line) for line in node.read("slept").split()]


def link(node: Node) -> str:
    """Where the link leads."""
    return str((node.base / "env").readlink())


def is_installed(node: Node) -> bool:
    """Whether the environment that was asked for is in place, and all packages are in it."""
    folder = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    found = {path.name for path in (node.base / "env" / folder).glob("*.py")}
    return link(node) == f"envs/{node.settings['ENV_DIGEST']}" and {"distributed.py", "other.py"} <= found


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """A channel with two packages, and Miniforge."""
    with serve(DISTRIBUTED, OTHER) as made:
        yield made


@pytest.fixture
async def node(tmp_path: Path, mirror: Mirror) -> AsyncIterator[Node]:
    """A machine whose image holds another environment, and that was told of the mirror."""
    made = make_node(tmp_path, role="scheduler", scheduler_port=free_port())
    give(made, mirror, DISTRIBUTED, OTHER)
    yield made
    await made.end()
