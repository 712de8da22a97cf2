"""One listener's stream of events over all its connections. Does no I/O."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from modularity_client.errors import BadReply
from modularity_client.events.sse import Frame, Parser, TooLong
from modularity_client.http.call import Reply
from modularity_client.http.reconnect import Route
from modularity_client.http.transport import Settings
from modularity_client.types.services import Service

KEEP_ALIVE = 15.0
"""A registry lets nobody wait longer than this many seconds for a sign of life."""

PATIENCE = 2.5
"""A stream that missed so many signs of life is taken for lost."""

CONNECT_TIMEOUT = 5.0
"""Seconds for a registry to take the call and say the first word."""

MAX_NAMES = 7_000
"""So many characters of names fit into an address wherever it has to pass. Of whoever
wants to hear of more, all events are asked for.
"""

PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Answers that may be other ones later."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change, or one word about the stream itself.

    ``type`` is as the registry has it: ``service.registered``, ``service.updated``,
    ``service.unregistered``, ``service.status_changed`` come with the ``service``;
    ``capability.invoked`` with the call in ``data``. ``connected`` opens each
    connection. After ``resync`` events are missing: read the lists again.
    ``disconnected`` is this side's own word, with the ``reason`` in ``data``; the
    stream goes on by itself. ``id`` resumes a stream after this event.
    """

    id: str
    type: str
    timestamp: datetime | None = None
    revision: int | None = None
    service: Service | None = None
    data: dict[str, Any] = field(default_factory=dict, hash=False, repr=False)


class Lost(Exception):
    """The connection is of no more use; ``retry_after`` is in seconds."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def read_event(frame: Frame) -> Event:
    """Return the event that a frame holds.

    What can't be read may have been a change, so it comes out as ``resync``.
    """
    try:
        body = json.loads(frame.data)
        data, at = body["data"], body.get("timestamp")
        about_service = frame.event.startswith("service.")
        return Event(
            frame.id,
            frame.event,
            datetime.fromisoformat(at) if at else None,
            body.get("revision"),
            Service.from_json(data) if about_service else None,
            data,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"an event can't be read ({type(error).__name__}: {error})"
        return Event(frame.id, "resync", data={"reason": reason})


class Session:
    """What to ask for, what an answer means, and where to go on when it ends.

    ``capabilities`` and ``services`` may grow; ``asked`` has the capabilities that the
    present connection was opened with. Events of ``ignored`` types are not shown.
    ``heard`` (seconds, monotonic) is when the registry last gave a sign of life,
    ``fault`` what broke last.
    """

    def __init__(
        self,
        settings: Settings,
        capabilities: Iterable[str] = (),
        services: Iterable[str] = (),
        last_event_id: str | None = None,
        keep_alive: float = KEEP_ALIVE,
        ignored: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.capabilities = set(capabilities)
        self.services = set(services)
        self.asked: frozenset[str] = frozenset()
        self.last_event_id = last_event_id or ""
        self.url = ""
        self.connected = False
        self.heard = clock()
        self.fault = ""
        self._shown: dict[str, str] = {}
        self._ignored = ignored
        self._route = Route(settings.urls)
        self._patience = keep_alive * PATIENCE
        self._clock = clock
        self._parser = Parser()
        self._told = False

    def pause(self) -> float:
        """Choose where to connect next; return the seconds to wait before."""
        self.connected = False
        self.url, wait = self._route.next(self._clock())
        return wait

    def request(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Return the request that opens the stream, or goes on with it."""
        self.asked = frozenset(self.capabilities)
        self._shown = self.settings.credentials.headers()
        wanted = [("capability", name) for name in sorted(self.asked)]
        wanted += [("service", name) for name in sorted(self.services)]
        if (
            sum(len(quote(name)) + len("capability=&") for _, name in wanted)
            > MAX_NAMES
        ):
            wanted = []
        headers = {
            **self._shown,
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Cache-Control": "no-store",
        }
        if self.last_event_id:
            headers["Last-Event-ID"] = self.last_event_id
        return client.build_request(
            "GET",
            f"{self.url}/api/events",
            params=urlencode(wanted),
            headers=headers,
            timeout=CONNECT_TIMEOUT,
        )

    def admit(self, response: httpx.Response, body: bytes) -> None:
        """Check the head of an answer; ``body`` is that of an error.

        Raises `Lost` when it may be another one later, else what the registry says.
        """
        status, kind = response.status_code, response.headers.get("Content-Type", "")
        if status == 200 and kind.startswith("text/event-stream"):
            self._parser = Parser(self.last_event_id)
            # From here on the registry may be silent for as long as it is allowed to.
            response.request.extensions["timeout"]["read"] = self._patience
            return
        if status < 400:
            error = BadReply(f"there is no stream of events (HTTP {status}, {kind})")
            self.broke(error)
            raise error
        refusal = Reply(status, response.headers, body).error()
        if status in PASSING:
            raise Lost(refusal.detail, refusal.retry_after)
        if status == 401 and self.settings.credentials.renewed(self._shown):
            raise Lost("the token was refused, and there is another one by now")
        self.broke(refusal)
        raise refusal

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that ``data`` completes. Raises `Lost`."""
        self.heard = self._clock()
        parser = self._parser
        try:
            for frame in parser.feed(data):
                # Noted before the event is shown: who is shown it, has it.
                self.last_event_id = frame.id
                if frame.event == "connected":
                    self.connected, self._told = True, False
                    self._route.arrived(self.url)
                if frame.event not in self._ignored:
                    yield read_event(frame)
        except TooLong as error:
            raise Lost(str(error)) from None
        self.last_event_id = parser.last_id
        if parser.retry is not None:
            self._route.retry = parser.retry

    def lost(self, error: Exception | None) -> Iterator[Event]:
        """Note the end of a connection; yield the event that tells of it, once."""
        self.broke(error or Lost("the registry has ended the stream"))
        if not self._told:
            self._told = True
            data = {"reason": self.fault, "url": self.url}
            yield Event(self.last_event_id, "disconnected", data=data)

    def broke(self, error: BaseException) -> None:
        """Note a failure, so that it takes a while until the next try."""
        self.connected = False
        self.fault = f"{self.url}: {error or type(error).__name__}"
        asked = getattr(error, "retry_after", None)
        self._route.failed(self.url, self._clock(), asked)
