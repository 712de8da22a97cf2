"""Who listens, and what is told to all of a kind at once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from modularity_registry.catalog.selection import Filter
from modularity_registry.events.event import Event
from modularity_registry.events.interest import Interest
from modularity_registry.model.rights import OPEN, Caller


class Batch:
    """What is told in one go: some events, or a notice of the hub's own.

    Whatever is made of it is made once, for all who hear it. ``lost`` says that events
    before it are missing.
    """

    __slots__ = ("_chunk", "_render", "_text", "_verdicts", "events", "lost")

    def __init__(
        self,
        render: Callable[[], bytes],
        events: Sequence[Event] = (),
        lost: bool = False,
    ) -> None:
        self.events = events
        self.lost = lost
        self._render = render
        self._text: bytes | None = None
        self._chunk: bytes | None = None
        self._verdicts: dict[Filter, bool] = {}

    @property
    def text(self) -> bytes:
        """It as Server-Sent Events."""
        if self._text is None:
            self._text = self._render()
        return self._text

    @property
    def chunk(self) -> bytes:
        """The same as one chunk of an HTTP/1.1 reply."""
        if self._chunk is None:
            self._chunk = chunk(self.text)
        return self._chunk

    def matches(self, selection: Filter) -> bool:
        """Say whether an event is about a service, as it was or is, that passes.

        One that is about no service in particular concerns every filter.
        """
        verdict = self._verdicts.get(selection)
        if verdict is None:
            verdict = any(
                not event.entries or any(map(selection.matches, event.entries))
                for event in self.events
            )
            self._verdicts[selection] = verdict
        return verdict


def chunk(text: bytes) -> bytes:
    """Return a chunk of an HTTP/1.1 reply."""
    return b"%x\r\n%b\r\n" % (len(text), text)


class Listener(ABC):
    """One who listens. There may be many thousands: it has no task and no queue.

    ``caller`` is as whom it came, ``client`` for whom its place counts. The rest is
    the hub's.
    """

    __slots__ = ("caller", "client", "group", "interest", "turn")

    def __init__(self, caller: Caller = OPEN, client: str = "") -> None:
        self.caller = caller
        self.client = client
        self.interest = _NOTHING_YET
        self.group: Group | None = None
        self.turn = 0

    @property
    def is_full(self) -> bool:
        """Whether it can't take more of what it has missed for now."""
        return False

    @abstractmethod
    def hear(self, batch: Batch) -> None:
        """Take what is told; must return at once."""

    @abstractmethod
    def end(self) -> None:
        """Stop listening: nothing will come any more."""


class Group:
    """Listeners with the same interest: what is told to one is told to all.

    ``pending`` are events that they have not been told yet. Events up to the number
    ``since`` are not for them.
    """

    __slots__ = ("interest", "members", "pending", "since")

    def __init__(self, interest: Interest, since: int) -> None:
        self.interest = interest
        self.since = since
        self.members: set[Listener] = set()
        self.pending: list[Event] = []


_NOTHING_YET = Interest()
