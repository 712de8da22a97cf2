"""Rates counted in a Redis: together, and not at all while it is away."""

import sys
import time
from collections.abc import Iterator

import pytest

from modularity_registry.api.app import create_app
from modularity_registry.clock import SystemClock
from modularity_registry.config import Settings
from modularity_registry.errors import BadSetting, TooManyRequests
from modularity_registry.ratelimit import Rate, Rates
from support.registry import LOOP, eventually, loaded_registry, registration
from support.servers.stores import redis as redis_servers
from support.servers.stores.redis import RedisServer
from support.serving import HOST, free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("redis")
    with redis_servers.running(folder, appendonly="no") as server:
        yield server


@pytest.fixture(autouse=True)
def emptied(server: RedisServer) -> None:
    server.call("FLUSHALL")


def rates(server: RedisServer, rate: str) -> Rates:
    url = f"redis://{HOST}:{server.port}/0"
    return Rates(Settings(write_rate=rate, rate_store=url), SystemClock())


def writes(rates: Rates) -> Rate:
    assert rates.writes is not None
    return rates.writes


def test_several_registries_count_together(server: RedisServer) -> None:
    one, other = rates(server, "10/minute"), rates(server, "10/minute")
    taken = [writes(each).takes("a") for _ in range(8) for each in (one, other)]
    assert taken == [True] * 10 + [False] * 6
    assert writes(other).takes("b")
    one.close()
    other.close()


def test_whoever_waits_as_told_is_taken(server: RedisServer) -> None:
    counted = rates(server, "4/second")
    rate = writes(counted)
    for _ in range(3):
        while rate.takes("a"):
            pass
        with pytest.raises(TooManyRequests) as caught:
            rate.take("a")
        told = time.monotonic() + caught.value.retry_after
        assert caught.value.retry_after in (1, 2)
        eventually(lambda told=told: time.monotonic() >= told)  # type: ignore[misc]
        rate.take("a")
    counted.close()


def test_its_keys_end_by_themselves(server: RedisServer) -> None:
    counted = rates(server, "10/second")
    for number in range(50):
        writes(counted).take(str(number))
    assert server.call("DBSIZE") >= 50
    eventually(lambda: server.call("DBSIZE") == 0)
    counted.close()


def test_without_it_calls_pass_and_health_says_why(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_servers.running(tmp_path_factory.mktemp("r"), appendonly="no") as server:
        url = f"redis://user-of-mine:pw-of-mine@{HOST}:{server.port}"
        server.call(
            "ACL", "SETUSER", "user-of-mine", "on", ">pw-of-mine", "+@all", "~*"
        )
        registry = loaded_registry(write_rate="1/minute", rate_store=url)
        client = create_app(registry).test_client()
        body = registration(mode="standalone")

        def register() -> int:
            return client.post("/api/register", json=body).status_code

        assert [register(), register()] == [201, 429]
        server.kill()
        assert [register() for _ in range(20)] == [200] * 20
        health = client.get("/health").get_json()
        assert health["status"] == "degraded"
        [reason] = health["reasons"]
        assert reason.startswith(
            f"rates are not counted: the Redis server at {HOST}:{server.port} can't be"
        )
        assert (
            client.get("/ready").status_code == 503
            or not registry.view_health.problems()
        )
        said = [each.getMessage() for each in caplog.records]
        assert [each for each in said if "rates are not" in each] == [
            f"{reason}; all calls are accepted"
        ]
        assert "pw-of-mine" not in caplog.text
        LOOP.call(registry.stop())


def test_one_that_comes_back_counts_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with redis_servers.running(tmp_path_factory.mktemp("r"), appendonly="no") as server:
        counted = rates(server, "1/day")
        rate = writes(counted)
        assert [rate.takes("a"), rate.takes("a")] == [True, False]
        server.kill()
        assert rate.takes("a")
        assert counted.fault is not None
        server.start()
        eventually(lambda: counted.fault is None)  # without any call
        assert [rate.takes("a"), rate.takes("a")] == [True, False]
        counted.close()


def test_one_that_hangs_costs_a_caller_a_second_at_most() -> None:
    import socket

    with socket.create_server((HOST, 0)) as silent:
        url = f"redis://{HOST}:{silent.getsockname()[1]}"
        counted = Rates(Settings(write_rate="1/day", rate_store=url), SystemClock())
        began = time.monotonic()
        assert [writes(counted).takes("a") for _ in range(50)] == [True] * 50
        assert time.monotonic() - began < 2
        assert counted.fault is not None and "in time" in counted.fault
        counted.close()


def test_nobody_there_at_the_start_is_no_reason_not_to_start() -> None:
    url = f"redis://{HOST}:{free_port()}"
    registry = loaded_registry(write_rate="1/day", rate_store=url)
    client = create_app(registry).test_client()
    body = registration(mode="standalone")
    for _ in range(3):
        assert client.post("/api/register", json=body).status_code in (200, 201)
    LOOP.call(registry.stop())


def test_without_its_driver_the_start_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(BadSetting, match=r"pip install .*\[redis\]"):
        Rates(Settings(rate_store=f"redis://{HOST}:1"), SystemClock())


def test_an_option_that_makes_no_sense_stops_the_start() -> None:
    url = f"redis://{HOST}:1/0?socket_timeout=soon"
    with pytest.raises(BadSetting, match="--rate-store"):
        Rates(Settings(rate_store=url), SystemClock())
