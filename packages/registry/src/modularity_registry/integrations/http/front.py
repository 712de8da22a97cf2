"""What stands in front of all else: calls of other registries' APIs end here."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from werkzeug.exceptions import HTTPException

from modularity_registry.api import rate_limits
from modularity_registry.api.tracing import Tracing
from modularity_registry.errors import RegistryError
from modularity_registry.integrations.http.application import Application
from modularity_registry.integrations.http.call import Reply, encoded
from modularity_registry.integrations.http.gate import Gate
from modularity_registry.integrations.http.planned import planned
from modularity_registry.integrations.http.turn import Turn
from modularity_registry.runtime import Registry
from modularity_registry.serving.front import REFUSAL, Connection, Front, Send
from modularity_registry.serving.head import Answer, Environ, Head, PathAnswer


class IntegrationFront(Front):
    """Answers the calls of some applications, and leaves others to ``rest``."""

    def __init__(
        self,
        registry: Registry,
        rest: Front,
        applications: Sequence[Application],
        tracing: Tracing | None = None,
        logged: bool = False,
    ) -> None:
        self._rest = rest
        self._gate = Gate(registry, tracing, logged)
        self._by_prefix = {
            prefix: application
            for application in applications
            for prefix in application.prefixes
        }
        self._prefixes = tuple(self._by_prefix)
        self._tasks: set[asyncio.Task[None]] = set()

    def refusal(self, error: RegistryError) -> bytes:
        return self._rest.refusal(error)

    def plan(self, head: Head) -> Answer | None:
        application = self._application(head.environ)
        if application is None:
            return self._rest.plan(head)

        ready = planned(self._gate, application, head)

        def answer(connection: Connection, body: bytes) -> bytes | None:
            reply = ready(connection) if ready is not None else None
            if reply is not None:
                return reply
            environ = connection.environ_of(head, body)
            return self._answer(Turn(self._gate, application, environ), connection)

        return answer

    def plan_paths(self, head: Head) -> PathAnswer | None:
        # It answers no path of an application.
        return self._rest.plan_paths(head)

    def wants_body(self, environ: Environ) -> bool:
        application = self._application(environ)
        if application is None:
            return self._rest.wants_body(environ)
        try:
            route, _ = application.match(environ)
        except HTTPException:
            return False
        self._gate.check(application, environ, route)
        return True

    def client(self, environ: Environ) -> str:
        application = self._application(environ)
        if application is None:
            return self._rest.client(environ)
        caller = self._gate.caller(application, environ)
        return rate_limits.client_of(environ, caller)

    def wait(self, environ: Environ) -> Awaitable[None] | None:
        if self._application(environ) is not None:
            return None
        return self._rest.wait(environ)

    def stream(self, environ: Environ) -> Callable[[Send], Awaitable[None]] | None:
        application = self._application(environ)
        if application is None:
            return self._rest.stream(environ)
        turn = Turn(self._gate, application, environ)
        refusal: RegistryError | None = environ.pop(REFUSAL, None)

        async def send_reply(send: Send) -> None:
            # For the few whose connection ends with the reply: it can't be watched, so
            # a call that waits does so for as long as it says.
            reply = turn.refuse(refusal) if refusal is not None else turn.reply()
            if not isinstance(reply, Reply):
                reply = await reply
            lines = turn.headers(reply)
            await send(
                {
                    "type": "http.response.start",
                    "status": reply.status,
                    "headers": [encoded(line) for line in lines],
                }
            )
            body = reply.body if turn.wants_body else b""
            await send({"type": "http.response.body", "body": body})

        return send_reply

    def _application(self, environ: Environ) -> Application | None:
        path: str = environ["PATH_INFO"]
        if not path.startswith(self._prefixes):
            return None
        return next(
            application
            for prefix, application in self._by_prefix.items()
            if path.startswith(prefix)
        )

    def _answer(self, turn: Turn, connection: Connection) -> bytes:
        """Return the reply as bytes, none if it comes in its own time."""
        outcome = turn.reply()
        if isinstance(outcome, Reply):
            return turn.render(outcome)
        coming, send = outcome, connection.reply_later()

        async def reply_later() -> None:
            reply = await coming
            connection.watch(None)
            send(turn.render(reply))

        task = asyncio.get_running_loop().create_task(reply_later())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if turn.may_be_left:
            connection.watch(partial(_cancel, task))
        return b""


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
