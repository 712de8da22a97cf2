"""Starts and ends the follower of a cache, and starts it over after a fork."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Literal

from modularity_client import _fork
from modularity_client.http.call import check_timeout
from modularity_client.http.transport import Settings
from modularity_client.resolver.cache import Pending, ProviderCache
from modularity_client.resolver.errors import UnknownProviders
from modularity_client.resolver.follower import RegistryFollower

State = Literal["idle", "connecting", "live", "away", "closed"]


class Lifecycle:
    """Starts a follower for the cache on first use, once per process.

    ``changed`` is called in the follower's thread with the capabilities that changed.
    """

    def __init__(
        self,
        settings: Settings,
        cache: ProviderCache,
        changed: Callable[[Iterable[str]], None],
        keep_alive: float,
    ) -> None:
        self._settings = settings
        self._cache = cache
        self._changed = changed
        self._keep_alive = keep_alive
        self._lock = threading.Lock()
        self._follower: RegistryFollower | None = None
        self._closed = False
        _fork.register(self)

    @property
    def state(self) -> State:
        """The state; see `Resolver.state`."""
        follower = self._follower
        if self._closed:
            return "closed"
        if follower is None:
            return "idle"
        if self._cache.live:
            return "live"
        return "away" if follower.fault else "connecting"

    @property
    def fault(self) -> str:
        """Why the registry can't be reached, for people; empty while it can."""
        return self._follower.fault if self._follower is not None else ""

    def follower(self) -> RegistryFollower:
        """Return this process's follower, started; `RuntimeError` once closed."""
        follower = self._follower
        if follower is not None:
            return follower
        with self._lock:
            if self._closed:
                raise RuntimeError("this resolver is closed")
            follower = self._follower
            if follower is None:
                follower = RegistryFollower(
                    self._settings, self._cache, self._changed, self._keep_alive
                )
                follower.start()
                follower.add_capabilities(self._cache.names())
                self._follower = follower
            return follower

    def wait_loaded(self, capability: str, timeout: float) -> None:
        """Wait until the capability is loaded; raises `UnknownProviders`."""
        check_timeout(timeout)
        pending = self._request(capability)
        if pending is None:
            return
        try:
            pending.result(timeout)
        except TimeoutError:
            raise self._unknown(capability, timeout) from None
        finally:
            self._cache.cancel_wait(capability, pending)

    async def await_loaded(self, capability: str, timeout: float) -> None:
        """As `wait_loaded`, for asyncio."""
        check_timeout(timeout)
        pending = self._request(capability)
        if pending is None:
            return
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wrap_future(pending)
        except TimeoutError:
            raise self._unknown(capability, timeout) from None
        finally:
            self._cache.cancel_wait(capability, pending)

    def close(self) -> None:
        """Send the last reports and end the thread. Idempotent."""
        with self._lock:
            self._closed = True
            follower, self._follower = self._follower, None
        if follower is not None:
            follower.stop()
        self._cache.close()

    def forked(self) -> None:
        """Drop the parent's thread; called by `_fork` only."""
        _fork.abandoned.append(self._follower)
        self._lock = threading.Lock()
        self._follower = None
        self._cache.forked()

    def _request(self, capability: str) -> Pending | None:
        """Follow a capability; return a future that ends when it is loaded."""
        self._cache.watch([capability])
        follower = self.follower()
        pending = self._cache.wait(capability)
        if pending is not None:
            follower.add_capabilities([capability])
        return pending

    def _unknown(self, capability: str, timeout: float) -> UnknownProviders:
        fault = self.fault or "the registry has not answered"
        return UnknownProviders(capability, f"{fault}, within {timeout:g} s")
