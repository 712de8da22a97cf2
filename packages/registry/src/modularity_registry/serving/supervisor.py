"""Several workers on one port, each a process with a listening socket of its own.

The kernel divides callers among the sockets. They are the supervisor's, so callers wait
in a crashed worker's queue until the next one is there.
"""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import NoReturn

from modularity_registry.serving import process

_log = logging.getLogger(__name__)

Child = Callable[[socket.socket, Callable[[], None]], NoReturn]
"""Serves on a socket until told to stop, and calls back once it is ready."""

_STOP = (signal.SIGTERM, signal.SIGINT)
_READY = signal.SIGUSR1
_DUE = signal.SIGALRM
_SIGNALS = {*_STOP, signal.SIGHUP, signal.SIGCHLD, _READY, _DUE}

# After its time to finish what is under way, a worker gets this long to close.
_CLOSE_SECONDS = 1.0
# A worker that lived this long is replaced at once, one that did not after a pause.
_SETTLED_SECONDS = 5.0
_LONGEST_PAUSE = 5.0


def run(
    listeners: Sequence[socket.socket],
    child: Child,
    stop_seconds: float,
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Keep a worker serving on each of ``listeners`` until told to stop.

    Returns the exit code: 0 after SIGTERM or SIGINT, 1 when no worker could start.
    ``child`` is called in the main thread of each forked worker, with SIGTERM and
    SIGINT ending it at once and SIGHUP ignored until it has handlers of its own. It
    gets ``stop_seconds`` after SIGTERM, and is killed a second later; SIGHUP is passed
    on. To be called from the main thread, before any other thread is started. The
    signals that it waits for stay blocked when it returns, for the process is to end.
    ``ready`` is called once, when the first worker serves.
    """
    return _Supervisor(listeners, child, stop_seconds, ready).run()


@dataclass
class _Worker:
    """A place for one worker, the first or a later one; ``pid`` is 0 while empty.

    ``due`` is when (monotonic) the next one starts.
    """

    listener: socket.socket
    pid: int = 0
    due: float = inf
    started: float = 0.0
    pause: float = 0.0


class _Supervisor:
    def __init__(
        self,
        listeners: Sequence[socket.socket],
        child: Child,
        stop_seconds: float,
        on_ready: Callable[[], None],
    ) -> None:
        self._workers = [_Worker(listener) for listener in listeners]
        self._child = child
        self._stop_seconds = stop_seconds
        self._ready = False
        self._on_ready = on_ready
        self._stopping = False
        self._killing = inf
        self._code = 0

    def run(self) -> int:
        # Blocked, they wait to be taken here: none interrupts anything, and none is
        # lost between a look and a wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # else it may be discarded
        # A thread of some library may let it in: it must not end the process.
        signal.signal(_DUE, lambda *_: None)
        # The first alone, until it serves: what it has to set up in a store, or what
        # keeps it from starting, is not for several to find at once.
        self._workers[0].due = time.monotonic()
        while True:
            self._reap()
            if self._stopping and not any(worker.pid for worker in self._workers):
                signal.setitimer(signal.ITIMER_REAL, 0)
                return self._code
            self._start_due()
            self._act_on(self._next_signal())

    def _start_due(self) -> None:
        for worker in self._workers:
            if worker.due <= time.monotonic():
                worker.due = inf
                self._start(worker)

    def _next_signal(self) -> int:
        due = min(self._killing, *(worker.due for worker in self._workers))
        # Nothing is due: 0 means no alarm.
        seconds = 0.0 if due == inf else max(0.001, due - time.monotonic())
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return signal.sigwait(_SIGNALS)

    def _act_on(self, number: int) -> None:
        if number in _STOP:
            self._stop()
        elif number == signal.SIGHUP:
            self._pass_on(signal.SIGHUP)
        elif number == _READY and not self._ready:
            self._ready = True
            self._on_ready()
            for worker in self._workers[1:]:
                worker.due = time.monotonic()
        elif self._killing <= time.monotonic():
            self._killing = inf
            self._pass_on(signal.SIGKILL)

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    worker.pid = 0
                    self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, code: int) -> None:
        if self._stopping:
            return
        if not self._ready and _READY not in signal.sigpending():
            if code != process.START_FAILED:  # of that, the worker told the reason
                process.complain(f"the server process {_ending(code)} before it served")
            self._code = 1
            self._stop()
            return
        settled = time.monotonic() - worker.started >= _SETTLED_SECONDS
        worker.pause = 0.0 if settled else min(worker.pause * 2 or 0.25, _LONGEST_PAUSE)
        worker.due = time.monotonic() + worker.pause
        _log.error("the server process %s; starting another", _ending(code))

    def _start(self, worker: _Worker) -> None:
        worker.started = time.monotonic()
        parent = os.getpid()
        # What is still in a buffer would come out twice.
        sys.stdout.flush()
        try:
            worker.pid = os.fork()
        except OSError as error:
            _log.error("no server process can be started (%s); trying again", error)
            worker.due = time.monotonic() + _LONGEST_PAUSE
            return
        if worker.pid == 0:
            self._be_child(worker, parent)

    def _be_child(self, worker: _Worker, parent: int) -> NoReturn:
        try:
            process.die_with(parent)
            # Else their callers would wait for as long as this one lives.
            for other in self._workers:
                if other is not worker:
                    other.listener.close()
            # Until there is something to end in order, a signal simply ends it.
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._child(worker.listener, lambda: os.kill(parent, _READY))
        except BaseException:
            # Not one frame of the parent's code may run on in the child.
            _log.exception("the server process failed")
            process.leave(1)

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        # Else callers would still be taken into queues that nobody serves.
        for worker in self._workers:
            worker.listener.close()
            worker.due = inf
        self._killing = time.monotonic() + self._stop_seconds + _CLOSE_SECONDS
        self._pass_on(signal.SIGTERM)

    def _pass_on(self, number: int) -> None:
        for worker in self._workers:
            if worker.pid:  # one that has ended is still there to be waited for
                os.kill(worker.pid, number)


def _ending(code: int) -> str:
    by = signal.Signals(-code).name if code < 0 else None
    return f"was ended by {by}" if by else f"ended with code {code}"
