"""From a connection to a WSGI app in a thread, and back."""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from modularity_registry.serving.front import CALL, Connection, Front, Send
from modularity_registry.serving.head import Environ

_log = logging.getLogger(__name__)

Headers = list[tuple[str, str]]
WsgiApp = Callable[[Environ, Any], Iterable[bytes]]
Failure = Callable[[Environ], tuple[Headers, bytes]]
"""The headers and the body of the 500 for an environment whose app raised."""

BASE: Environ = {
    "SCRIPT_NAME": "",
    "SERVER_NAME": "registry",
    "SERVER_SOFTWARE": "uvicorn",
    "wsgi.errors": sys.stderr,
    "wsgi.input_terminated": True,
    "wsgi.multiprocess": False,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}

Reply = tuple[int, Headers, bytes]


class Bridge:
    """ASGI over a WSGI app: bodies are whole before it is called, replies are too.

    Of ``threads``, one client has at most three quarters: the rest of its calls wait.
    """

    def __init__(
        self, app: WsgiApp, front: Front, failure: Failure, threads: int
    ) -> None:
        self._app = app
        self._front = front
        self._failure = failure
        self._share = max(1, threads - threads // 4)
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="call")

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Answer one call, whatever happens."""
        environ: Environ = scope["environ"]
        try:
            waiting = self._front.wait(environ)
            if waiting is not None and not await _waited(waiting, environ[CALL]):
                return
            stream = self._front.stream(environ)
            if stream is None:
                reply = await self._reply(environ)
        except Exception:
            _log.exception("%s failed", _name(environ))
            stream, reply = None, (500, *self._failure(environ))
        if stream is not None:
            await stream(send)
            return
        status, headers, body = reply
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [_encoded(header) for header in headers],
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def _reply(self, environ: Environ) -> Reply:
        client = self._front.client(environ)
        turn = self._turns.get(client)
        if turn is None:
            turn = self._turns[client] = asyncio.Semaphore(self._share)
        async with turn:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._threads, _respond, self._app, environ
            )


async def _waited(waiting: Any, connection: Connection) -> bool:
    """Await ``waiting`` unless the caller goes away; say whether it is still there."""
    task = asyncio.ensure_future(waiting)
    connection.watch(task.cancel)
    try:
        with suppress(asyncio.CancelledError):
            await task
        return not task.cancelled()
    finally:
        connection.watch(None)


def _respond(app: WsgiApp, environ: Environ) -> Reply:
    status, headers = 500, []

    def start(text: str, given: Headers, exc_info: object = None) -> None:
        nonlocal status, headers
        status, headers = int(text[:3]), given

    chunks = app(environ, start)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    known = any(name.lower() == "content-length" for name, _ in headers)
    if not known and status not in (204, 304):
        headers.append(("Content-Length", str(len(body))))
    return status, headers, body


def _encoded(header: tuple[str, str]) -> tuple[bytes, bytes]:
    name, value = header
    return name.encode("latin-1"), value.encode("latin-1")


def _name(environ: Environ) -> str:
    return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
