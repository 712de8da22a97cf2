"""Counts calls, in memory or in Redis; while Redis fails, every call is accepted.

A registry that refused all calls because it can't count them would cause the outage
that rate limits prevent. So it accepts them, logs that once, and `/health` says so for
as long as Redis fails.
"""

import logging
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from limits import RateLimitItem
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from modularity_registry.errors import BadSetting
from modularity_registry.ratelimit.memory_counters import MemoryCounters

log = logging.getLogger(__name__)

IN_MEMORY = "memory://"
PREFIX = "modularity-registry-rates"
"""What the keys in a Redis begin with."""

PATIENCE = 0.25
"""Seconds that one command to Redis may take, since a caller waits for it."""

PAUSE = 2.0
"""Seconds between two attempts to reach a Redis that failed."""

CONNECTIONS = 64
"""How many calls use Redis at once; others wait, for `PATIENCE` at most."""


class CallCounters:
    """Counts calls by client. ``name`` names the storage in messages."""

    def __init__(
        self,
        storage: MemoryStorage | RedisStorage,
        clock: Callable[[], float],
        name: str = "memory",
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._storage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._clock = clock
        self._name = name
        self._close = close
        self._errors = _errors(storage)
        self._lock = threading.Lock()
        self._retry_at = 0.0
        self.fault: str | None = None

    @property
    def remote(self) -> bool:
        """Whether the calls are counted by another program."""
        return not isinstance(self._storage, MemoryStorage)

    def take(self, item: RateLimitItem, kind: str, client: str) -> bool:
        """Return whether a call is within the rate, and count it if it is."""
        if self.fault is not None and not self._may_retry():
            return True
        try:
            within = self._limiter.hit(item, kind, client)
        except self._errors as error:
            self._failed(error)
            return True
        if self.fault is not None:
            self._recovered()
        return within

    def wait(self, item: RateLimitItem, kind: str, client: str) -> float:
        """Return after how many seconds a call is within the rate."""
        length, limit = item.get_expiry(), item.amount
        key = item.key_for(kind, client)
        try:
            window = self._storage.get_sliding_window(key, length)
        except self._errors as error:
            self._failed(error)
            return 0.0
        before, left, count, ends = window
        return room_in(before, left, count, ends - length, limit, length)

    def look(self) -> None:
        """Check whether a storage that failed works again, if a retry is due."""
        if self.fault is not None and self._may_retry() and self._storage.check():
            self._recovered()

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._close()

    def _may_retry(self) -> bool:
        """Return whether a retry is due; true for one caller only."""
        with self._lock:
            now = self._clock()
            if now < self._retry_at:
                return False
            self._retry_at = now + PAUSE
            return True

    def _failed(self, error: Exception) -> None:
        reason = f"rates are not counted: {self._name} {_reason(error)}"
        with self._lock:
            first = self.fault is None
            self.fault = reason
            self._retry_at = self._clock() + PAUSE
        if first:
            log.warning("%s; all calls are accepted", reason)

    def _recovered(self) -> None:
        with self._lock:
            first = self.fault is not None
            self.fault = None
        if first:
            log.info("rates are counted again: %s answers", self._name)


def room_in(
    before: int, left: float, count: int, ends: float, limit: int, length: int
) -> float:
    """Return the seconds until one more call is within a sliding window's limit.

    ``before`` calls of the last window count in proportion to ``left``, what remains
    of this one; ``count`` were made in this one, which ends in ``ends`` seconds.
    """
    if count >= limit:
        return max(0.0, ends)
    if before * left / length + count < limit:
        return 0.0
    return max(0.0, left - length * (limit - count) / before)


def open_counters(url: str, clock: Callable[[], float]) -> CallCounters:
    """Return the counters at ``url``, which need not answer yet.

    Raises `BadSetting` if Redis' driver is missing or can't read the URL.
    """
    if url == IN_MEMORY:
        return CallCounters(MemoryCounters(clock), clock)
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ModuleNotFoundError as error:
        raise BadSetting(
            f"--rate-store redis:// needs the package {error.name}, which is not"
            ' installed; run pip install "modularity-registry[redis]"'
        ) from error
    try:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=PATIENCE,
            protocol=2,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            # One retry, at once: an idle connection may have been closed.
            retry=Retry(NoBackoff(), 1),
        )
        storage = RedisStorage(url, connection_pool=pool, key_prefix=PREFIX)
    except (TypeError, ValueError):
        # The driver's message may hold a part of the password.
        raise BadSetting(
            "--rate-store: Redis' driver can't read the URL; write"
            " redis://user:password@host:6379, with %40 for @ in a password, %3A for :"
            " and %2F for /"
        ) from None
    return CallCounters(storage, clock, _named(url), close=pool.disconnect)


def _named(url: str) -> str:
    # Without user and password, which must not be logged.
    parts = urlsplit(url)
    return f"the Redis server at {parts.hostname}:{parts.port or 6379}"


def _errors(storage: MemoryStorage | RedisStorage) -> tuple[type[Exception], ...]:
    kinds = storage.base_exceptions
    return kinds if isinstance(kinds, tuple) else (kinds, OSError)


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error.__context__
    if "timeout" in type(error).__name__.lower():
        return "did not answer in time"
    if "Authentication" in type(error).__name__:
        return "refuses the user or the password"
    if isinstance(cause, OSError) and cause.strerror:
        return f"can't be reached: {cause.strerror}"
    if "Connection" in type(error).__name__:
        return "can't be reached"
    return f"refuses a command: {error}"
