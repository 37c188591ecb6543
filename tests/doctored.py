# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Images of machines that something is wrong with from their first boot on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sandbox_helpers import Api, Machine, rent

from scherbelberg.sandbox.server import SandboxThread

#: What makes a program run at each boot, whatever it is called.
_UNIT = """[Unit]
{order}
[Service]
Type={kind}
ExecStart=/usr/bin/python3 /usr/local/lib/{name}.py
[Install]
WantedBy=multi-user.target
"""


def doctored(machines: SandboxThread, folder: Path, name: str, program: str, *, order: str = "", once: bool) -> str:
    """Make an image of a machine on which a program of Python's runs at each boot.

    Args:
        machines: The cloud.
        folder: Where it keeps its machines.
        name: What the program is called.
        program: Its text.
        order: Before or after what it runs, in systemd's words.
        once: Whether it ends, and what comes after it waits for that; otherwise it goes on.

    Returns:
        The image's number.
    """
    api = Api(machines.settings)
    machine = rent(api, folder)
    unit = _UNIT.format(name=name, order=order, kind="oneshot" if once else "simple")
    asyncio.run(_install(machine, name, unit, program))
    path = f"/servers/{machine.row['id']}/actions"
    api.done(api("POST", f"{path}/poweroff").body["action"])
    made = api("POST", f"{path}/create_image", {"type": "snapshot", "description": name}).body
    api.done(made["action"])
    machine.remove()
    for key in api("GET", "/ssh_keys").body["ssh_keys"]:
        api("DELETE", f"/ssh_keys/{key['id']}")
    api.close()
    return str(made["image"]["id"])


async def _install(machine: Machine, name: str, unit: str, program: str) -> None:
    async with machine.connect() as connection:
        for path, text in ((f"/etc/systemd/system/{name}.service", unit), (f"/usr/local/lib/{name}.py", program)):
            await connection.run(f"cat >{path}", input=text, check=True)
        await connection.run(f"systemctl enable {name}.service; sync", check=True)
