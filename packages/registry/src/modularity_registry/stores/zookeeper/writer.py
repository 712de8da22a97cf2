"""Writes: each is one transaction on the record and on the log."""

import time
from contextlib import suppress
from typing import Any, Final, NamedTuple

from kazoo.exceptions import NoNodeError  # type: ignore[import-untyped]  # no types

from modularity_registry.errors import StoreConflict, StoreUnavailable
from modularity_registry.stores.zookeeper.connection import Connection, Line
from modularity_registry.stores.zookeeper.epoch import ERA_LENGTH, History
from modularity_registry.stores.zookeeper.errors import (
    ANSWERS,
    NOTHING,
    FailedStep,
    Wiped,
    failure,
    first_error,
)
from modularity_registry.stores.zookeeper.layout import (
    LARGEST_VALUE,
    Place,
    bucket_of,
    encode,
    number_of,
)
from modularity_registry.stores.zookeeper.log_trimmer import Trimmer

MOST_HINTS: Final = 200_000


class Hint(NamedTuple):
    """What a record's node was once.

    As long as it has ``version`` and its bucket ``bucket``, it is at ``revision``:
    the bucket's was read first. None where it is not known.
    """

    epoch: str
    revision: int
    version: int
    bucket: int | None


class Writer:
    """Makes the writes of one store; all threads share its connection.

    What it believes of a record decides only what it tries first.
    """

    def __init__(self, line: Line, history: History) -> None:
        self.trimmer = Trimmer(history)
        self._line = line
        self._history = history
        self._layout = history.layout
        self._hints: dict[str, Hint] = {}
        self._buckets: dict[tuple[str, int], int] = {}

    def learn(self, key: str, hint: Hint) -> None:
        """Take note of how a record was read."""
        if len(self._hints) >= MOST_HINTS:
            self._hints.clear()
        self._hints[key] = hint

    def write(self, key: str, value: bytes | None, expected: int | None) -> int | None:
        """Put, or delete without a value; return the revision, None if not there.

        Raises `StoreConflict` and `StoreUnavailable`; `ValueError` for a value that
        is too large for ZooKeeper.
        """
        if value is not None and len(value) > LARGEST_VALUE:
            raise ValueError(f"ZooKeeper takes values of at most {LARGEST_VALUE} bytes")
        connection = self._line.take()
        deadline = time.monotonic() + connection.timeout
        place = self._history.place
        hint, sure = self._believed(place, key, value, expected)
        while time.monotonic() < deadline:
            try:
                if not sure:
                    hint = self._look(connection, place, key)
                    _compare(key, hint, expected)
                    if value is None and hint is None:
                        return None
                done = self._commit(connection, place, key, value, hint, expected)
            except Wiped:
                self._history.enter(connection, connection.finish)
                raise StoreUnavailable(
                    f"what was kept at ZooKeeper at {connection.server} was deleted"
                    f" meanwhile; {NOTHING}, read before writing again"
                ) from None
            if done is not None:
                return done
            sure = False
            place = self._history.place
        raise StoreUnavailable(f"too many others write {key} at once; {NOTHING}")

    def _believed(
        self, place: Place, key: str, value: bytes | None, expected: int | None
    ) -> tuple[Hint | None, bool]:
        """Return how the record probably is, and whether that is worth a try."""
        hint = self._hints.get(key)
        if hint is not None and hint.epoch != place.epoch:
            hint = None
        if expected is None:
            return hint, True
        if expected == 0:
            return None, value is not None
        known = hint is not None and hint.bucket is not None
        return hint, known and hint is not None and hint.revision == expected

    def _look(self, connection: Connection, place: Place, key: str) -> Hint | None:
        """Return how the record is, None when it is not there."""
        client = connection.client
        bucket = bucket_of(key)
        path = self._layout.bucket(place, bucket)
        results = [
            client.sync_async(path),
            client.exists_async(path),
            client.exists_async(self._layout.record(place, key)),
        ]
        _, above, stat = (connection.finish(result) for result in results)
        if above is None:
            raise Wiped
        self._buckets[place.epoch, bucket] = above.version
        if stat is None:
            return None
        return Hint(place.epoch, stat.mzxid, stat.version, above.version)

    def _commit(
        self,
        connection: Connection,
        place: Place,
        key: str,
        value: bytes | None,
        hint: Hint | None,
        expected: int | None,
    ) -> int | None:
        """Return the revision; None when the record was not as believed."""
        bucket = bucket_of(key)
        # What is known of the bucket must be older than what is learned of the record.
        above = hint.bucket if hint and expected else None
        if above is None:
            above = self._buckets.get((place.epoch, bucket))
        steps = connection.client.transaction()
        steps.check(self._layout.guard, place.version)
        path = self._layout.record(place, key)
        higher = self._layout.bucket(place, bucket)
        if value is None:
            _add_delete(steps, path, higher, hint if expected else None)
        else:
            _add_put(steps, path, higher, value, hint, bool(expected))
        entry = encode(key, value)
        steps.create(self._layout.new_entry(place), entry, sequence=True)
        results = connection.finish(steps.commit_async(), writing=True)
        failed = first_error(results)
        if failed is not None:
            self._explain(connection, failed, len(results))
            return None
        stat = results[1] if value is None else results[-2]
        if value is None:
            self._buckets[place.epoch, bucket] = stat.version
            self._hints.pop(key, None)
        else:
            self.learn(key, Hint(place.epoch, stat.mzxid, stat.version, above))
        self._logged(connection, place, results[-1], len(entry))
        return int(stat.mzxid)

    def _explain(self, connection: Connection, failed: FailedStep, steps: int) -> None:
        """Return when the write can be tried again, else raise why it can't."""
        position, error = failed
        if not isinstance(error, ANSWERS):
            raise failure(error, connection.server, False) from error
        if position not in (0, steps - 1):
            return
        if isinstance(error, NoNodeError):
            raise Wiped
        # The log has begun a new era, or the store a new epoch.
        before = self._history.place.epoch
        if self._history.enter(connection, connection.finish).epoch != before:
            raise Wiped

    def _logged(
        self, connection: Connection, place: Place, path: str, size: int
    ) -> None:
        self.trimmer.wrote(connection.client, path, size)
        if number_of(path) >= ERA_LENGTH:
            # The write is made, whatever comes of this; the next one tries again.
            with suppress(StoreUnavailable):
                self._history.roll(connection, place)


def _compare(key: str, hint: Hint | None, expected: int | None) -> None:
    actual = hint.revision if hint else 0
    if expected is not None and actual != expected:
        raise StoreConflict(key, actual)


def _add_put(
    steps: Any, path: str, bucket: str, value: bytes, hint: Hint | None, exact: bool
) -> None:
    if hint is None:
        # Only a set is answered with the transaction's number.
        steps.create(path)
        steps.set_data(path, value)
    elif exact:
        steps.check(bucket, hint.bucket)
        steps.set_data(path, value, version=hint.version)
    else:
        steps.set_data(path, value)


def _add_delete(steps: Any, path: str, bucket: str, hint: Hint | None) -> None:
    """With ``hint`` only what is as it says."""
    steps.set_data(bucket, b"", version=hint.bucket if hint else -1)
    steps.delete(path, version=hint.version if hint else -1)
