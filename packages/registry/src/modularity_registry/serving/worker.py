"""The process that serves: Granian around the app, from its start to its end."""

import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from modularity_registry.errors import RegistryError
from modularity_registry.serving.certificate_reload import Certificates
from modularity_registry.serving.granian import GranianInstance
from modularity_registry.serving.slow_uploads import UploadWatch
from modularity_registry.serving.wsgi import Failure, WsgiApp, bridge

_log = logging.getLogger(__name__)

START_FAILED = 3
STOPPING = (signal.SIGTERM, signal.SIGINT)
"""Signals that tell a process to end; blocked when `run` is entered."""

_PR_SET_PDEATHSIG = 1


def _nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class Served:
    """What a factory builds, in the process that serves it.

    ``failure`` makes the reply for a call that ``wsgi`` raises at.
    ``stop`` is called when the process is told to end and must return at once: long
    streams and waits end then. ``close`` is called once nothing is being answered any
    more, or the time for that is over: what the app stands on is closed there.
    ``certificates`` are what TLS is spoken with, None for plain HTTP.
    """

    wsgi: WsgiApp
    failure: Failure
    stop: Callable[[], None] = _nothing
    close: Callable[[], None] = _nothing
    certificates: Certificates | None = None


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
    when the server is told to stop. ``https`` says that TLS is spoken: SIGHUP then
    means to look for a renewed certificate.
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
    https: bool = False


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
        self._asked = False
        self._instances: list[GranianInstance] = []
        port = listener.getsockname()[1]
        self._uploads = UploadWatch(port, options.body_seconds, options.uploads)

    def serve(self, ready: Callable[[], None]) -> NoReturn:
        for number in STOPPING:
            signal.signal(number, lambda *_: self._told.set())
        if self._served.certificates is not None:
            signal.signal(signal.SIGHUP, self._on_look)
            # They may have been renewed since the parent read them.
            self._served.certificates.look(at_once=True)
        self._uploads.start()
        # What lives as long as the process need not be looked through for garbage.
        gc.collect()
        gc.freeze()
        gc.callbacks.append(_keep_survivors)
        # Before the first answer: to callers who got one, this child counts.
        ready()
        self._begin()
        # With a timeout, since a signal taken by another thread does not end a wait.
        while not self._told.wait(1.0):
            _attempt(self._renew, "looking for a renewed certificate failed")
        self._stop()

    def _on_look(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def _begin(self) -> None:
        """Start to answer, in the place of the instance before."""
        options, certificates = self._options, self._served.certificates
        closing = threading.Event()
        instance = GranianInstance(
            self._listener,
            bridge(self._served.wsgi, self._served.failure, self._uploads, closing),
            closing,
            options.backlog,
            options.threads,
            options.connections,
            options.header_seconds,
            None if certificates is None else certificates.current,
        )
        for former in self._instances:
            former.retire()
        self._instances.append(instance)

    def _renew(self) -> None:
        certificates = self._served.certificates
        if certificates is None:
            return
        asked, self._asked = self._asked, False
        if certificates.look(at_once=asked) is not None:
            self._begin()
        now = time.monotonic()
        for instance in self._instances:
            if instance.due(now):
                instance.end()
        self._instances = [i for i in self._instances if not i.over]

    def _stop(self) -> NoReturn:
        # Callers still in its queue are refused at once.
        self._listener.close()
        for instance in self._instances:
            instance.end()
        _attempt(self._served.stop, "the app failed while it was stopped")
        seconds = self._options.stop_seconds
        deadline = time.monotonic() + seconds
        if not all(i.wait(deadline) for i in self._instances):
            _log.warning("calls under way were not over after %g s: cut", seconds)
        _attempt(self._served.close, "the app failed while it was stopped")
        leave(0)


def _attempt(step: Callable[[], None], failure: str) -> None:
    # The way on, and the way out, goes on whatever a step does.
    try:
        step()
    except Exception:
        _log.exception(failure)
