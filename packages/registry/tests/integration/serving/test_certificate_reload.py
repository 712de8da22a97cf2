"""A renewed certificate is taken up while calls and streams go on."""

import http.client
import os
import re
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from modularity_registry.errors import BadSetting
from modularity_registry.serving import granian
from modularity_registry.serving.certificate_reload import Certificates, Expiries
from modularity_registry.serving.certificates import Files
from modularity_registry.serving.granian import GranianInstance
from support.registry import eventually, registration
from support.serving import HOST, alive
from support.tls import DAY, Authority, TlsRegistry, serving


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def registry(authority: Authority, tmp_path: Path) -> Iterator[TlsRegistry]:
    cert, key = authority.write("served", name="first")
    context = authority.context()
    with serving(tmp_path, context, tls_cert=str(cert), tls_key=str(key)) as running:
        yield running


def renew(authority: Authority, name: str, **how: Any) -> None:
    """Put another certificate where the first one was: the key, and then the rest."""
    cert, key = authority.sign(name, **how)
    (authority.folder / "served.key").write_bytes(key)
    (authority.folder / "served.pem").write_bytes(cert)


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


def deaf(pid: int) -> int:
    """How many retired generations the process that serves still has.

    Each has a listening Unix socket in the place of its listener.
    """
    listening = {
        line.split()[6]
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]
        if line.split()[3] == "00010000"
    }
    found = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        match = re.fullmatch(r"socket:\[(\d+)\]", target)
        found += match is not None and match[1] in listening
    return found


def child(registry: TlsRegistry) -> int:
    pids = Path(f"/proc/{registry.process.pid}/task/{registry.process.pid}/children")
    return int(pids.read_text().split()[0])


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


def test_a_generation_ends_when_nobody_can_ask_it_any_more(
    registry: TlsRegistry, authority: Authority
) -> None:
    pid = child(registry)
    idle = registry.connect()
    idle.connect()
    stream = Listener(registry)
    try:
        assert deaf(pid) == 0
        renew(authority, "second")
        eventually(lambda: registry.subject() == "second")
        assert deaf(pid) == 1
        # A connection from before is answered, and told to go.
        idle.request("GET", "/health")
        reply = idle.getresponse()
        assert reply.status == 200 and reply.getheader("Connection") == "close"
        reply.read()
        eventually(lambda: deaf(pid) == 0, seconds=60)
        register(registry, authority, "later-service")
        eventually(lambda: b"later-service" in stream.seen)
        assert alive(pid) and child(registry) == pid
    finally:
        idle.close()
        registry.stop()
        stream.join()


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
    # The right certificate with another one's key would end Granian's process.
    renew(authority, "second")
    (authority.folder / "served.key").write_bytes(authority.sign("x")[1])
    registry.signal(signal.SIGHUP)
    eventually(lambda: "does not belong to the certificate" in registry.said())
    assert registry.subject() == "first"
    (authority.folder / "served.key").unlink()
    eventually(lambda: "can't be read" in registry.said())
    assert registry.subject() == "first"
    renew(authority, "third")
    eventually(lambda: registry.subject() == "third")


def test_the_listener_that_others_share_does_not_block_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The generation before would wait in its `accept` for ever, handshakes and all.
    blocking: list[bool] = []

    class Worker:
        def __init__(self, **given: Any) -> None:
            blocking.append(os.get_blocking(listener.fileno()))

        def serve_mtr(self, scheduler: Any, loop: Any, end: Any) -> None:
            loop.close()

    monkeypatch.setattr(granian, "WSGIWorker", Worker)
    monkeypatch.setattr(granian, "SocketHolder", lambda fd, *given: os.close(fd))
    with socket.create_server((HOST, 0)) as listener:
        os.set_blocking(listener.fileno(), False)  # as Granian does
        GranianInstance(listener, print, threading.Event(), 1, 1, 1, 1.0, None)
    assert blocking == [False]


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
        pid = child(plain)
        for target in (plain.process.pid, pid):
            os.kill(target, signal.SIGHUP)
        assert answers() and child(plain) == pid
    finally:
        assert plain.stop() == 0


# What is taken and what is not, without a server.


class Clock:
    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.time


@contextmanager
def watched(authority: Authority, **how: Any) -> Iterator[tuple[Certificates, Clock]]:
    clock = Clock()
    cert, key = authority.write("served", name="first", **how)
    certificates = Certificates(Files(str(cert), str(key), None, "1.2"), clock)
    yield certificates, clock
    certificates.current.close()


def test_a_change_is_taken_when_it_was_seen_twice(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "modularity_registry.serving.certificate_reload._LOOK_SECONDS", 0.0
    )
    with watched(authority) as (certificates, _):
        assert certificates.look() is None
        renew(authority, "second")
        assert certificates.look() is None
        assert certificates.look() is certificates.current
        assert certificates.look() is None


def test_files_are_not_read_at_every_look(authority: Authority) -> None:
    with watched(authority) as (certificates, _):
        assert certificates.look() is None
        renew(authority, "second")
        assert [certificates.look() for _ in range(5)] == [None] * 5
        assert certificates.look(at_once=True) is certificates.current


def test_one_that_does_not_hold_yet_is_taken_once_it_does(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with watched(authority) as (certificates, clock):
        renew(authority, "second", begins=clock.time + DAY / 2)
        assert certificates.look(at_once=True) is None
        assert "is not valid before" in caplog.text
        clock.time += DAY
        assert certificates.look(at_once=True) is certificates.current


def test_an_expired_one_does_not_replace_a_good_one(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with watched(authority) as (certificates, clock):
        past = clock.time - DAY
        renew(authority, "second", begins=past - DAY, ends=past)
        assert certificates.look(at_once=True) is None
        assert "expired on" in caplog.text


def test_the_same_fault_is_said_once(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with watched(authority) as (certificates, _):
        (authority.folder / "served.key").unlink()
        for _ in range(3):
            assert certificates.look(at_once=True) is None
        assert caplog.text.count("was not renewed") == 1


def test_there_is_nothing_to_begin_with_without_files(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(BadSetting, match="can't be read"):
        Certificates(Files(nowhere, nowhere, None, "1.2"))


def test_days_are_counted_to_the_first_of_a_chain_to_expire(
    authority: Authority,
) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + 10 * DAY
    cert, key = authority.write("served", ends=ends)
    soon = authority.sign("intermediate", ends=ends - 5 * DAY)[0]
    cert.write_bytes(cert.read_bytes() + soon)
    certificates = Certificates(Files(str(cert), str(key), str(authority.path), "1.2"))
    moments, days = (
        {sample.labels["certificate"]: sample.value for sample in family.samples}
        for family in Expiries(certificates).collect()
    )
    assert moments == {
        "server": (ends - 5 * DAY).timestamp(),
        "client_ca": authority.ends.timestamp(),
    }
    assert days["server"] == pytest.approx(5, abs=0.01)
    assert days["client_ca"] == pytest.approx(20, abs=0.01)
    certificates.current.close()


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


def test_without_tls_there_are_no_days() -> None:
    assert [list(each.samples) for each in Expiries(None).collect()] == [[], []]
