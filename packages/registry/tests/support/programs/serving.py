"""A tiny app for the tests of serving; its settings are the first argument (JSON)."""

import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from modularity_registry.errors import (
    BadSetting,
    BodyIncomplete,
    BodyTooLarge,
    RegistryError,
    StoreUnavailable,
)
from modularity_registry.serve import failure as failure_reply
from modularity_registry.serving.body import read_body
from modularity_registry.serving.supervisor import Served, ServerOptions, serve

_STOP = threading.Event()
_STATUS = {BodyTooLarge: "413 Content Too Large", BodyIncomplete: "400 Bad Request"}


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


def _endless() -> Iterator[bytes]:
    while not _STOP.wait(0.2):
        yield b": beat\n\n"


def _lengthy(megabytes: int) -> Iterator[bytes]:
    for _ in range(megabytes * 16):
        yield bytes(65_536)


def _body(environ: dict[str, Any], start: Any) -> list[bytes]:
    try:
        body = read_body(environ)
    except RegistryError as error:
        status = _STATUS.get(type(error), "503 Service Unavailable")
        return _reply(start, status, {"code": error.code, "detail": error.detail})
    seen = {"length": len(body), "again": len(environ["wsgi.input"].read())}
    return _reply(start, "200 OK", seen)


def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/body":
        return _body(environ, start)
    if path == "/wait":
        threading.Event().wait(float(environ["QUERY_STRING"]))
        return _reply(start, "200 OK", {"waited": environ["QUERY_STRING"]})
    if path == "/stream":
        start("200 OK", [("Content-Type", "text/event-stream")])
        return _endless()
    if path == "/large":
        size = int(environ["QUERY_STRING"]) << 20
        start("200 OK", [("Content-Length", str(size))])
        return _lengthy(int(environ["QUERY_STRING"]))
    if path == "/raise":
        raise ValueError("on purpose")
    if path == "/":
        return _reply(start, "200 OK", {"pid": os.getpid(), "x": "y" * 460})
    return _reply(start, "404 Not Found", {"path": path})


def _note(path: str | None, word: str) -> None:
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{word}\n")


def main() -> int:
    settings = json.loads(sys.argv[1])
    notes = settings.get("notes")

    def stop() -> None:
        _note(notes, "stop")
        _STOP.set()

    def close() -> None:
        _note(notes, "close")
        if settings.get("failure") == "close":
            threading.Event().wait(3600)

    def factory() -> Served:
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
        return Served(app, failure_reply, stop, close)

    options = ServerOptions(**settings.get("options", {}))
    host = settings.get("host", "127.0.0.1")
    return serve(factory, host, settings["port"], options)


if __name__ == "__main__":
    sys.exit(main())
