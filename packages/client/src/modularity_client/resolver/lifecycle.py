"""A board and its follower, from the first use to the end, and across a fork."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Literal

from modularity_client import _fork
from modularity_client.http.transport import Settings
from modularity_client.resolver.cache import Board, Pending
from modularity_client.resolver.errors import UnknownProviders
from modularity_client.resolver.follower import Follower

State = Literal["idle", "connecting", "live", "away", "closed"]


class Keeper:
    """Has the board kept current as soon as somebody asks, in whichever process.

    ``changed`` is told in the follower's thread which capabilities have changed.
    """

    def __init__(
        self,
        settings: Settings,
        board: Board,
        changed: Callable[[Iterable[str]], None],
        keep_alive: float,
    ) -> None:
        self._settings = settings
        self._board = board
        self._changed = changed
        self._keep_alive = keep_alive
        self._lock = threading.Lock()
        self._follower: Follower | None = None
        self._closed = False
        _fork.note(self)

    @property
    def state(self) -> State:
        """How it stands; see `Resolver.state`."""
        follower = self._follower
        if self._closed:
            return "closed"
        if follower is None:
            return "idle"
        if self._board.live:
            return "live"
        return "away" if follower.fault else "connecting"

    @property
    def fault(self) -> str:
        """Why the registry is away, for people; empty when it isn't."""
        return self._follower.fault if self._follower is not None else ""

    def follower(self) -> Follower:
        """Return this process's follower, started; `RuntimeError` once closed."""
        follower = self._follower
        if follower is not None:
            return follower
        with self._lock:
            if self._closed:
                raise RuntimeError("this resolver is closed")
            follower = self._follower
            if follower is None:
                follower = Follower(
                    self._settings, self._board, self._changed, self._keep_alive
                )
                follower.start()
                follower.widen(self._board.names())
                self._follower = follower
            return follower

    def wait_known(self, capability: str, timeout: float) -> None:
        """Return when the capability can be picked from; raises `UnknownProviders`."""
        pending = self._want(capability)
        if pending is None:
            return
        try:
            pending.result(timeout)
        except TimeoutError:
            raise self._unknown(capability, timeout) from None
        finally:
            self._board.give_up(capability, pending)

    async def await_known(self, capability: str, timeout: float) -> None:
        """As `wait_known`, for asyncio."""
        pending = self._want(capability)
        if pending is None:
            return
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wrap_future(pending)
        except TimeoutError:
            raise self._unknown(capability, timeout) from None
        finally:
            self._board.give_up(capability, pending)

    def close(self) -> None:
        """End the thread, after the last reports. Idempotent."""
        with self._lock:
            self._closed = True
            follower, self._follower = self._follower, None
        if follower is not None:
            follower.stop()
        self._board.close()

    def forked(self) -> None:
        """Let go of the parent's thread; for `forking` only."""
        _fork.abandoned.append(self._follower)
        self._lock = threading.Lock()
        self._follower = None
        self._board.forked()

    def _want(self, capability: str) -> Pending | None:
        """Have a capability followed; return what ends when it can be picked from."""
        self._board.watch([capability])
        follower = self.follower()
        pending = self._board.wait(capability)
        if pending is not None:
            follower.widen([capability])
            if follower.is_current_thread():
                self._board.give_up(capability, pending)
                why = "a callback must not wait for it"
                raise UnknownProviders(capability, why)
        return pending

    def _unknown(self, capability: str, timeout: float) -> UnknownProviders:
        fault = self.fault or "the registry has not answered"
        return UnknownProviders(capability, f"{fault}, within {timeout:g} s")
