"""Makes writes in transactions that prove what they were decided upon."""

import random
import threading
import time
from collections.abc import Sequence
from typing import Final

from modularity_registry.errors import StoreError, StoreUnavailable
from modularity_registry.stores.consul.api import ConsulApi
from modularity_registry.stores.consul.batch import (
    Plan,
    judged,
    next_tip,
    plan,
    room_for,
    settle,
    steps,
)
from modularity_registry.stores.consul.epoch import Tips
from modularity_registry.stores.consul.layout import Names, Sighting
from modularity_registry.stores.write import Write

_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.02
"""Seconds before another attempt when other processes write as well."""

_MOST_REMEMBERED: Final = 200_000
"""Keys whose revisions are kept, to save reading them."""


class ConsulWriter:
    """Commits batches, one at a time."""

    def __init__(
        self, api: ConsulApi, names: Names, tips: Tips, timeout: float
    ) -> None:
        self._api = api
        self._names = names
        self._tips = tips
        self._timeout = timeout
        self._closing = threading.Event()
        # Only the thread that commits uses these. Revisions are those at the tip
        # ``_at``; a transaction succeeds only while that is the newest one.
        self._at: Sighting | None = None
        self._held: dict[str, int] = {}

    def close(self) -> None:
        """Make no further attempts."""
        self._closing.set()

    def commit(self, writes: list[Write]) -> None:
        """Settle each of ``writes``, or fail it."""
        left = writes
        while left:
            count = room_for(left)
            part, left = left[: max(count, 1)], left[max(count, 1) :]
            try:
                if not count:
                    raise StoreUnavailable("the record is too large for Consul")
                self._commit(part)
            except StoreError as error:
                self._at = None
                for write in part:
                    write.fail(error)

    def _commit(self, writes: Sequence[Write]) -> None:
        keys = judged(writes)
        deadline = time.monotonic() + self._timeout
        pause, failed = _FIRST_PAUSE, None
        while True:
            read = self._at is None or not keys <= self._held.keys()
            at = self._look(keys) if read or self._at is None else self._at
            if at == failed:
                # Nobody was faster: the log that the tip belongs to is gone.
                self._tips.rename(self._api, at)
                at = self._look(keys)
            made = plan(writes, self._held, at.tip.revision)
            if made.entries:
                if self._moved(at, made):
                    break
            elif read:
                break  # nothing to write, which was true when it was read
            self._at = None
            if made.entries:
                failed = at
                self._pause(pause, deadline)
                pause = min(pause * 2, _LONGEST_PAUSE)
        settle(writes, made)

    def _moved(self, at: Sighting, made: Plan) -> bool:
        """Write what was planned; return False when another writer was faster."""
        begun = time.monotonic()
        index = self._api.write(steps(self._names, at, made))
        if index is None:
            return False
        self._at = Sighting(next_tip(at.tip, made), index)
        self._tips.note(self._at, begun)
        if len(self._held) > _MOST_REMEMBERED:
            self._held.clear()
        self._held.update(made.held())
        return True

    def _look(self, keys: set[str]) -> Sighting:
        """Read the tip and the revisions of ``keys``, all of one moment."""
        by_name = {self._names.record(key): key for key in keys}
        names = [self._names.tip, *by_name]
        at, found = self._tips.read(self._api, lambda: self._api.find(names))
        if at != self._at:
            self._held.clear()
        for name, key in by_name.items():
            self._held[key] = found[name].flags if name in found else 0
        self._at = at
        return at

    def _pause(self, seconds: float, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                "others write to Consul so fast that this write found no moment; "
                "nothing has changed, so try again"
            )
        # Jittered, so that two writers don't meet again and again.
        if self._closing.wait(seconds * random.random()):
            raise StoreUnavailable("the consul store was closed; nothing has changed")
