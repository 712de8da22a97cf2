"""How the Consul store gets in, and what it makes of failures."""

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3

from modularity_registry.errors import (
    OutcomeUnknown,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from modularity_registry.stores import open_store
from modularity_registry.stores.base import delete, put
from modularity_registry.stores.conformance.base import assert_prompt
from modularity_registry.stores.conformance.breakable_proxy import BreakableProxy
from modularity_registry.stores.conformance.outages import UNANSWERED
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.consul.connection import TrackingAdapter
from modularity_registry.stores.consul.store import ConsulStore
from modularity_registry.stores.server_url import Host, Server, Tls
from support.registry import eventually
from support.servers.certificates import Authority
from support.servers.stores.consul import HOST, MASTER, Agent, running
from support.serving import free_port

WRONG = "a-token-that-nobody-has-made"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """A Consul that needs a token."""
    with running(Agent(tmp_path_factory.mktemp("consul"), token=MASTER)) as agent:
        yield agent


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def encrypted(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Agent]:
    """A Consul that speaks TLS alone, and only to who has a certificate."""
    own = authority.sign("consul")
    settings = {
        "ca_file": str(authority.ca),
        "cert_file": str(own.cert),
        "key_file": str(own.key),
        "verify_incoming_https": True,
    }
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.load_cert_chain(*authority.sign("operator"))
    folder = tmp_path_factory.mktemp("consul")
    with running(Agent(folder, settings, tls=context)) as agent:
        yield agent


@pytest.fixture
def tls(authority: Authority) -> Tls:
    own = authority.sign("registry")
    return Tls(str(authority.ca), str(own.cert), str(own.key))


def use(store: ConsulStore) -> None:
    """Write, watch and close."""
    recorder = Recorder()
    store.watch(recorder)
    first = put(store, "services/a", b"1")
    second = delete(store, "services/a", expected=first)
    assert second is not None
    recorder.wait_for_revision(second)
    store.ping()
    store.close()


@pytest.mark.parametrize(
    ("token", "says"), [("", "needs a token"), (WRONG, "refuses the token")]
)
def test_a_missing_or_wrong_token_is_named(
    guarded: Agent, token: str, says: str
) -> None:
    with pytest.raises(StoreUnavailable, match=says) as caught:
        ConsulStore(Server((guarded.host,), password=token))
    assert WRONG not in caught.value.detail


def test_a_token_for_the_prefix_is_enough(guarded: Agent) -> None:
    token = guarded.token_for("shelf")
    store = open_store(f"consul://:{token}@{guarded.host}?prefix=shelf")
    assert isinstance(store, ConsulStore)
    use(store)
    with pytest.raises(StoreUnavailable, match="refuses the token") as caught:
        ConsulStore(Server((guarded.host,), password=token, prefix="shelf2"))
    assert token not in caught.value.detail


def test_a_token_that_may_only_read_is_refused_at_the_first_write(
    guarded: Agent,
) -> None:
    ConsulStore(Server((guarded.host,), password=MASTER, prefix="read")).close()
    token = guarded.token_for("read", "read")
    store = ConsulStore(Server((guarded.host,), password=token, prefix="read"))
    store.watch(Recorder()).close()
    with pytest.raises(StoreUnavailable, match="refuses the token"):
        put(store, "services/a", b"")
    with pytest.raises(StoreUnavailable, match="refuses the token"):
        ConsulStore(Server((guarded.host,), password=token, prefix="read/none"))
    store.close()


@pytest.mark.parametrize("token", ["two\nlines", "ü"])
def test_a_token_that_can_be_none_is_not_sent(guarded: Agent, token: str) -> None:
    with pytest.raises(StoreUnavailable, match="printable ASCII") as caught:
        ConsulStore(Server((guarded.host,), password=token))
    assert token not in caught.value.detail


def test_the_environment_has_no_say(
    guarded: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"http://{HOST}:{free_port()}"
    for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY", "CONSUL_HTTP_ADDR"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", WRONG)
    monkeypatch.setenv("CONSUL_HTTP_SSL", "true")
    use(ConsulStore(Server((guarded.host,), password=MASTER, prefix="environment")))


def test_it_connects_over_tls(encrypted: Agent, tls: Tls) -> None:
    use(ConsulStore(Server((encrypted.host,), tls=tls)))


@pytest.mark.parametrize("missing", ["ca", "cert", "tls"])
def test_tls_that_does_not_fit_is_named(
    encrypted: Agent, tls: Tls, missing: str
) -> None:
    others: dict[str, Tls | None] = {
        "ca": replace(tls, ca=None),
        "cert": replace(tls, cert=None, key=None),
        "tls": None,
    }
    with pytest.raises(StoreUnavailable, match=r"TLS|can't be reached|HTTPS"):
        ConsulStore(Server((encrypted.host,), tls=others[missing]))


def test_a_certificate_for_another_name_is_refused(
    encrypted: Agent, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *more: look_up(HOST, *more))
    with pytest.raises(StoreUnavailable, match="TLS"):
        ConsulStore(Server((Host("consul.example", encrypted.port),), tls=tls))


def test_over_a_silent_tls_line_it_ends_promptly(encrypted: Agent, tls: Tls) -> None:
    proxy = BreakableProxy(encrypted.port)
    server = Server((Host(HOST, proxy.port),), tls=tls, prefix="ending")
    store = ConsulStore(server, 60.0)
    store.watch(Recorder())
    proxy.hold()
    with ThreadPoolExecutor(1) as pool:
        write = pool.submit(put, store, "services/a", b"1")
        eventually(lambda: write.running())
        assert_prompt(store.close)
        with pytest.raises(UNANSWERED):
            write.result(5)
    proxy.close()


def test_an_agent_for_development_will_do(tmp_path: Path) -> None:
    with running(Agent(tmp_path, options=("-dev",))) as agent:
        use(ConsulStore(Server((agent.host,))))


@pytest.mark.parametrize("name", [HOST, "::1", "no.such.host.invalid", "a" * 70])
def test_a_missing_server_is_reported_with_its_address(name: str) -> None:
    server = Server((Host(name, free_port()),), password="hunter2")
    with pytest.raises(StoreUnavailable) as caught:
        ConsulStore(server)
    assert str(server) in caught.value.detail
    assert "hunter2" not in caught.value.detail


Wrong = Callable[[requests.PreparedRequest], requests.Response]


def failing(error: Exception) -> Wrong:
    def fail(request: requests.PreparedRequest) -> requests.Response:
        raise error

    return fail


def answering(status: int, body: bytes) -> Wrong:
    def answer(request: requests.PreparedRequest) -> requests.Response:
        response = requests.Response()
        response.status_code = status
        response._content = body
        response.request = request
        response.url = request.url or ""
        response.headers["Location"] = "http://example.invalid/"
        return response

    return answer


FAILURES = {
    "timeout": failing(requests.ReadTimeout("hunter2")),
    "connection": failing(requests.ConnectionError("hunter2")),
    "chunk": failing(requests.exceptions.ChunkedEncodingError("hunter2")),
    "url": failing(requests.exceptions.InvalidURL("hunter2")),
    "urllib3": failing(urllib3.exceptions.ProtocolError("hunter2")),
    "http": failing(http.client.BadStatusLine("hunter2")),
    "os": failing(OSError(5, "hunter2")),
    "moved": answering(301, b""),
    "bad": answering(400, b"what was hunter2?"),
    "busy": answering(429, b"hunter2"),
    "failed": answering(500, b"rpc error hunter2"),
    "web page": answering(200, b"<html>hunter2</html>"),
    "other json": answering(200, b'[{"Key": "hunter2"}]'),
    "not text": answering(500, b"\xff\xfe"),
}


@pytest.fixture
def go_wrong(monkeypatch: pytest.MonkeyPatch) -> Callable[[Wrong], None]:
    """Return a function that makes all calls of all stores go wrong."""

    def begin(wrong: Wrong) -> None:
        def send(
            adapter: TrackingAdapter, request: requests.PreparedRequest, **_: Any
        ) -> requests.Response:
            return wrong(request)

        monkeypatch.setattr(TrackingAdapter, "send", send)

    return begin


@pytest.mark.parametrize("how", FAILURES)
def test_every_failure_is_wrapped(
    guarded: Agent, go_wrong: Callable[[Wrong], None], how: str
) -> None:
    server = Server((guarded.host,), password=MASTER, prefix="failures")
    store = ConsulStore(server)
    other = replace(server, password="hunter2")
    go_wrong(FAILURES[how])
    calls: list[Callable[[], object]] = [
        lambda: put(store, "services/a", b"1"),
        lambda: put(store, "services/a", b"1", expected=0),
        lambda: delete(store, "services/a"),
        lambda: store.watch(Recorder()),
        store.ping,
        lambda: ConsulStore(other),
    ]
    for call in calls:
        with pytest.raises((*UNANSWERED, StoreCorrupt)) as caught:
            call()
        assert str(guarded.host) in caught.value.detail
    assert "hunter2" not in caught.value.detail
    store.close()


@pytest.mark.parametrize(
    ("wrong", "is_known"),
    [
        (answering(500, b"No cluster leader"), True),
        (answering(429, b"rate limit"), True),
        (answering(413, b"too large"), True),
        (answering(500, b"leadership lost while committing log"), False),
        (answering(502, b""), False),
        (failing(requests.ReadTimeout()), False),
        (failing(requests.ConnectionError()), False),
        (failing(requests.ConnectTimeout()), True),
    ],
)
def test_a_failed_write_says_what_is_known_of_it(
    guarded: Agent, go_wrong: Callable[[Wrong], None], wrong: Wrong, is_known: bool
) -> None:
    store = ConsulStore(Server((guarded.host,), password=MASTER, prefix="doubts"))
    put(store, "services/a", b"")
    go_wrong(wrong)
    if is_known:
        with pytest.raises(StoreUnavailable, match="nothing was written"):
            put(store, "services/a", b"")
    else:
        with pytest.raises(OutcomeUnknown):
            put(store, "services/a", b"")
    store.close()


def test_a_write_that_was_made_but_not_answered_is_not_made_again(
    guarded: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server((guarded.host,), password=MASTER, prefix="unanswered")
    store = ConsulStore(server)
    recorder = Recorder()
    store.watch(recorder)
    first = put(store, "services/a", b"1")
    send = TrackingAdapter.send

    def lose(
        adapter: TrackingAdapter, request: requests.PreparedRequest, **options: Any
    ) -> requests.Response:
        response = send(adapter, request, **options)
        assert request.body is None or isinstance(request.body, bytes)
        if b'"cas"' in (request.body or b""):
            response.close()
            raise requests.ConnectionError("the connection broke")
        return response

    with monkeypatch.context() as patch:
        patch.setattr(TrackingAdapter, "send", lose)
        with pytest.raises(OutcomeUnknown):
            put(store, "services/a", b"2", expected=first)
    last = put(store, "services/a", b"3", expected=first + 1)
    recorder.wait_for_revision(last)
    assert [change.value for change in recorder.changes] == [b"1", b"2", b"3"]
    store.close()


def test_what_is_in_consul_can_be_read_by_people(guarded: Agent) -> None:
    server = Server((guarded.host,), password=MASTER, prefix="plain")
    store = ConsulStore(server)
    put(store, "services/a", b'{"a": 1}')
    assert guarded.call("GET", "/v1/kv/plain/state/records/services/a$?raw") == (
        b'{"a": 1}'
    )
    tip = json.loads(guarded.call("GET", "/v1/kv/plain/state/tip?raw"))
    assert tip == {"epoch": store.epoch, "batch": 1, "revision": 1}
    store.close()


def test_errors_carry_one_sentence(guarded: Agent) -> None:
    with pytest.raises(StoreError) as caught:
        ConsulStore(Server((guarded.host,), password=WRONG))
    assert "\n" not in caught.value.detail
