"""What a mirror reports while its source is silent."""

import asyncio
from collections.abc import AsyncGenerator

from modularity_client import AsyncRegistry
from modularity_registry.cli.mirror.follow import STALE_AFTER, Mirror
from modularity_registry.cli.mirror.source import Instance, Snapshot, SourceAway
from support.cli import Served
from support.integrations.mirror import mirrored
from support.registry import ManualClock

BODY = {
    "name": "web",
    "capabilities": ["web"],
    "location": "tcp://10.0.0.1:80",
    "mode": "tcp",
}


class Source:
    """Lists two services once, and then only when it is no longer ``silent``."""

    def __init__(self) -> None:
        self.silent = False
        self.asked = 0

    async def read(self) -> Snapshot:
        self.asked += 1
        if self.silent:
            raise SourceAway("no answer")
        ill = Instance("b", ("b",), BODY, "unhealthy", "ill")
        return {"a": Instance("a", ("a",), BODY), "b": ill}

    async def follow(self) -> AsyncGenerator[Snapshot, None]:
        while True:
            yield await self.read()
            await asyncio.sleep(0.05)


def test_services_of_a_silent_source_warn_until_it_answers_again() -> None:
    target, source, clock = Served(), Source(), ManualClock()

    async def becomes(status: str) -> None:
        async with asyncio.timeout(60):
            wanted = {"a": status, "b": "unhealthy"}
            while await asyncio.to_thread(mirrored, target) != wanted:
                await asyncio.sleep(0.05)

    async def scenario() -> None:
        async with AsyncRegistry(target.url) as registry:
            mirror = Mirror(
                registry, source, "consul://c", (), 3, False, clock.monotonic
            )
            task = asyncio.create_task(mirror.run())
            await becomes("healthy")
            source.silent = True
            asked = source.asked
            async with asyncio.timeout(60):
                while source.asked == asked:
                    await asyncio.sleep(0.05)
            clock.advance(STALE_AFTER + 1)
            await becomes("warning")
            source.silent = False
            await becomes("healthy")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    try:
        asyncio.run(scenario())
    finally:
        target.kill()
