# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Images of the emulated API: what comes with the cloud, and snapshots with the files of their hosts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import pytest
from sandbox_helpers import Api, Machine, Reply, order, rent, run, unique, wait_for_ssh
from sandbox_orders import Ahead, act, code, finish, idle, look

from scherbelberg.sandbox.faults import ActionFault, Faults
from scherbelberg.sandbox.server import SandboxThread

INVALID = (422, "invalid_input")
ARM_IMAGE = 161547270


def names(reply: Reply) -> set[str]:
    """Names and architectures in a list."""
    return {f"{row['name']} {row['architecture']}" for row in reply.body["images"]}


def test_system_images(api: Api) -> None:
    """Each Ubuntu that Hetzner has comes for both architectures, and none of them can be touched."""
    found = names(api("GET", "/images", type="system"))
    assert {f"ubuntu-{v} {a}" for v in ("22.04", "24.04", "26.04") for a in ("x86", "arm")} <= found
    assert names(api("GET", "/images", name="ubuntu-24.04", architecture="arm")) == {"ubuntu-24.04 arm"}
    image = look(api, ARM_IMAGE, "images")
    for method, path, body in (
        ("DELETE", "", None),
        ("PUT", "", {"description": "mine"}),
        ("POST", "/actions/change_protection", {"delete": True}),
    ):
        assert code(api(method, f"/images/{ARM_IMAGE}{path}", body)) == (403, "forbidden")
    assert look(api, ARM_IMAGE, "images") == image


def test_life_of_a_snapshot(api: Api) -> None:
    """A snapshot has no name, tells where it comes from, is found by labels, changed, protected and deleted."""
    server = idle(api, server_type="cx33")
    body = {"type": "snapshot", "description": "mine", "labels": {"a": "b"}}
    made = act(api, server, "create_image", body).body
    image = made["image"]
    assert (image["status"], image["image_size"], image["name"]) == ("creating", None, None)
    path = f"/images/{image['id']}"
    api.done(made["action"])
    image = look(api, image["id"], "images")
    assert (image["status"], image["type"], image["description"]) == ("available", "snapshot", "mine")
    assert (image["disk_size"], image["created_from"]) == (80, {"id": server["id"], "name": server["name"]})
    assert image["image_size"] > 0
    rows = api("GET", "/images", label_selector="a=b", type="snapshot", sort="name").body["images"]
    assert [row["id"] for row in rows] == [image["id"]]
    assert api("GET", "/images", sort="name:desc", per_page="50").status == 200
    changed = api("PUT", path, {"description": "ours", "labels": {}, "type": "snapshot"}).body["image"]
    assert (changed["description"], changed["labels"]) == ("ours", {})
    for refused in ({"name": "x"}, {"type": "backup"}, {"description": "x" * 256}):
        assert code(api("PUT", path, refused)) == INVALID
    finish(api, image, "change_protection", {"delete": True}, kind="images")
    assert code(api("DELETE", path)) == (403, "protected")
    finish(api, image, "change_protection", {"delete": False}, kind="images")
    api.done(api("DELETE", f"/servers/{server['id']}").body["action"])
    assert look(api, image["id"], "images")["status"] == "available"
    assert api("DELETE", path).status == 204
    assert code(api("GET", path)) == (404, "not_found")


def test_snapshot_that_is_being_made(emulated: SandboxThread, api: Api) -> None:
    """Until a snapshot is there, it makes no server and is not deleted."""
    server = idle(api, server_type="cx33")
    emulated.set_faults(Faults(actions=(ActionFault(command="create_image", how="endless"),)))
    image = act(api, server, "create_image", {"type": "snapshot"}).body["image"]
    assert code(api("DELETE", f"/images/{image['id']}")) == INVALID
    early = api("POST", "/servers", order(image=image["id"], server_type="cx33"))
    assert (code(early), early.error["message"]) == (INVALID, "image is not available yet")


@pytest.mark.parametrize(
    "body", [{"type": "backup"}, {"type": 1}, {"description": 1}, {"labels": {"a": ":"}}, {"x": 1}]
)
def test_snapshots_that_are_refused(api: Api, body: dict[str, object]) -> None:
    """What is no order for a snapshot makes none."""
    server = idle(api)
    assert code(act(api, server, "create_image", body)) == INVALID
    assert look(api, server["id"]) == server


@pytest.mark.parametrize(
    ("server_type", "image", "words"),
    [
        ("cx23", "snapshot", "disk of 80 GB"),  # of a server with a larger disk
        ("cax21", "snapshot", "architecture"),
        ("cx23", ARM_IMAGE, "architecture"),
        ("cx33", "ubuntu-18.04", "not found"),
        ("cx33", "", "not found"),
    ],
)
def test_images_that_do_not_fit(ahead: Ahead, server_type: str, image: object, words: str) -> None:
    """A snapshot needs a disk as large as its source's, and every image its architecture."""
    server = ahead.order(server_type="cx33").body["server"]
    ahead.world.tick()
    snapshot = act(ahead, server, "create_image").body["image"]["id"]
    ahead.world.tick()
    reply = ahead.order(server_type=server_type, image=snapshot if image == "snapshot" else image)
    assert code(reply) == INVALID
    assert words in reply.error["message"]
    assert ahead.order(server_type="cpx22", image=snapshot).status == 201  # as large, and the same architecture


def test_image_by_name_fits_the_type(ahead: Ahead) -> None:
    """An image's name stands for the one of the server type's architecture."""
    server = ahead.order(server_type="cax11").body["server"]
    assert (server["image"]["id"], server["image"]["architecture"]) == (ARM_IMAGE, "arm")
    assert ahead.order(image=str(ARM_IMAGE), server_type="cax11").status == 201


def test_image_is_in_use_while_a_server_is_made_of_it(ahead: Ahead) -> None:
    """A snapshot stays until the servers that are being made from it are there."""
    server = ahead.order().body["server"]
    ahead.world.tick()
    image = act(ahead, server, "create_image").body["image"]
    ahead.world.tick()
    assert ahead.order(image=image["id"]).status == 201
    assert code(ahead("DELETE", f"/images/{image['id']}")) == (422, "resource_in_use")
    ahead.world.tick()
    assert ahead("DELETE", f"/images/{image['id']}").status == 204


def test_server_from_a_snapshot_has_its_files(api: Api, own: Machine, emulated_folder: Path) -> None:
    """What was made of a snapshot has the source's files, and host keys and authorized keys of its own."""
    asyncio.run(_write(own))
    (own.root / "etc/ssh/ssh_host_rsa_key").write_text("the source's own", encoding="utf-8")
    old_key = (own.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="utf-8")
    made = act(api, own.row, "create_image", {"description": unique("image")}).body
    api.done(made["action"])
    asyncio.run(_write(own, "later"))
    copy = rent(api, emulated_folder, image=made["image"]["id"])
    assert copy.row["image"]["id"] == made["image"]["id"]
    assert (copy.root / "root/kept").read_text(encoding="utf-8") == "kept\n"
    assert (copy.root / "root/link").readlink() == Path("kept")
    assert not (copy.root / "root/later").exists()
    new_key = (copy.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="utf-8")
    assert new_key != old_key
    assert not (copy.root / "etc/ssh/ssh_host_rsa_key").exists()
    asyncio.run(_write(copy, "own"))  # with its own key
    with pytest.raises(asyncssh.PermissionDenied):
        asyncio.run(_write(copy, "stolen", client_keys=[own.key]))
    own.remove()
    again = rent(api, emulated_folder, image=made["image"]["id"], user_data=None, server_type="cx33")
    born = (again.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="utf-8")
    assert born not in (old_key, new_key)
    assert api("DELETE", f"/images/{made['image']['id']}").status == 204
    copy.remove()
    again.remove()


async def _write(machine: Machine, name: str = "kept", **options: object) -> None:
    async with machine.connect(**options) as connection:
        done = await connection.run(f"echo {name} > {name}; ln -sf {name} link")
        assert done.exit_status == 0


def test_type_changes_and_files_stay(api: Api, own: Machine) -> None:
    """A server of another type starts by itself and has its files, address and keys."""
    asyncio.run(_write(own))
    finish(api, own.row, "poweroff")
    row = finish(api, own.row, "change_type", {"server_type": "cx33", "upgrade_disk": False})
    assert (row["server_type"]["name"], row["primary_disk_size"], row["status"]) == ("cx33", 40, "running")
    assert row["public_net"] == own.row["public_net"]

    async def read() -> str:
        return str((await run(own, "cat kept")).stdout)

    wait_for_ssh(own)
    assert asyncio.run(read()) == "kept\n"
    own.remove()
