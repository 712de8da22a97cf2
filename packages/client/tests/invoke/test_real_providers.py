"""Calls of real providers, found through a real registry, some of which die."""

import itertools
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from client_support import SUPPORT
from client_support.harness import RegistryProcess, eventually
from modularity_client import Registry
from modularity_client.resolver.errors import NoProvider
from modularity_client.resolver.resolver import Resolver
from support.serving import free_port

PROVIDER = SUPPORT / "provider.py"


class Provider:
    """A module's process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, str(PROVIDER), name, str(self.port)],
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"up\n"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def close(self) -> None:
        self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def providing(
    registry: RegistryProcess, capability: str, count: int
) -> Iterator[dict[str, Provider]]:
    with ExitStack() as stack:
        providers = {}
        client = stack.enter_context(Registry(registry.url))
        for _ in range(count):
            provider = Provider(f"p-{uuid.uuid4().hex[:8]}")
            stack.callback(provider.close)
            client.put(
                id=provider.name,
                name=provider.name,
                capabilities=[capability],
                location=f"http://127.0.0.1:{provider.port}",
                mode="http",
            )
            providers[provider.name] = provider
        yield providers


@pytest.fixture
def name() -> str:
    return f"c-{uuid.uuid4().hex[:8]}"


def test_calls_are_shared_out_and_told_of(shared: RegistryProcess, name: str) -> None:
    resolver = Resolver(Registry(shared.url), consumer_id=f"{name}-me")
    with providing(shared, name, 2) as providers, resolver:
        served = Counter(resolver.invoke(name)["by"] for _ in range(10))
        assert served == dict.fromkeys(providers, 5)

        def told() -> bool:
            consuming = shared.get(f"/api/connections/{name}-me").get("consuming", [])
            return {e["provider_id"]: e["request_count"] for e in consuming} == served

        eventually(told)


def test_a_key_keeps_its_provider(shared: RegistryProcess, name: str) -> None:
    with providing(shared, name, 3), Resolver(Registry(shared.url)) as resolver:
        assert len({resolver.invoke(name, key="k")["by"] for _ in range(10)}) == 1


def test_nobody_to_call(shared: RegistryProcess, name: str) -> None:
    with Resolver(Registry(shared.url)) as resolver, pytest.raises(NoProvider):
        resolver.invoke(name)


def test_a_call_whose_provider_dies_under_it_is_made_elsewhere(
    shared: RegistryProcess, name: str
) -> None:
    with (
        providing(shared, name, 2) as providers,
        Resolver(Registry(shared.url)) as resolver,
    ):
        victim, other = providers
        for _ in range(2):
            assert resolver.invoke(name, {"die": victim})["by"] == other
        providers[victim].process.wait(20)


def test_a_dead_connection_is_no_risk_to_a_call_that_must_not_be_made_twice(
    shared: RegistryProcess, name: str
) -> None:
    with (
        providing(shared, name, 2) as providers,
        Resolver(Registry(shared.url)) as resolver,
    ):
        for _ in range(4):
            resolver.invoke(name)
        victim, other = providers
        providers[victim].kill()
        # One of these gets the connection that has ended, and sends nothing over it.
        for _ in range(4):
            assert resolver.invoke(name, idempotent=False)["by"] == other


class Load:
    """Calls at a steady rate from several threads, until told to stop."""

    def __init__(self, resolver: Resolver, capability: str, rate: int) -> None:
        self.served: Counter[str] = Counter()
        self.failed: list[Exception] = []
        self._call = (resolver, capability)
        self._gap = 1 / rate
        self._turns = itertools.count()
        self._began = time.monotonic()
        self._stop = threading.Event()

    def run(self) -> None:
        resolver, capability = self._call
        while True:
            due = self._began + next(self._turns) * self._gap
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            try:
                by = resolver.invoke(capability, {"takes": 0.02})["by"]
            except Exception as error:
                self.failed.append(error)
            else:
                self.served[by] += 1

    def stop(self) -> None:
        self._stop.set()


def test_no_call_fails_when_a_provider_is_killed_under_load(
    shared: RegistryProcess, name: str
) -> None:
    resolver = Resolver(Registry(shared.url), consumer_id=f"{name}-me")
    with (
        providing(shared, name, 2) as providers,
        resolver,
        ThreadPoolExecutor(16) as pool,
    ):
        victim, other = providers
        load = Load(resolver, name, rate=200)
        running = [pool.submit(load.run) for _ in range(16)]
        try:
            eventually(lambda: load.served[victim] >= 100)
            providers[victim].kill()
            before = load.served[other]
            eventually(lambda: load.served[other] >= before + 200)
        finally:
            load.stop()
        for each in running:
            each.result(20)
    assert load.failed == []
