"""Writes records: each write is one transaction on the record and the log."""

import time
from contextlib import suppress
from typing import Any, Final, NamedTuple

from kazoo.exceptions import NoNodeError  # type: ignore[import-untyped]  # no types

from modularity_registry.errors import StoreConflict, StoreUnavailable
from modularity_registry.stores.zookeeper.connection import Connection, ConnectionPool
from modularity_registry.stores.zookeeper.epoch import ERA_LENGTH, EpochTracker
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
    Era,
    bucket_of,
    encode,
    number_of,
)
from modularity_registry.stores.zookeeper.log_trimmer import LogTrimmer

MOST_HINTS: Final = 200_000


class Hint(NamedTuple):
    """The versions of a record's node and bucket when it was at ``revision``.

    As long as both are the same, so is the revision: the bucket's was read first.
    ``bucket`` is None where it is unknown.
    """

    epoch: str
    revision: int
    version: int
    bucket: int | None


class Writer:
    """Makes the writes of one store; all threads share its connection.

    Its hints about a record only decide what it tries first.
    """

    def __init__(self, pool: ConnectionPool, tracker: EpochTracker) -> None:
        self._log_trimmer = LogTrimmer(tracker)
        self._pool = pool
        self._tracker = tracker
        self._layout = tracker.layout
        self._hints: dict[str, Hint] = {}
        self._buckets: dict[tuple[str, int], int] = {}

    def delete_leftovers(self, connection: Connection, era: Era) -> None:
        """Begin to delete what processes that have ended left in the log."""
        self._log_trimmer.delete_leftovers(connection.client, connection.finish, era)

    def set_hint(self, key: str, hint: Hint) -> None:
        """Remember the versions that a record was read with."""
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
        connection = self._pool.get()
        deadline = time.monotonic() + connection.timeout
        era = self._tracker.era
        hint, is_sure = self._hint_for(era, key, value, expected)
        while time.monotonic() < deadline:
            try:
                if not is_sure:
                    hint = self._read_hint(connection, era, key)
                    _compare(key, hint, expected)
                    if value is None and hint is None:
                        return None
                revision = self._commit(connection, era, key, value, hint, expected)
            except Wiped:
                self._tracker.read_or_begin(connection, connection.finish)
                raise StoreUnavailable(
                    f"the data in ZooKeeper at {connection.server} was deleted"
                    f" meanwhile; {NOTHING}, read before writing again"
                ) from None
            if revision is not None:
                return revision
            is_sure = False
            era = self._tracker.era
        raise StoreUnavailable(f"too many writers write {key} at once; {NOTHING}")

    def _hint_for(
        self, era: Era, key: str, value: bytes | None, expected: int | None
    ) -> tuple[Hint | None, bool]:
        """Return the hint of a record, and whether it is worth a try."""
        hint = self._hints.get(key)
        if hint is not None and hint.epoch != era.epoch:
            hint = None
        if expected is None:
            return hint, True
        if expected == 0:
            return None, value is not None
        complete = hint is not None and hint.bucket is not None
        return hint, complete and hint is not None and hint.revision == expected

    def _read_hint(self, connection: Connection, era: Era, key: str) -> Hint | None:
        """Return the record's current hint, None if there is no record."""
        client = connection.client
        bucket = bucket_of(key)
        path = self._layout.bucket(era, bucket)
        results = [
            client.sync_async(path),
            client.exists_async(path),
            client.exists_async(self._layout.record(era, key)),
        ]
        _, bucket_stat, stat = (connection.finish(result) for result in results)
        if bucket_stat is None:
            raise Wiped
        self._buckets[era.epoch, bucket] = bucket_stat.version
        if stat is None:
            return None
        return Hint(era.epoch, stat.mzxid, stat.version, bucket_stat.version)

    def _commit(
        self,
        connection: Connection,
        era: Era,
        key: str,
        value: bytes | None,
        hint: Hint | None,
        expected: int | None,
    ) -> int | None:
        """Return the revision; None when the hint was wrong."""
        bucket = bucket_of(key)
        # The bucket's version must be older than what is learned about the record.
        bucket_version = hint.bucket if hint and expected else None
        if bucket_version is None:
            bucket_version = self._buckets.get((era.epoch, bucket))
        steps = connection.client.transaction()
        steps.check(self._layout.epoch, era.version)
        path = self._layout.record(era, key)
        bucket_path = self._layout.bucket(era, bucket)
        if value is None:
            _add_delete(steps, path, bucket_path, hint if expected else None)
        else:
            _add_put(steps, path, bucket_path, value, hint, bool(expected))
        entry = encode(key, value)
        steps.create(self._layout.new_entry(era), entry, sequence=True)
        results = connection.finish(steps.commit_async(), writing=True)
        failed = first_error(results)
        if failed is not None:
            self._explain(connection, failed, len(results))
            return None
        stat = results[1] if value is None else results[-2]
        if value is None:
            self._buckets[era.epoch, bucket] = stat.version
            self._hints.pop(key, None)
        else:
            self.set_hint(
                key, Hint(era.epoch, stat.mzxid, stat.version, bucket_version)
            )
        self._logged(connection, era, results[-1], len(entry))
        return int(stat.mzxid)

    def _explain(self, connection: Connection, failed: FailedStep, steps: int) -> None:
        """Return if the write can be tried again, else raise why it can't."""
        position, error = failed
        if not isinstance(error, ANSWERS):
            raise failure(error, connection.server, False) from error
        if position not in (0, steps - 1):
            return
        if isinstance(error, NoNodeError):
            raise Wiped
        # The log has a new era, or the store a new epoch.
        epoch = self._tracker.era.epoch
        if self._tracker.read_or_begin(connection, connection.finish).epoch != epoch:
            raise Wiped

    def _logged(self, connection: Connection, era: Era, path: str, size: int) -> None:
        self._log_trimmer.add(connection.client, path, size)
        if number_of(path) >= ERA_LENGTH:
            # The write is done even if this fails; the next one tries again.
            with suppress(StoreUnavailable):
                self._tracker.begin_era(connection, era)


def _compare(key: str, hint: Hint | None, expected: int | None) -> None:
    actual = hint.revision if hint else 0
    if expected is not None and actual != expected:
        raise StoreConflict(key, actual)


def _add_put(
    steps: Any, path: str, bucket: str, value: bytes, hint: Hint | None, exact: bool
) -> None:
    if hint is None:
        # Only the result of a set contains the transaction's number.
        steps.create(path)
        steps.set_data(path, value)
    elif exact:
        steps.check(bucket, hint.bucket)
        steps.set_data(path, value, version=hint.version)
    else:
        steps.set_data(path, value)


def _add_delete(steps: Any, path: str, bucket: str, hint: Hint | None) -> None:
    """With ``hint`` the delete fails unless both versions are the same."""
    steps.set_data(bucket, b"", version=hint.bucket if hint else -1)
    steps.delete(path, version=hint.version if hint else -1)
