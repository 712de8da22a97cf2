"""The callbacks of `Resolver.on_change`. All of it runs in the resolver's thread."""

import logging
from collections.abc import Callable, Iterable

from modularity_client.resolver.cache import ProviderCache
from modularity_client.types.services import Service

log = logging.getLogger("modularity_client")

Callback = Callable[[str, tuple[Service, ...]], object]


class ChangeCallbacks:
    """Callbacks, each for one capability or (None) for all."""

    def __init__(self, cache: ProviderCache) -> None:
        self._cache = cache
        self._callbacks: list[tuple[str | None, Callback]] = []

    def add(self, capability: str | None, callback: Callback) -> None:
        """Call ``callback`` for what is loaded, and for each change from now on."""
        self._callbacks.append((capability, callback))
        for name in self._cache.names():
            if self._cache.healthy(name) is not None:
                self._call(name, capability, callback)

    def run(self, names: Iterable[str]) -> None:
        """Run the callbacks of these capabilities."""
        for name in names:
            for capability, callback in self._callbacks:
                self._call(name, capability, callback)

    def _call(self, name: str, capability: str | None, callback: Callback) -> None:
        if capability not in (None, name):
            return
        try:
            callback(name, self._cache.healthy(name) or ())
        except Exception:
            log.exception("a callback for changes of %r failed", name)
