# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What machines learn about themselves from the cloud, at an address that only they and this computer reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from scherbelberg.sandbox.hosts.machines.links import METADATA

#: Answers by path, of the machine with an address; None for nobody.
Answers = Callable[[str], Mapping[str, str] | None]


class _Metadata(RequestHandler):
    def initialize(self, answers: Answers) -> None:
        self._answers = answers

    def get(self, path: str) -> None:
        known = self._answers(str(self.request.remote_ip))
        if known is None or path not in known:
            self.send_error(404)
            return
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(known[path])


def serve_metadata(answers: Answers) -> HTTPServer:
    """Begin to answer.

    Args:
        answers: What is told to whom.
    """
    server = HTTPServer(Application([(r"/hetzner/v1/(.+)", _Metadata, {"answers": answers})]))
    server.add_sockets(bind_sockets(80, METADATA))
    return server
