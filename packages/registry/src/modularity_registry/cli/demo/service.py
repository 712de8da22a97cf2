"""One service of the demo: a module on a port of its own."""

import asyncio
import random
import time

from aiohttp import web

from modularity_client.module import Contract, InvocationError, ModuleReply
from modularity_registry.cli.demo.caller import Caller
from modularity_registry.cli.demo.shop import REASON, Planned, is_failing

HOST = "127.0.0.1"


class ShopService:
    """Serves the three calls of a module; each call makes it call what it needs."""

    def __init__(self, planned: Planned, caller: Caller) -> None:
        self.planned = planned
        self.location = ""
        self._caller = caller
        self._begun = time.monotonic()
        self._contract = Contract(planned.id)
        self._contract.add(planned.role.capability, self._provide)
        self._contract.watch_health(self._fault)
        app = web.Application()
        app.router.add_get("/_module/health", self._health)
        app.router.add_get("/_module/capabilities", self._capabilities)
        app.router.add_post("/_module/invoke", self._invoke)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)

    async def start(self, port: int) -> None:
        """Listen; port 0 picks a free one. Raises `OSError` for a port in use."""
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, port).start()
        self.location = f"http://{HOST}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close the port, and all connections after a second. Idempotent."""
        await self._runner.cleanup()

    def _fault(self) -> str | None:
        failing = self.planned.flaps and is_failing(time.monotonic() - self._begun)
        return REASON if failing else None

    async def _provide(self) -> dict[str, str]:
        if fault := self._fault():
            raise InvocationError(fault, status=503, code="unhealthy")
        role = self.planned.role
        await asyncio.sleep(role.seconds * random.uniform(0.5, 2))
        for capability, chance in role.needs.items():
            if random.random() < chance:
                await self._caller.call(capability, self.planned.id)
        return {"answered_by": self.planned.id}

    async def _health(self, _: web.Request) -> web.Response:
        return _response(self._contract.health())

    async def _capabilities(self, _: web.Request) -> web.Response:
        return _response(self._contract.capabilities())

    async def _invoke(self, request: web.Request) -> web.Response:
        try:
            call = self._contract.read(await request.read(), request.content_type)
            return _response(
                self._contract.result(call, await call.handler(**call.params))
            )
        except InvocationError as error:
            return _response(self._contract.refusal(error))


def _response(reply: ModuleReply) -> web.Response:
    return web.Response(
        body=reply.body, status=reply.status, content_type=reply.content_type
    )
