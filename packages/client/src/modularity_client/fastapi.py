"""A FastAPI application as a module: needs ``modularity-client[fastapi]``."""

import inspect
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Unpack

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from modularity_client.client import AsyncRegistry, Registry
from modularity_client.module import (
    Handler,
    InvocationError,
    InvokeRequest,
    ModuleBase,
    ModuleFields,
    ModuleReply,
)

__all__ = ["InvocationError", "Module"]


class Module(ModuleBase):
    """Adds the three calls of a module to ``app``; a member while it is served.

    It joins in the application's lifespan, once something listens at the location.
    Handlers that are not coroutines run in a thread.
    """

    def __init__(
        self,
        app: FastAPI,
        registry: Registry | AsyncRegistry | None = None,
        *,
        capabilities: Mapping[str, Handler] | None = None,
        **fields: Unpack[ModuleFields],
    ) -> None:
        super().__init__(registry, capabilities, fields)
        add = app.add_api_route
        add("/_module/health", self._health, include_in_schema=False)
        add("/_module/capabilities", self._capabilities, include_in_schema=False)
        add("/_module/invoke", self._invoke, methods=["POST"], include_in_schema=False)
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[Any]:
            async with inner(app) as state:
                # The server listens only after startup: the thread waits for that.
                membership = self.start(when_listening=True)
                try:
                    yield state
                finally:
                    await membership.aleave()

        app.router.lifespan_context = lifespan

    async def _health(self) -> Response:
        return _send(await run_in_threadpool(self.contract.health))

    async def _capabilities(self) -> Response:
        return _send(self.contract.capabilities())

    async def _invoke(self, request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        try:
            call = self.contract.read(await request.body(), content_type)
            value = await _call(call)
            return _send(self.contract.result(call, value))
        except Exception as error:
            return _send(self.contract.refusal(error))


async def _call(call: InvokeRequest) -> Any:
    if inspect.iscoroutinefunction(call.handler):
        return await call.handler(**call.params)
    return await run_in_threadpool(call.handler, **call.params)


def _send(reply: ModuleReply) -> Response:
    return Response(reply.body, reply.status, media_type=reply.content_type)
