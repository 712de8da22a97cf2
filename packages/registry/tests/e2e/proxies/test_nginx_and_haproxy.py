"""nginx and HAProxy as deploy/ has them, in front of a registry.

The callers say by the PROXY protocol where they come from, so that a stranger can be
played on this machine.
"""

import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from e2e.docs.reader import ROOT
from support.access.tls import Authority, TlsRegistry
from support.registry import eventually, registration
from support.servers import nginx, program
from support.servers.program import Program
from support.serving import HOST, free_port

NGINX = ROOT / "deploy" / "nginx" / "modularity-registry.conf"
HAPROXY = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
STRANGER = "203.0.113.9"
STRANGER6 = "2001:db8::9"
NUMBERS = count(1)

# HAProxy as most have it: it adds one header, and lets all else through.
USUAL = """
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen usual
    bind {host}:{port} ssl crt {pem} accept-proxy
    {rules}
    option forwardfor
    server here {host}:{upstream}
"""

# What somebody may send who wants to be taken for someone else.
LIES = [
    [b"Forwarded: for=127.0.0.1"],
    [b"forwarded:\tfor=127.0.0.1\t"],
    [b"Forwarded: for=127.0.0.1", b"Forwarded: for=127.0.0.1"],
    [b'Forwarded: for="[::1]"', b"FORWARDED: for=127.0.0.1;proto=https"],
    [b'Forwarded: for="'],
    [b"Forwarded: for=127.0.0.1\xff"],
    [b"Forwarded: for=unknown"],
    [b"Forwarded:"],
    [b"Forwarded_: for=127.0.0.1", b"_Forwarded: for=127.0.0.1"],
    [b"X-Forwarded-For: 127.0.0.1"],
    [b"X_Forwarded_For: 127.0.0.1"],
    [b"x-forwarded_for: 127.0.0.1"],
    [b"X_FORWARDED-FOR: 127.0.0.1", b"X-Forwarded-For: 127.0.0.1"],
    [b"X-Forwarded-For: 127.0.0.1", b"X_Forwarded_For: 127.0.0.1"],
    [b"X-Forwarded-For:\t127.0.0.1", b"x_forwarded_for:\t127.0.0.1"],
    [b"X-Real-IP: 127.0.0.1", b"X_Real_IP: 127.0.0.1"],
    [b"Remote-Addr: 127.0.0.1", b"REMOTE_ADDR: 127.0.0.1"],
    [b"Connection: Forwarded, X-Forwarded-For", b"Forwarded: for=127.0.0.1"],
]
UNDERSCORES = [lies for lies in LIES if any(b"_" in line for line in lies)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Front:
    """A proxy with TLS before a registry that trusts it."""

    def __init__(
        self, folder: Path, authority: Authority, header: str = "forwarded"
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.path = ""
        self.context = authority.context()
        cert, key = authority.write("front")
        self.pem = folder / "front.pem"
        self.pem.write_bytes(cert.read_bytes() + key.read_bytes())
        self.cert, self.key = cert, key
        self.registry = TlsRegistry(
            folder,
            self.context,
            trusted_proxies="127.0.0.0/8",
            forwarded_header=header,
            log_format="json",
            log_level="debug",
        )
        self.program: Program | None = None

    def start(self, command: list[str | Path]) -> None:
        self.program = Program(command, self.folder / "front.log")
        self.program.wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/ready", STRANGER)[0] == 200
        except OSError:
            return False

    def stop(self) -> None:
        if self.program is not None:
            self.program.stop()
        self.registry.stop()

    def ask(
        self,
        method: str,
        path: str,
        caller: str,
        lies: list[bytes] | None = None,
        body: Any = None,
    ) -> tuple[int, bytes]:
        """Call as if from ``caller``; return the status and all of the reply."""
        family = "TCP6" if ":" in caller else "TCP4"
        here = "::1" if ":" in caller else HOST
        sent = json.dumps(body).encode() if body is not None else b""
        head = [
            f"{method} {path} HTTP/1.1".encode(),
            b"Host: registry",
            b"Content-Type: application/json",
            b"Content-Length: %d" % len(sent),
            *(lies or []),
        ]
        if not any(line.lower().startswith(b"connection") for line in head):
            head.append(b"Connection: close")
        with socket.create_connection((HOST, self.port), 10) as raw:
            raw.sendall(f"PROXY {family} {caller} {here} 4711 443\r\n".encode())
            with self.context.wrap_socket(raw, server_hostname=HOST) as wrapped:
                wrapped.sendall(b"\r\n".join(head) + b"\r\n\r\n" + sent)
                wrapped.settimeout(3 if b"Connection: close" not in head else 10)
                reply = _first_reply(wrapped)
        return int(reply[9:12]), reply

    def register(self, caller: str, lies: list[bytes], location: str) -> int:
        """Register another service there; return the status."""
        name = f"liar-{next(NUMBERS)}"
        self.path = f"/api/services/{name}"
        body = registration(name, location=location)
        return self.ask("PUT", self.path, caller, lies, body)[0]

    def peer(self, path: str) -> str:
        """Who, says the log, has asked for a path that is asked for once."""
        found: list[str] = []

        def logged() -> bool:
            for line in self.registry.said().splitlines():
                if f'"{path}"' in line and '"request"' in line:
                    found.append(json.loads(line)["peer"])
            return bool(found)

        eventually(logged)
        return found[0]


def _first_reply(wrapped: ssl.SSLSocket) -> bytes:
    got = b""
    while True:
        part = wrapped.recv(65_536)
        got += part
        head, found, body = got.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if not part or (found and length and len(body) >= int(length[1])):
            return got


def substituted(text: str, *pairs: tuple[str, str]) -> str:
    for written, used in pairs:
        assert text.count(written) == 1, written
        text = text.replace(written, used)
    return text


def start_nginx(front: Front) -> None:
    servers = substituted(
        NGINX.read_text(),
        ("127.0.0.1:5000;", f"{HOST}:{front.registry.port};"),
        (
            "listen 443 ssl;",
            f"listen {HOST}:{front.port} ssl proxy_protocol;"
            " set_real_ip_from 127.0.0.0/8; real_ip_header proxy_protocol;",
        ),
        ("/etc/ssl/registry.pem", str(front.cert)),
        ("/etc/ssl/registry.key", str(front.key)),
    )
    front.start(nginx.command(front.folder, servers))


def start_haproxy(front: Front) -> None:
    tool = program.find(["haproxy"], None, "haproxy")
    text = substituted(
        HAPROXY.read_text(),
        ("127.0.0.1:5000 ", f"{HOST}:{front.registry.port} "),
        (
            "bind :443 ssl crt /etc/haproxy/registry.pem",
            f"bind {HOST}:{front.port} accept-proxy ssl crt {front.pem}",
        ),
    )
    config = front.folder / "haproxy.cfg"
    config.write_text(text)
    front.start([tool, "-db", "-f", config])


@contextmanager
def usual_haproxy(folder: Path, authority: Authority, rules: str) -> Iterator[Front]:
    tool = program.find(["haproxy"], None, "haproxy")
    front = Front(folder, authority, "x-forwarded-for")
    config = folder / "haproxy.cfg"
    config.write_text(
        USUAL.format(
            host=HOST,
            port=front.port,
            pem=front.pem,
            upstream=front.registry.port,
            rules=rules,
        )
    )
    try:
        front.start([tool, "-db", "-f", config])
        yield front
    finally:
        front.stop()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(start_nginx, id="nginx"),
        pytest.param(start_haproxy, id="haproxy"),
    ],
)
def front(
    request: pytest.FixtureRequest,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Front]:
    found = Front(tmp_path_factory.mktemp("front"), authority)
    start: Callable[[Front], None] = request.param
    try:
        start(found)
        yield found
    finally:
        found.stop()


LOOPBACK = "http://127.0.0.1:9"
PRIVATE = "http://10.1.2.3:9"


@pytest.mark.parametrize(
    "lies", LIES, ids=lambda lies: b" | ".join(lies).decode("latin")
)
def test_no_spelling_lets_a_stranger_pass_for_this_machine(
    front: Front, lies: list[bytes]
) -> None:
    # Refused by the registry or, as nonsense, by the proxy: but never taken.
    assert front.register(STRANGER, lies, LOOPBACK) == 400
    taken = front.register(STRANGER, lies, PRIVATE)
    assert taken in (201, 400)
    if taken != 400:
        assert front.peer(front.path) == STRANGER


def test_strangers_are_known_by_their_address(front: Front) -> None:
    for caller in (STRANGER, STRANGER6):
        path = f"/api/services/{next(NUMBERS)}"
        assert front.ask("GET", path, caller)[0] == 404
        assert front.peer(path) == caller


@pytest.mark.parametrize("caller", ["127.0.0.1", "::1"])
def test_who_is_on_this_machine_is_so_behind_the_proxy_too(
    front: Front, caller: str
) -> None:
    assert front.register(caller, [], LOOPBACK) == 201
    assert front.register(caller, [b"Via: 1.1 another"], LOOPBACK) == 201


def test_events_come_through_at_once(front: Front) -> None:
    with socket.create_connection((HOST, front.port), 10) as raw:
        raw.sendall(f"PROXY TCP4 {STRANGER} {HOST} 4711 443\r\n".encode())
        with front.context.wrap_socket(raw, server_hostname=HOST) as stream:
            stream.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n")
            got = b""
            while b"event: connected" not in got:
                got += stream.recv(4096)
            assert front.register(STRANGER, [], PRIVATE) == 201
            while b"10.1.2.3" not in got:
                got += stream.recv(4096)


# X-Forwarded-For, and a proxy that lets underscores through.


def test_an_underscore_makes_nobody_local_whatever_the_proxy_passes_on(
    authority: Authority, tmp_path: Path
) -> None:
    with usual_haproxy(tmp_path, authority, "") as front:
        for lies in LIES:
            assert front.register(STRANGER, lies, LOOPBACK) == 400, lies
        assert front.register("127.0.0.1", [], LOOPBACK) == 400


def test_a_proxy_that_drops_underscores_names_the_right_caller(
    authority: Authority, tmp_path: Path
) -> None:
    rules = "http-request del-header _ -m sub"
    with usual_haproxy(tmp_path, authority, rules) as front:
        for lies in UNDERSCORES:
            assert front.register(STRANGER, lies, PRIVATE) == 201
            assert front.peer(front.path) == STRANGER, lies
