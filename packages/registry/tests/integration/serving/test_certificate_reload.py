"""A renewed certificate is taken up while calls and streams go on."""

import http.client
import re
import signal
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import requests

from support.access.tls import DAY, Authority, TlsRegistry, renew, serving
from support.registry import eventually, registration
from support.serving import HOST


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def registry(authority: Authority, tmp_path: Path) -> Iterator[TlsRegistry]:
    cert, key = authority.write("served", name="first")
    context = authority.context()
    with serving(tmp_path, context, tls_cert=str(cert), tls_key=str(key)) as running:
        yield running


class Callers:
    """Callers who ask all the time, on connections kept and on new ones."""

    def __init__(self, registry: TlsRegistry, number: int = 8) -> None:
        self._registry = registry
        self._over = threading.Event()
        self.lost: list[str] = []
        self.answered = 0
        self._threads = [
            threading.Thread(target=self._run, args=(each % 2 == 0,))
            for each in range(number)
        ]

    def _run(self, keeps: bool) -> None:
        connection = self._registry.connect()
        while not self._over.wait(0.002):
            try:
                connection.request("GET", "/api/services/hello-service")
                reply = connection.getresponse()
                assert b"hello-service" in reply.read() and reply.status == 200
                self.answered += 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.lost.append(repr(error))
            if not keeps:
                connection.close()  # the next request opens another one
        connection.close()

    def go_on(self) -> None:
        """Return when they have had fifty more answers."""
        before = self.answered
        eventually(lambda: self.answered > before + 50)

    def __enter__(self) -> "Callers":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join()


class Listener:
    """Reads the stream of events, whatever its connection's certificate."""

    def __init__(self, registry: TlsRegistry) -> None:
        self._connection = registry.connect(timeout=60)
        self._connection.request("GET", "/api/events")
        self._reply = self._connection.getresponse()
        self.seen = b""
        self.ended = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while piece := self._reply.read1(65_536):
            self.seen += piece
        self.ended = True

    def join(self) -> None:
        self._thread.join(20)
        self._connection.close()


def register(registry: TlsRegistry, authority: Authority, service_id: str) -> None:
    reply = requests.post(
        f"https://{HOST}:{registry.port}/api/register",
        json=registration(service_id),
        verify=str(authority.path),
        timeout=10,
    )
    assert reply.status_code == 201, reply.text


def shows(registry: TlsRegistry, name: str) -> bool:
    return registry.subject() == name


def test_a_renewal_under_load_loses_no_call_and_no_stream(
    registry: TlsRegistry, authority: Authority
) -> None:
    register(registry, authority, "hello-service")
    listener = Listener(registry)
    try:
        eventually(lambda: b"event: connected" in listener.seen)
        with Callers(registry) as callers:
            for name in ("second", "third"):
                callers.go_on()
                renew(authority, name)
                eventually(partial(shows, registry, name))
                # From here on it is the only one: nothing accepts with the old one.
                assert {registry.subject() for _ in range(20)} == {name}
            callers.go_on()
        assert callers.lost == []
        # What was in memory is there, and the old connection's stream tells of it.
        register(registry, authority, "later-service")
        eventually(lambda: b"later-service" in listener.seen)
        assert not listener.ended
    finally:
        assert registry.stop() == 0
        listener.join()
    assert listener.ended
    assert registry.said().count("new connections get the renewed") == 2


def test_hup_takes_a_renewal_up_in_every_worker(
    authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.write("served", name="first")
    with serving(
        tmp_path,
        authority.context(),
        tls_cert=str(cert),
        tls_key=str(key),
        workers=2,
        store=f"sqlite:///{tmp_path}/registry.db",
    ) as registry:
        renew(authority, "second")
        registry.signal(signal.SIGHUP)
        eventually(lambda: registry.said().count("get the renewed certificate") == 2)
        eventually(lambda: {registry.subject() for _ in range(20)} == {"second"})


def test_a_broken_renewal_changes_nothing_but_the_log(
    registry: TlsRegistry, authority: Authority
) -> None:
    (authority.folder / "served.pem").write_bytes(b"half a certif")
    eventually(lambda: "was not renewed" in registry.said())
    assert registry.subject() == "first"
    # The right certificate with another one's key.
    renew(authority, "second")
    (authority.folder / "served.key").write_bytes(authority.sign("x")[1])
    registry.signal(signal.SIGHUP)
    eventually(lambda: "does not belong to the first certificate" in registry.said())
    assert registry.subject() == "first"
    (authority.folder / "served.key").unlink()
    eventually(lambda: "can't be read" in registry.said())
    assert registry.subject() == "first"
    renew(authority, "third")
    eventually(lambda: registry.subject() == "third")


def test_another_ca_of_the_callers_counts_from_the_next_connection_on(
    authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.write("served")
    (tmp_path / "new").mkdir()
    other = Authority(tmp_path / "new")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.path.read_bytes())
    former = authority.context(authority.write("former"))
    with serving(
        tmp_path,
        former,
        tls_cert=str(cert),
        tls_key=str(key),
        tls_client_ca=str(ca),
    ) as registry:
        kept = registry.connect()
        kept.request("GET", "/health")
        kept.getresponse().read()
        ca.write_bytes(other.path.read_bytes())
        registry.signal(signal.SIGHUP)
        eventually(lambda: "get the renewed certificate" in registry.said())
        # An open connection stays.
        kept.request("GET", "/health")
        assert kept.getresponse().status == 200
        kept.close()
        with pytest.raises(ssl.SSLError, match="alert"):
            registry.get("/health")
        registry.context = authority.context(other.write("next"))
        assert registry.get("/health")[0] == 200


def test_hup_without_tls_is_nothing_to_worry_about(tmp_path: Path) -> None:
    plain = TlsRegistry(tmp_path, ssl.create_default_context())
    url = f"http://{HOST}:{plain.port}/health"

    def answers() -> bool:
        try:
            return requests.get(url, timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    try:
        eventually(answers)
        plain.signal(signal.SIGHUP)
        assert answers()
    finally:
        assert plain.stop() == 0


def test_the_metric_follows_a_renewal(
    registry: TlsRegistry, authority: Authority
) -> None:
    def days() -> float:
        text = registry.get("/metrics")[1].decode()
        pattern = r'registry_tls_certificate_expiry_days{certificate="server"} (\S+)'
        return float(re.findall(pattern, text)[0])

    assert days() == pytest.approx(2, abs=0.1)
    renew(authority, "second", ends=datetime.now(UTC) + 9 * DAY)
    eventually(lambda: days() > 8)
