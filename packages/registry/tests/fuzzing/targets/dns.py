"""DNS messages, to a server whose zone has services.

Each message gets its reply, if it is a query at all. dnspython can read the reply, it
repeats the id and the question, and it is never longer than its sender may be sent.
No query is answered by SERVFAIL, which is what an unexpected exception becomes.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.rcode

from modularity_registry import config, runtime, schema
from modularity_registry.dns import DnsServer, Senders, messages
from modularity_registry.dns.senders import AMPLIFICATION
from modularity_registry.dns.server import MAX_LOCAL_UDP
from support.registry import LOOP, ManualClock, registration

LOCAL: Final = "127.0.0.1"
STRANGER: Final = "8.8.8.8"
PROVEN: Final = "9.9.9.9"
SERVICES: Final = 60


@cache
def server() -> DnsServer:
    """Return a server that listens nowhere."""
    clock = ManualClock()
    settings = config.Settings(namespace=("blue",), allowed_networks="private,loopback")
    registry = runtime.build(settings, clock, replica="replica-1")
    sockets: Any = SimpleNamespace(addresses=(), port=53)
    server = DnsServer(
        registry.catalog,
        registry.feed,
        sockets,
        "modularity",
        ttl=5,
        senders=Senders("loopback", "off", clock.monotonic),
        namespaces={
            name: (one.catalog, one.feed) for name, one in registry.namespaces.items()
        },
    )
    for one in registry.all_namespaces:
        LOOP.call(one.feed.start())
    for number in range(SERVICES):
        host = f"10.0.0.{number}" if number % 3 else f"[fd00::{number}]"
        body = registration(
            f"s{number}",
            location=f"http://{host}:80/{'x' * number}",
            capabilities=["greet", "a/b", f"c{number % 7}", "Greet"],
            zone=f"z{number % 3}",
        )
        parsed = schema.parse_registration(schema.encode(body))
        LOOP.call(registry.commands.register(parsed, True))
    server._answer_tcp(bytes(12), PROVEN)
    return server


def check(data: bytes) -> None:
    """Raise unless a packet is answered as it has to be: ``data`` but its first byte.

    That one decides who sends it, and how.
    """
    packet = data[1 : messages.MAX_QUERY + 2]
    try:
        query = dns.message.from_wire(packet)
    except (dns.exception.DNSException, ValueError):
        query = None
    payload = max(512, query.payload) if query and query.edns >= 0 else 512
    answers, way = server(), data[0] % 4 if data else 0
    if way == 0:
        reply, limit = answers._answer_tcp(packet, PROVEN), messages.MAX_TCP
    elif way == 1:
        reply, limit = answers._answer_udp(packet, LOCAL), min(payload, MAX_LOCAL_UDP)
    else:
        limit, peer = min(payload, messages.MAX_QUERY), PROVEN
        if way == 3:
            limit, peer = min(limit, AMPLIFICATION * len(packet)), STRANGER
        reply = answers._answer_udp(packet, peer)
    check_reply(packet, query, reply, limit)


def check_reply(
    packet: bytes, query: dns.message.Message | None, reply: bytes | None, limit: int
) -> None:
    """Raise unless ``reply`` fits the question, and the sender."""
    is_query = len(packet) >= 12 and not packet[2] & dns.flags.QR >> 8
    assert (reply is not None) == is_query
    if reply is None:
        return
    assert len(reply) <= limit or len(reply) <= len(packet)
    read = dns.message.from_wire(reply)
    assert reply[:2] == packet[:2] and read.flags & dns.flags.QR
    assert read.rcode() != dns.rcode.SERVFAIL
    if read.question:
        assert query is not None and read.question == query.question
        name = query.question[0].name
        assert all(rrset.name == name for rrset in read.answer)
        for rrset in read.answer:
            assert all(data.rdtype == rrset.rdtype for data in rrset)
    else:
        assert len(reply) == 12
