"""A local S3 server in a process of its own, that can be stopped and made to fail."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

STOP, START = "stop", "start"

SLOW_DOWN = (
    b"<?xml version='1.0' encoding='UTF-8'?>"
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What befalls some requests."""

    what: str
    """``busy``: answered with 503. ``half``: the connection breaks in the middle of the request.
    ``unsaid``: what is asked is done, and the connection breaks before the answer. ``stale``: a
    listing lacks the last file. ``stop``: the server stops. ``kill``: the client is killed, before
    what it asks is done. ``kill-after``: after it."""

    method: str
    """``PUT``, ``GET``, ``HEAD``, or ``LIST``."""

    part_of_name: str = ""
    """Only requests for names with this in it."""

    first: int = 1
    """Number of the first of these requests that fails."""

    times: int = 1_000_000
    """How many of them fail."""

    client: Path | None = None
    """File that holds the number of the process to kill."""

    def kill(self) -> None:
        """Kill the client."""
        assert self.client is not None
        os.kill(int(self.client.read_text()), signal.SIGKILL)


class Faulty:
    """An S3 server, of moto's, with a fault in it."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.app = app
        self.stop: Callable[[], None] = lambda: None
        self.fault: Fault | None = None
        self.count = 0
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        fault = self._due(environ)
        what = fault.what if fault else None
        if what == "busy":
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [SLOW_DOWN]
        if what == "half":
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
            return _hang_up(environ)
        if what == "stop":
            self.stop()
            return _hang_up(environ)
        if what == "kill":
            fault.kill()
            return _hang_up(environ)
        if what == "stale":
            return self._list_late(environ, start_response)
        answer = list(self.app(environ, start_response))
        if what == "kill-after":
            fault.kill()
        return _hang_up(environ) if what in ("unsaid", "kill-after") else answer

    def _due(self, environ: dict[str, Any]) -> Fault | None:
        with self.lock:
            fault = self.fault
            if fault is None or fault.method != _method(environ):
                return None
            if fault.part_of_name not in environ["PATH_INFO"] + environ["QUERY_STRING"]:
                return None
            self.count += 1
            return fault if 0 <= self.count - fault.first < fault.times else None

    def _list_late(self, environ: dict[str, Any], start_response: Callable) -> list[bytes]:
        """Answer with a listing that lacks the last of its files."""
        told: list[Any] = []
        body = b"".join(self.app(environ, lambda *answer: told.extend(answer[:2])))
        before, found, after = body.rpartition(b"<Contents>")
        if found:
            body = before + after.partition(b"</Contents>")[2]
        headers = [(name, value) for name, value in told[1] if name.lower() != "content-length"]
        start_response(told[0], [*headers, ("Content-Length", str(len(body)))])
        return [body]


def _method(environ: dict[str, Any]) -> str:
    return "LIST" if "list-type=" in environ["QUERY_STRING"] else environ["REQUEST_METHOD"]


def _hang_up(environ: dict[str, Any]) -> list[bytes]:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return []


def serve(orders: Connection) -> None:
    """Serve on a free port, which is the first thing told, until the other side goes.

    What was stored stays while the server is stopped. An order is `STOP`, `START`, a `Fault`, or
    ``None`` for none; the answer is how many requests the fault before it could have befallen.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = Faulty(DomainDispatcherApplication(create_backend_app))

    def start(port: int) -> int:
        server = make_server("127.0.0.1", port, app, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def stop() -> None:
            app.stop = lambda: None  # another request may ask for it, too
            server.shutdown()
            server.server_close()

        app.stop = stop
        return server.port

    port = start(0)
    orders.send(port)
    while True:
        try:
            order = orders.recv()
        except EOFError:
            return
        count = app.count
        if order == STOP:
            app.stop()
        elif order == START:
            start(port)
        else:
            app.fault, app.count = order, 0
        orders.send(count)
