"""Tracks the newest tip of the store, and begins new epochs."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from modularity_registry.errors import OutcomeUnknown, StoreUnavailable
from modularity_registry.stores.consul.api import ConsulApi, Operation
from modularity_registry.stores.consul.layout import (
    Layout,
    Pair,
    StoredTip,
    Tip,
    pack_entries,
    pack_tip,
    read_tip,
)

log = logging.getLogger(__name__)

# An attempt fails only if another process wiped or created the store just then.
_ATTEMPTS: Final = 10


class EpochTracker:
    """The newest tip that this store has seen, over all its connections."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._newest: StoredTip | None = None
        self._seen = 0.0  # when the newest one was read

    @property
    def epoch(self) -> str:
        """The epoch that was read last."""
        return self._newest.tip.epoch if self._newest else ""

    def current(self, api: ConsulApi) -> StoredTip:
        """Return the current tip; creates one where there is none."""
        return self.read(api, lambda: _by_name(api.get(self._layout.tip)))[0]

    def read(
        self, api: ConsulApi, read_pairs: Callable[[], Mapping[str, Pair]]
    ) -> tuple[StoredTip, Mapping[str, Pair]]:
        """Return the tip among the pairs of ``read_pairs``, and all pairs.

        A store without a tip gets one first. A restored one gets a new epoch, since its
        revisions will name other writes than before.
        """
        for _ in range(_ATTEMPTS):
            begun = time.monotonic()
            pairs = read_pairs()
            pair = pairs.get(self._layout.tip)
            if pair is None:
                self._begin(api)
                continue
            stored = read_tip(pair)
            if self._is_reset(stored, begun):
                log.warning("the store in Consul was restored, so it gets a new epoch")
                self.begin_epoch(api, stored)
                continue
            self.remember(stored, begun)
            return stored, pairs
        raise StoreUnavailable("the store in Consul is being wiped repeatedly")

    def remember(self, stored: StoredTip, begun: float) -> None:
        """Remember a tip whose read began at ``begun``."""
        with self._lock:
            # Of two overlapping reads, the one with the higher index is the later.
            newest = self._newest
            if newest is None or begun > self._seen or stored.index > newest.index:
                self._newest = stored
                self._seen = time.monotonic()

    def begin_new(self, api: ConsulApi) -> str:
        """Begin a new epoch and return it; others may write meanwhile."""
        old = self.current(api)
        for _ in range(_ATTEMPTS):
            stored = self.current(api)
            if stored.tip.epoch != old.tip.epoch:
                return stored.tip.epoch
            self.begin_epoch(api, stored)
        raise StoreUnavailable(
            "others write to the store in Consul all the time, so it has no new epoch;"
            " try again"
        )

    def begin_epoch(self, api: ConsulApi, old: StoredTip) -> None:
        """Give the store a new epoch, unless another process has moved the tip.

        Its records stay; watches read them in a new snapshot.
        """
        self._set(api, StoredTip(_new_tip(old.tip.revision), old.index))

    def _is_reset(self, stored: StoredTip, begun: float) -> bool:
        with self._lock:
            newest = self._newest
            return (
                newest is not None
                and begun > self._seen
                and stored.tip.epoch == newest.tip.epoch
                and stored.tip.batch < newest.tip.batch
            )

    def _begin(self, api: ConsulApi) -> None:
        # There are records without a tip when only the tip was deleted.
        records = api.tree(self._layout.records)
        revision = max((pair.flags for pair in records), default=0)
        self._set(api, StoredTip(_new_tip(revision), 0))

    def _set(self, api: ConsulApi, stored: StoredTip) -> None:
        tip = stored.tip
        steps = [
            Operation("cas", self._layout.tip, value=pack_tip(tip), index=stored.index),
            Operation("delete-tree", self._layout.logs),
            Operation("set", self._layout.log(tip.epoch, 0), value=pack_entries(())),
        ]
        # Whether this or another process succeeds, or nobody knows, does not matter:
        # the tip is read next.
        with suppress(OutcomeUnknown):
            api.write(steps)


def _new_tip(revision: int) -> Tip:
    return Tip(uuid.uuid4().hex[:12], 0, revision)


def _by_name(pair: Pair | None) -> dict[str, Pair]:
    return {} if pair is None else {pair.key: pair}
