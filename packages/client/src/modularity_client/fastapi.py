"""A FastAPI application as a module: needs ``modularity-client[fastapi]``."""

import inspect
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Unpack

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from modularity_client.client import AsyncRegistry, Registry
from modularity_client.module import (
    Answer,
    Handler,
    InvocationError,
    ModuleBase,
    ModuleFields,
    Order,
)

__all__ = ["InvocationError", "Module"]


class Module(ModuleBase):
    """Answers the three calls of a module in ``app``; a member while it is served.

    It joins with the application's lifespan, once something listens at the location.
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
                # The server listens only after this: the thread waits for it.
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
            order = self.contract.read(await request.body(), content_type)
            value = await _call(order)
            return _send(self.contract.result(order, value))
        except Exception as error:
            return _send(self.contract.refusal(error))


async def _call(order: Order) -> Any:
    if inspect.iscoroutinefunction(order.handler):
        return await order.handler(**order.params)
    return await run_in_threadpool(order.handler, **order.params)


def _send(answer: Answer) -> Response:
    return Response(answer.body, answer.status, media_type=answer.content_type)
