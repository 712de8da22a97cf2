"""A registry over a store that is broken on purpose: the check must notice."""

import json
import random
from collections.abc import Sequence
from typing import Any

from modularity_registry import runtime
from modularity_registry.stores.base import Outcome, Write
from modularity_registry.stores.memory import MemoryStore
from support.programs import registry
from support.servers.forked import Forked
from support.servers.registry import RegistryProcess


class LossyStore(MemoryStore):
    """Acknowledges every write, and loses one in ``each`` of them, by chance."""

    def __init__(self, each: int, seed: int) -> None:
        super().__init__()
        self._each = each
        self._random = random.Random(seed)

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        return super().commit([self._lose(write) for write in batch])

    def _lose(self, write: Write) -> Write:
        of_a_service = write.key.startswith("services/")
        if of_a_service and self._random.randrange(self._each) == 0:
            # It gets a revision, and is kept where nobody looks.
            return Write("lost", b"", None)
        return write


def main(settings: str, each: int, seed: int) -> None:
    """Serve with such a store until a signal, then end the process."""
    replacement: Any = lambda url: LossyStore(each, seed)  # noqa: E731
    runtime.open_store = replacement  # type: ignore[attr-defined]
    registry.main(settings)


class LossyRegistry(RegistryProcess):
    """A registry in a process of its own, over a `LossyStore`."""

    def __init__(self, each: int, seed: int) -> None:
        self._each, self._seed = each, seed
        super().__init__()

    def launch(self, settings: dict[str, Any]) -> Forked:
        return Forked(main, json.dumps(settings), self._each, self._seed)
