"""Whether this replica's view of the store is current, and if not, since when."""

import asyncio
import logging
import math

from modularity_registry import tasks
from modularity_registry.catalog.feed import Feed
from modularity_registry.clock import Clock
from modularity_registry.errors import StoreError
from modularity_registry.replicas.membership import LOST_AFTER, Membership
from modularity_registry.stores.base import Store

log = logging.getLogger(__name__)

CHECK_PERIOD = 0.25
"""Seconds between two checks."""

LATE = 1.0
"""A check that is so late (seconds) is made by the next read."""

PING_PERIOD = 1.0
"""Seconds between two pings of the store."""

PING_TIMEOUT = 3.0
"""A store that takes longer than this (seconds) to answer a ping counts as away."""


class ViewHealth:
    """Whether the view is current. Found out on the event loop, read from any thread.

    Three things may be wrong: the store's changes do not arrive, the store does not
    answer a ping, or this replica's own record does not come back from it.

    That of a namespace belongs to the ``whole`` registry's, which pings for it. What
    may be wrong with it alone is that its changes do not arrive, while others do.

    ``stale_since`` is when (monotonic) the view went stale, None while it is current;
    ``stale_reason`` says why. Both are attributes, because every read looks at them.
    """

    def __init__(
        self,
        store: Store,
        feed: Feed,
        membership: Membership,
        clock: Clock,
        whole: "ViewHealth | None" = None,
    ) -> None:
        self.stale_since: float | None = None
        self.stale_reason: str | None = None
        self._store = store
        self._feed = feed
        self._membership = membership
        self._clock = clock
        self._ping_error: str | None = None
        self._ping_started: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._next_check = math.inf
        self._whole = whole
        self._parts: list[ViewHealth] = []
        # A revision that the whole view has reached, and when that was noticed.
        self._goal = (0, clock.monotonic())
        self._behind: str | None = None

    @property
    def stale_seconds(self) -> int | None:
        """How long the view has been stale, in whole seconds; None if it is current."""
        since = self.stale_since
        return None if since is None else int(self._clock.monotonic() - since)

    def problems(self) -> list[str]:
        """Return why the view may be out of date or incomplete; empty if it is not.

        A record that can't be read makes it incomplete, but not stale.
        """
        reasons = (
            self._feed.interruption or self._feed.unreadable,
            self._unanswered_ping(),
            self._silence(),
            self._behind,
        )
        problems = [reason for reason in reasons if reason is not None]
        # Of a store that only reads, such as one on a full disk.
        unwritten = self._membership.unwritten
        return problems or [unwritten] if unwritten else problems

    def is_stale(self) -> bool:
        """Return whether the view is stale now. On the event loop only.

        After a standstill of the process, what waited in sockets comes before the
        check that is due.
        """
        whole = self._whole or self
        if self._clock.monotonic() > whole._next_check:
            whole.check()
        return self.stale_since is not None

    def check(self) -> None:
        """Set ``stale_since`` and ``stale_reason`` to what holds now."""
        self._behind = self._lag()
        reason = (
            self._feed.interruption
            or self._unanswered_ping()
            or self._silence()
            or self._behind
        )
        since, now = self.stale_since, self._clock.monotonic()
        if reason is None:
            self.stale_since = None
        elif since is None:
            self.stale_since = now
        self.stale_reason = reason
        if since is None and reason is not None:
            log.warning("the view may be out of date: %s", reason)
        elif since is not None and reason is None:
            log.info("the view is current again after %.1f s", now - since)
        for part in self._parts:
            part.check()

    def assume_stale(self, seconds: float, reason: str) -> None:
        """Take the view for one that is so old. Before `start` only."""
        self.stale_since = self._clock.monotonic() - max(0.0, seconds)
        self.stale_reason = reason

    async def ping(self) -> None:
        """Ping the store now, in a thread; returns when it has answered."""
        self._ping_started = self._clock.monotonic()
        try:
            # One that hangs blocks its thread, and the loop goes on to say so.
            await tasks.in_daemon_thread("store-ping", self._store.ping)
            self._ping_error = None
        except StoreError as error:
            self._ping_error = error.detail
        finally:
            self._ping_started = None

    async def start(self) -> None:
        """Check now, then check and ping every so often."""
        self.check()
        if self._whole is not None:
            self._whole._parts.append(self)
            return
        self._next_check = self._clock.monotonic() + LATE
        self._tasks = [
            tasks.start("view-check", self._check_often()),
            tasks.start("store-ping", self._ping_often()),
        ]

    async def stop(self) -> None:
        """Stop both, without waiting for a ping that hangs. Idempotent."""
        self._next_check = math.inf
        await tasks.cancel(*self._tasks)

    def _lag(self) -> str | None:
        """Say how far a namespace's view is behind the whole; None if it is not."""
        if self._whole is None:
            return None
        now = self._clock.monotonic()
        revision, since = self._goal
        if self._feed.revision >= revision:
            self._goal = self._whole._feed.revision, now
            return None
        if now - since < LOST_AFTER * self._membership.period:
            return None
        return (
            "the store's changes have not come to this namespace for"
            f" {now - since:.0f} s, so its view may be as old"
        )

    def _unanswered_ping(self) -> str | None:
        if self._whole is not None:
            return self._whole._unanswered_ping()
        started = self._ping_started
        if started is not None:
            waited = self._clock.monotonic() - started
            if waited > PING_TIMEOUT:
                return f"the store has not answered for {waited:.0f} s"
        return self._ping_error

    def _silence(self) -> str | None:
        age = self._membership.overdue_seconds()
        if age is None:
            return None
        return self._membership.unwritten or (
            "this replica's own record has not come back from the store for"
            f" {age:.0f} s, so its view may be as old"
        )

    async def _check_often(self) -> None:
        while True:
            await asyncio.sleep(CHECK_PERIOD)
            self.check()
            self._next_check = self._clock.monotonic() + LATE

    async def _ping_often(self) -> None:
        while True:
            await asyncio.sleep(PING_PERIOD)
            await self.ping()
