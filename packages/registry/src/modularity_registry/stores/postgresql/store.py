"""``postgresql://``: records in a schema of a PostgreSQL database (13 or newer)."""

import threading
from collections.abc import Sequence
from typing import Final

from modularity_registry.errors import StoreConflict, StoreError, StoreUnavailable
from modularity_registry.stores.base import Send
from modularity_registry.stores.group_commit import GroupCommit
from modularity_registry.stores.postgresql.connection import Line, open_line
from modularity_registry.stores.postgresql.errors import GONE, LineBroken, Refused
from modularity_registry.stores.postgresql.feed import PostgresSession
from modularity_registry.stores.postgresql.layout import Schema
from modularity_registry.stores.reconnecting_watch import Follower, Followers
from modularity_registry.stores.server_url import Server
from modularity_registry.stores.write import Write

# How long `close` lets a batch that is under way come to its end, and then how long
# it waits for whoever leads it to hear that it is over.
_GRACE_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 3.5

# A ping takes the way of the writes, as the deletion of a record that can't be.
_NO_KEY: Final = ""


class PostgresStore:
    """One connection for all writers, who share its commits, and one for each watch."""

    shared: Final = True

    def __init__(self, server: Server, timeout: float = 5.0) -> None:
        """Connect, and make the schema named after ``server.prefix`` if there is none.

        ``timeout`` is in seconds and for every call to the server. Raises
        `StoreUnavailable` when it can't be reached, refuses the credentials, or was
        used by a newer registry.
        """
        self._server = server
        self._timeout = timeout
        self._schema = Schema(server.prefix)
        self._write = self._schema.filled(
            "SELECT {schema}.write(%b::text[], %b::bytea[], %b::bigint[])"
        )
        self._followers = Followers("PostgreSQL")
        self._group: GroupCommit[Write] = GroupCommit(self._commit)
        self._turn = threading.Lock()  # held by whoever uses the writers' line
        self._stop = threading.Event()
        self._epoch = ""
        self._line: Line | None = self._connect(self._stop)
        try:
            self._epoch = self._schema.prepare(self._line)
        except BaseException:
            self._drop_line()
            raise

    @property
    def epoch(self) -> str:
        return self._epoch

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        revision = self._run(Write(_checked(key), value, expected))
        assert revision is not None
        return revision

    def delete(self, key: str, expected: int | None = None) -> int | None:
        return self._run(Write(_checked(key), None, expected))

    def watch(self, send: Send) -> Follower:
        return self._followers.follow(self._session, send)

    def ping(self) -> None:
        self._run(Write(_NO_KEY, None, None))

    def close(self) -> None:
        # Those who still wait for their commit are told that nothing was written.
        self._followers.close()
        held = self._turn.acquire(timeout=_GRACE_SECONDS)
        self._stop.set()
        if held or self._turn.acquire(timeout=_LAST_SECONDS):
            self._drop_line()
            self._turn.release()

    def _session(self) -> PostgresSession:
        return PostgresSession(self._connect, self._schema, self._begin)

    def _begin(self, epoch: str) -> None:
        self._epoch = epoch

    def _connect(self, stop: threading.Event) -> Line:
        return open_line(self._server, self._timeout, stop)

    def _run(self, write: Write) -> int | None:
        self._followers.require_open()
        self._group.run(write)
        return write.outcome()

    def _commit(self, batch: list[Write]) -> None:
        with self._turn:
            try:
                self._followers.require_open()
                outcomes = self._carry_out(batch)
            except StoreError as error:
                for write in batch:
                    write.fail(error)
                return
            finally:
                if self._stop.is_set():
                    self._drop_line()
        for write, outcome in zip(batch, outcomes, strict=True):
            _settle(write, outcome)

    def _carry_out(self, batch: list[Write]) -> Sequence[int | None]:
        """Write all of ``batch`` in one transaction and one round trip."""
        line = self._ready_line()
        parameters = (
            [write.key for write in batch],
            [write.value for write in batch],
            [write.expected for write in batch],
        )
        try:
            outcomes: list[int | None] = line.execute(self._write, parameters)[0][0]
        except Refused as error:
            self._recover(line, error)
            raise StoreUnavailable(f"{error.detail}; nothing was written") from error
        except LineBroken as error:
            self._drop_line()
            raise StoreUnavailable(
                f"{error.detail}; whether it was written is unknown"
            ) from error
        return outcomes

    def _ready_line(self) -> Line:
        if self._line is not None and not self._line.quiet():
            self._drop_line()
        if self._line is None:
            self._line = self._connect(self._stop)
        return self._line

    def _recover(self, line: Line, error: Refused) -> None:
        if error.sqlstate not in GONE:
            # Perhaps another host takes what this one refused.
            self._drop_line()
            return
        try:
            self._epoch = self._schema.prepare(line)
        except BaseException:
            self._drop_line()
            raise

    def _drop_line(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()


def _settle(write: Write, outcome: int | None) -> None:
    if outcome is not None and outcome <= 0:
        write.error = StoreConflict(write.key, -outcome)
    else:
        write.revision = outcome
        write.done = True


def _checked(key: str) -> str:
    """Return ``key``; raise `ValueError` for one that would spoil a batch of others."""
    key.encode()  # half a surrogate pair is no text
    if not key or "\0" in key:
        raise ValueError(f"a key has at least one character and no NUL: {key!r}")
    return key
