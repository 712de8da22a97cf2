"""Where calls are counted, and what happens while that place is away: nothing.

A registry that refused everybody because it can't count them would be the outage that
the limits are there to prevent. So without its Redis it lets all calls through, says
so once in the log and for as long as it lasts in `/health`.
"""

import logging
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from limits import RateLimitItem
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from modularity_registry.errors import BadSetting
from modularity_registry.ratelimit.memory_counters import WindowStorage

log = logging.getLogger(__name__)

IN_MEMORY = "memory://"
PREFIX = "modularity-registry-rates"
"""What the keys in a Redis begin with."""

PATIENCE = 0.25
"""Seconds that one question to Redis may take: somebody waits for its answer."""

PAUSE = 2.0
"""Seconds for which a Redis that failed is not asked again."""

CONNECTIONS = 64
"""As many calls are counted in Redis at once; others wait, for `PATIENCE` at most."""


class Ledger:
    """Counts calls by client. ``name`` is what people know the place by."""

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
        self._rests_until = 0.0
        self.fault: str | None = None

    def take(self, item: RateLimitItem, kind: str, client: str) -> bool:
        """Count a call and return whether it is within the rate; else count nothing."""
        if self.fault is not None and not self._may_ask():
            return True
        try:
            within = self._limiter.hit(item, kind, client)
        except self._errors as error:
            self._lost(error)
            return True
        if self.fault is not None:
            self._found()
        return within

    def wait(self, item: RateLimitItem, kind: str, client: str) -> float:
        """Return after how many seconds, and a moment, there is room for a call."""
        length, limit = item.get_expiry(), item.amount
        key = item.key_for(kind, client)
        try:
            found = self._storage.get_sliding_window(key, length)
        except self._errors as error:
            self._lost(error)
            return 0.0
        before, left, count, ends = found
        return room_in(before, left, count, ends - length, limit, length)

    def look(self) -> None:
        """See whether a place that failed is back, if it is time to ask again."""
        if self.fault is not None and self._may_ask() and self._storage.check():
            self._found()

    def close(self) -> None:
        """Give up the connections. Idempotent."""
        self._close()

    def _may_ask(self) -> bool:
        """Whether it is time to ask a place that failed; true for one caller only."""
        with self._lock:
            now = self._clock()
            if now < self._rests_until:
                return False
            self._rests_until = now + PAUSE
            return True

    def _lost(self, error: Exception) -> None:
        reason = f"rates are not counted: {self._name} {_says(error)}"
        with self._lock:
            first = self.fault is None
            self.fault = reason
            self._rests_until = self._clock() + PAUSE
        if first:
            log.warning("%s; all calls are let through", reason)

    def _found(self) -> None:
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


def open_ledger(url: str, clock: Callable[[], float]) -> Ledger:
    """Return the ledger that ``url`` names; it need not answer yet.

    Raises `BadSetting` when Redis' driver is missing or finds no sense in the URL.
    """
    if url == IN_MEMORY:
        return Ledger(WindowStorage(clock), clock)
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
            # Once, at once: a connection that was idle may have been closed.
            retry=Retry(NoBackoff(), 1),
        )
        storage = RedisStorage(url, connection_pool=pool, key_prefix=PREFIX)
    except (TypeError, ValueError) as error:
        raise BadSetting(f"--rate-store: {error}") from error
    return Ledger(storage, clock, _named(url), close=pool.disconnect)


def _named(url: str) -> str:
    # Without user and password, which belong in no log.
    parts = urlsplit(url)
    return f"the Redis server at {parts.hostname}:{parts.port or 6379}"


def _errors(storage: MemoryStorage | RedisStorage) -> tuple[type[Exception], ...]:
    kinds = storage.base_exceptions
    return kinds if isinstance(kinds, tuple) else (kinds, OSError)


def _says(error: Exception) -> str:
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
