"""Nobody can aim the registry where the address policy doesn't let it go.

Every trick here is tried on registration and, as if it had got past that, on the
prober. A canary listens where the tricks lead: it must never see a connection.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import aiohttp
import pytest

from modularity_registry.errors import AddressRefused
from modularity_registry.health.probes import Outcome, Prober, Target
from modularity_registry.health.probes.address_gate import Gate
from modularity_registry.health.probes.http import HttpChecker, _GatedResolver
from modularity_registry.health.probes.outcome import ConnectForbidden
from modularity_registry.model.location import InvalidLocation, Location, parse_location
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import Lookup, NameLookup
from support.registry import check_target

ELSEWHERE = AddressPolicy.parse("10.0.0.0/8")
ALLY_ONLY = AddressPolicy.parse("127.0.0.2/32")
LOOPBACK = AddressPolicy.parse("loopback")
REDIRECTS = (301, 302, 303, 307, 308)


class Canary:
    """Listens on 127.0.0.1 and ::1; the kernel accepts, so nothing needs to run."""

    def __init__(self) -> None:
        v4 = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(v4.getsockname()[1])
        v6 = socket.create_server(("::1", self.port), family=socket.AF_INET6)
        self._sockets = (v4, v6)
        for sock in self._sockets:
            sock.setblocking(False)

    def connections(self) -> int:
        """Return how many connections there were since the last call."""
        count = 0
        for sock in self._sockets:
            while True:
                try:
                    sock.accept()[0].close()
                except BlockingIOError:
                    break
                count += 1
        return count

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


class Ally(NamedTuple):
    """A server on 127.0.0.2 that is allowed, and redirects callers to the canary."""

    port: int


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    canary = Canary()
    yield canary
    canary.close()


@pytest.fixture(autouse=True)
def silence(canary: Canary) -> Iterator[None]:
    canary.connections()
    yield
    assert canary.connections() == 0


@pytest.fixture(scope="module")
def ally(canary: Canary) -> Iterator[Ally]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            code = next((c for c in REDIRECTS if self.path[1:4] == str(c)), 200)
            self.send_response(code)
            if code != 200:
                scheme = "" if "bare" in self.path else "http:"
                self.send_header("Location", f"{scheme}//127.0.0.1:{canary.port}/")
            self.send_header("Refresh", f"0; url=http://127.0.0.1:{canary.port}/")
            self.send_header("Alt-Svc", f'h2="127.0.0.1:{canary.port}"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.2", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Ally(server.server_port)
    server.shutdown()
    server.server_close()


ANSWERS: dict[str, Sequence[str]] = {
    "localhost": ["127.0.0.1", "::1"],
    "localhost.": ["127.0.0.1", "::1"],
    "ip6-localhost": ["::1"],
    "foo.localhost": ["127.0.0.1"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "six.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "mixed.example": ["10.0.0.1", "127.0.0.1"],
    "mixed-families.example": ["10.0.0.1", "::1"],
    "mixed-last-of-many.example": [*(f"10.0.0.{n}" for n in range(1, 20)), "::1"],
    "zero.example": ["0.0.0.0"],
    "zero6.example": ["::"],
    "metadata.google.internal": ["169.254.169.254"],
    "zoned.example": ["fe80::1%lo"],
    "zoned-loopback.example": ["::1%lo"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "short-answer.example": ["127.1"],
    "decimal-answer.example": ["2130706433"],
    "name-answer.example": ["localhost"],
    "empty-answer.example": [""],
    "nothing.example": [],
    # What old resolvers make of the numeric forms; none of it may ever be asked.
    "2130706433": ["127.0.0.1"],
    "127.1": ["127.0.0.1"],
    "0x7f000001": ["127.0.0.1"],
    "xn--localhost": ["127.0.0.1"],
    "local_host": ["127.0.0.1"],
}


def answer(host: str, port: int) -> Sequence[str]:
    try:
        return ANSWERS[host]
    except KeyError:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None


HTTP_TRICKS = {
    # The plain thing, and everything inet_aton(3) takes for it.
    "loopback": "http://127.0.0.1:{port}",
    "loopback-net": "http://127.127.127.127:{port}",
    "decimal": "http://2130706433:{port}",
    "decimal-overflow": "http://6425673729:{port}",
    "octal": "http://017700000001:{port}",
    "octal-parts": "http://0177.0.0.1:{port}",
    "hex": "http://0x7f000001:{port}",
    "hex-upper": "http://0X7F000001:{port}",
    "hex-parts": "http://0x7f.0x0.0x0.0x1:{port}",
    "hex-mixed": "http://0x7f.0.0.1:{port}",
    "hex-last-part": "http://127.0.0.0x1:{port}",
    "hex-after-name": "http://localhost.0x7f:{port}",
    "hex-empty": "http://127.0.0.0x:{port}",
    "short-two": "http://127.1:{port}",
    "short-three": "http://127.0.1:{port}",
    "leading-zeros": "http://127.000.000.001:{port}",
    "part-too-big": "http://127.0.0.257:{port}",
    "five-parts": "http://127.0.0.1.1:{port}",
    "ipv4-trailing-dot": "http://127.0.0.1.:{port}",
    "zero": "http://0:{port}",
    "unspecified": "http://0.0.0.0:{port}",
    "this-network": "http://0.1.2.3:{port}",
    "broadcast": "http://255.255.255.255:{port}",
    "reserved": "http://240.0.0.1:{port}",
    "multicast": "http://224.0.0.1:{port}",
    "minus": "http://-1:{port}",
    "plus": "http://+127.0.0.1:{port}",
    # IPv6, and IPv4 inside it.
    "ipv6-loopback": "http://[::1]:{port}",
    "ipv6-loopback-long": "http://[0:0:0:0:0:0:0:1]:{port}",
    "ipv6-loopback-padded": "http://[0000::0001]:{port}",
    "ipv6-unspecified": "http://[::]:{port}",
    "mapped": "http://[::ffff:127.0.0.1]:{port}",
    "mapped-hex": "http://[::ffff:7f00:1]:{port}",
    "mapped-allowed": "http://[::ffff:10.0.0.1]:{port}",
    "translated": "http://[::ffff:0:127.0.0.1]:{port}",
    "compatible": "http://[::127.0.0.1]:{port}",
    "nat64": "http://[64:ff9b::127.0.0.1]:{port}",
    "nat64-local": "http://[64:ff9b:1::7f00:1]:{port}",
    "6to4": "http://[2002:7f00:1::]:{port}",
    "teredo": "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:{port}",
    "isatap": "http://[fd00::5efe:127.0.0.1]:{port}",
    "isatap-global": "http://[2001:db8::200:5efe:7f00:1]:{port}",
    "link-local": "http://[fe80::1]:{port}",
    "ipv6-multicast": "http://[ff02::1]:{port}",
    "zone": "http://[::1%lo]:{port}",
    "zone-encoded": "http://[::1%25lo]:{port}",
    "zone-link-local": "http://[fe80::1%25lo]:{port}",
    "no-brackets": "http://::1:{port}",
    "no-end-bracket": "http://[::1:{port}",
    "ipv4-in-brackets": "http://[127.0.0.1]:{port}",
    "ipvfuture": "http://[v1.127.0.0.1]:{port}",
    "after-brackets": "http://[::1].example:{port}",
    "brackets-twice": "http://[[::1]]:{port}",
    "ipv6-five-digits": "http://[::00001]:{port}",
    # One reader's host is another reader's path or password.
    "user": "http://10.0.0.1@127.0.0.1:{port}",
    "user-and-password": "http://10.0.0.1:80@127.0.0.1:{port}",
    "user-empty": "http://@127.0.0.1:{port}",
    "user-twice": "http://a@10.0.0.1@127.0.0.1:{port}",
    "user-encoded": "http://10.0.0.1%40127.0.0.1:{port}",
    "backslash": "http://10.0.0.1\\@127.0.0.1:{port}",
    "backslash-host": "http://127.0.0.1:{port}\\.example",
    "backslashes": "http:\\\\127.0.0.1:{port}",
    "one-slash": "http:/127.0.0.1:{port}",
    "no-slash": "http:127.0.0.1:{port}",
    "three-slashes": "http:///127.0.0.1:{port}",
    "no-scheme": "//127.0.0.1:{port}",
    "fragment": "http://10.0.0.1#@127.0.0.1:{port}",
    "query": "http://10.0.0.1?@127.0.0.1:{port}",
    "query-empty": "http://127.0.0.1:{port}?",
    "semicolon": "http://10.0.0.1;127.0.0.1:{port}",
    "comma": "http://10.0.0.1,127.0.0.1:{port}",
    "space": "http://10.0.0.1 127.0.0.1:{port}",
    "space-first": " http://127.0.0.1:{port}",
    "tab": "http://127.0.\t0.1:{port}",
    "newline": "http://127.0.0.1:{port}\n",
    "newline-host": "http://10.0.0.1\n.127.0.0.1:{port}",
    "header": "http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "nul": "http://127.0.0.1\x00.example:{port}",
    "delete": "http://127.0.0.1\x7f:{port}",
    "next-line": "http://127.0.0.1\x85:{port}",
    "zero-width": "http://127.0.0.1\u200b:{port}",
    "soft-hyphen": "http://local\u00adhost:{port}",
    "byte-order-mark": "\ufeffhttp://127.0.0.1:{port}",
    "surrogate": "http://127.0.0.1\ud800:{port}",
    "percent-host": "http://%6c%6f%63%61%6c%68%6f%73%74:{port}",
    "percent-digit": "http://127.0.0.%31:{port}",
    "percent-nul": "http://127.0.0.1%00.example:{port}",
    "percent-slash": "http://127.0.0.1%2f.example:{port}",
    # What IDNA and NFKC fold into ASCII.
    "ideographic-dot": "http://127\u30020\u30020\u30021:{port}",
    "full-width-dot": "http://127\uff0e0\uff0e0\uff0e1:{port}",
    "half-width-dot": "http://127\uff610\uff610\uff611:{port}",
    "full-width-digits": "http://\uff11\uff12\uff17.0.0.1:{port}",
    "circled-digits": "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:{port}",
    "arabic-digits": "http://\u0661\u0662\u0667.0.0.1:{port}",
    "full-width-name": (
        "http://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54:{port}"
    ),
    "circled-name": (
        "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{port}"
    ),
    "long-s": "http://localho\u017ft:{port}",
    "full-width-colon": "http://10.0.0.1\uff1a{port}@127.0.0.1:{port}",
    "full-width-slash": "http://127.0.0.1:{port}\uff0f",
    # Names.
    "localhost": "http://localhost:{port}",
    "localhost-upper": "http://LOCALHOST:{port}",
    "localhost-dot": "http://localhost.:{port}",
    "localhost-dots": "http://localhost..:{port}",
    "localhost-child": "http://foo.localhost:{port}",
    "ip6-localhost": "http://ip6-localhost:{port}",
    "underscore": "http://local_host:{port}",
    "punycode": "http://xn--localhost:{port}",
    **{
        f"name-{name.removesuffix('.example')}": f"http://{name}:{{port}}"
        for name in ANSWERS
        if name.endswith(".example")
    },
    "name-unknown": "http://no-such-name.example:{port}",
    "name-long-label": "http://" + "a" * 64 + ".example:{port}",
    "name-long": "http://" + "a.b." * 64 + "example:{port}",
    "name-empty-label": "http://local..host:{port}",
    "name-leading-dot": "http://.localhost:{port}",
    "name-only-dot": "http://.:{port}",
    "name-hyphen-first": "http://-localhost:{port}",
    "name-star": "http://*:{port}",
    # Cloud metadata.
    "metadata": "http://169.254.169.254/latest/meta-data",
    "metadata-name": "http://metadata.google.internal/computeMetadata/v1",
    "metadata-amazon": "http://[fd00:ec2::254]/latest/meta-data",
    "metadata-google": "http://[fd20:ce::254]/",
    "metadata-alibaba": "http://100.100.100.200/latest/meta-data",
    "metadata-azure": "http://168.63.129.16/machine",
    "metadata-oracle": "http://192.0.0.192/latest",
    # Ports, schemes, paths.
    "port-empty": "http://127.0.0.1:",
    "port-zero": "http://127.0.0.1:0",
    "port-huge": "http://127.0.0.1:65536",
    "port-huger": "http://127.0.0.1:4294967376",
    "port-minus": "http://127.0.0.1:-80",
    "port-plus": "http://127.0.0.1:+{port}",
    "port-hex": "http://127.0.0.1:0x50",
    "port-leading-zero": "http://127.0.0.1:0{port}",
    "port-full-width": "http://127.0.0.1:\uff18\uff10",
    "port-underscore": "http://127.0.0.1:8_0",
    "port-twice": "http://10.0.0.1:80:{port}",
    "empty": "",
    "scheme-only": "http://",
    "scheme-file": "file:///etc/passwd",
    "scheme-gopher": "gopher://127.0.0.1:{port}/_x",
    "scheme-ws": "ws://127.0.0.1:{port}",
    "scheme-unix": "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    "scheme-tcp": "tcp://127.0.0.1:{port}",
    "scheme-script": "javascript://127.0.0.1:{port}/%0aalert(1)",
    "dots": "http://127.0.0.1:{port}/a/../..",
    "dots-encoded": "http://127.0.0.1:{port}/%2e%2E/",
    "https-loopback": "https://127.0.0.1:{port}",
    "https-short": "https://127.1:{port}",
    "https-name": "https://six.example:{port}",
}
TCP_TRICKS = {
    "loopback": "127.0.0.1:{port}",
    "ipv6-loopback": "[::1]:{port}",
    "mapped": "[::ffff:127.0.0.1]:{port}",
    "unspecified": "0.0.0.0:{port}",
    "decimal": "2130706433:{port}",
    "short": "127.1:{port}",
    "localhost": "localhost:{port}",
    "mixed": "mixed.example:{port}",
    "zoned": "zoned-loopback.example:{port}",
    "two-hosts": "10.0.0.1:{port},127.0.0.1:{port}",
    "resolver": "dns:///127.0.0.1:{port}",
    "literal-scheme": "ipv4:127.0.0.1:{port}",
    "unix": "unix:/tmp/socket",
    "no-port": "127.0.0.1",
    "path": "127.0.0.1:{port}/",
    "user": "a@127.0.0.1:{port}",
}
TRICKS = [
    *(
        pytest.param("http", row, id=f"http-{name}")
        for name, row in HTTP_TRICKS.items()
    ),
    *(
        pytest.param(mode, f"{mode}://{row}", id=f"{mode}-{name}")
        for mode in ("tcp", "grpc")
        for name, row in TCP_TRICKS.items()
    ),
]


def always(found: Sequence[str]) -> Lookup:
    return lambda host, port: found


def probe(
    policy: AddressPolicy,
    target: Target,
    resolver: Lookup = answer,
) -> Outcome:
    async def run() -> Outcome:
        prober = Prober(policy, name_lookup=NameLookup(resolver, ttl=0))
        try:
            return await prober.probe(target)
        finally:
            await prober.close()

    return asyncio.run(run())


def register(text: str, mode: str) -> None:
    location = parse_location(text, mode)
    ELSEWHERE.check_location(location, caller_is_local=False, lookup=answer)


@pytest.mark.parametrize(("mode", "trick"), TRICKS)
def test_a_trick_is_refused_at_registration(
    mode: str, trick: str, canary: Canary
) -> None:
    text = trick.replace("{port}", str(canary.port))
    with pytest.raises(AddressRefused) as refused:
        register(text, mode)
    assert "\n" not in refused.value.detail


@pytest.mark.parametrize("policy", [ELSEWHERE, ALLY_ONLY], ids=["far", "near"])
@pytest.mark.parametrize(("mode", "trick"), TRICKS)
def test_a_trick_past_registration_gets_no_connection(
    mode: str, trick: str, policy: AddressPolicy, canary: Canary
) -> None:
    text = trick.replace("{port}", str(canary.port))
    outcome = probe(policy, check_target(mode, text, timeout=5))
    assert not outcome.ok
    assert outcome.kind in {"policy", "dns"}, outcome


@pytest.mark.parametrize(
    "host", ["2130706433", "127.1", "0x7f000001", "localhost", "127.0.0.1", "0.0.0.0"]
)
def test_the_canary_would_be_reached_without_a_policy(
    host: str, canary: Canary
) -> None:
    socket.create_connection((host, canary.port), timeout=5).close()
    assert canary.connections() == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
@pytest.mark.parametrize("mode", ["http", "tcp", "grpc"])
def test_the_canary_is_reached_where_the_policy_allows_it(
    mode: str, host: str, canary: Canary
) -> None:
    target = check_target(mode, f"{mode}://{host}:{canary.port}", timeout=0.5)
    # The canary never answers, so each check runs into its limit; on a busy machine
    # that may come before the connection.
    for _ in range(20):
        probe(LOOPBACK, target)
        if canary.connections():
            return
    pytest.fail("no check reached the canary")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:7f00:1", "0.0.0.0"])
def test_a_literal_that_nobody_parsed_stops_at_the_socket(
    host: str, canary: Canary
) -> None:
    """aiohttp asks no resolver for literals: the socket factory has the last word."""
    assert isinstance(connect_unchecked(host, canary.port), ConnectForbidden)


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f000001", "127.0.0.1."])
def test_a_numeric_host_that_nobody_parsed_goes_nowhere(
    host: str, canary: Canary
) -> None:
    assert connect_unchecked(host, canary.port) is not None


def test_an_address_that_slips_past_the_resolver_stops_at_the_socket(
    canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def careless(
        self: object, host: str, port: int = 0, family: int = 0
    ) -> list[dict[str, object]]:
        entry = {"hostname": host, "port": port, "family": 0, "proto": 0, "flags": 0}
        return [entry | {"host": "127.0.0.1"}, entry | {"host": "::1"}]

    monkeypatch.setattr(_GatedResolver, "resolve", careless)
    error = connect_unchecked("careless.example", canary.port)
    assert error is not None
    assert "127.0.0.1 is in none of the allowed networks" in str(error)


def connect_unchecked(host: str, port: int) -> Exception | None:
    """Return the error of a check whose location was never parsed nor judged."""

    async def run() -> Exception | None:
        checker = HttpChecker(Gate(ALLY_ONLY, NameLookup(answer, ttl=0)), None)
        location = Location("http", "http", host, port, "", None)
        try:
            async with asyncio.timeout(5):
                await checker.check(location, "/")
        except aiohttp.ClientConnectorError as error:
            return error.os_error
        except (AddressRefused, aiohttp.ClientError) as error:
            return error
        finally:
            await checker.close()
        return None

    return asyncio.run(run())


@pytest.mark.parametrize("bare", ["", "bare"])
@pytest.mark.parametrize("code", REDIRECTS)
def test_a_redirect_is_not_followed(code: int, bare: str, ally: Ally) -> None:
    location = f"http://127.0.0.2:{ally.port}/{code}{bare}"
    outcome = probe(ALLY_ONLY, check_target("http", location))
    assert (outcome.kind, outcome.message) == (
        "status",
        f"HTTP {code}: redirects are not followed",
    )


@pytest.mark.parametrize(
    "path", ["/@127.0.0.1:{port}", "//127.0.0.1:{port}", "/http://127.0.0.1:{port}"]
)
def test_a_path_that_looks_like_a_host_is_a_path(
    path: str, ally: Ally, canary: Canary
) -> None:
    path = path.replace("{port}", str(canary.port))
    target = check_target("http", f"http://127.0.0.2:{ally.port}{path}")
    assert probe(ALLY_ONLY, target).kind == "ok"


@pytest.mark.parametrize(
    "path",
    [
        *("", "health", "@127.0.0.1:{port}", ".example/", ":80/", "/a b", "/a\r\nB: c"),
        *("/#x", "/..", "/%2e%2e/x", "\\\\127.0.0.1:{port}", "/é", "/%zz", "/\x00"),
    ],
)
def test_a_health_path_can_not_change_the_host(
    path: str, ally: Ally, canary: Canary
) -> None:
    path = path.replace("{port}", str(canary.port))
    target = check_target("http", f"http://127.0.0.2:{ally.port}", path)
    assert probe(ALLY_ONLY, target).kind == "policy"


@pytest.mark.parametrize("mode", ["http", "tcp", "grpc"])
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("evil", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_an_answer_that_changes_after_the_check_leads_nowhere(
    mode: str, start: int, evil: str, ally: Ally, canary: Canary
) -> None:
    """The port is the canary's, so only the address keeps the check away from it."""
    asked = start

    def rebind(host: str, port: int) -> Sequence[str]:
        nonlocal asked
        asked += 1
        return ["127.0.0.2"] if asked % 2 else [evil]

    for _ in range(4):
        target = check_target(mode, f"{mode}://rebind.example:{canary.port}", timeout=2)
        assert not probe(ALLY_ONLY, target, rebind).ok
    assert asked >= start + 4


@pytest.mark.parametrize("mode", ["http", "tcp", "grpc"])
@pytest.mark.parametrize("evil", ["127.0.0.1", "::1"])
def test_one_bad_address_spoils_the_answer(
    mode: str, evil: str, ally: Ally, canary: Canary
) -> None:
    for answers in (["127.0.0.2", evil], [evil, "127.0.0.2"]):
        target = check_target(mode, f"{mode}://mixed:{ally.port}")
        outcome = probe(ALLY_ONLY, target, always(answers))
        assert outcome.kind == "policy"
        assert evil in outcome.message


@pytest.mark.parametrize("mode", ["http", "tcp", "grpc"])
def test_a_proxy_in_the_environment_is_not_used(
    mode: str, ally: Ally, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
        monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{canary.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    outcome = probe(ALLY_ONLY, check_target(mode, f"{mode}://127.0.0.2:{ally.port}"))
    assert outcome.ok or mode == "grpc"  # the ally speaks no gRPC


@pytest.mark.parametrize("location", ["http://127.0.0.1", "http://[::1]:80"])
@pytest.mark.parametrize("name", ["", "localhost", "127.0.0.1.nip.example"])
def test_only_a_local_caller_may_register_the_registrys_own_machine(
    location: str, name: str
) -> None:
    parsed = parse_location(f"http://{name}" if name else location, "http")
    LOOPBACK.check_location(parsed, caller_is_local=True, lookup=answer)
    with pytest.raises(AddressRefused, match="registry's own machine"):
        LOOPBACK.check_location(parsed, caller_is_local=False, lookup=answer)


def test_an_unreadable_location_says_so() -> None:
    with pytest.raises(InvalidLocation, match="backslash"):
        parse_location("http://a\\b", "http")
