"""A tiny app for the tests of serving; its settings are JSON."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Iterable
from typing import Any

from modularity_registry.errors import (
    BadSetting,
    BodyIncomplete,
    BodyTooLarge,
    HeadTooLarge,
    InvalidRequest,
    StoreUnavailable,
)
from modularity_registry.serve import failure as failure_reply
from modularity_registry.serving.front import REFUSAL, Connection, Front
from modularity_registry.serving.head import Answer, Environ, Head
from modularity_registry.serving.limits import ServerOptions
from modularity_registry.serving.server import Served, serve

_STATUS = {
    BodyTooLarge: "413 Content Too Large",
    BodyIncomplete: "400 Bad Request",
    InvalidRequest: "400 Bad Request",
    HeadTooLarge: "431 Request Header Fields Too Large",
}


def _reply(start: Any, status: str, value: object) -> list[bytes]:
    body = json.dumps(value).encode()
    start(
        status,
        [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("ETag", '"1-1"'),
            ("X-Registry-Revision", "1"),
        ],
    )
    return [body]


def app(environ: Environ, start: Any) -> Iterable[bytes]:
    error = environ.get(REFUSAL)
    if error is not None:
        status = _STATUS.get(type(error), "503 Service Unavailable")
        return _reply(start, status, {"code": error.code, "detail": error.detail})
    path = environ["PATH_INFO"]
    if path == "/body":
        return _reply(start, "200 OK", {"length": len(environ["wsgi.input"].read())})
    if path == "/wait":
        threading.Event().wait(float(environ["QUERY_STRING"]))
        return _reply(start, "200 OK", {"waited": environ["QUERY_STRING"]})
    if path == "/large":
        size = int(environ["QUERY_STRING"]) << 20
        start("200 OK", [("Content-Length", str(size))])
        return [bytes(size)]
    if path == "/raise":
        raise ValueError("on purpose")
    if path == "/":
        return _reply(start, "200 OK", {"pid": os.getpid(), "x": "y" * 460})
    return _reply(start, "404 Not Found", {"path": path})


class _Streams(Front):
    """Answers ``/stream`` on the loop, with a beat every 0.2 s until the stop."""

    def __init__(self) -> None:
        self.open: set[Any] = set()

    def plan(self, head: Head) -> Answer | None:
        return self._begin if head.path == "/stream" else None

    def wants_body(self, environ: Environ) -> bool:
        return bool(environ["PATH_INFO"] != "/unwanted")

    def _begin(self, connection: Connection, body: bytes) -> bytes:
        connection.take(lambda: self.open.discard(connection))
        self.open.add(connection)
        self._write(
            connection, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self._beat(connection)
        return b""

    def _beat(self, connection: Any) -> None:
        if connection in self.open:
            self._write(connection, b"8\r\n: beat\n\n\r\n")
            asyncio.get_running_loop().call_later(0.2, self._beat, connection)

    def stop(self) -> None:
        for connection in self.open:
            self._write(connection, b"0\r\n\r\n")
            connection.end()

    def _write(self, connection: Any, data: bytes) -> None:
        connection.transport.write(data)


def _note(path: str | None, word: str) -> None:
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{word}\n")


def main(text: str) -> None:
    """Serve until a signal, then end the process."""
    settings = json.loads(text)
    notes = settings.get("notes")
    front = _Streams()

    async def stop() -> None:
        _note(notes, "stop")
        front.stop()

    async def close() -> None:
        _note(notes, "close")
        if settings.get("failure") == "close":
            threading.Event().wait(3600)

    async def factory() -> Served:
        _note(notes, f"factory {threading.current_thread() is threading.main_thread()}")
        failure = settings.get("failure")
        if failure == "setting":
            raise BadSetting("REGISTRY_STORE: no such store")
        if failure == "store":
            raise StoreUnavailable("redis does not answer")
        if failure == "bug":
            raise KeyError("x")
        if failure == "slow":
            threading.Event().wait(3600)
        return Served(app, failure_reply, front, stop, close)

    options = ServerOptions(**settings.get("options", {}))
    host = settings.get("host", "127.0.0.1")
    sys.exit(serve(factory, host, settings["port"], options))
