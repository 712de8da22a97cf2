"""Reads that wait for a change, in front of Flask, on the event loop."""

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from flask import request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter
from werkzeug.wrappers import Request

from modularity_registry.api import authorization, rate_limits
from modularity_registry.api.authorization import CALLER, Authenticator
from modularity_registry.api.query import LISTS, Query, Wait
from modularity_registry.api.rate_limits import COUNTED
from modularity_registry.api.route_policy import ROUTES
from modularity_registry.catalog.selection import EVERYTHING, Filter
from modularity_registry.errors import RegistryError
from modularity_registry.events import (
    CHANGES,
    SERVICE_CHANGES,
    Batch,
    Interest,
    Listener,
    Position,
)
from modularity_registry.model.rights import Caller
from modularity_registry.runtime import Registry
from modularity_registry.serving.head import Environ


class Waits:
    """Holds back reads with ``wait`` until what they list has changed."""

    def __init__(
        self, registry: Registry, authenticator: Authenticator, routes: MapAdapter
    ) -> None:
        self._hub = registry.hub
        self._authenticator = authenticator
        self._rate = registry.rates.reads
        self._routes = routes

    def wait(self, environ: Environ) -> Awaitable[None] | None:
        """Return what to await before Flask answers a call; None if that is nothing.

        To be cancelled when the caller is gone. Of a call that may not wait, Flask
        finds the same error.
        """
        query = environ["QUERY_STRING"]
        if "wait" not in query and "%" not in query:
            return None
        call = Request(environ, populate_request=False)
        if call.method not in ("GET", "HEAD"):
            return None
        try:
            found, names = self._routes.match(call.path, call.method, return_rule=True)
            caller = self._authenticator.caller(environ)
            right = ROUTES["GET", found.rule].right
            if right is not None:
                caller.require(right)
            wish = _wish(call, found.rule, names)
            client = rate_limits.client_of(environ, caller)
        except (HTTPException, KeyError, RegistryError):
            return None
        if wish is None or not self._hub.knows(wish.after):
            return None
        if not self._hub.places.has_room(client):
            return None
        return self._hold(environ, wish, _Waiter(wish.selection, caller, client))

    async def _hold(self, environ: Environ, wish: "_Wish", waiter: "_Waiter") -> None:
        rate = self._rate
        if rate is not None and rate.waits:
            within = await asyncio.to_thread(rate.takes, waiter.client)
        else:
            within = rate is None or rate.takes(waiter.client)
        if not within:
            return  # Flask refuses it
        environ[COUNTED] = False
        try:
            self._hub.watch(waiter, wish.interest, wish.after)
        except RegistryError:
            return  # the last place was taken meanwhile
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(wish.seconds):
                    await waiter.over
        finally:
            self._hub.leave(waiter)
        environ[COUNTED] = True
        # The token may have been revoked meanwhile.
        environ.pop(CALLER, None)


class _Wish(NamedTuple):
    """What a read waits for, and at most how long."""

    seconds: float
    after: Position
    interest: Interest
    selection: Filter


def _wish(call: Request, rule: str, names: Mapping[str, Any]) -> _Wish | None:
    """Return what a call waits for; None for one that does not.

    Raises `InvalidRequest`.
    """
    query = Query(list(call.args.items(multi=True)), LISTS)
    selection, _, wait = query.filter(), query.page(), query.wait()
    query.finish()
    if wait is None or wait.seconds == 0:
        return None
    capabilities = selection.capabilities
    if "name" in names:
        capabilities = frozenset((names["name"],))
    kinds = CHANGES
    match rule:
        case "/api/capabilities/<path:name>/explain":
            # It lists all providers and says of each whether it passes the filter.
            selection = EVERYTHING
        case "/api/services" | "/api/capabilities":
            kinds = SERVICE_CHANGES
        case "/api/capabilities/<path:name>/services":
            pass
        case _:
            return None
    interest = Interest(capabilities, kinds=kinds)
    return _Wish(wait.seconds, Position(wait.revision), interest, selection)


class _Waiter(Listener):
    """One who waits for a change of what passes a filter."""

    __slots__ = ("over", "selection")

    def __init__(self, selection: Filter, caller: Caller, client: str) -> None:
        super().__init__(caller, client)
        self.selection = selection
        self.over = asyncio.get_running_loop().create_future()

    def hear(self, batch: Batch) -> None:
        if batch.lost or (batch.events and batch.matches(self.selection)):
            self.end()

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


def require_place(registry: Registry, wait: Wait | None) -> None:
    """Raise `TooManyWatchers` if the call that Flask is at found no place to wait in.

    Or `TooManyWatchersOfClient`, or `StoreUnavailable` before the store was read.
    """
    environ = request.environ
    if wait is None or wait.seconds == 0 or environ.get(COUNTED):
        return
    registry.feed.require_read()
    caller = authorization.caller_of(request)
    registry.hub.places.require(rate_limits.client_of(environ, caller))
