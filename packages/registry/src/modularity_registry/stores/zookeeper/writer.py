"""Writes batches: each is one transaction on the records and the log."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kazoo.exceptions import NoNodeError  # type: ignore[import-untyped]  # no types

from modularity_registry.errors import StoreConflict, StoreUnavailable
from modularity_registry.stores.base import Outcome, Write
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
from modularity_registry.stores.zookeeper.hints import Hint, Hints, Versions
from modularity_registry.stores.zookeeper.layout import (
    LARGEST_VALUE,
    Era,
    bucket_of,
    encode,
    number_of,
)
from modularity_registry.stores.zookeeper.log_trimmer import LogTrimmer


class Writer:
    """Makes the writes of one store, one batch at a time.

    Its hints about a record only decide what it tries first.
    """

    def __init__(self, pool: ConnectionPool, tracker: EpochTracker) -> None:
        self._log_trimmer = LogTrimmer(tracker)
        self._pool = pool
        self._tracker = tracker
        self._layout = tracker.layout
        self._hints = Hints("")

    def delete_leftovers(self, connection: Connection, era: Era) -> None:
        """Begin to delete what processes that have ended left in the log."""
        self._log_trimmer.delete_leftovers(connection.client, connection.finish, era)

    def hints(self, era: Era) -> Hints:
        """Return the hints, which are empty in a new epoch."""
        if self._hints.epoch != era.epoch:
            self._hints = Hints(era.epoch)
        return self._hints

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        """Return the outcomes in the batch's order; raises what a store raises."""
        connection = self._pool.get()
        outcomes: dict[str, Outcome] = {}
        for key, value, _ in batch:
            if value is not None and len(value) > LARGEST_VALUE:
                outcomes[key] = StoreUnavailable(
                    f"ZooKeeper takes values of at most {LARGEST_VALUE} bytes;"
                    f" {NOTHING}"
                )
        try:
            self._commit(connection, batch, outcomes)
        except Wiped:
            self._tracker.read_or_begin(connection, connection.finish)
            raise StoreUnavailable(
                f"the data in ZooKeeper at {connection.server} was deleted"
                f" meanwhile; {NOTHING}, read before writing again"
            ) from None
        return [outcomes[write.key] for write in batch]

    def _commit(
        self,
        connection: Connection,
        batch: Sequence[Write],
        outcomes: dict[str, Outcome],
    ) -> None:
        """Add the outcomes that are not there yet."""
        deadline = time.monotonic() + connection.timeout
        era = self._tracker.era
        unsure: Sequence[Write] = ()
        while time.monotonic() < deadline:
            if unsure:
                outcomes |= _decide(unsure, self._read(connection, era, unsure))
            writes = [write for write in batch if write.key not in outcomes]
            if not writes:
                return
            hints = self.hints(era)
            versions = [v for v in map(hints.versions, writes) if v is not None]
            if len(versions) < len(writes):
                unsure = [write for write in writes if hints.versions(write) is None]
                continue
            revision = self._write(connection, era, writes, versions)
            if revision is not None:
                outcomes |= dict.fromkeys([write.key for write in writes], revision)
                return
            era, unsure = self._tracker.era, writes
        raise StoreUnavailable(f"others write the same records at once; {NOTHING}")

    def _read(
        self, connection: Connection, era: Era, writes: Sequence[Write]
    ) -> dict[str, Hint | None]:
        """Return the current hints about the records of ``writes``."""
        client, hints = connection.client, self.hints(era)
        synced = client.sync_async(self._layout.epoch)
        numbers = {bucket_of(write.key) for write in writes}
        buckets = {
            number: client.exists_async(self._layout.bucket(era, number))
            for number in numbers
        }
        records = {
            write.key: client.exists_async(self._layout.record(era, write.key))
            for write in writes
        }
        connection.finish(synced)
        for number, result in buckets.items():
            stat = connection.finish(result)
            if stat is None:
                raise Wiped
            hints.add_bucket(number, stat.version)
        current: dict[str, Hint | None] = {}
        for key, result in records.items():
            stat = connection.finish(result)
            hints.remove(key)
            current[key] = None
            if stat is not None:
                bucket = buckets[bucket_of(key)].value.version
                current[key] = hint = Hint(stat.mzxid, stat.version, bucket)
                hints.add(key, hint)
        return current

    def _write(
        self,
        connection: Connection,
        era: Era,
        writes: Sequence[Write],
        versions: Sequence[Versions],
    ) -> int | None:
        """Return the revision of all ``writes``; None when one could not be made."""
        hints, layout = self.hints(era), self._layout
        compared = {
            (bucket_of(write.key), version.bucket)
            for write, version in zip(writes, versions, strict=True)
            if version.bucket is not None
        }
        changed = [*{bucket_of(write.key) for write in writes if write.value is None}]
        steps = connection.client.transaction()
        steps.check(layout.epoch, era.version)
        for number, bucket_version in compared:
            steps.check(layout.bucket(era, number), bucket_version)
        for number in changed:
            steps.set_data(layout.bucket(era, number), b"")
        for (key, value, expected), version in zip(writes, versions, strict=True):
            path = layout.record(era, key)
            if value is None:
                steps.delete(path, version.record)
            elif expected == 0 or key not in hints:
                steps.create(path, value)
            else:
                steps.set_data(path, value, version.record)
        # Only the result of a set contains the transaction's number.
        steps.set_data(layout.log(era), b"")
        entry = encode(writes)
        steps.create(layout.new_entry(era), entry, sequence=True)
        results = connection.finish(steps.commit_async(), writing=True)
        failed = first_error(results)
        if failed is not None:
            self._explain(connection, failed, len(results))
            return None
        *results, log_stat, log_path = results[1 + len(compared) :]
        _learn(hints, changed, writes, results, log_stat.mzxid)
        self._logged(connection, era, log_path, len(entry))
        return int(log_stat.mzxid)

    def _explain(self, connection: Connection, failed: FailedStep, steps: int) -> None:
        """Return if the write can be tried again, else raise why it can't."""
        position, error = failed
        if not isinstance(error, ANSWERS):
            raise failure(error, connection.server, False) from error
        if position not in (0, steps - 2, steps - 1):
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


def _decide(
    writes: Sequence[Write], current: Mapping[str, Hint | None]
) -> dict[str, Outcome]:
    """Return the outcomes of those ``writes`` that change nothing."""
    outcomes: dict[str, Outcome] = {}
    for key, value, expected in writes:
        hint = current[key]
        actual = hint.revision if hint else 0
        if expected is not None and actual != expected:
            outcomes[key] = StoreConflict(key, actual)
        elif value is None and hint is None:
            outcomes[key] = None
    return outcomes


def _learn(
    hints: Hints,
    changed: Sequence[int],
    writes: Sequence[Write],
    results: Sequence[Any],
    revision: int,
) -> None:
    """Remember what a transaction's results say about ``changed`` buckets and the
    records of ``writes``, in this order."""
    stats = dict(zip(changed, results[: len(changed)], strict=True))
    written: dict[str, Hint | None] = {}
    for write, result in zip(writes, results[len(changed) :], strict=True):
        written[write.key] = None
        if write.value is not None:
            # The bucket's version must be older than what is learned about the record.
            bucket = hints.bucket(bucket_of(write.key))
            version = 0 if isinstance(result, str) else result.version
            written[write.key] = Hint(revision, version, bucket)
    hints.update({number: stat.version for number, stat in stats.items()}, written)
