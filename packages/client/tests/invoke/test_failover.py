"""Calls by the module contract: what is made again, where, and what is the answer."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from client_support.harness import DRIP, DROP, HANG, Answer, ScriptedServer
from client_support.proxy import Proxy
from client_support.services import service
from modularity_client import Service
from modularity_client.invoke.failover import Invocation
from modularity_client.invoke.invoker import Invoker
from modularity_client.resolver.errors import ProviderLost, ProviderRefused
from support.serving import free_port

Scripted = Callable[..., ScriptedServer]
GOOD = Answer(200, {"capability": "greet", "result": {"message": "Hello"}})


class Fixed:
    """Providers in a fixed order; notes what is said of them."""

    def __init__(self, *urls: str, **changes: Any) -> None:
        changes = {"mode": "http", **changes}
        self.services = [
            service(f"s{number}", location=url, **changes)
            for number, url in enumerate(urls)
        ]
        self.skipped: list[str] = []
        self.tracked: list[tuple[str, bool]] = []

    def resolve(self, capability: str, **how: Any) -> Service:
        return self.services[0]

    async def aresolve(self, capability: str, **how: Any) -> Service:
        return self.services[0]

    def alternative(
        self, capability: str, tried: Collection[str], key: Any, strategy: Any
    ) -> Service | None:
        rest = [e for e in self.services if e.id not in tried and e.mode == "http"]
        return rest[0] if rest else None

    def skip(self, service: Service) -> None:
        self.skipped.append(service.id)

    def track(
        self,
        service: Service,
        capability: str,
        success: bool,
        latency_ms: float | None = None,
    ) -> None:
        assert latency_ms is not None
        assert latency_ms >= 0
        self.tracked.append((service.id, success))


class Calling:
    """Calls from a thread or a task, by the same rules."""

    def __init__(self, kind: str, providers: Fixed) -> None:
        self._runner = asyncio.Runner() if kind == "async" else None
        self._providers = providers
        self._invoker = Invoker(None)

    def __call__(
        self,
        params: dict[str, Any] | None = None,
        timeout: float = 10.0,
        idempotent: bool | None = None,
    ) -> Any:
        invocation = Invocation(
            self._providers, "greet", params, timeout, idempotent, None, None
        )
        if self._runner is None:
            return self._invoker.invoke(invocation)
        return self._runner.run(self._invoker.ainvoke(invocation))

    def close(self) -> None:
        self._invoker.close()
        if self._runner is not None:
            self._runner.run(self._invoker.aclose())
            self._runner.close()


Calls = Callable[[Fixed], Calling]


@pytest.fixture(params=["sync", "async"])
def calls(request: pytest.FixtureRequest) -> Iterator[Calls]:
    with ExitStack() as stack:

        def make(providers: Fixed) -> Calling:
            calling = Calling(request.param, providers)
            stack.callback(calling.close)
            return calling

        yield make


def nowhere() -> str:
    return f"http://127.0.0.1:{free_port()}"


def test_a_call_is_as_the_contract_says(scripted: Scripted, calls: Calls) -> None:
    server = scripted(GOOD)
    providers = Fixed(f"{server.url}/")
    assert calls(providers)({"name": "Ada"}) == {"message": "Hello"}
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/_module/invoke")
    assert request.body == b'{"capability": "greet", "params": {"name": "Ada"}}'
    assert request.headers["content-type"] == "application/json"
    assert providers.tracked == [("s0", True)]


def test_connections_are_kept(scripted: Scripted, calls: Calls) -> None:
    server = scripted(GOOD)
    proxy = Proxy(int(server.url.rpartition(":")[2]))
    call = calls(Fixed(proxy.url))
    for _ in range(3):
        call()
    assert proxy.connections == 1
    proxy.close()


def test_what_was_never_sent_goes_elsewhere_in_any_case(
    scripted: Scripted, calls: Calls
) -> None:
    server = scripted(GOOD)  # holds its port, so that nowhere() is another
    providers = Fixed(nowhere(), server.url)
    assert calls(providers)(idempotent=False)
    assert providers.tracked == [("s0", False), ("s1", True)]
    assert providers.skipped == ["s0"]


def test_a_lost_answer_is_asked_for_elsewhere(scripted: Scripted, calls: Calls) -> None:
    lossy, good = scripted(DROP), scripted(GOOD)
    assert calls(Fixed(lossy.url, good.url))()
    keys = {e.headers["idempotency-key"] for e in lossy.requests + good.requests}
    assert len(keys) == 1


def test_a_lost_answer_is_an_error_where_twice_is_too_often(
    scripted: Scripted, calls: Calls
) -> None:
    good = scripted(GOOD)
    with pytest.raises(ProviderLost) as caught:
        calls(Fixed(scripted(DROP).url, good.url))(idempotent=False)
    assert caught.value.sent
    assert caught.value.service.id == "s0"
    assert good.requests == []


@pytest.mark.parametrize("said", [["other", "greet"], True])
def test_a_provider_can_declare_that_twice_is_too_often(
    scripted: Scripted, calls: Calls, said: Any
) -> None:
    providers = Fixed(
        scripted(DROP).url, scripted(GOOD).url, metadata={"not_repeatable": said}
    )
    with pytest.raises(ProviderLost):
        calls(providers)()
    assert calls(providers)(idempotent=True)


@pytest.mark.parametrize("said", [["other"], False])
def test_a_declaration_about_others_says_nothing(
    scripted: Scripted, calls: Calls, said: Any
) -> None:
    urls = scripted(DROP).url, scripted(GOOD).url
    assert calls(Fixed(*urls, metadata={"not_repeatable": said}))()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_who_is_about_to_leave_is_left(
    scripted: Scripted, calls: Calls, status: int
) -> None:
    urls = scripted(Answer(status, {})).url, scripted(GOOD).url
    assert calls(Fixed(*urls))()
    with pytest.raises(ProviderRefused) as caught:
        calls(Fixed(*urls))(idempotent=False)
    assert caught.value.status == status
    alone = scripted(Answer(status, {}))
    with pytest.raises(ProviderRefused):
        calls(Fixed(alone.url))()
    assert len(alone.requests) == 1


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500])
def test_every_other_answer_is_the_answer(
    scripted: Scripted, calls: Calls, status: int
) -> None:
    other = scripted(GOOD)
    refusing = scripted(Answer(status, {"error": "not today"}))
    providers = Fixed(refusing.url, other.url)
    with pytest.raises(ProviderRefused, match="not today") as caught:
        calls(providers)()
    assert caught.value.body == {"error": "not today"}
    assert other.requests == []
    assert providers.tracked == [("s0", False)]
    assert providers.skipped == []


@pytest.mark.parametrize("body", [b"<html>", {"message": "Hello"}, [1]])
def test_an_answer_without_a_result_is_none(
    scripted: Scripted, calls: Calls, body: Any
) -> None:
    with pytest.raises(ProviderRefused, match="no result"):
        calls(Fixed(scripted(Answer(200, body)).url))()


def test_a_result_may_be_null(scripted: Scripted, calls: Calls) -> None:
    assert calls(Fixed(scripted(Answer(200, {"result": None})).url))() is None


def test_three_are_tried_and_all_are_named(calls: Calls) -> None:
    with pytest.raises(ProviderLost) as caught:
        calls(Fixed(*(nowhere() for _ in range(5))))()
    assert [each for each, _ in caught.value.attempts] == ["s0", "s1", "s2"]
    assert not caught.value.sent


def test_who_is_alone_and_lost_the_answer_is_asked_once_more(
    scripted: Scripted, calls: Calls
) -> None:
    assert calls(Fixed(scripted(DROP, GOOD).url))()
    lossy = scripted(DROP)
    with pytest.raises(ProviderLost):
        calls(Fixed(lossy.url))()
    assert len(lossy.requests) == 2


@pytest.mark.parametrize("slow", [HANG, DRIP])
def test_the_time_is_for_all_that_is_tried(
    scripted: Scripted, calls: Calls, slow: Answer
) -> None:
    other = scripted(GOOD)
    began = time.monotonic()
    with pytest.raises(ProviderLost, match="too long") as caught:
        calls(Fixed(scripted(slow).url, other.url))(timeout=0.5)
    assert caught.value.sent
    assert 0.5 <= time.monotonic() - began < 5
    assert other.requests == []


def test_who_does_not_speak_http_is_not_called(
    scripted: Scripted, calls: Calls
) -> None:
    with pytest.raises(ProviderLost, match="mode is 'tcp'"):
        calls(Fixed("tcp://x:1", mode="tcp"))()
    providers = Fixed("ipc", scripted(GOOD).url)
    providers.services[0] = service("s0", mode="ipc")
    assert calls(providers)()


def test_params_must_be_json(calls: Calls) -> None:
    with pytest.raises(ValueError, match="JSON"):
        calls(Fixed(nowhere()))({"x": float("nan")})
