"""Fixtures of the client's tests."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from client_support.harness import Answer, Asker, RegistryProcess, ScriptedServer
from client_support.tokens import Closed
from modularity_client import Registry, Resolver


@pytest.fixture(scope="module")
def shared() -> Iterator[RegistryProcess]:
    """A registry for tests that keep to their own services."""
    process = RegistryProcess()
    try:
        process.start()
        yield process
    finally:
        process.kill()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    """A registry that asks for tokens, as `shared`."""
    process = Closed(tmp_path_factory.mktemp("registry"))
    try:
        process.start()
        yield process
    finally:
        process.kill()


@pytest.fixture
def name() -> str:
    """A name that no other test has, for a token or a service."""
    return f"name-{uuid.uuid4().hex}"


@pytest.fixture
def own() -> Iterator[Callable[[], RegistryProcess]]:
    """Makes registries, not started yet, that a test may kill."""
    with ExitStack() as stack:

        def make() -> RegistryProcess:
            process = RegistryProcess()
            stack.callback(process.kill)
            return process

        yield make


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedServer]]:
    with ExitStack() as stack:

        def make(*answers: Answer, **by_method: Answer) -> ScriptedServer:
            server = ScriptedServer(*answers, **by_method)
            stack.callback(server.close)
            return server

        yield make


@pytest.fixture(params=["sync", "async"])
def asking(request: pytest.FixtureRequest) -> Iterator[Callable[..., Asker]]:
    """Makes clients of one kind; every test that asks for it is run with both."""
    with ExitStack() as stack:

        def make(url: Any, **options: Any) -> Asker:
            asker = Asker(request.param, url, **options)
            stack.callback(asker.close)
            return asker

        yield make


@pytest.fixture
def resolving() -> Iterator[Callable[..., Resolver]]:
    """Makes resolvers, by URL and capabilities, that are closed after the test."""
    with ExitStack() as stack:

        def make(url: Any, *capabilities: str, **options: Any) -> Resolver:
            resolver = Resolver(Registry(url), *capabilities, **options)
            stack.callback(resolver.close)
            return resolver

        yield make
