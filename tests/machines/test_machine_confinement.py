# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What systemd keeps Dask from: each option of the unit, seen by its effect, on its own and in Dask itself."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from scherbelberg.environments.shipped import shipped_files

if TYPE_CHECKING:
    from machine_fixtures import Rented

pytest_plugins = ("machine_fixtures",)
_WITHIN_S = 60
#: What a process of Dask's user sees of an option: an expression of Python's, in which `tried(function, *arguments)`
#: is the name of the error that it ends with, or "fine".
PROBES = {
    "NoNewPrivileges": "status('NoNewPrivs')",
    "CapabilityBoundingSet": "status('CapBnd')",
    "ProtectSystem": "bool(os.statvfs('/etc').f_flag & os.ST_RDONLY)",
    "ProtectHome": "tried(os.listdir, '/home')",
    "PrivateTmp": "os.path.exists('/tmp/of-the-machine')",
    "PrivateDevices": "os.path.exists('/dev/net/tun')",
    "ProtectClock": "status('Seccomp_filters')",
    "ProtectControlGroups": "bool(os.statvfs('/sys/fs/cgroup').f_flag & os.ST_RDONLY)",
    "ProtectHostname": "os.readlink('/proc/self/ns/uts')",
    "ProtectKernelLogs": "os.stat('/proc/kmsg').st_mode",
    "ProtectKernelModules": "tried(os.listdir, '/usr/lib/modules')",
    "ProtectKernelTunables": "tried(open, '/proc/kallsyms')",
    "ProtectProc": "os.path.exists('/proc/1')",
    "RestrictAddressFamilies": "tried(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)",
    "RestrictNamespaces": "tried(libc, 'unshare', 0x10000000)",
    "RestrictRealtime": "tried(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(0))",
    "RestrictSUIDSGID": "tried(os.open, tempfile.mktemp(), os.O_CREAT | os.O_WRONLY, 0o4700)",
    "LockPersonality": "tried(libc, 'personality', 0x0040000)",
    "SystemCallArchitectures": "old_call()",
    "UMask": "os.umask(0)",
}
#: A namespace of its own has another number each time; and of filters, which deny what a container is denied as well,
#: Dask has more than one option's.
_NEVER_TWICE = ("ProtectHostname", "ProtectClock")
_PRELUDE = """
import ctypes, json, mmap, os, socket, subprocess, sys, tempfile
_libc = ctypes.CDLL(None, use_errno=True)
def libc(name, *arguments):
    if getattr(_libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
def tried(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        import errno
        return errno.errorcode[error.errno]
    return "fine"
def status(key):
    with open("/proc/self/status") as file:
        return dict(line.split(":\\t") for line in file if ":\\t" in line)[key].strip()
_OLD = '''
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex("b814000000cd80c3"))
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
'''
def old_call():
    return subprocess.run([sys.executable, "-c", _OLD], check=False).returncode
"""


def _options() -> dict[str, str]:
    """The options of the unit that Dask runs in, from its file."""
    unit = shipped_files()["units/scherbelberg-dask@.service"].decode()
    lines = [line.partition("=") for line in unit.splitlines() if "=" in line and not line.startswith("#")]
    return {key: value for key, _, value in lines}


def test_every_option_has_a_probe() -> None:
    """There is no option of confinement whose effect is not looked at."""
    begin = list(_options()).index("UMask")
    assert set(list(_options())[begin:]) - {"WantedBy"} == set(PROBES)


def _alone(rented: Rented, probe: str, *options: str) -> object:
    """What a process of Dask's user sees in a unit that has these options and no others."""
    properties = ("User=scherbelberg", "Group=scherbelberg", "LimitRTPRIO=5", *options)
    words = ["systemd-run", "--quiet", "--wait", "--pipe", *(f"--property={one}" for one in properties)]
    command = shlex.join([*words, "/usr/bin/python3", "-c", f"{_PRELUDE}\nprint(json.dumps({probe}))"])
    return json.loads(rented.run("worker000", command))


@pytest.fixture(scope="module")
def inside(rented: Rented) -> dict[str, object]:
    """What Dask's worker itself sees."""
    rented.run("worker000", "touch /tmp/of-the-machine; mkdir -p /usr/lib/modules")
    rented.run("worker000", "systemctl restart scherbelberg-dask@worker")
    code = f"{_PRELUDE}\nfound = dict({', '.join(f'{key}={probe}' for key, probe in PROBES.items())})"

    def look(code: str) -> Any:
        names: dict[str, Any] = {}
        exec(code, names)
        return names["found"]

    with rented.cluster.get_client() as client:
        client.wait_for_workers(2, timeout=_WITHIN_S)
        found: dict[str, object] = client.submit(look, code, workers=["worker000"]).result(timeout=_WITHIN_S)
        return found


@pytest.mark.parametrize("option", PROBES)
def test_effect(rented: Rented, inside: dict[str, object], option: str) -> None:
    """Without the option a process sees one thing, with it another, and that is what Dask sees, too."""
    setting = f"{option}={_options()[option]}"
    without, seen = _alone(rented, PROBES[option]), _alone(rented, PROBES[option], setting)
    assert without != seen
    if option in _NEVER_TWICE:
        assert inside[option] != without
    else:
        assert inside[option] == seen
