"""The process that serves: uvicorn's connections on one loop, from start to end."""

import asyncio
import contextlib
import functools
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NoReturn

import uvicorn
from uvicorn.server import ServerState

from modularity_registry.errors import RegistryError
from modularity_registry.serving import descriptors, sockets
from modularity_registry.serving.certificate_reload import Certificates
from modularity_registry.serving.descriptors import DescriptorWatch
from modularity_registry.serving.forwarded import Proxies
from modularity_registry.serving.front import Front
from modularity_registry.serving.garbage import spare_the_collector
from modularity_registry.serving.head import KnownHeads
from modularity_registry.serving.limits import ServerOptions, ServerPlaces
from modularity_registry.serving.process import (
    START_FAILED,
    complain,
    keep_one_heap,
    leave,
    leave_on_signals,
    on_signal,
)
from modularity_registry.serving.protocol import HttpConnection, Shared
from modularity_registry.serving.wsgi import BASE, Bridge, Failure, WsgiApp

_log = logging.getLogger(__name__)

_HANDSHAKE_SECONDS = 10.0
_LOOK_SECONDS = 1.0
# After its time to finish what is under way, the app gets this long to close.
_CLOSE_SECONDS = 1.0


async def _nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class Served:
    """What a factory builds, on the loop that serves it.

    ``wsgi`` is called in threads; ``front`` stands before it, on the loop;
    ``failure`` makes the reply for a call that ``wsgi`` raises at. ``stop`` is awaited
    when the process is told to end: long streams and waits end then. ``close`` is
    awaited once nothing is being answered any more, or the time for that is over.
    ``proxies`` says whom to believe about callers, ``certificates`` what TLS is spoken
    with, None for plain HTTP; ``descriptors`` notices when there are none left.
    ``places`` are what callers take, None for those of the options.
    """

    wsgi: WsgiApp
    failure: Failure
    front: Front = field(default_factory=Front)
    stop: Callable[[], Awaitable[None]] = _nothing
    close: Callable[[], Awaitable[None]] = _nothing
    proxies: Proxies | None = None
    certificates: Certificates | None = None
    descriptors: DescriptorWatch = field(default_factory=DescriptorWatch)
    places: ServerPlaces | None = None


Factory = Callable[[], Awaitable[Served]]


def serve(
    factory: Factory, host: str, port: int, options: ServerOptions | None = None
) -> int:
    """Serve what ``factory`` builds on ``host`` and ``port`` until told to stop.

    Ends the process with 0 after SIGTERM or SIGINT. Returns the exit code 1 when it
    could not start, the reason said in one line on stderr. ``factory`` is called on
    the loop of each serving process. To be called from the main thread, before any
    other thread is started.
    """
    options = options or ServerOptions()
    keep_one_heap()
    try:
        descriptors.make_room(options.connections, options.https)
        listeners = sockets.listen(
            host, port, options.backlog, options.unread_seconds, options.workers
        )
    except RegistryError as error:
        complain(error.detail)
        return 1

    def child(listener: socket.socket, ready: Callable[[], None]) -> NoReturn:
        run(factory, listener, options, ready)

    address = sockets.url(listeners[0], options.https)

    def listening() -> None:
        _log.info("listening at %s", address)

    if options.workers > 1:
        from modularity_registry.serving import supervisor  # not for Windows

        return supervisor.run(listeners, child, options.stop_seconds, listening)
    child(listeners[0], listening)


def run(
    factory: Factory,
    listener: socket.socket,
    options: ServerOptions,
    ready: Callable[[], None],
) -> NoReturn:
    """Serve on ``listener`` until told to stop; never return.

    Exits with 0 after a stop, with 1 or, in a worker, `START_FAILED`, its reason on
    stderr, when ``factory`` raises.
    """
    leave_on_signals()
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(factory, listener, options, ready))
    leave(0)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # where there is none, asyncio's own does the same
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _serve(
    factory: Factory,
    listener: socket.socket,
    options: ServerOptions,
    ready: Callable[[], None],
) -> None:
    try:
        served = await factory()
    except Exception as error:
        complain(_reason(error))
        leave(START_FAILED if options.workers > 1 else 1)
    told, look = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        on_signal(number, told.set)
    if served.certificates is not None:
        if hasattr(signal, "SIGHUP"):
            on_signal(signal.SIGHUP, look.set)
        look.set()  # they may have been renewed since the parent read them
    loop.set_exception_handler(served.descriptors.on_exception)
    spare_the_collector()
    server = Server(served, options, listener)
    await server.start()
    ready()
    while not told.is_set():
        served.descriptors.look()
        if served.certificates is not None:
            at_once = look.is_set()
            look.clear()
            await server.renew(at_once)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), _LOOK_SECONDS)
    # Whatever hangs on the way out, even this loop: the way out is not long.
    last = threading.Timer(options.stop_seconds + _CLOSE_SECONDS, leave, (0,))
    last.daemon = True
    last.start()
    await server.stop()
    leave(0)


class Server:
    """Accepts connections for what is ``served``."""

    def __init__(
        self, served: Served, options: ServerOptions, listener: socket.socket
    ) -> None:
        self._served = served
        self._options = options
        self._listener = listener
        bridge = Bridge(served.wsgi, served.front, served.failure, options.threads)
        self._config = uvicorn.Config(
            bridge,
            http=HttpConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            interface="asgi3",
        )
        self._config.load()
        self._state = ServerState()
        places = served.places or ServerPlaces.of(options)
        self._shared = Shared(
            served.front,
            served.proxies,
            options,
            *places,
            KnownHeads(),
            BASE,
        )
        self._server: asyncio.Server | None = None
        self._context: ssl.SSLContext | None = None

    async def start(self) -> None:
        """Begin to accept."""
        certificates = self._served.certificates
        await self._listen(None if certificates is None else certificates.context)

    async def renew(self, at_once: bool = False) -> None:
        """Serve renewed certificates, if there are any; no connection is cut."""
        certificates = self._served.certificates
        assert certificates is not None
        try:
            # In a thread: a disk may be slow, and keys take some milliseconds.
            await asyncio.to_thread(certificates.look, at_once)
            if certificates.context is not self._context:
                await self._listen(certificates.context)
        except Exception:
            _log.exception("looking for a renewed certificate failed")

    async def stop(self) -> None:
        """Accept no more, finish what is under way as far as its time goes, close."""
        if self._server is not None:
            self._server.close()
        self._listener.close()
        self._shared.closing = True
        await _attempt(self._served.stop)
        for connection in list(self._state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._options.stop_seconds
        while self._state.connections and loop.time() < deadline:
            await asyncio.sleep(0.02)
        if self._state.connections:
            _log.warning(
                "calls under way were not over after %g s: cut",
                self._options.stop_seconds,
            )
        await _attempt(self._served.close)

    async def _listen(self, context: ssl.SSLContext | None) -> None:
        loop, former = asyncio.get_running_loop(), self._server
        self._server = await loop.create_server(
            functools.partial(
                HttpConnection,
                self._shared,
                config=self._config,
                server_state=self._state,
                app_state={},
            ),
            sock=self._listener.dup(),
            ssl=context,
            ssl_handshake_timeout=None if context is None else _HANDSHAKE_SECONDS,
            backlog=self._options.backlog,
        )
        self._context = context
        if former is not None:
            # What asyncio has accepted, it would lose by a close in the same moment.
            for listener in former.sockets:
                loop.remove_reader(listener)
            await asyncio.sleep(0)
            former.close()


def _reason(error: Exception) -> str:
    if isinstance(error, RegistryError):
        return error.detail
    _log.debug("the app could not be built", exc_info=error)
    return f"could not start: {type(error).__name__}: {error}"


async def _attempt(step: Callable[[], Awaitable[None]]) -> None:
    try:
        await step()
    except Exception:
        _log.exception("the app failed while it was stopped")
