"""A FastAPI application as a module: needs ``modularity-client[fastapi]``."""

import inspect
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Unpack

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from modularity_client.client import AsyncRegistry, Registry
from modularity_client.module import (
    Handler,
    HealthWarning,
    InvocationError,
    InvokeRequest,
    ModuleBase,
    ModuleFields,
    ModuleReply,
    address,
)

__all__ = ["HealthWarning", "InvocationError", "Module"]


class Module(ModuleBase):
    """Adds the three calls of a module to ``app``; a member while it is served.

    It joins in the application's lifespan, once something listens at the location: with
    `run`, or with any other server.
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
        self.app = app
        self._address: str | None = None
        add = app.add_api_route
        add("/_module/health", self._health, include_in_schema=False)
        add("/_module/capabilities", self._capabilities, include_in_schema=False)
        add("/_module/invoke", self._invoke, methods=["POST"], include_in_schema=False)
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[Any]:
            async with inner(app) as state:
                # The server listens only after startup: the thread waits for that.
                membership = self.start(self._address, when_listening=True)
                try:
                    yield state
                finally:
                    await membership.aleave()

        app.router.lifespan_context = lifespan

    def run(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Join, and serve until Ctrl-C or SIGTERM; port 0 picks a free one.

        For development: one process of uvicorn. Raises `SystemExit` if the application
        does not start, as it does on a wildcard host such as 0.0.0.0 without a
        location.
        """
        import uvicorn  # those who run another server may not have it

        config = uvicorn.Config(self.app, host=host, port=port)
        server = uvicorn.Server(config)
        with config.bind_socket() as listener, suppress(KeyboardInterrupt):
            self._address = address(host, listener.getsockname()[1])
            server.run(sockets=[listener])
        if not server.started:
            sys.exit(1)

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
