"""Looks host names up in a few threads, so that a name server that hangs costs little.

``getaddrinfo`` can't be interrupted and may take half a minute. So a waiter gives up
after its time limit, a name is looked up once at a time however many wait for it, and
names that answered promptly last time have threads of their own: unknown or slow
ones can't hold up the checks of everyone else.
"""

import asyncio
import queue
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import ClassVar, Final, NamedTuple

from modularity_registry.errors import AddressRefused
from modularity_registry.model.location import Location

# (host, port) -> the host's addresses; raises OSError or `NameNotResolved`.
Lookup = Callable[[str, int], Sequence[str]]

_PROMPT: Final = 1.0  # seconds; a name that takes longer is looked up apart
_REMEMBERED: Final = 16_384  # names, a few hundred bytes each


class NameNotResolved(AddressRefused):
    """The location's host name has no address that could be checked."""

    code: ClassVar[str] = "name_not_resolved"


def addresses_of(location: Location, lookup: Lookup) -> Sequence[str]:
    """Return every address of the location's host, at least one.

    Raises `NameNotResolved`.
    """
    try:
        addresses = lookup(location.host, location.port)
    except (OSError, UnicodeError) as error:
        raise _not_resolved(location.host) from error
    if not addresses:
        raise _not_resolved(location.host)
    return addresses


def _not_resolved(host: str) -> NameNotResolved:
    return NameNotResolved(
        f"{host} has no address that the registry can look up: check the name, or"
        " write the address itself"
    )


def system_addresses(host: str, port: int) -> Sequence[str]:
    """Return what ``getaddrinfo`` knows, each address once, in its order.

    Raises OSError.
    """
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(row[4][0]) for row in rows))


class _Answer(NamedTuple):
    addresses: tuple[str, ...]
    good_until: float
    prompt: bool


class _Workers:
    """A bounded number of daemon threads, started when needed.

    Not a ThreadPoolExecutor: the interpreter waits for its threads at exit, and one
    that hangs in ``getaddrinfo`` would hold up the end of the process.
    """

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._name = name
        self._threads = threads
        self._waiting = waiting
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._started = 0
        self._unfinished = 0
        self._lock = threading.Lock()

    def submit(self, job: Callable[[], None]) -> bool:
        """Return whether the job was taken; not when too many wait already."""
        with self._lock:
            if self._unfinished >= self._threads + self._waiting:
                return False
            self._unfinished += 1
            start = self._started < min(self._threads, self._unfinished)
            self._started += start
        self._jobs.put(job)
        if start:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return True

    def _run(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                self._unfinished -= 1


class NameLookup:
    """A `Lookup` with a time limit, bounded threads and a short memory.

    ``ttl`` and ``timeout`` are seconds. May be used from any thread.
    """

    def __init__(
        self,
        lookup: Lookup = system_addresses,
        *,
        ttl: float = 5.0,
        timeout: float = 5.0,
        threads: int = 8,
        waiting: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lookup = lookup
        self._ttl = ttl
        self._timeout = timeout
        self._clock = clock
        self._prompt = _Workers("lookup-prompt", threads, waiting)
        self._slow = _Workers("lookup-slow", threads, waiting)
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._under_way: dict[str, Future[tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of ``host``; blocks for at most the time limit.

        Raises `NameNotResolved`, or the OSError of the lookup.
        """
        addresses = self.remembered(host)
        if addresses is not None:
            return addresses
        try:
            return self.start(host, port).result(self._timeout)
        except TimeoutError:
            raise self._too_slow(host) from None

    async def addresses(self, location: Location) -> Sequence[str]:
        """Return every address of the location's host, at least one; see `resolve`.

        Raises `NameNotResolved`. Suspends unless the host was looked up just now.
        """
        host = location.host
        addresses = self.remembered(host)
        if addresses is None:
            try:
                started = asyncio.wrap_future(self.start(host, location.port))
                if not (await asyncio.wait({started}, timeout=self._timeout))[0]:
                    raise self._too_slow(host)
                addresses = started.result()
            except (OSError, UnicodeError) as error:
                raise _not_resolved(host) from error
        if not addresses:
            raise _not_resolved(host)
        return addresses

    def remembered(self, host: str) -> tuple[str, ...] | None:
        """Return addresses that are still fresh, or None."""
        answer = self._answers.get(host)
        if answer is None or self._clock() >= answer.good_until:
            return None
        return answer.addresses

    def _too_slow(self, host: str) -> NameNotResolved:
        return NameNotResolved(
            f"looking up {host} took longer than {self._timeout:g} s: check the"
            " name, or write the address itself"
        )

    def start(self, host: str, port: int) -> Future[tuple[str, ...]]:
        """Start a lookup, or join the one under way; cancelling it has no effect."""
        with self._lock:
            future = self._under_way.get(host)
            if future is not None:
                return future
            future = self._under_way[host] = Future()
            future.set_running_or_notify_cancel()
            last = self._answers.get(host)
            workers = self._prompt if last and last.prompt else self._slow
        if not workers.submit(lambda: self._look_up(host, port, future)):
            self._finish(host, future, OSError("too many names are being looked up"))
        return future

    def _look_up(self, host: str, port: int, future: Future[tuple[str, ...]]) -> None:
        started = self._clock()
        outcome: tuple[str, ...] | Exception
        try:
            outcome = tuple(self._lookup(host, port))
        except Exception as error:  # the waiter's to judge
            outcome = error
        prompt = self._clock() - started < _PROMPT
        self._finish(host, future, outcome, prompt)

    def _finish(
        self,
        host: str,
        future: Future[tuple[str, ...]],
        outcome: tuple[str, ...] | Exception,
        prompt: bool = False,
    ) -> None:
        with self._lock:
            self._under_way.pop(host, None)
            if not isinstance(outcome, Exception):
                fresh_until = self._clock() + self._ttl
                self._answers[host] = _Answer(outcome, fresh_until, prompt)
                self._answers.move_to_end(host)
                if len(self._answers) > _REMEMBERED:
                    self._answers.popitem(last=False)
            elif not prompt:
                self._answers.pop(host, None)
        # Outside the lock: this runs the waiters' callbacks.
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
