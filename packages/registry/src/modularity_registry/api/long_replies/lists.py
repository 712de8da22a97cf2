"""Long lists of services, sent in pieces: none is ever whole in memory.

They are made on the loop in slices, and as fast as the caller reads: a list of 100,000
services, made in a thread, held up lookups for 30 ms.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice, takewhile
from time import perf_counter
from urllib.parse import parse_qsl

from modularity_registry.api import (
    rate_limits,
    replies,
    request_context,
    security_headers,
)
from modularity_registry.api.authorization import Authenticator
from modularity_registry.api.query import LISTS, Page, Query, cursor_after
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.selection import Filter
from modularity_registry.errors import InvalidRequest
from modularity_registry.model.rights import Right
from modularity_registry.model.split import Split
from modularity_registry.runtime import Registry
from modularity_registry.serving.front import CALL, Send
from modularity_registry.serving.head import Environ

SERVICES = "/api/services"
CAPABILITIES = "/api/capabilities/"
PROVIDERS = "/services"

LONG = 500
"""A list of more services than this is long."""

SLICE = 250
"""So many services are looked at before other calls get their turn."""

# With one of these, the reply depends on more than the path.
_UNUSUAL = ("HTTP_IF_NONE_MATCH", "HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE", "HTTP_RANGE")


class LongLists:
    """Sends the lists of services that are long; Flask sends all others."""

    def __init__(self, registry: Registry, authenticator: Authenticator) -> None:
        self._registry = registry
        self._catalog = registry.catalog
        self._authenticator = authenticator
        self._fixed = security_headers.of_replies(registry.settings)

    def reply(self, environ: Environ) -> Callable[[Send], Awaitable[None]] | None:
        """Return what sends the list that is asked for; None if that is not long."""
        if (
            environ["REQUEST_METHOD"] != "GET"
            or environ["SERVER_PROTOCOL"] != "HTTP/1.1"
            or any(name in environ for name in _UNUSUAL)
        ):
            return None
        if self._registry.feed.unread and "wait" in environ["QUERY_STRING"]:
            return None  # Flask refuses it
        started = perf_counter()
        path: str = environ["PATH_INFO"]
        revision = self._catalog.revision
        if path == SERVICES:
            if len(self._catalog) <= LONG:
                return None
            asked = _asked(environ)
            entries: Sequence[Entry] | None = None
            tag, route, split = self._catalog.changed, SERVICES, None
            if asked is not None and asked[0].capabilities:
                return None
        elif path.startswith(CAPABILITIES) and path.endswith(PROVIDERS):
            name = path[len(CAPABILITIES) : -len(PROVIDERS)]
            capability = self._catalog.capability(name)
            if capability is None or len(capability.providers().entries) <= LONG:
                return None
            asked = _asked(environ)
            providers = capability.providers()
            entries, split = providers.by_id, providers.split
            tag, route = capability.revision, "/api/capabilities/{name}/services"
        else:
            return None
        if asked is None or not self._may(environ):
            return None
        timings = self._registry.metrics.request(route, 200)
        head = self._head(environ, tag, revision)
        transport = environ[CALL].transport

        async def send_list(send: Send) -> None:
            await send(head)
            timings.observe(perf_counter() - started)
            chosen = entries if entries is not None else self._all()
            here = takewhile(lambda _: not transport.is_closing(), chosen)
            await _send(send, here, *asked, revision, split)

        return send_list

    def _all(self) -> Iterator[Entry]:
        for service_id in self._catalog.ids():
            entry = self._catalog.service(service_id)
            if entry is not None:
                yield entry

    def _may(self, environ: Environ) -> bool:
        caller = self._authenticator.caller(environ)
        if not caller.may(Right.READ):
            return False
        rate = self._registry.rates.reads
        counted = rate_limits.COUNTED in environ
        return counted or rate_limits.admits(rate, environ, caller)

    def _head(self, environ: Environ, tag: int, revision: int) -> dict[str, object]:
        headers = [
            ("content-type", replies.JSON),
            *self._fixed,
            ("etag", f'W/"{tag}"'),
            ("x-registry-revision", str(revision)),
            (request_context.REQUEST_ID, request_context.request_id(environ)),
            *replies.stale(self._registry.view_health),
        ]
        lines = [(name.lower().encode(), text.encode()) for name, text in headers]
        return {"type": "http.response.start", "status": 200, "headers": lines}


def _asked(environ: Environ) -> tuple[Filter, Page] | None:
    """Return the filter and the page; None for a query that Flask will refuse."""
    query = Query(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True), LISTS)
    selection, page = query.filter(), query.page()
    query.wait()
    try:
        query.finish()
    except InvalidRequest:
        return None
    if page.limit is not None and page.limit <= LONG:
        return None
    return selection, page


async def _send(
    send: Send,
    entries: Iterator[Entry],
    selection: Filter,
    page: Page,
    revision: int,
    split: Split | None,
) -> None:
    """Send the list's body: what `replies.listing` makes, in pieces."""

    async def piece(data: bytes, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": more})

    await piece(b'{"services":[')
    count, last, following = 0, "", None
    while looked_at := list(islice(entries, SLICE)):
        matching = (
            entry
            for entry in looked_at
            if entry.id > page.after and selection.matches(entry)
        )
        if page.limit is None:
            chosen = list(matching)
        else:
            chosen = list(islice(matching, page.limit - count))
            if next(matching, None) is not None:
                following = cursor_after(chosen[-1].id if chosen else last)
        if chosen:
            joined = b",".join([entry.json for entry in chosen])
            await piece(joined if not count else b"," + joined)
            count, last = count + len(chosen), chosen[-1].id
        if following is not None:
            break
        await asyncio.sleep(0)
    end = replies.listing_end(count, revision, following, split)
    await piece(end, more=False)
