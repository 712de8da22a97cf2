"""Who wants to be told of changes. All of it runs in the resolver's thread."""

import logging
from collections.abc import Callable, Iterable

from modularity_client.resolver.cache import Board
from modularity_client.types.services import Service

log = logging.getLogger("modularity_client")

Callback = Callable[[str, tuple[Service, ...]], object]


class Listeners:
    """Callbacks, each for one capability or (None) for all."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._callbacks: list[tuple[str | None, Callback]] = []

    def add(self, capability: str | None, callback: Callback) -> None:
        """Tell ``callback`` of what is known, and of all changes from now on."""
        self._callbacks.append((capability, callback))
        for name in self._board.names():
            if self._board.healthy(name) is not None:
                self._call(name, capability, callback)

    def changed(self, names: Iterable[str]) -> None:
        """Tell whom it concerns that these capabilities have changed."""
        for name in names:
            for wanted, callback in self._callbacks:
                self._call(name, wanted, callback)

    def _call(self, name: str, wanted: str | None, callback: Callback) -> None:
        if wanted not in (None, name):
            return
        try:
            callback(name, self._board.healthy(name) or ())
        except Exception:
            log.exception("a callback failed on a change of %r", name)
