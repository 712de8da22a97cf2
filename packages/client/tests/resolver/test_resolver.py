"""The resolver over real registries: nothing is lost, or waited for."""

import asyncio
import math
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

import pytest

from client_support.harness import RegistryProcess, eventually
from client_support.proxy import Proxy
from client_support.services import register
from modularity_client import AsyncRegistry, Registry, Service
from modularity_client.resolver.errors import NoProvider, UnknownProviders
from modularity_client.resolver.resolver import Resolver
from support.serving import free_port

Own = Callable[[], RegistryProcess]
Make = Callable[..., Resolver]


@pytest.fixture
def proxy(shared: RegistryProcess) -> Iterator[Proxy]:
    proxy = Proxy(shared.port)
    yield proxy
    proxy.close()


@pytest.fixture
def name() -> str:
    """A capability of this test alone."""
    return f"c-{uuid.uuid4().hex[:8]}"


def unregister(registry: RegistryProcess, service_id: str) -> None:
    with Registry(registry.url) as client:
        client.unregister(service_id)


def ids(services: tuple[Service, ...]) -> list[str]:
    return [each.id for each in services]


class Changes:
    """A callback that keeps the changes, to wait for them."""

    def __init__(self) -> None:
        self._calls: Queue[tuple[str, list[str]]] = Queue()

    def __call__(self, capability: str, services: tuple[Service, ...]) -> None:
        self._calls.put((capability, ids(services)))

    def next(self) -> tuple[str, list[str]]:
        return self._calls.get(timeout=20)

    def until(self, *expected: str) -> None:
        while self.next()[1] != list(expected):
            pass


def test_changes_arrive_by_themselves(
    shared: RegistryProcess, resolving: Make, name: str
) -> None:
    register(shared, f"{name}-a", name)
    resolver, changes = resolving(shared.url, name), Changes()
    assert resolver.state == "idle"
    assert resolver.resolve(name).id == f"{name}-a"
    assert (resolver.state, resolver.age) == ("live", 0)
    resolver.on_change(changes, name)
    changes.until(f"{name}-a")
    register(shared, f"{name}-b", name)
    assert changes.next() == (name, [f"{name}-a", f"{name}-b"])
    assert {resolver.resolve(name).id for _ in range(2)} == {f"{name}-a", f"{name}-b"}
    unregister(shared, f"{name}-a")
    assert changes.next() == (name, [f"{name}-b"])
    assert resolver.resolve(name, key="k").id == f"{name}-b"


def test_nobody_healthy_is_not_the_same_as_not_knowing(
    shared: RegistryProcess, resolving: Make, name: str
) -> None:
    resolver = resolving(shared.url)
    with pytest.raises(NoProvider):
        resolver.resolve(name)
    assert resolver.providers(name) == ()
    away = resolving(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnknownProviders, match=name):
        away.resolve(name, timeout=0.2)
    assert (away.age, away.state) == (math.inf, "away")
    assert away.fault


def test_a_first_provider_ends_the_emptiness(
    shared: RegistryProcess, resolving: Make, name: str
) -> None:
    resolver, changes = resolving(shared.url), Changes()
    resolver.on_change(changes, name)
    changes.until()
    register(shared, name, name)
    changes.until(name)
    assert resolver.resolve(name).id == name


def test_a_cold_start_makes_one_request_for_each_capability(
    proxy: Proxy, shared: RegistryProcess, resolving: Make, name: str
) -> None:
    other = f"{name}-other"
    register(shared, name, name, other)
    resolver = resolving(proxy.url)
    together = threading.Barrier(50)

    def ask(number: int) -> str:
        together.wait(20)
        return resolver.resolve(name if number % 2 else other, timeout=20).id

    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(ask, range(50))) == {name}
    seen = proxy.seen
    for each in (name, other):
        assert seen.count(f"GET /api/capabilities/{each}/services ".encode()) == 1
    # The first comer opens the stream, and once more it is opened for all others.
    assert seen.count(b"GET /api/events?") <= 2


def test_capabilities_asked_for_later_join_the_one_stream(
    proxy: Proxy, shared: RegistryProcess, resolving: Make, name: str
) -> None:
    names = [f"{name}-{number}" for number in range(20)]
    register(shared, name, *names)
    resolver = resolving(proxy.url, *names[:10])
    assert resolver.resolve(names[0]).id == name
    before = proxy.seen.count(b"GET /api/events?")
    changes = Changes()
    for each in names[10:]:
        resolver.on_change(changes, each)
    assert {changes.next()[0] for _ in range(10)} == set(names[10:])
    assert proxy.seen.count(b"GET /api/events?") - before <= 2
    # No list that was there already is read again.
    for each in names:
        assert proxy.seen.count(f"/api/capabilities/{each}/services ".encode()) == 1


def test_more_capabilities_than_an_address_can_hold_are_followed_all_the_same(
    proxy: Proxy, shared: RegistryProcess, resolving: Make, name: str
) -> None:
    names = [f"{name}-{number}-{'x' * 100}" for number in range(100)]
    resolver, changes = resolving(proxy.url, *names), Changes()
    resolver.on_change(changes, names[7])
    changes.until()
    assert b"GET /api/events?type=service.registered&" in proxy.seen
    assert b"/api/events?capability" not in proxy.seen
    register(shared, name, name, names[7])
    changes.until(name)


def test_what_happens_while_the_list_is_read_is_not_lost(
    proxy: Proxy, shared: RegistryProcess, resolving: Make, name: str
) -> None:
    register(shared, f"{name}-a", name)
    list_path = f"/api/capabilities/{name}/services ".encode()
    resolver, changes = resolving(proxy.url), Changes()
    proxy.hold(list_path)
    resolver.on_change(changes, name)
    assert proxy.held.wait(20)
    # The reply that is kept back does not know of these.
    register(shared, f"{name}-b", name)
    unregister(shared, f"{name}-a")
    proxy.pass_on()
    changes.until(f"{name}-b")
    assert proxy.seen.count(list_path) == 1


def test_when_the_registry_is_away_the_last_view_serves(
    own: Own, resolving: Make, name: str
) -> None:
    registry = own()
    registry.start()
    register(registry, name, name)
    resolver = resolving(registry.url, name)
    assert resolver.resolve(name).id == name
    registry.kill()
    eventually(lambda: resolver.state == "away")
    assert resolver.age > 0
    assert math.isfinite(resolver.age)
    assert resolver.resolve(name).id == name
    with pytest.raises(UnknownProviders):
        resolver.resolve(f"{name}-other", timeout=0.2)


def test_a_registry_that_was_started_anew_is_read_anew(
    own: Own, resolving: Make, name: str
) -> None:
    registry = own()
    registry.start()
    for number in range(5):
        register(registry, f"{name}-{number}", name)
    resolver, changes = resolving(registry.url, name), Changes()
    resolver.on_change(changes)
    changes.until(*(f"{name}-{number}" for number in range(5)))
    registry.kill()
    eventually(lambda: resolver.state == "away")
    registry.start()
    # Its revisions begin again, below those of the old view.
    register(registry, f"{name}-new", name)
    changes.until(f"{name}-new")
    eventually(lambda: resolver.state == "live")
    assert resolver.resolve(name).id == f"{name}-new"


def test_a_broken_line_costs_nothing_but_age(
    proxy: Proxy, shared: RegistryProcess, resolving: Make, name: str
) -> None:
    register(shared, f"{name}-a", name)
    resolver, changes = resolving(proxy.url, name), Changes()
    resolver.on_change(changes, name)
    changes.until(f"{name}-a")
    proxy.cut()
    register(shared, f"{name}-b", name)
    changes.until(f"{name}-a", f"{name}-b")
    assert proxy.seen.count(f"/api/capabilities/{name}/services ".encode()) == 1


def test_a_callback_that_fails_harms_nobody(
    shared: RegistryProcess,
    resolving: Make,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    resolver, changes = resolving(shared.url), Changes()

    def fail(capability: str, services: tuple[Service, ...]) -> None:
        raise LookupError(capability)

    resolver.on_change(fail, name)
    resolver.on_change(changes, name)
    changes.until()
    register(shared, name, name)
    changes.until(name)
    errors = [each.exc_info[0] for each in caplog.records if each.exc_info]
    assert set(errors) == {LookupError}


def test_a_callback_that_takes_long_holds_up_nothing_but_callbacks(
    shared: RegistryProcess, resolving: Make, name: str
) -> None:
    resolver, goes_on, calls = resolving(shared.url), threading.Event(), Changes()

    def block(capability: str, services: tuple[Service, ...]) -> None:
        goes_on.wait(60)
        calls(capability, services)

    try:
        resolver.on_change(block, name)
        for number in range(3):
            register(shared, f"{name}-{number}", name)
        eventually(lambda: len(resolver.providers(name)) == 3)
        assert resolver.state == "live"
    finally:
        goes_on.set()
    calls.until(*(f"{name}-{number}" for number in range(3)))


def test_a_callback_may_ask_for_what_is_not_loaded_yet(
    shared: RegistryProcess, resolving: Make, name: str
) -> None:
    resolver, found = resolving(shared.url), []
    register(shared, f"{name}-other", f"{name}-other")
    resolver.on_change(
        lambda *_: found.append(resolver.resolve(f"{name}-other").id), name
    )
    eventually(lambda: found == [f"{name}-other"])


@pytest.mark.parametrize("timeout", [None, 0, -1, float("nan")])
def test_a_timeout_is_a_number_of_seconds(
    shared: RegistryProcess, resolving: Make, name: str, timeout: Any
) -> None:
    resolver = resolving(shared.url)
    for use in (resolver.resolve, resolver.invoke, resolver.providers):
        with pytest.raises(ValueError, match="timeout must be a number of seconds"):
            use(name, timeout=timeout)
    with pytest.raises(ValueError, match="timeout must be a number of seconds"):
        Registry(shared.url, timeout=timeout)


def test_a_provider_that_failed_is_skipped_and_told_of(
    shared: RegistryProcess, resolving: Make, name: str
) -> None:
    bad, good = f"{name}-bad", f"{name}-good"
    register(shared, bad, name)
    register(shared, good, name)
    resolver = resolving(shared.url, consumer_id=f"{name}-me")
    failed = next(each for each in resolver.providers(name) if each.id == bad)
    resolver.report_failure(failed)
    assert {resolver.resolve(name).id for _ in range(10)} == {good}
    assert ids(resolver.providers(name)) == [bad, good]

    def reported() -> bool:
        connections = shared.get(f"/api/connections/{name}-me")
        edges = connections.get("consuming", [])
        return [(e["provider_id"], e["success_rate"]) for e in edges] == [(bad, 0.0)]

    eventually(reported)


def test_a_skip_ends(shared: RegistryProcess, resolving: Make, name: str) -> None:
    register(shared, f"{name}-a", name)
    register(shared, f"{name}-b", name)
    resolver = resolving(shared.url, skip=0.2)
    first = resolver.resolve(name)
    resolver.report_failure(first)
    assert resolver.resolve(name).id != first.id
    eventually(lambda: resolver.resolve(name).id == first.id)


def test_an_asyncio_program_does_not_block(shared: RegistryProcess, name: str) -> None:
    register(shared, name, name)

    async def main() -> list[str]:
        registry = AsyncRegistry(shared.url)
        async with registry, Resolver(registry) as resolver:
            services = await asyncio.gather(
                *(resolver.aresolve(name) for _ in range(50))
            )
            services.append(resolver.resolve(name))
            with pytest.raises(NoProvider):
                await resolver.aresolve(f"{name}-nobody")
            return [each.id for each in services]

    assert asyncio.run(main()) == [name] * 51


def test_an_asyncio_program_can_give_up(name: str) -> None:
    async def main() -> None:
        url = f"http://127.0.0.1:{free_port()}"
        async with Resolver(AsyncRegistry(url)) as resolver:
            with pytest.raises(UnknownProviders):
                await resolver.aresolve(name, timeout=0.1)

    asyncio.run(main())
