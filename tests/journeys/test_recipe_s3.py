# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The recipe of docs/s3.md as it stands there; its cluster's nodes alone can use a storage that checks signatures."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, field, frozen
from programs import miss
from surroundings import environment_for

from scherbelberg.settings import Settings

ROOT = Path(__file__).parents[2]
BUCKET = "my-bucket"
_NEEDED = ("boto3", "moto", "numpy", "pandas", "pyarrow", "s3fs", "zarr")
_WITHIN_S = 120


@define(kw_only=True)
class Storage:
    """A running storage.

    Args:
        endpoint: Its URL.
        key_id: Who may use it.
        secret: And with what.
    """

    endpoint: str
    key_id: str
    secret: str
    process: subprocess.Popen[str] = field(repr=False)

    def end(self) -> list[str]:
        """End it; returns the names of all that it held."""
        output, _ = self.process.communicate(timeout=_WITHIN_S)
        names: list[str] = json.loads(output)
        return names


def _plain() -> dict[str, str]:
    """Environment variables without anything that leads to another storage, or past this computer."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "NO_PROXY": "*"}


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _WITHIN_S)
    assert ready, "the storage says nothing"
    return process.stdout.readline()


@pytest.fixture
def storage() -> Iterator[Storage]:
    """A storage of the test's own, with an empty bucket."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        miss(f"no {', '.join(missing)} in this environment (the extra 'recipes' brings them)")
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "s3_server.py"), BUCKET],
        env=_plain(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Storage(process=process, **json.loads(_first_line(process)))
        finally:
            process.kill()


@frozen(kw_only=True)
class Desk:
    """Somebody's computer.

    Args:
        folder: Where programs run.
        environ: Their environment variables.
    """

    folder: Path
    environ: dict[str, str] = field(repr=False)

    def run(self, *words: str, added: dict[str, str] | None = None) -> str:
        """Run a Python program to its end; returns what it printed."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environ | (added or {}),
            capture_output=True,
            text=True,
            check=False,
            timeout=_WITHIN_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def _recipe() -> tuple[str, str]:
    """The document's program, and what the document says that it prints."""
    text = (ROOT / "docs" / "s3.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (said,) = re.findall(r"\$ python s3_recipe\.py\n((?:    .*\n)+)", text)
    return program, "".join(line.removeprefix("    ") for line in said.splitlines(keepends=True))


_LIST = f"""
import boto3, botocore.exceptions as e, os, sys
for secret in os.environ["SECRETS"].split():
    s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1", aws_secret_access_key=secret,
                      aws_access_key_id=os.environ["KEY_ID"])
    try: s3.list_objects_v2(Bucket="{BUCKET}"); print()
    except e.ClientError as error: print(error.response["Error"]["Code"])
"""


def _answers(storage: Storage, *secrets: str) -> list[str]:
    """What the storage says to whoever comes with these."""
    done = subprocess.run(
        [sys.executable, "-c", _LIST, storage.endpoint],
        env=_plain() | {"KEY_ID": storage.key_id, "SECRETS": " ".join(secrets)},
        capture_output=True,
        text=True,
        check=True,
        timeout=_WITHIN_S,
    )
    return done.stdout.splitlines()


def test_recipe(storage: Storage, settings: Settings, tmp_path: Path) -> None:
    """The document's program prints what the document says, where only the nodes have what the storage asks for."""
    program, said = _recipe()
    (tmp_path / "s3_recipe.py").write_text(program, encoding="utf-8")
    (tmp_path / "s3-key.txt").write_text(storage.secret + "\n", encoding="utf-8")
    path = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    desk = Desk(folder=tmp_path, environ=_plain() | environment_for(settings) | path)
    words = ("--env-var", f"AWS_ENDPOINT_URL={storage.endpoint}", "--env-var", "AWS_DEFAULT_REGION=us-east-1")
    secrets = ("--secret", "AWS_ACCESS_KEY_ID", "--secret", "AWS_SECRET_ACCESS_KEY=@s3-key.txt")
    created = desk.run(
        "-m", "scherbelberg", "create", "--json", "-w", "2", *words, *secrets,
        added={"AWS_ACCESS_KEY_ID": storage.key_id},
    )  # fmt: skip
    assert json.loads(created)["state"] == "ready"
    assert storage.secret not in created
    assert desk.run("s3_recipe.py") == said
    desk.run("-m", "scherbelberg", "destroy")
    # The storage does check signatures, or all that would say nothing about secrets.
    assert _answers(storage, storage.secret, "x" * 40) == ["", "SignatureDoesNotMatch"]
    names = storage.end()
    assert [name for name in names if name.startswith("recipe/rows/") and name.endswith(".parquet")]
    assert [name for name in names if name.startswith("recipe/numbers.zarr/")]
