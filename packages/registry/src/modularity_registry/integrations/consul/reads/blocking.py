"""Reads that wait until what they list has changed: Consul's blocking queries.

An index is the revision of a list's last change, with a mark of the store's epoch above
it, so that indexes of another history are never taken for those of this one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final

from modularity_registry import tasks
from modularity_registry.errors import RegistryError, Unauthorized
from modularity_registry.events import SERVICE_CHANGES, Batch, Interest, Listener
from modularity_registry.integrations.consul.reads.options import Options
from modularity_registry.integrations.http import Call, Reply
from modularity_registry.model.rights import Caller
from modularity_registry.runtime import Registry

_REVISION_BITS: Final = 40
_EPOCH_BITS: Final = 12
"""Together less than 53: many clients read an index as a floating-point number."""


_ANY_SERVICE: Final = Interest(kinds=SERVICE_CHANGES)


@lru_cache(maxsize=64)
def _mark(epoch: str) -> int:
    digest = sha256(epoch.encode()).digest()
    return (int.from_bytes(digest[:2]) % (1 << _EPOCH_BITS)) << _REVISION_BITS


def index_of(registry: Registry, revision: int) -> int:
    """Return the index for what last changed at ``revision``, 0 for never.

    While a revision is not complete, it is the one before. An index is never 0, which
    means none to clients.
    """
    return _mark(registry.hub.epoch) + min(revision, registry.catalog.revision) + 1


@dataclass(frozen=True, slots=True)
class Subject:
    """What a read lists. ``revision`` returns that of its last change."""

    revision: Callable[[], int]
    interest: Interest = _ANY_SERVICE


def about(name: str) -> Interest:
    """Return the interest in the services that provide a capability."""
    return Interest(frozenset((name,)), kinds=SERVICE_CHANGES)


def must_wait(registry: Registry, subject: Subject, index: int) -> bool:
    """Say whether a caller who has this index has seen all that there is.

    One with an index of another history has not.
    """
    if not index:
        return False
    last = index_of(registry, registry.catalog.revision)
    return index_of(registry, subject.revision()) <= index <= last


async def changed(call: Call, subject: Subject, options: Options) -> None:
    """Return when it has changed, or when the caller has waited for long enough.

    Raises `TooManyWatchers`, `TooManyWatchersOfClient`, and `Unauthorized` if the token
    was revoked meanwhile.
    """
    registry, index = call.registry, options.index
    waiter = Waiter(call, lambda: index_of(registry, subject.revision()) > index)
    await waiter.wait(subject.interest, options.seconds)


class Waiter(Listener):
    """One who waits until something ``has_changed``."""

    __slots__ = ("_call", "_has_changed", "_over")

    def __init__(self, call: Call, has_changed: Callable[[], bool]) -> None:
        super().__init__(call.caller, call.client)
        self._call = call
        self._has_changed = has_changed
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait(self, interest: Interest, seconds: float) -> None:
        """Return at a change, or after so many seconds."""
        hub = self._call.registry.hub
        hub.watch(self, interest)
        if self._has_changed():  # while the call was on its way here
            self.end()
        timer = asyncio.get_running_loop().call_later(seconds, self.end)
        try:
            await self._over
        finally:
            timer.cancel()
            hub.leave(self)
        if not _holds(self._call.registry, self.caller):
            raise _revoked()

    def hear(self, batch: Batch) -> None:
        if batch.lost or (batch.events and self._has_changed()):
            self.end()

    def end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)


@dataclass(frozen=True, slots=True)
class Query:
    """A blocking query that many may make: it waits until ``subject`` has changed.

    ``reply`` returns the reply then, ``refuse`` that to an error.
    """

    registry: Registry
    subject: Subject
    options: Options
    reply: Callable[[], Reply | Awaitable[Reply]]
    refuse: Callable[[RegistryError], Reply]

    def has_changed(self) -> bool:
        """Say whether there is more than the caller has seen."""
        index = index_of(self.registry, self.subject.revision())
        return index > self.options.index

    def begin(
        self, caller: Caller, client: str, done: Callable[[Reply], None]
    ) -> Callable[[], None]:
        """Wait as `Waiter` does, without a task: see `http.Pending`."""
        return _Asker(self, caller, client, done).leave


class _Asker(Listener):
    """One who waits for a `Query`."""

    __slots__ = ("_done", "_is_over", "_query", "_timer")

    def __init__(
        self,
        query: Query,
        caller: Caller,
        client: str,
        done: Callable[[Reply], None],
    ) -> None:
        super().__init__(caller, client)
        self._query = query
        self._done = done
        self._is_over = False
        query.registry.hub.watch(self, query.subject.interest)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(query.options.seconds, self.end)

    def hear(self, batch: Batch) -> None:
        if batch.lost or (batch.events and self._query.has_changed()):
            self.end()

    def leave(self) -> None:
        """Wait no more: nobody is there."""
        self._is_over = True
        self._timer.cancel()
        self._query.registry.hub.leave(self)

    def end(self) -> None:
        if self._is_over:  # the hub may be about to tell those who have left
            return
        self.leave()
        query = self._query
        if not _holds(query.registry, self.caller):
            self._done(query.refuse(_revoked()))
            return
        reply = query.reply()
        if isinstance(reply, Reply):
            self._done(reply)
        else:
            tasks.start("consul-reply", self._later(reply))

    async def _later(self, coming: Awaitable[Reply]) -> None:
        self._done(await coming)


def _holds(registry: Registry, caller: Caller) -> bool:
    return registry.tokens is None or registry.tokens.holds(caller)


def _revoked() -> Unauthorized:
    return Unauthorized("the token is not valid any more", shown=True)
