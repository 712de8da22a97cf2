"""What clients asked of registries, what they were told, and when.

Recorded while a test runs, judged afterwards by `checker`. Times are this process's
monotonic clock, in seconds.
"""

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

SOMETHING: Final = "(something)"
"""What a heartbeat sees of a service that is registered: not which registration."""


class Outcome(Enum):
    """What a client may conclude from a reply, or from its absence."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Write:
    """A registration of ``value``, unique in the history; of None, an unregistration.

    ``expected`` is the revision that it asked for (0: none, None: any). ``existed``
    says whether the reply told of a registration before it, None if it did not say.
    """

    service_id: str
    replica: str
    begun: float
    ended: float
    outcome: Outcome
    value: str | None
    revision: int | None = None
    expected: int | None = None
    existed: bool | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """What a reply showed of a service: ``value`` is None if it was not registered.

    ``view`` is the revision that the reply said it was of. A ``final`` read was made
    when every replica was known to have seen everything; others may be of a view that
    is behind that of another replica.
    """

    service_id: str
    replica: str
    begun: float
    ended: float
    value: str | None
    revision: int | None = None
    view: int | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """An event of a stream: a change, ``connected`` or ``resync``.

    ``fresh`` is for a connection that named no event to resume after.
    """

    stream: str
    kind: str
    position: str
    service_id: str = ""
    value: str | None = None
    revision: int = 0
    fresh: bool = False

    @property
    def epoch(self) -> str:
        return self.position.rpartition("-")[0]

    @property
    def place(self) -> tuple[int, float]:
        """Its revision, and where it is within that: after all of it, or a number."""
        revision, _, number = self.position.rpartition("-")[2].partition(".")
        return int(revision), float(number or "inf")


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of a client, for the figures: ``failed`` is why a read had no answer."""

    is_write: bool
    begun: float
    ended: float
    outcome: Outcome
    failed: str = ""


@dataclass
class History:
    """All that happened in one run. Any thread may record.

    ``stopped`` is when the clients were told to end: what follows is read to judge.
    """

    stopped: float = math.inf
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wrote(self, write: Write) -> None:
        """Record a write."""
        with self._lock:
            self.writes.append(write)
            asked = Asked(True, write.begun, write.ended, write.outcome)
            self.asked.append(asked)

    def read(self, begun: float, ended: float, reads: Iterable[Read]) -> None:
        """Record one reply, and what it showed of each service."""
        with self._lock:
            self.reads.extend(reads)
            self.asked.append(Asked(False, begun, ended, Outcome.OK))

    def failed(self, begun: float, ended: float, reason: str) -> None:
        """Record a read without an answer."""
        with self._lock:
            self.asked.append(Asked(False, begun, ended, Outcome.UNKNOWN, reason))

    def heard(self, signal: Signal) -> None:
        """Record an event of a stream, in the stream's order."""
        with self._lock:
            self.signals.append(signal)
