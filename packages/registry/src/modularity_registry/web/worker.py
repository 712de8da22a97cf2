"""The process that serves: Granian around the app, from its start to its end."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from granian._futures import _new_cbscheduler
from granian._granian import SocketHolder, WorkerSignal, WSGIWorker
from granian.http import HTTP1Settings

from modularity_registry.errors import RegistryError
from modularity_registry.web import sockets
from modularity_registry.web.bridge import WsgiApp, bridge
from modularity_registry.web.uploads import UploadWatch

_log = logging.getLogger(__name__)

START_FAILED = 3
STOPPING = (signal.SIGTERM, signal.SIGINT)
"""Signals that tell a process to end; blocked when `run` is entered."""

_PR_SET_PDEATHSIG = 1
# Descriptors that are no connections: stores, probes, logs.
_OTHER_FILES = 1024
# What a connection may buffer, and with that the longest head of a request. Granian's
# own 408 KiB would let 8,192 connections take 3 GiB.
_BUFFER = 65_536


def _nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class Served:
    """What a factory builds, in the process that serves it.

    ``stop`` is called when the process is told to end and must return at once: long
    streams and waits end then. ``close`` is called once nothing is being answered any
    more, or the time for that is over: what the app stands on is closed there.
    """

    wsgi: WsgiApp
    stop: Callable[[], None] = _nothing
    close: Callable[[], None] = _nothing


Factory = Callable[[], Served]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the server treats its callers; times are in seconds.

    ``workers`` is the number of processes that answer; the bounds hold for each.
    ``threads`` bounds calls and streams at once, ``uploads`` the bodies being received
    at once, ``connections`` those open. Threads are started when needed, so a high
    bound costs nothing by itself; it must leave room beside all streams and uploads.
    ``header_seconds`` is for a request's head, and for a connection between two
    requests: not 10, so that a caller on a beat of 10 s does not always meet its end.
    ``body_seconds`` is for a whole body. ``unread_seconds`` is how long a caller may
    take nothing of what is sent to it. ``stop_seconds`` is for what is being answered
    when the server is told to stop.
    """

    workers: int = 1
    threads: int = 1024
    uploads: int = 256
    connections: int = 8192
    backlog: int = 4096
    header_seconds: float = 11.0
    body_seconds: float = 10.0
    unread_seconds: float = 30.0
    stop_seconds: float = 3.5


def run(
    factory: Factory,
    listener: socket.socket,
    options: ServerOptions,
    parent: int,
    ready: Callable[[], None],
) -> NoReturn:
    """Serve on ``listener`` until told to stop; never return.

    To be called in a child just forked from ``parent``. Exits with 0 after a stop and
    with `START_FAILED`, its reason on stderr, when ``factory`` raises.
    """
    # Until there is something to end in order, a signal simply ends the process.
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    die_with(parent)
    try:
        served = factory()
    except Exception as error:
        complain(_reason(error))
        leave(START_FAILED)
    _Worker(served, listener, options).serve(ready)


def complain(message: str) -> None:
    """Say ``message`` in one line on stderr."""
    line = " ".join(message.split())
    print(f"modularity-registry: {line}", file=sys.stderr, flush=True)


def _reason(error: Exception) -> str:
    if isinstance(error, RegistryError):
        return error.detail
    _log.debug("the app could not be built", exc_info=error)
    return f"could not start: {type(error).__name__}: {error}"


def leave(code: int) -> NoReturn:
    """End this process now, whatever its threads are at; what was printed is kept."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _keep_survivors(phase: str, info: dict[str, int]) -> None:
    # What survives a full search for garbage will mostly stay: left out of the next
    # one, it can't stop all calls for 0.1 s, as 100,000 services did.
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()


def die_with(parent: int) -> None:
    """Let the kernel, or elsewhere a thread, kill this process when ``parent`` ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    # It may have ended before the kernel was asked.
    if os.getppid() != parent:
        os._exit(1)


def _follow(parent: int) -> None:
    pause = threading.Event()
    while os.getppid() == parent:
        pause.wait(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


class _Worker:
    def __init__(
        self, served: Served, listener: socket.socket, options: ServerOptions
    ) -> None:
        self._served = served
        self._listener = listener
        self._options = options
        self._told = threading.Event()
        self._idle = threading.Event()
        port = listener.getsockname()[1]
        self._uploads = UploadWatch(port, options.body_seconds, options.uploads)

    def serve(self, ready: Callable[[], None]) -> NoReturn:
        for number in STOPPING:
            signal.signal(number, lambda *_: self._told.set())
        self._uploads.start()
        # What lives as long as the process need not be looked through for garbage.
        gc.collect()
        gc.freeze()
        gc.callbacks.append(_keep_survivors)
        # Before the first answer: whoever got one may take it that this child counts.
        ready()
        end = self._start_granian()
        # With a timeout, since a signal taken by another thread does not end a wait.
        while not self._told.wait(1.0):
            pass
        self._stop(end)

    def _start_granian(self) -> Callable[[], None]:
        """Start to answer; return what ends it, in order, without waiting for it."""
        logging.getLogger("_granian").setLevel(logging.WARNING)
        end = WorkerSignal()
        end.add_cb(self._idle.set)
        options = self._options
        descriptors = sockets.raise_descriptor_limit(options.connections + _OTHER_FILES)
        # Granian's stubs lack arguments or types of all three.
        holder: Any = SocketHolder
        worker: Any = WSGIWorker
        scheduler: Any = _new_cbscheduler
        loop = asyncio.new_event_loop()
        # From here on Granian owns the listener; it closes it when told to stop.
        sock = holder(self._listener.detach(), False, options.backlog)
        worker(
            worker_id=1,
            sock=(None, sock),
            ipc=None,
            threads=1,
            py_threads=options.threads,
            # Out of descriptors, Granian's accept loop would spin.
            backpressure=max(1, min(options.connections, descriptors - _OTHER_FILES)),
            http_mode="1",
            http1_opts=HTTP1Settings(
                header_read_timeout=int(options.header_seconds * 1000),
                max_buffer_size=_BUFFER,
            ),
        ).serve_mtr(
            scheduler(
                loop, bridge(self._served.wsgi, self._uploads), impl_asyncio=True
            ),
            loop,
            end,
        )
        return end.set

    def _stop(self, end: Callable[[], None]) -> NoReturn:
        end()
        _attempt(self._served.stop)
        seconds = self._options.stop_seconds
        if not self._idle.wait(seconds):
            _log.warning("calls under way were not over after %g s: cut", seconds)
        _attempt(self._served.close)
        leave(0)


def _attempt(step: Callable[[], None]) -> None:
    # The way out goes on, whatever an app does on it.
    try:
        step()
    except Exception:
        _log.exception("the app failed while it was stopped")
