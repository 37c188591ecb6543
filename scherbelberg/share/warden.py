# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gives a cluster back from inside, when its deadline has passed or nothing was done for too long.

It runs as root on the scheduler, with Python's standard library alone: warden.py FILE QUIET. FILE holds token, endpoint
and uid; QUIET is for how many seconds nothing was done, or another word if nobody knows. It deletes the workers, the
SSH key, and then the machine that it runs on. Network and firewall are free of charge, and stay.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

_KINDS = ("servers", "networks", "firewalls", "ssh_keys")
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_REQUEST_S = 30
#: Looks at workers that go, and seconds between them; the next run goes on.
_LOOKS, _LOOK_S = 30, 2.0
#: What a deletion may be answered with: it is gone already, or it is busy and asked for again.
_NO_MATTER = {404, 409, 423}


class Cloud:
    """The cloud's API, as much as is needed.

    Args:
        config: Token, endpoint and uid.
    """

    def __init__(self, config: dict[str, str]) -> None:
        self.now_s = 0.0
        self._config = config
        context = ssl.create_default_context()
        if _AUTHORITIES.exists():
            context.load_verify_locations(_AUTHORITIES)
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, method: str, path: str) -> Any:
        """Send a request.

        Args:
            method: HTTP method.
            path: Below the endpoint.
        """
        headers = {"Authorization": f"Bearer {self._config['token']}", "User-Agent": "scherbelberg-warden"}
        request = urllib.request.Request(self._config["endpoint"] + path, method=method, headers=headers)  # noqa: S310 - our own endpoint
        try:
            with self._opener.open(request, timeout=_REQUEST_S) as answer:
                self.now_s = parsedate_to_datetime(answer.headers["Date"]).timestamp()
                text = answer.read()
        except urllib.error.HTTPError as error:
            error.close()  # it is the answer as well, and holds its connection
            raise
        return json.loads(text) if text else {}

    def list(self, kind: str) -> list[dict[str, Any]]:
        """List all resources of a kind that are the cluster's."""
        query = {"label_selector": f"managed-by=scherbelberg,uid={self._config['uid']}", "per_page": "50"}
        rows: list[dict[str, Any]] = []
        page: int | None = 1
        while page:
            answer = self.ask("GET", f"/{kind}?{urllib.parse.urlencode({**query, 'page': page})}")
            rows += answer[kind]
            page = answer["meta"]["pagination"]["next_page"]
        return rows

    def delete(self, kind: str, row: dict[str, Any]) -> None:
        """Ask for the end of a resource."""
        try:
            self.ask("DELETE", f"/{kind}/{row['id']}")
        except urllib.error.HTTPError as error:
            if error.code not in _NO_MATTER:
                raise


def is_over(labels: list[dict[str, str]], *, now_s: float, quiet_s: int | None) -> bool:
    """Whether a cluster is to be given back.

    A label that is missing or cannot be read speaks for the cluster, and so does whatever is protected.

    Args:
        labels: Of each of its resources.
        now_s: The cloud's clock, epoch seconds.
        quiet_s: For how long nothing was done, or None if nobody knows.
    """
    if not labels or any("protected" in row for row in labels):
        return False
    created, deadlines, idle = (_numbers(labels, name) for name in ("created", "deadline", "idle"))
    is_late = all(begin_s <= end_s <= now_s for begin_s, end_s in zip(created, deadlines, strict=True))
    return is_late or (quiet_s is not None and all(0 < limit_s <= quiet_s for limit_s in idle))


def _numbers(labels: list[dict[str, str]], name: str) -> list[int]:
    """A label of each resource; what is none, or no number, will never be reached."""
    texts = [row.get(name, "") for row in labels]
    return [int(text) if text.isdecimal() else sys.maxsize for text in texts]


def _labels(row: dict[str, Any]) -> dict[str, str]:
    """A resource's labels; what the cloud itself guards against deletion counts as protected."""
    protection = row.get("protection")
    is_guarded = isinstance(protection, dict) and protection.get("delete") is True
    labels: dict[str, str] = row["labels"]
    return labels | ({"protected": "yes"} if is_guarded else {})


def run(cloud: Cloud, quiet_s: int | None) -> None:
    """Look, and give the cluster back if it is time.

    Args:
        cloud: The cloud's API.
        quiet_s: For how long nothing was done, or None if nobody knows.
    """
    servers = cloud.list("servers")
    labels = [_labels(row) for row in servers]
    if not is_over(labels, now_s=cloud.now_s, quiet_s=quiet_s):
        return
    # Only now all kinds are asked for: whoever moved a deadline may have been interrupted after any of them.
    labels += [_labels(row) for kind in _KINDS[1:] for row in cloud.list(kind)]
    if is_over(labels, now_s=cloud.now_s, quiet_s=quiet_s):
        print("The cluster's time is over: its machines are deleted.", flush=True)  # noqa: T201 - for the journal
        _give_back(cloud, servers)


def _give_back(cloud: Cloud, servers: list[dict[str, Any]]) -> None:
    for _ in range(_LOOKS):
        workers = [row for row in servers if row["labels"].get("role") != "scheduler"]
        if not workers:
            break
        for row in workers:
            cloud.delete("servers", row)
        time.sleep(_LOOK_S)
        servers = cloud.list("servers")
    else:
        raise SystemExit("Workers are still there; the next run goes on.")
    for kind, rows in (("ssh_keys", cloud.list("ssh_keys")), ("servers", servers)):
        for row in rows:
            cloud.delete(kind, row)


def main(words: list[str]) -> None:
    """Run once.

    Args:
        words: The file, and for how long nothing was done.
    """
    config = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    try:
        run(Cloud(config), int(words[1]) if words[1].isdecimal() else None)
    except OSError as error:
        sys.exit(f"warden: the cloud does not answer as it should: {error}; the next run tries again")


if __name__ == "__main__":
    main(sys.argv[1:])
