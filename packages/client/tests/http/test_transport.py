"""One client in many threads, processes and loops."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from client_support import SUPPORT
from client_support.harness import Asker, RegistryProcess
from modularity_client import AsyncRegistry, Registry

FORKING = SUPPORT / "forking.py"


def service(service_id: str) -> dict[str, Any]:
    fields = {"name": "A", "capabilities": ["x"], "location": "y", "mode": "ipc"}
    return {"id": service_id, **fields}


def test_threads_share_a_client_and_get_their_own_replies(
    shared: RegistryProcess,
) -> None:
    def use(number: int) -> bool:
        ids = [f"thread-{number}-{each}" for each in range(20)]
        for service_id in ids:
            registry.put(**service(service_id))
        return all(registry.service(each).id == each for each in ids)

    with Registry(shared.url) as registry, ThreadPoolExecutor(16) as pool:
        assert all(pool.map(use, range(16)))


def test_tasks_share_a_client_and_get_their_own_replies(
    shared: RegistryProcess,
) -> None:
    async def use(registry: AsyncRegistry, service_id: str) -> bool:
        await registry.put(**service(service_id))
        return (await registry.service(service_id)).id == service_id

    async def main() -> list[bool]:
        async with AsyncRegistry(shared.url) as registry:
            uses = (use(registry, f"task-{number}") for number in range(50))
            return await asyncio.gather(*uses)

    assert all(asyncio.run(main()))


def test_a_loop_does_not_use_the_connections_of_another(
    shared: RegistryProcess,
) -> None:
    registry = AsyncRegistry(shared.url)
    with asyncio.Runner() as first, asyncio.Runner() as second:
        for runner in (first, second, first, second):
            assert runner.run(registry.ready()).status == "ready"
        for runner in (first, second):
            runner.run(registry.close())


def test_a_cancelled_call_ends_at_once(shared: RegistryProcess) -> None:
    async def main() -> None:
        async with AsyncRegistry(shared.url) as registry:
            revision = (await registry.ready()).revision
            waiting = asyncio.create_task(
                registry.providers("never", wait=300, revision=revision)
            )
            done, _ = await asyncio.wait([waiting], timeout=0.2)
            assert not done
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_closed_client_says_so(
    shared: RegistryProcess, asking: Callable[..., Asker]
) -> None:
    ask = asking(shared.url)
    ask("ready")
    ask("close")
    with pytest.raises(RuntimeError, match="closed"):
        ask("ready")
    ask("close")


def run(what: str, url: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(FORKING), what, url],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_child_makes_connections_of_its_own(shared: RegistryProcess) -> None:
    assert run("share", shared.url) == ["child 0"]


def test_the_child_of_a_member_does_not_speak_for_it(shared: RegistryProcess) -> None:
    assert run("inherit", shared.url) == ["child 0", "status healthy"]
    assert shared.status("member") is None
