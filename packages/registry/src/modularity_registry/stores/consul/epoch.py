"""The tip of the store: made by whoever comes first, and known by its epoch."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Final

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.consul.api import ConsulApi, Operation
from modularity_registry.stores.consul.layout import (
    Names,
    Pair,
    Sighting,
    Tip,
    pack_entries,
    pack_tip,
    read_tip,
)

log = logging.getLogger(__name__)

# Each one fails only when somebody wiped or began the store at that moment.
_ATTEMPTS: Final = 10


class Tips:
    """The newest tip that this store has seen, over all its connections."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._lock = threading.Lock()
        self._newest: Sighting | None = None
        self._seen = 0.0  # the moment at which the newest one had been read

    @property
    def epoch(self) -> str:
        """The epoch as it was last seen."""
        return self._newest.tip.epoch if self._newest else ""

    def current(self, api: ConsulApi) -> Sighting:
        """Return the tip as it is now; there is one afterwards."""
        return self.read(api, lambda: _one(api.get(self._names.tip)))[0]

    def read(
        self, api: ConsulApi, look: Callable[[], Mapping[str, Pair]]
    ) -> tuple[Sighting, Mapping[str, Pair]]:
        """Return the tip among what ``look`` returns, and all of it.

        A store that has no tip is begun first. One that was put back to an earlier
        state gets a new epoch, for its revisions will name other writes than before.
        """
        for _ in range(_ATTEMPTS):
            begun = time.monotonic()
            found = look()
            pair = found.get(self._names.tip)
            if pair is None:
                self._begin(api)
                continue
            sighting = read_tip(pair)
            if self._went_back(sighting, begun):
                log.warning("the store in Consul went back, so it gets a new epoch")
                self.rename(api, sighting)
                continue
            self.note(sighting, begun)
            return sighting, found
        raise StoreUnavailable("the store in Consul is being wiped again and again")

    def note(self, sighting: Sighting, begun: float) -> None:
        """Remember a tip whose reading began at ``begun``."""
        with self._lock:
            # Where two readings overlap, that with the higher index came later.
            newest = self._newest
            if newest is None or begun > self._seen or sighting.index > newest.index:
                self._newest = sighting
                self._seen = time.monotonic()

    def rename(self, api: ConsulApi, old: Sighting) -> None:
        """Give the store a new epoch, unless somebody moved the tip meanwhile.

        Its records stay; watches, which can't know how it came here, read them anew.
        """
        self._set(api, Sighting(_named(old.tip.revision), old.index))

    def _went_back(self, sighting: Sighting, begun: float) -> bool:
        with self._lock:
            newest = self._newest
            return (
                newest is not None
                and begun > self._seen
                and sighting.tip.epoch == newest.tip.epoch
                and sighting.tip.batch < newest.tip.batch
            )

    def _begin(self, api: ConsulApi) -> None:
        # Records without a tip are there when somebody removed the tip alone.
        records = api.tree(self._names.records)
        revision = max((pair.flags for pair in records), default=0)
        self._set(api, Sighting(_named(revision), 0))

    def _set(self, api: ConsulApi, wanted: Sighting) -> None:
        # Whether it was this one or somebody else's does not matter: it's read next.
        tip = wanted.tip
        api.write(
            [
                Operation(
                    "cas", self._names.tip, value=pack_tip(tip), index=wanted.index
                ),
                Operation("delete-tree", self._names.logs),
                Operation("set", self._names.log(tip.epoch, 0), value=pack_entries(())),
            ]
        )


def _named(revision: int) -> Tip:
    return Tip(uuid.uuid4().hex[:12], 0, revision)


def _one(pair: Pair | None) -> dict[str, Pair]:
    return {} if pair is None else {pair.key: pair}
