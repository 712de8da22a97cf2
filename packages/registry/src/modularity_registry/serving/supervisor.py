"""``serve``: one process that listens and keeps others serving.

Granian answers in the children; the parent only watches over them. It listens itself,
so a port in use is found out before anything starts, and callers wait in its queues
while a crashed child is replaced. Of several children each has a queue of its own, and
the kernel divides the callers among them.
"""

import errno
import logging
import os
import select
import signal
import socket
import sys
import time
from types import FrameType
from typing import NoReturn

from modularity_registry.errors import RegistryError
from modularity_registry.serving import sockets, worker
from modularity_registry.serving.worker import Factory, Served, ServerOptions

__all__ = ["Factory", "Served", "ServerOptions", "serve"]

_log = logging.getLogger(__name__)

# After its time to finish what is under way, a child gets this long to close.
_CLOSE_SECONDS = 1.0
# A child that lived this long is replaced at once, one that did not after a pause.
_SETTLED_SECONDS = 5.0
_LONGEST_PAUSE = 5.0


def serve(
    factory: Factory,
    host: str,
    port: int,
    options: ServerOptions | None = None,
) -> int:
    """Serve what ``factory`` builds on ``host`` and ``port`` until told to stop.

    Returns the exit code: 0 after SIGTERM or SIGINT, 1 when it could not start, the
    reason said in one line on stderr. ``factory`` is called in the main thread of each
    forked child, again for every child that replaces a crashed one. To be called from
    the main thread, before any other thread is started.
    """
    options = options or ServerOptions()
    try:
        listeners = sockets.listen(
            host, port, options.backlog, options.unread_seconds, options.workers
        )
    except RegistryError as error:
        worker.complain(error.detail)
        return 1
    return _Supervisor(factory, listeners, options).run()


class _Child:
    """A place for one child, the first or a later one; ``pid`` is 0 while it is empty.

    ``due`` is when (monotonic) the next one starts, ``ready`` the end of a pipe that
    tells when it serves, -1 once it has told.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.pid = 0
        self.due: float | None = None
        self.ready = -1
        self.started = 0.0
        self.pause = 0.0


class _Supervisor:
    def __init__(
        self, factory: Factory, listeners: list[socket.socket], options: ServerOptions
    ) -> None:
        self._factory = factory
        self._children = [_Child(listener) for listener in listeners]
        self._options = options
        self._stopping = False
        self._code = 0
        self._ever_ready = False
        self._address = "{}:{}".format(*listeners[0].getsockname()[:2])
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)

    def run(self) -> int:
        for number, handler in (
            (signal.SIGTERM, self._on_stop),
            (signal.SIGINT, self._on_stop),
            (signal.SIGALRM, self._on_late),
            (signal.SIGCHLD, lambda *_: None),  # only to be woken by it
        ):
            signal.signal(number, handler)
        # A closed terminal is no reason to stop; where there are certificates, the
        # children look whether they were renewed.
        look = self._on_look if self._options.https else signal.SIG_IGN
        signal.signal(signal.SIGHUP, look)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        # The first alone, until it serves: what it has to set up in a store, or what
        # keeps it from starting, is not for several to find at once.
        self._children[0].due = time.monotonic()
        while True:
            self._reap()
            if self._stopping and not any(child.pid for child in self._children):
                return self._code
            self._start_due()
            self._wait()

    def _reap(self) -> None:
        """Take note of every child that has ended."""
        for child in self._children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._hear(child)
                if child.ready != -1:
                    os.close(child.ready)
                    child.ready = -1
                child.pid = 0
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: _Child, status: int) -> None:
        if self._stopping:
            return
        if not self._ever_ready:
            if status != worker.START_FAILED:  # of that, the child told the reason
                worker.complain(
                    f"the server process {_ending(status)} before it served"
                )
            self._code = 1
            self._stop()
            return
        settled = time.monotonic() - child.started >= _SETTLED_SECONDS
        child.pause = 0.0 if settled else min(child.pause * 2 or 0.25, _LONGEST_PAUSE)
        child.due = time.monotonic() + child.pause
        _log.error("the server process %s; starting another", _ending(status))

    def _start_due(self) -> None:
        for child in self._children:
            due = child.due
            if due is not None and due <= time.monotonic() and not self._stopping:
                child.due = None
                self._start(child)

    def _wait(self) -> None:
        """Return when a signal came, a child began to serve or one is due."""
        dues = [child.due for child in self._children if child.due is not None]
        timeout = max(0.0, min(dues) - time.monotonic()) if dues else None
        pipes = {child.ready: child for child in self._children if child.ready != -1}
        found, _, _ = select.select([self._woken, *pipes], [], [], timeout)
        for fd in found:
            if fd in pipes:
                self._hear(pipes[fd])
            else:
                os.read(self._woken, 4096)

    def _hear(self, child: _Child) -> None:
        """Take note of a child that says it serves; the first lets the others start."""
        if child.ready == -1 or not select.select([child.ready], [], [], 0)[0]:
            return
        served = os.read(child.ready, 1) != b""
        os.close(child.ready)
        child.ready = -1
        if served and not self._ever_ready:
            self._ever_ready = True
            for other in self._children[1:]:
                other.due = time.monotonic()
            scheme = "https" if self._options.https else "http"
            _log.info("listening at %s://%s", scheme, self._address)

    def _start(self, child: _Child) -> None:
        child.ready, ready_writer = os.pipe()
        child.started = time.monotonic()
        parent = os.getpid()
        # What is still in a buffer would come out twice.
        sys.stdout.flush()
        # A signal that came between the fork and the child's own handlers would be
        # taken by this process's handlers, there, and be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, worker.STOPPING)
        pid = os.fork()
        if pid == 0:
            self._be_child(child, parent, ready_writer)
        child.pid = pid
        signal.pthread_sigmask(signal.SIG_UNBLOCK, worker.STOPPING)
        os.close(ready_writer)
        if self._stopping:
            _signal(child, signal.SIGTERM)

    def _be_child(self, child: _Child, parent: int, ready_writer: int) -> NoReturn:
        def ready() -> None:
            os.write(ready_writer, b"1")
            os.close(ready_writer)

        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (self._woken, self._wake):
                os.close(fd)
            for other in self._children:
                if other.ready != -1:
                    os.close(other.ready)
                # Else its callers would wait for as long as this one lives.
                if other is not child:
                    other.listener.close()
            worker.run(self._factory, child.listener, self._options, parent, ready)
        except BaseException:
            # Not one frame of the parent's code may run on in the child.
            _log.exception("the server process failed")
            worker.leave(1)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        # Else callers would still be taken into queues that nobody serves.
        for child in self._children:
            child.listener.close()
        signal.setitimer(
            signal.ITIMER_REAL, self._options.stop_seconds + _CLOSE_SECONDS
        )
        for child in self._children:
            _signal(child, signal.SIGTERM)

    def _on_look(self, number: int, frame: FrameType | None) -> None:
        for child in self._children:
            _signal(child, signal.SIGHUP)

    def _on_late(self, number: int, frame: FrameType | None) -> None:
        for child in self._children:
            _signal(child, signal.SIGKILL)


def _signal(child: _Child, number: int) -> None:
    if child.pid:
        try:
            os.kill(child.pid, number)
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise


def _ending(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with code {status}"
