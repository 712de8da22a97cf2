"""``serve``: one process that listens and keeps another one serving.

Granian answers in the child; the parent only watches over it. It listens itself, so a
port in use is found out before anything starts, callers wait in its queue while a
crashed child is replaced, and there is never a second child beside the first.
"""

import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

from modularity_registry.errors import RegistryError
from modularity_registry.web import sockets, worker
from modularity_registry.web.worker import Factory, Served, ServerOptions

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
    reason said in one line on stderr. ``factory`` is called in the main thread of a
    forked child, again for every child that replaces a crashed one. To be called from
    the main thread, before any other thread is started.
    """
    options = options or ServerOptions()
    try:
        listener = sockets.listen(host, port, options.backlog, options.unread_seconds)
    except RegistryError as error:
        worker.complain(error.detail)
        return 1
    return _Supervisor(factory, listener, options).run()


class _Supervisor:
    def __init__(
        self, factory: Factory, listener: socket.socket, options: ServerOptions
    ) -> None:
        self._factory = factory
        self._listener = listener
        self._options = options
        self._stopping = threading.Event()
        self._child = 0
        self._address = "{}:{}".format(*listener.getsockname()[:2])

    def run(self) -> int:
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGALRM, self._on_late)
        # Nothing is reloaded here, and a closed terminal is no reason to stop.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        pause, ever_ready = 0.0, False
        while True:
            started = time.monotonic()
            status, was_ready = self._one_child()
            if self._stopping.is_set():
                return 0
            ever_ready = ever_ready or was_ready
            if not ever_ready:
                return self._never_served(status)
            settled = time.monotonic() - started >= _SETTLED_SECONDS
            pause = 0.0 if settled else min(pause * 2 or 0.25, _LONGEST_PAUSE)
            _log.error("the server process %s; starting another", _ending(status))
            if self._stopping.wait(pause):
                return 0

    def _one_child(self) -> tuple[int, bool]:
        """Run a child until it ends; return how, and whether it ever served."""
        ready_reader, ready_writer = os.pipe()
        parent = os.getpid()
        # What is still in a buffer would come out twice.
        sys.stdout.flush()
        # A signal that came between the fork and the child's own handlers would be
        # taken by this process's handlers, there, and be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, worker.STOPPING)
        child = os.fork()
        if child == 0:
            os.close(ready_reader)
            self._be_child(parent, ready_writer)
        self._child = child
        signal.pthread_sigmask(signal.SIG_UNBLOCK, worker.STOPPING)
        os.close(ready_writer)
        if self._stopping.is_set():
            self._signal_child(signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        self._child = 0
        signal.setitimer(signal.ITIMER_REAL, 0)
        was_ready = os.read(ready_reader, 1) != b""
        os.close(ready_reader)
        return os.waitstatus_to_exitcode(status), was_ready

    def _be_child(self, parent: int, ready_writer: int) -> NoReturn:
        def ready() -> None:
            os.write(ready_writer, b"1")
            os.close(ready_writer)
            _log.info("listening at http://%s", self._address)

        try:
            worker.run(self._factory, self._listener, self._options, parent, ready)
        except BaseException:
            # Not one frame of the parent's code may run on in the child.
            _log.exception("the server process failed")
            worker.leave(1)

    def _never_served(self, status: int) -> int:
        if status != worker.START_FAILED:  # of that, the child told the reason
            worker.complain(f"the server process {_ending(status)} before it served")
        return 1

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if self._stopping.is_set():
            return
        self._stopping.set()
        # Else callers would still be taken into a queue that nobody serves.
        self._listener.close()
        signal.setitimer(
            signal.ITIMER_REAL, self._options.stop_seconds + _CLOSE_SECONDS
        )
        self._signal_child(signal.SIGTERM)

    def _on_late(self, number: int, frame: FrameType | None) -> None:
        self._signal_child(signal.SIGKILL)

    def _signal_child(self, number: int) -> None:
        if self._child:
            try:
                os.kill(self._child, number)
            except OSError as error:
                if error.errno != errno.ESRCH:
                    raise


def _ending(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with code {status}"
