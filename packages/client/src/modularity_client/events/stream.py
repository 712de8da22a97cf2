"""Streams of the registry's changes, which reconnect by themselves.

`Session` decides what to send and what a response means. The streams here do the I/O,
one for threads and one for asyncio.
"""

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import aclosing, closing, suppress
from typing import Self

import httpx

from modularity_client.errors import BadReply
from modularity_client.events.session import KEEP_ALIVE, ConnectionLost, Event, Session
from modularity_client.http.reply_body import aread_body, read_body
from modularity_client.http.transport import Settings

__all__ = ["AsyncEventStream", "Event", "EventStream", "afollow"]

BROKEN = (httpx.HTTPError, httpx.StreamError, ConnectionLost)
"""Errors that end a connection, but not the stream."""


class EventStream:
    """A stream of events, for threads: ``for event in stream``.

    With ``capabilities`` or ``services``, it has the events of any of them; without, or
    with more names than a URL can hold (7,000 characters), all events. It connects when
    you read the first event, and resumes where it was when the connection breaks: no
    event is lost or comes twice, or else there is a ``resync``. ``last_event_id`` is
    where to start.

    The loop ends after `close`, from any thread. It raises `RegistryError` when the
    registry refuses and a retry can't help, such as for an invalid token.
    """

    def __init__(
        self,
        settings: Settings,
        capabilities: Iterable[str] = (),
        services: Iterable[str] = (),
        last_event_id: str | None = None,
        *,
        keep_alive: float = KEEP_ALIVE,
    ) -> None:
        self._session = Session(
            settings, capabilities, services, last_event_id, keep_alive
        )
        self._stop = threading.Event()
        self._socket: socket.socket | None = None
        self._events = self._follow()

    @property
    def last_event_id(self) -> str:
        """The ``last_event_id`` with which another stream resumes here."""
        return self._session.last_event_id

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"EventStream({self._session.settings.shown})"

    def close(self) -> None:
        """End the stream, and wake a thread that waits for an event. Idempotent."""
        self._stop.set()
        connection = self._socket
        if connection is not None:
            with suppress(OSError):
                # Below TLS, whose shutdown needs the thread that reads.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        with suppress(ValueError):  # another thread is reading, and about to end
            self._events.close()

    def _follow(self) -> Generator[Event, None, None]:
        session = self._session
        with httpx.Client(**session.settings.options()) as client:
            while not self._stop.wait(session.pause()):
                error: Exception | None = None
                try:
                    yield from self._connection(client)
                except BROKEN as caught:
                    error = caught
                if not self._stop.is_set():
                    yield from session.disconnected(error)

    def _connection(self, client: httpx.Client) -> Generator[Event, None, None]:
        session = self._session
        with closing(client.send(session.request(client), stream=True)) as response:
            body = b"" if _good(response) else _error_body(session, response)
            session.check_response(response, body)
            stream = response.extensions["network_stream"]
            self._socket = stream.get_extra_info("socket")
            try:
                # `close` sets `_stop` first: one of the two sees the other.
                if not self._stop.is_set():
                    for data in response.iter_raw():
                        yield from session.feed(data)
            finally:
                self._socket = None


class AsyncEventStream:
    """As `EventStream`, for asyncio: use ``async with`` and ``async for``.

    To end a task that waits for an event, cancel it.
    """

    def __init__(
        self,
        settings: Settings,
        capabilities: Iterable[str] = (),
        services: Iterable[str] = (),
        last_event_id: str | None = None,
        *,
        keep_alive: float = KEEP_ALIVE,
    ) -> None:
        self._session = Session(
            settings, capabilities, services, last_event_id, keep_alive
        )
        self._events = self._follow()

    @property
    def last_event_id(self) -> str:
        """The ``last_event_id`` with which another stream resumes here."""
        return self._session.last_event_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await anext(self._events)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncEventStream({self._session.settings.shown})"

    async def close(self) -> None:
        """End the stream. Idempotent."""
        await self._events.aclose()

    async def _follow(self) -> AsyncGenerator[Event, None]:
        options = self._session.settings.options()
        async with (
            httpx.AsyncClient(**options) as client,
            aclosing(afollow(self._session, client)) as events,
        ):
            async for event in events:
                yield event


async def afollow(
    session: Session, client: httpx.AsyncClient
) -> AsyncGenerator[Event, None]:
    """Yield the session's events until cancelled, as `EventStream` does."""
    while True:
        await asyncio.sleep(session.pause())
        error: Exception | None = None
        try:
            response = await client.send(session.request(client), stream=True)
            async with aclosing(response):
                body = b"" if _good(response) else await _aerror_body(session, response)
                session.check_response(response, body)
                async for data in response.aiter_raw():
                    for event in session.feed(data):
                        yield event
        except BROKEN as caught:
            error = caught
        for event in session.disconnected(error):
            yield event


def _error_body(session: Session, response: httpx.Response) -> bytes:
    """Return the body of a refusal; of one that is too long or compressed, nothing."""
    try:
        return read_body(response, session.settings.max_reply_bytes)
    except BadReply:
        return b""  # the status says what there is to know


async def _aerror_body(session: Session, response: httpx.Response) -> bytes:
    try:
        return await aread_body(response, session.settings.max_reply_bytes)
    except BadReply:
        return b""


def _good(response: httpx.Response) -> bool:
    return response.status_code == 200
