"""What new senders, and those over their rate, get by UDP; a forged address among them.

All come from loopback, which is not trusted here.
"""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dns.flags
import dns.message
import dns.query
import pytest

from modularity_registry.dns.senders import AMPLIFICATION
from support.integrations.dns import HOST, SECONDS, Site, site, texts
from support.servers import program

GREET = "greet.capability.modularity"
PROVIDERS = 60


@contextmanager
def populated(**options: Any) -> Iterator[Site]:
    with site(**options) as found:
        for number in range(PROVIDERS):
            found.register(f"s{number}", f"http://127.0.0.1:{9000 + number}")
        yield found


@pytest.fixture
def wary() -> Iterator[Site]:
    with populated(trusted="off") as found:
        yield found


def sizes(found: Site, name: str, kind: str, **options: Any) -> tuple[int, int, bool]:
    """Return the bytes of question and answer, and whether this is marked as cut."""
    query = dns.message.make_query(name, kind, **options).to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(SECONDS)
        udp.connect((HOST, found.port))
        udp.send(query)
        reply = udp.recv(65_535)
    message = dns.message.from_wire(reply)
    return len(query), len(reply), bool(message.flags & dns.flags.TC)


@pytest.mark.parametrize("payload", [0, 512, 1232, 8192])
@pytest.mark.parametrize("kind", ["SRV", "A", "TXT", "ANY", "SOA", "NS"])
@pytest.mark.parametrize(
    "name", [GREET, f"_greet._tcp.{GREET[6:]}", "x.service.modularity", "modularity"]
)
def test_new_sender_gets_at_most_three_times_its_question(
    wary: Site, name: str, kind: str, payload: int
) -> None:
    asked, answered, _ = sizes(wary, name, kind, payload=payload, use_edns=payload > 0)
    assert answered <= AMPLIFICATION * asked


def test_sender_that_asks_by_tcp_then_gets_whole_answers_by_udp(wary: Site) -> None:
    first = wary.ask(GREET, payload=8192)
    assert first.flags & dns.flags.TC
    assert len(texts(wary.ask_by_tcp(GREET).answer)) == PROVIDERS
    again = wary.ask(GREET, payload=8192)
    assert not again.flags & dns.flags.TC
    assert len(texts(again.answer)) == PROVIDERS
    metrics = wary.registry.metrics
    assert metrics.dns_truncated == {"size": 0, "new_sender": 1, "rate": 0}
    assert metrics.dns_replies == {"udp": 2, "tcp": 1}


def test_small_answer_is_whole_for_a_new_sender() -> None:
    with site(trusted="off") as found:
        found.register("one", "http://127.0.0.1:9001")
        reply = found.ask(GREET)
        assert not reply.flags & dns.flags.TC
        assert texts(reply.answer) == ["1 1 9001 9001.127-0-0-1.addr.modularity."]


def test_trusted_sender_is_not_bound() -> None:
    with populated(rate="1/hour") as found:
        for _ in range(3):
            assert len(texts(found.ask(GREET, payload=8192).answer)) == PROVIDERS


def test_sender_over_its_rate_gets_its_question_back_and_may_ask_by_tcp() -> None:
    with populated(trusted="off", rate="3/hour") as found:
        found.ask_by_tcp(GREET)  # not even one that is known is flooded
        for _ in range(3):
            assert not sizes(found, GREET, "SRV", payload=8192)[2]
        for _ in range(5):
            asked, answered, cut = sizes(found, GREET, "SRV", payload=8192)
            assert (answered, cut) == (asked, True)
        assert len(texts(found.ask_by_tcp(GREET).answer)) == PROVIDERS
        assert found.registry.metrics.dns_truncated["rate"] == 5


def test_dig_finds_all_providers_from_a_new_address(wary: Site) -> None:
    dig = program.find(["dig"], None, "dnsutils")
    command = [str(dig), f"@{HOST}", "-p", str(wary.port), GREET, "SRV", "+short"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert len(done.stdout.splitlines()) == PROVIDERS, done.stdout + done.stderr
