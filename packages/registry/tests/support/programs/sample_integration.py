"""A registry with an integration that tests can reason about.

Its settings are the first argument, as JSON.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from modularity_registry.api.route_policy import Cost
from modularity_registry.config import DEFAULT_NAMESPACE, Settings
from modularity_registry.integrations import Integration
from modularity_registry.integrations.http import (
    Application,
    Call,
    Ready,
    Reply,
    Route,
)
from modularity_registry.model.rights import Caller, Right
from modularity_registry.runtime import Registry
from modularity_registry.serve import factory, server_options
from modularity_registry.serving.head import Environ
from modularity_registry.serving.server import serve
from modularity_registry.telemetry import logs


def answer(value: Any) -> Reply:
    return Reply(200, json.dumps(value).encode())


class Sample(Application):
    """Answers under /sample/."""

    def __init__(self) -> None:
        self.left = 0
        self.waiting: set[asyncio.Future[Reply]] = set()
        self.asking: list[Callable[[Reply], None]] = []
        self.planned = Reply(200, b'"planned"')
        self.handled = 0
        write = partial(Route, "POST", right=Right.REGISTER, cost=Cost.WRITE)
        super().__init__(
            ["/sample/"],
            [
                Route("GET", "/sample/plain", self.plain),
                Route("GET", "/sample/list", self.plain, cost=Cost.READ),
                Route("GET", "/sample/open", self.plain, None),
                Route("GET", "/sample/planned", self.handle, plan=self.plan),
                Route("GET", "/sample/pending", self.handle, plan=self.pend),
                write("/sample/body", self.body),
                Route("GET", "/sample/wait", self.wait, waits=True),
                Route("POST", "/sample/slow", self.slow),
                Route("POST", "/sample/wake", self.wake),
                Route("GET", "/sample/left", lambda call: answer(self.left)),
                Route("GET", "/sample/header", self.header),
                Route("GET", "/sample/fails", self.fail),
                Route("GET", "/sample/fails-later", self.fail_later),
            ],
        )

    def namespace(self, environ: Environ, arguments: Sequence[tuple[str, str]]) -> str:
        return dict(arguments).get("ns", DEFAULT_NAMESPACE)

    def plain(self, call: Call) -> Reply:
        return answer([call.registry.namespace, call.caller.name])

    def handle(self, call: Call) -> Reply:
        self.handled += 1
        return answer("handled")

    def plan(
        self,
        registry: Registry,
        names: Mapping[str, Any],
        arguments: Sequence[tuple[str, str]],
    ) -> Ready | None:
        return None if arguments else lambda: self.planned

    def pend(
        self,
        registry: Registry,
        names: Mapping[str, Any],
        arguments: Sequence[tuple[str, str]],
    ) -> Ready | None:
        return lambda: self

    def begin(
        self, caller: Caller, client: str, done: Callable[[Reply], None]
    ) -> Callable[[], None]:
        self.asking.append(done)

        def leave() -> None:
            self.asking.remove(done)
            self.left += 1

        return leave

    def body(self, call: Call) -> Reply:
        return answer(len(call.body))

    async def wait(self, call: Call) -> Reply:
        over: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.waiting.add(over)
        try:
            return await over
        except asyncio.CancelledError:
            self.left += 1
            raise
        finally:
            self.waiting.discard(over)

    async def slow(self, call: Call) -> Reply:
        await asyncio.sleep(0.3)
        self.left += 100
        return answer("slow")

    def wake(self, call: Call) -> Reply:
        for over in self.waiting:
            over.set_result(answer("woken"))
        asking, self.asking = self.asking, []
        for done in asking:
            done(answer("woken"))
        return answer(len(self.waiting) + len(asking))

    def header(self, call: Call) -> Reply:
        return Reply(200, b"1", headers=[("X-Said", call.argument("text") or "")])

    def fail(self, call: Call) -> Reply:
        raise RuntimeError("a secret")

    def fail_later(self, call: Call) -> Awaitable[Reply]:
        async def fail() -> Reply:
            raise RuntimeError("a secret")

        return fail()


class SampleIntegration(Integration):
    def __init__(self) -> None:
        self._sample = Sample()
        self.applications = (self._sample,)

    async def stop(self) -> None:
        for over in self._sample.waiting:
            over.set_result(answer("stopped"))

    def statistics(self) -> Mapping[str, Any]:
        return {"handled": self._sample.handled}


if __name__ == "__main__":
    package: Any = ModuleType("sample")
    package.check = lambda settings: None
    package.create = lambda registry: SampleIntegration()
    sys.modules["modularity_registry.integrations.sample"] = package
    given = json.loads(sys.argv[1])
    settings = Settings(integrations=("sample",), **given)
    logs.configure(settings.log_format, settings.level)
    options = server_options(settings)
    sys.exit(serve(factory(settings), settings.host, settings.port, options))
