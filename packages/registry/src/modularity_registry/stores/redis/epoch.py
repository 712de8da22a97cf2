"""Which epoch it is, and which revisions this process has seen."""

import secrets
import threading
from typing import Any

from modularity_registry.stores.redis.connection import Connection
from modularity_registry.stores.redis.layout import LastSeen, Layout, State, state_of


class EpochTracker:
    """The epoch and the latest revision seen of it, for all threads of a store."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._last_seen = LastSeen("", 0)

    @property
    def last_seen(self) -> LastSeen:
        return self._last_seen

    def enter_command(self) -> Any:
        """Return the command that begins an epoch where there is none; see `adopt`."""
        return self._layout.enter(secrets.token_hex(6), self._last_seen)

    def enter(self, connection: Connection) -> State:
        """Adopt the server's epoch, or begin one where there is none."""
        return self.adopt(connection.request(self.enter_command())[0])

    def begin_epoch(self, connection: Connection) -> str:
        """Begin a new epoch, and return it or that of another process just then."""
        connection.request(self._layout.set_epoch(secrets.token_hex(6)))
        return self.enter(connection).epoch

    def adopt(self, answer: Any) -> State:
        """Remember and return the state in the server's answer to `enter_command`."""
        state = state_of(answer)
        with self._lock:
            same = state.epoch == self._last_seen.epoch
            revision = self._last_seen.revision if same else 0
            self._last_seen = LastSeen(state.epoch, max(revision, state.revision))
        return state

    def note_revision(self, epoch: str, revision: int) -> None:
        """Remember a revision, if it is of the current epoch."""
        with self._lock:
            if epoch == self._last_seen.epoch and revision > self._last_seen.revision:
                self._last_seen = LastSeen(epoch, revision)
