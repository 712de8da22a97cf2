"""The callbacks of `Resolver.on_change`, run in a thread of their own."""

import logging
import threading
from collections.abc import Callable, Iterable

from modularity_client import _fork
from modularity_client.resolver.cache import ProviderCache
from modularity_client.types.services import Service

log = logging.getLogger("modularity_client")

Callback = Callable[[str, tuple[Service, ...]], object]


class ChangeCallbacks:
    """Callbacks, each for one capability or (None) for all.

    `add` and `run` are called in the resolver's thread, and return at once: a callback
    that takes long holds up other callbacks, never the resolver. It runs in a thread
    that ends when nothing is left to do. A callback that is still to run when the next
    change comes runs once, for both.
    """

    def __init__(self, cache: ProviderCache) -> None:
        self._cache = cache
        self._callbacks: list[tuple[str | None, Callback]] = []
        self._reset()
        _fork.register(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[tuple[str, Callback], None] = {}
        self._running = False

    def forked(self) -> None:
        """Forget the parent's thread; called by `_fork` only."""
        self._reset()

    def add(self, capability: str | None, callback: Callback) -> None:
        """Call ``callback`` for what is loaded, and for each change from now on."""
        self._callbacks.append((capability, callback))
        names = [n for n in self._cache.names() if self._cache.tiers(n) is not None]
        self._schedule(names, [(capability, callback)])

    def run(self, names: Iterable[str]) -> None:
        """Run the callbacks of these capabilities."""
        self._schedule(names, self._callbacks)

    def _schedule(
        self, names: Iterable[str], callbacks: Iterable[tuple[str | None, Callback]]
    ) -> None:
        due = [
            (name, callback)
            for name in names
            for capability, callback in callbacks
            if capability in (None, name)
        ]
        if not due:
            return
        with self._lock:
            self._due.update(dict.fromkeys(due))
            if self._running:
                return
            self._running = True
        threading.Thread(
            target=self._work, name="modularity-resolver-callbacks", daemon=True
        ).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._due:
                    self._running = False
                    return
                name, callback = next(iter(self._due))
                del self._due[name, callback]
            try:
                callback(name, self._cache.usable(name))
            except Exception:
                log.exception("a callback for changes of %r failed", name)
