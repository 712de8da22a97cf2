"""The name server on the network: whatever comes in, it goes on answering."""

import random
import re
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.query
import pytest

from modularity_registry.dns import listen
from modularity_registry.dns.messages import Edns
from modularity_registry.dns.server import MAX_LOCAL_UDP, _limit
from modularity_registry.dns.tcp import Limits
from modularity_registry.errors import BadSetting
from support.integrations.dns import HOST, SECONDS, Site, rcode, site, texts
from support.registry import LOOP, eventually
from support.servers import program

GREET = "greet.capability.modularity"
ONE = ["1 1 9001 9001.127-0-0-1.addr.modularity."]
IMPATIENT = Limits(connections=4, idle=0.4, message=0.4, unread=0.4)


@pytest.fixture(scope="module")
def dns_site() -> Iterator[Site]:
    with site() as found:
        found.register("one", "http://127.0.0.1:9001")
        yield found


@pytest.fixture(scope="module")
def impatient() -> Iterator[Site]:
    with site(limits=IMPATIENT) as found:
        found.register("one", "http://127.0.0.1:9001")
        yield found


def query(name: str = GREET, number: int = 7, payload: int = 1232) -> bytes:
    asked = dns.message.make_query(name, "SRV", payload=payload, id=number)
    return asked.to_wire()


def exchange(found: Site, packet: bytes) -> dns.message.Message:
    """Send anything by UDP; return what comes back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(SECONDS)
        udp.connect((HOST, found.port))
        udp.send(packet)
        return dns.message.from_wire(udp.recv(65_535))


def connect(found: Site) -> socket.socket:
    return socket.create_connection((HOST, found.port), SECONDS)


def framed(packet: bytes) -> bytes:
    return struct.pack("!H", len(packet)) + packet


def is_closed(connection: socket.socket) -> bool:
    with suppress(ConnectionError):
        return connection.recv(1) == b""
    return True


# What is not a query


def header(flags: int = 0, *counts: int) -> bytes:
    return struct.pack("!6H", 7, flags, *(*counts, 1, 0, 0, 0)[:4])


QUESTION = b"\x05greet\x0acapability\x0amodularity\x00\x00\x21\x00\x01"
OPT = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (header(0x2800) + QUESTION, "NOTIMP"),  # an update
        (header(0x2000) + QUESTION, "NOTIMP"),  # a notification
        (header(0, 0, 0, 0, 0), "FORMERR"),
        (header(0, 2, 0, 0, 0) + QUESTION * 2, "FORMERR"),
        (header(0, 1, 1, 0, 0) + QUESTION, "FORMERR"),
        (header(0, 1, 0, 1, 0) + QUESTION, "FORMERR"),
        (header(0, 1, 0, 0, 1) + QUESTION, "FORMERR"),
        (header(0, 1, 0, 0, 2) + QUESTION + OPT * 2, "FORMERR"),
        (header(0, 1, 0, 0, 1) + QUESTION + b"\x01x" + OPT, "FORMERR"),
        (header() + QUESTION + b"x", "FORMERR"),
        (header() + QUESTION[:-1], "FORMERR"),
        (header() + b"\xc0\x0c\x00\x21\x00\x01", "FORMERR"),
        (header() + b"\x40" + b"x" * 64 + b"\x00\x00\x21\x00\x01", "FORMERR"),
        (header() + b"\x3f" + b"x" * 63, "FORMERR"),
        (header() + (b"\x3f" + b"x" * 63) * 4 + b"\x00\x00\x21\x00\x01", "FORMERR"),
        (header() + QUESTION + bytes(1300), "FORMERR"),
    ],
)
def test_what_is_not_a_query_is_said_to_be_none(
    dns_site: Site, packet: bytes, code: str
) -> None:
    reply = exchange(dns_site, packet)
    assert (reply.id, rcode(reply)) == (7, code)
    assert reply.flags & dns.flags.QR and not reply.question


@pytest.mark.parametrize("packet", [b"", b"x" * 11, header(0x8000) + QUESTION])
def test_some_things_are_best_left_unanswered(dns_site: Site, packet: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(SECONDS)
        udp.connect((HOST, dns_site.port))
        udp.send(packet)
        udp.send(query(number=4711))  # taken after the other one
        assert dns.message.from_wire(udp.recv(65_535)).id == 4711


def mangled(seeds: list[bytes], chance: random.Random) -> bytes:
    """Return a packet with a few things wrong, or everything."""
    packet = bytearray(chance.choice(seeds))
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(packet) + 1)
        match chance.randrange(6):
            case 0:
                del packet[at:]
            case 1:
                packet[at:at] = chance.randbytes(chance.randrange(1, 40))
            case 2:
                packet[at : at + chance.randrange(1, 9)] = b""
            case 3:
                packet += chance.choice(seeds)[at:]
            case 4:
                packet = bytearray(chance.randbytes(chance.randrange(1, 1400)))
            case _ if at < len(packet):
                packet[at] = chance.choice([0, 0xC0, 0xFF, chance.randrange(256)])
    return bytes(packet)


def test_thirty_thousand_mangled_packets_stop_nothing(dns_site: Site) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    seeds = [
        query(),
        query("127-0-0-1.addr.modularity", payload=4096),
        dns.message.make_query("modularity", "SOA", use_edns=False).to_wire(),
        dns.message.make_query(GREET, "ANY", want_dnssec=True).to_wire(),
        header(0, 1, 0, 0, 2)
        + QUESTION
        + b"\xc0\x0c\x00\x01\x00\x01\0\0\0\0\0\0"
        + OPT,
    ]
    seen = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(SECONDS)
        udp.connect((HOST, dns_site.port))
        for number in range(300):
            for _ in range(100):
                udp.send(mangled(seeds, chance)[:65_000])
            # Answered in order: when this one is, so are all before it.
            mark = f"10.9.{number // 250}.{number % 250}"
            name = mark.replace(".", "-") + ".addr.modularity"
            udp.send(dns.message.make_query(name, "A").to_wire())
            answers: list[str] = []
            while answers != [mark]:
                packet = udp.recv(65_535)
                assert packet[2] & 0x80 and len(packet) <= MAX_LOCAL_UDP
                reply = dns.message.from_wire(packet, raise_on_truncation=False)
                seen.add(rcode(reply))
                answers = texts(reply.answer)
    assert seen >= {"NOERROR", "FORMERR", "NOTIMP", "REFUSED", "NXDOMAIN"}
    assert "SERVFAIL" not in seen, "see the log"


def test_an_error_of_its_own_is_said_and_logged_once(
    dns_site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(dns_site.server._zone, "answer", fail)
        for _ in range(3):
            assert rcode(dns_site.ask("new.capability.modularity")) == "SERVFAIL"
    assert caplog.text.count("could not be answered") == 1
    assert dns_site.find(GREET) == ONE


def test_only_neighbours_get_more_than_was_safe_for_all() -> None:
    def limit(payload: int, peer: str) -> int:
        return _limit(Edns(payload, 0, False), peer)

    assert _limit(None, "127.0.0.1") == limit(0, "8.8.8.8") == 512
    assert limit(800, "8.8.8.8") == 800
    assert limit(65_535, "8.8.8.8") == limit(65_535, "::ffff:8.8.8.8") == 1232
    for near in ("127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3", "fe80::1%lo", "fd00::5"):
        assert limit(4096, near) == 4096
        assert limit(65_535, near) == MAX_LOCAL_UDP


# By TCP


def test_a_connection_takes_several_queries(impatient: Site) -> None:
    with connect(impatient) as tcp:
        tcp.sendall(b"".join(framed(query(number=each)) for each in range(20)))
        for number in range(20):
            reply = dns.query.receive_tcp(tcp, time.time() + SECONDS)[0]
            assert reply.id == number and texts(reply.answer) == ONE


def test_a_query_in_pieces_is_one(impatient: Site) -> None:
    with connect(impatient) as tcp:
        packet = framed(query())
        for part in (packet[:1], packet[1:9], packet[9:]):
            tcp.sendall(part)
        tcp.shutdown(socket.SHUT_WR)
        reply = dns.query.receive_tcp(tcp, time.time() + SECONDS)[0]
        assert texts(reply.answer) == ONE
        assert is_closed(tcp)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x00",
        framed(query())[:-1],
        framed(query())[:9],
        b"\xff\xff" + bytes(100),
        framed(b""),
        framed(header(0x8000) + QUESTION),
    ],
)
def test_who_sends_no_whole_query_is_cut(impatient: Site, sent: bytes) -> None:
    with connect(impatient) as tcp:
        tcp.sendall(sent)
        assert is_closed(tcp)


def test_who_drips_is_cut(impatient: Site) -> None:
    with connect(impatient) as tcp:
        tcp.settimeout(0.1)

        def dripped() -> bool:
            try:
                tcp.sendall(b"\x01")
                return tcp.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        tcp.sendall(b"\x01\x00")
        begun = time.monotonic()
        eventually(dripped, SECONDS)
        assert time.monotonic() - begun < SECONDS / 2


def test_who_does_not_read_is_cut(impatient: Site) -> None:
    # The kernel takes megabytes of replies before anybody has to wait: have large ones.
    for number in range(100):
        location = f"http://127.0.0.1:{9100 + number}"
        impatient.register(f"crowd-{number}", location, capabilities=["crowd"])
    with connect(impatient) as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # A caller that had to wait goes on only when a third of its own queue is free.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        tcp.settimeout(6 * SECONDS)
        packets = framed(query("crowd.capability.modularity")) * 100

        def is_cut() -> bool:
            try:
                tcp.sendall(packets)
            except ConnectionError:
                return True
            return False

        eventually(is_cut, 6 * SECONDS)
    assert impatient.ask_by_tcp(GREET).answer


def test_garbage_ends_its_own_connection_alone(impatient: Site) -> None:
    with connect(impatient) as tcp:
        for _ in range(50):
            with connect(impatient) as other:
                other.sendall(random.randbytes(2000))
            tcp.sendall(framed(query()))
            reply = dns.query.receive_tcp(tcp, time.time() + SECONDS)[0]
            assert texts(reply.answer) == ONE


def test_a_new_connection_ends_the_one_that_was_quiet_for_longest() -> None:
    with site(limits=Limits(connections=3)) as found:
        found.register("one", "http://127.0.0.1:9001")
        connections = []
        for _ in range(3):
            connections.append(connect(found))
            connections[-1].sendall(framed(query()))
            dns.query.receive_tcp(connections[-1], time.time() + SECONDS)
        first, second, third = connections
        first.sendall(framed(query()))
        dns.query.receive_tcp(first, time.time() + SECONDS)
        assert texts(found.ask_by_tcp(GREET).answer) == ONE
        assert is_closed(second)
        for each in (first, third):
            each.sendall(framed(query()))
            assert dns.query.receive_tcp(each, time.time() + SECONDS)[0].answer
        for each in connections:
            each.close()


def test_a_client_s_connections_are_at_the_cost_of_its_own() -> None:
    def asked(found: Site, host: str) -> socket.socket:
        tcp = socket.create_connection((HOST, found.port), SECONDS, (host, 0))
        tcp.sendall(framed(query()))
        dns.query.receive_tcp(tcp, time.time() + SECONDS)
        return tcp

    with site(limits=Limits(connections=4, per_client=2)) as found:
        modest = asked(found, "127.0.0.9")
        greedy = [asked(found, "127.0.0.2") for _ in range(3)]
        assert is_closed(greedy[0])
        # With all taken, those who have most have to give one up.
        others = [asked(found, host) for host in ("127.0.0.3", "127.0.0.4")]
        assert is_closed(greedy[1])
        for each in (modest, greedy[2], *others):
            each.sendall(framed(query()))
            assert dns.query.receive_tcp(each, time.time() + SECONDS)[0].id == 7
        for each in (modest, *greedy, *others):
            each.close()


# Sockets, start and end


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_the_answer_comes_from_the_address_that_was_asked(host: str) -> None:
    with site(host=host) as found:
        found.register("one", "http://127.0.0.1:9001")
        for asked in ("127.0.0.1", "127.0.0.7"):
            # dnspython takes no answer from elsewhere.
            assert texts(found.ask(GREET, host=asked).answer) == ONE
        if host == "::":
            assert texts(found.ask(GREET, host="::1").answer) == ONE
        assert not found.find("ns.modularity", "A")


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
@pytest.mark.parametrize("shared", [False, True])
def test_a_port_in_use_is_refused(kind: socket.SocketKind, shared: bool) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        if shared:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind((HOST, 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadSetting, match=f"{port}: something else.*--dns-port"):
            listen(HOST, port)


def test_hosts_that_are_not_here_are_refused() -> None:
    for host in ("no.such.host.invalid", "192.0.2.1"):
        with pytest.raises(BadSetting, match="--host"):
            listen(host, 0)


def test_after_the_end_nobody_answers() -> None:
    with site() as found:
        with connect(found) as tcp:
            tcp.sendall(framed(query()))
            dns.query.receive_tcp(tcp, time.time() + SECONDS)
            LOOP.call(found.server.stop())
            assert is_closed(tcp)
        with pytest.raises(ConnectionRefusedError):
            connect(found)
        LOOP.call(found.server.stop())


def test_answers_go_on_without_the_store() -> None:
    with site() as found:
        found.register("one", "http://127.0.0.1:9001")
        LOOP.call(found.registry.feed.stop())
        assert found.registry.view_health.problems() != []
        assert found.find(GREET) == ONE


# As others see it


def dig(found: Site, *words: str) -> str:
    tool: Path = program.find(["dig"], None, "bind9-dnsutils")
    command = [str(tool), f"@{HOST}", "-p", str(found.port), "+time=5", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "WARNING: Message" not in done.stdout and "bad packet" not in done.stdout
    return done.stdout


def test_dig_reads_the_answers(dns_site: Site) -> None:
    assert dig(dns_site, "+short", GREET, "SRV").splitlines() == ONE
    assert dig(dns_site, "+short", "+tcp", GREET, "A") == "127.0.0.1\n"
    assert "status: NXDOMAIN" in dig(dns_site, "x.service.modularity")
    assert re.search(r"IN\s+SOA\s+ns\.modularity\.", dig(dns_site, "modularity", "SOA"))
    assert "BADVERS" in dig(dns_site, "+edns=1", "+noednsneg", GREET)
    assert "status: NOTIMP" in dig(dns_site, "+opcode=notify", GREET)
    assert "Transfer failed" in dig(dns_site, "modularity", "AXFR")


def test_dig_asks_again_by_tcp() -> None:
    with site() as found:
        for number in range(250):
            found.register(f"s{number}", f"http://10.0.0.{number}:9001")
        assert len(dig(found, "+short", GREET, "SRV").splitlines()) == 250
