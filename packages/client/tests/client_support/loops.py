"""Uses one client in many event loops; prints how many descriptors that has left."""

import asyncio
import gc
import os
import sys

from modularity_client import AsyncRegistry

registry = AsyncRegistry(sys.argv[1])


async def ask() -> None:
    await registry.ready()


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


asyncio.run(ask())
before = descriptors()
for _ in range(100):
    asyncio.run(ask())
print(descriptors() - before, len(registry._driver._clients))
