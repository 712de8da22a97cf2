"""``redis://`` and ``rediss://``: records in Redis, shared by several processes."""

import logging
from typing import Any, Final

from redis.exceptions import NoScriptError

from modularity_registry.errors import StoreConflict, StoreError, StoreUnavailable
from modularity_registry.stores.base import Send
from modularity_registry.stores.group_commit import GroupCommit
from modularity_registry.stores.reconnecting_watch import Follower, Followers
from modularity_registry.stores.redis.connection import Line, Lines
from modularity_registry.stores.redis.errors import (
    UNKNOWN,
    refused_as_replica,
    unavailable,
)
from modularity_registry.stores.redis.feed import History, RedisSession
from modularity_registry.stores.redis.layout import Keys, Known
from modularity_registry.stores.server_url import Server
from modularity_registry.stores.write import Write

log = logging.getLogger(__name__)

LARGEST_VALUE: Final = 64 * 1024 * 1024
WIPED: Final = "the data in Redis was wiped; nothing was written, try again"


class RedisStore:
    """Keeps records in Redis; each write is a script, so it is made whole or not.

    Writers that come together share a round trip. How durable a write is when it
    returns is the server's setting: with ``appendonly yes`` and ``appendfsync always``
    it is on the disk, with ``everysec`` a crash of the machine loses about a second,
    with snapshots (``save``) all since the last one, without either everything. After
    a loss revisions go on above those that this process has seen.
    """

    shared: Final = True

    def __init__(self, server: Server, timeout: float = 5.0) -> None:
        """Connect; ``timeout`` bounds the wait for an answer, in seconds.

        Raises `StoreUnavailable` when the server can't be reached, refuses the
        credentials, or is a replica.
        """
        self._server = server
        self._keys = Keys(server.prefix)
        self._lines = Lines(server, timeout)
        self._history = History()
        self._followers = Followers("Redis")
        self._writers = GroupCommit(self._commit)
        try:
            with self._lines.borrow() as line:
                self._history.enter(line, self._keys)
                _warn(line, server)
        except BaseException:
            self._lines.close()
            raise

    @property
    def epoch(self) -> str:
        return self._history.known.epoch

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        # What Redis or the driver would refuse must not fail a whole batch.
        key.encode()
        if len(value) > LARGEST_VALUE:
            raise ValueError(f"a value has at most {LARGEST_VALUE} bytes")
        revision = self._submit(Write(key, bytes(value), expected))
        assert revision is not None
        return revision

    def delete(self, key: str, expected: int | None = None) -> int | None:
        key.encode()
        return self._submit(Write(key, None, expected))

    def watch(self, send: Send) -> Follower:
        def session() -> RedisSession:
            return RedisSession(self._lines, self._keys, self._history)

        return self._followers.follow(session, send)

    def ping(self) -> None:
        self._followers.require_open()
        with self._lines.borrow() as line:
            line.ask(("PING",))

    def close(self) -> None:
        self._followers.close()
        self._lines.close()

    def _submit(self, write: Write) -> int | None:
        self._writers.run(write)
        return write.outcome() or None

    def _commit(self, batch: list[Write]) -> None:
        try:
            self._followers.require_open()
            with self._lines.borrow() as line:
                self._exchange(line, batch)
        except StoreError as error:
            for write in batch:
                if not write.done and write.error is None:
                    write.fail(error)

    def _exchange(self, line: Line, batch: list[Write]) -> None:
        known = self._history.known
        answers = self._pass_on(line, known, batch, whole=False)
        unread = [
            write
            for write, answer in zip(batch, answers, strict=True)
            if isinstance(answer, NoScriptError)
        ]
        if unread:
            answers += self._pass_on(line, known, unread, whole=True)
        self._history.learn(known.epoch, max(write.revision or 0 for write in batch))
        if None in answers:
            self._history.enter(line, self._keys)
        if any(refused_as_replica(answer) for answer in answers):
            # Whoever is the primary now is found by connecting anew.
            self._lines.renew()

    def _pass_on(
        self, line: Line, known: Known, writes: list[Write], whole: bool
    ) -> list[Any]:
        """Make ``writes`` in one round trip; return the server's answers."""
        try:
            line.send([self._keys.write(known, write, whole) for write in writes])
            return [self._settle(write, line.receive()) for write in writes]
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error.detail}; {UNKNOWN}") from error

    def _settle(self, write: Write, answer: Any) -> Any:
        """Tell ``write`` what became of it, unless its script has to be sent."""
        if answer is None:
            write.fail(StoreUnavailable(WIPED))
        elif isinstance(answer, NoScriptError):
            pass
        elif isinstance(answer, Exception):
            write.fail(unavailable(answer, self._server))
        elif answer < 0:
            write.error = StoreConflict(write.key, -1 - answer)
        else:
            write.revision = answer
            write.done = True
        return answer


def _warn(line: Line, server: Server) -> None:
    """Say so when the server may lose what it holds; some let nobody ask."""
    names = "appendonly", "save", "maxmemory-policy"
    answers = line.exchange(*(("CONFIG", "GET", name) for name in names))
    if not all(isinstance(answer, list) and len(answer) == 2 for answer in answers):
        return
    appendonly, save, policy = (answer[1] for answer in answers)
    if appendonly == b"no" and not save:
        log.warning(
            "the Redis server at %s saves nothing: all records are gone when it"
            " restarts; set appendonly yes there",
            server,
        )
    if policy.startswith(b"allkeys-"):
        log.warning(
            "the Redis server at %s drops records when its memory is full; set"
            " maxmemory-policy noeviction there",
            server,
        )
