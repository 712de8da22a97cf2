"""One stream of events, over all its connections. Does no I/O."""

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
from modularity_client.http.reconnect import ReconnectSchedule
from modularity_client.http.transport import Settings
from modularity_client.namespaces import path_in
from modularity_client.types.services import Service

KEEP_ALIVE = 15.0
"""Seconds after which a registry sends a comment, if there is no event."""

MISSED_KEEP_ALIVES = 2.5
"""A stream that is silent for this many keep-alives is taken for lost."""

CONNECT_TIMEOUT = 5.0
"""Seconds for a registry to accept the connection and send the first byte."""

MAX_NAMES = 7_000
"""Characters of names that fit into a URL at every proxy. For more names, the stream
asks for all events.
"""

CHANGES = (
    "service.registered",
    "service.updated",
    "service.unregistered",
    "service.status_changed",
    "capability.split_changed",
)
"""The types of events about services and splits; all but reports of calls."""

SPLIT_CHANGED = "capability.split_changed"

ABOUT_STREAM = ("connected", "resync")
"""The types of messages about the stream itself."""

TEMPORARY = frozenset((408, 425, 429, 500, 502, 503, 504))
"""HTTP statuses that may pass, so that a retry can help."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change, or a message about the stream itself.

    ``type`` is the registry's: ``service.registered``, ``service.updated``,
    ``service.unregistered``, ``service.status_changed`` come with the ``service``;
    ``capability.invoked`` with the call in ``data``, ``capability.split_changed`` with
    the ``capability`` and its ``split``, None when it has ended. ``connected`` opens
    each connection. After ``resync`` events are missing: read the lists again. The
    client itself adds ``disconnected``, with the ``reason`` in ``data``; the stream
    reconnects by itself. ``id`` resumes a stream after this event.
    """

    id: str
    type: str
    timestamp: datetime | None = None
    revision: int | None = None
    service: Service | None = None
    data: dict[str, Any] = field(default_factory=dict, hash=False, repr=False)


class ConnectionLost(Exception):
    """The connection can't be used any more; ``retry_after`` is in seconds."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def read_event(frame: Frame) -> Event:
    """Return the event that a frame holds.

    A frame that can't be read may have been a change, so it becomes a ``resync``.
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
    """Builds the requests of a stream, reads the responses, and decides on reconnects.

    ``capabilities`` and ``services`` may grow; ``subscribed`` has the capabilities of
    the current connection. With ``types``, the stream has only events of these, and the
    messages about itself. ``last_heard`` (seconds, monotonic) is when the registry last
    sent anything, ``fault`` the last error.
    """

    def __init__(
        self,
        settings: Settings,
        capabilities: Iterable[str] = (),
        services: Iterable[str] = (),
        last_event_id: str | None = None,
        keep_alive: float = KEEP_ALIVE,
        types: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.capabilities = set(capabilities)
        self.services = set(services)
        self.subscribed: frozenset[str] = frozenset()
        self.last_event_id = last_event_id or ""
        self.url = ""
        self.connected = False
        self.last_heard = clock()
        self.fault = ""
        self._sent_headers: dict[str, str] = {}
        self._types = tuple(types)
        self._asks_for_types = bool(self._types)
        self._schedule = ReconnectSchedule(settings.urls)
        self._read_timeout = keep_alive * MISSED_KEEP_ALIVES
        self._clock = clock
        self._parser = Parser()
        self._reported = False

    def pause(self) -> float:
        """Choose the next URL; return the seconds to wait before connecting."""
        self.connected = False
        self.url, wait = self._schedule.next(self._clock())
        return wait

    def request(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Return the request that opens or resumes the stream."""
        self.subscribed = frozenset(self.capabilities)
        self._sent_headers = self.settings.credentials.headers()
        query = [("capability", name) for name in sorted(self.subscribed)]
        query += [("service", name) for name in sorted(self.services)]
        length = sum(len(quote(name)) + len("capability=&") for _, name in query)
        if length > MAX_NAMES:
            query = []
        if self._asks_for_types:
            query += [("type", name) for name in self._types]
        headers = {
            **self._sent_headers,
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Cache-Control": "no-store",
        }
        if self.last_event_id:
            headers["Last-Event-ID"] = self.last_event_id
        return client.build_request(
            "GET",
            self.url + path_in(self.settings.namespace, "/api/events"),
            params=urlencode(query),
            headers=headers,
            timeout=CONNECT_TIMEOUT,
        )

    def check_response(self, response: httpx.Response, body: bytes) -> None:
        """Check the status of a response; ``body`` is the body of an error.

        Raises `ConnectionLost` if a retry can help, else the registry's error.
        """
        status = response.status_code
        content_type = response.headers.get("Content-Type", "")
        if status == 200 and content_type.startswith("text/event-stream"):
            self._parser = Parser(self.last_event_id)
            # From here on the registry may be silent between two keep-alives.
            response.request.extensions["timeout"]["read"] = self._read_timeout
            return
        if status < 400:
            error = BadReply(f"no stream of events (HTTP {status}, {content_type})")
            self.note_failure(error)
            raise error
        refusal = Reply(status, response.headers, body).error()
        if status in TEMPORARY:
            raise ConnectionLost(refusal.detail, refusal.retry_after)
        if status == 400 and self._asks_for_types:
            self._asks_for_types = False
            raise ConnectionLost("the registry is too old to choose types of events")
        if status == 401 and self.settings.credentials.changed_since(
            self._sent_headers
        ):
            raise ConnectionLost("the token was refused; the token file has a new one")
        self.note_failure(refusal)
        raise refusal

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that ``data`` completes. Raises `ConnectionLost`."""
        self.last_heard = self._clock()
        parser = self._parser
        try:
            for frame in parser.feed(data):
                # Set before the event is yielded: its reader can resume after it.
                self.last_event_id = frame.id
                if frame.event == "connected":
                    self.connected, self._reported = True, False
                    self._schedule.connected(self.url)
                if not self._types or frame.event in (*self._types, *ABOUT_STREAM):
                    yield read_event(frame)
        except TooLong as error:
            raise ConnectionLost(str(error)) from None
        self.last_event_id = parser.last_id
        if parser.retry is not None:
            self._schedule.retry = parser.retry

    def disconnected(self, error: Exception | None) -> Iterator[Event]:
        """Note the end of a connection; yield ``disconnected``, once."""
        self.note_failure(error or ConnectionLost("the registry ended the stream"))
        if not self._reported:
            self._reported = True
            data = {"reason": self.fault, "url": self.url}
            yield Event(self.last_event_id, "disconnected", data=data)

    def note_failure(self, error: BaseException) -> None:
        """Note a failure, so that `pause` waits before the next attempt."""
        self.connected = False
        self.fault = f"{self.url}: {str(error) or type(error).__name__}"
        retry_after = getattr(error, "retry_after", None)
        self._schedule.failed(self.url, self._clock(), retry_after)
