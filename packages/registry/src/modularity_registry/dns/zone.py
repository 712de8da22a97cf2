"""Answers the questions of a zone from the present catalog.

::

    <domain>                            SOA, NS
    ns.<domain>                         the address of this server
    <capability>.capability.<domain>    SRV, A, AAAA, TXT of its healthy providers
    <id>.service.<domain>               the same of one service, if it is healthy
    <port>.<address>.addr.<domain>      A or AAAA: what SRV records lead to

``_<name>._tcp`` in place of ``<name>`` (RFC 2782) gets the same answers.
"""

import random
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Final

from dns.name import Name
from dns.rdata import Rdata

from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.entry import Entry
from modularity_registry.dns import messages
from modularity_registry.dns.messages import Answer, Rcode, Record, Type
from modularity_registry.dns.names import Index, Names
from modularity_registry.dns.service_records import (
    ServiceRecords,
    label_address,
    service_records,
)
from modularity_registry.model.location import Address

MOST: Final = 512
"""How many providers an answer has at most; of more it has a random choice."""

KEPT: Final = 8192
"""How many services' record data are cached."""

Lookup = Callable[[str], list[Entry] | None]


class Zone:
    """Answers questions under ``domain``; ``ttl`` is seconds, also for what is not.

    ``addresses`` are those of the server itself. Reads the catalog only, so it may be
    asked from any one thread.
    """

    def __init__(
        self,
        catalog: Catalog,
        names: Names,
        domain: str,
        ttl: int,
        addresses: tuple[Address, ...] = (),
    ) -> None:
        self._catalog = catalog
        self._names = names
        self._domain = tuple(domain.encode().split(b"."))
        self._apex = messages.name(*self._domain)
        self._server = messages.name(b"ns", *self._domain)
        self._mailbox = messages.name(b"hostmaster", *self._domain)
        self._ttl = ttl
        self._addresses = addresses
        # An entry never changes, so neither does its record data.
        self._service_records = lru_cache(KEPT)(
            partial(service_records, domain=self._domain)
        )

    def answer(self, query: messages.Query) -> Answer:
        """Return the answer to any question, also to one about another zone."""
        if query.edns is not None and query.edns.version:
            return Answer(authoritative=False)  # the reply says which one is known
        depth = len(self._domain)
        own = query.labels[-depth:] == self._domain
        if (
            not own
            or query.family != messages.CLASS_IN
            or query.type in (Type.AXFR, Type.IXFR)
        ):
            return Answer(Rcode.REFUSED, authoritative=False)
        answer = self._find(query.labels[:-depth], query.type)
        if answer is None:
            return Answer(Rcode.NXDOMAIN, authority=[self._soa(self._apex)])
        if query.type == Type.ANY:
            return Answer(records=[self._hint()])
        if not answer.records:
            return Answer(authority=[self._soa(self._apex)])
        return answer

    def _find(self, labels: tuple[bytes, ...], kind: int) -> Answer | None:
        """Return the records of this kind at a name; None if the name doesn't exist."""
        if not labels:
            return self._at_apex(kind)
        *left, branch = labels
        if branch == b"ns" and not left:
            return self._at_addresses(self._addresses, kind)
        if branch == b"addr":
            return self._at_addr(left, kind)
        if branch == b"capability":
            names = self._names.capabilities
            return self._at_name(left, kind, names, self._providers)
        if branch == b"service":
            return self._at_name(left, kind, self._names.services, self._service)
        return None

    def _at_apex(self, kind: int) -> Answer:
        if kind == Type.SOA:
            return Answer(records=[self._soa(None)])
        if kind == Type.NS:
            record = self._record(messages.server(self._server))
            extra = (self._extra(self._server, address) for address in self._addresses)
            return Answer(records=[record], additional=list(extra))
        return Answer()

    def _at_addr(self, left: list[bytes], kind: int) -> Answer | None:
        if not left:
            return Answer()
        *port, label = left
        plausible = not port or (len(port) == 1 and port[0].isdigit())
        address = label_address(label) if plausible else None
        return self._at_addresses((address,), kind) if address is not None else None

    def _at_addresses(self, addresses: Iterable[Address], kind: int) -> Answer:
        matching = dict.fromkeys(
            address for address in addresses if _type_of(address) == kind
        )
        records = [self._record(messages.address(address)) for address in matching]
        random.shuffle(records)
        return Answer(records=records)

    def _at_name(
        self, left: list[bytes], kind: int, index: Index, lookup: Lookup
    ) -> Answer | None:
        key = _wanted(left)
        if key is None:
            return None
        lookups = [lookup(name) for name in index.find(key)]
        matches = [entries for entries in lookups if entries is not None]
        if matches:
            entries = [entry for match in matches for entry in match]
            if len(entries) > MOST:
                entries = random.sample(entries, MOST)
            return self._of([self._service_records(each) for each in entries], kind)
        part = not key or index.has_below(key.removesuffix("._tcp"))
        return Answer() if part else None

    def _providers(self, name: str) -> list[Entry] | None:
        capability = self._catalog.capability(name)
        if capability is None:
            return None
        healthy = capability.providers().healthy
        return list(healthy)

    def _service(self, service_id: str) -> list[Entry] | None:
        entry = self._catalog.service(service_id)
        if entry is None:
            return None
        return [entry] if entry.status == "healthy" else []

    def _of(self, services: list[ServiceRecords], kind: int) -> Answer:
        if kind in (Type.A, Type.AAAA):
            return self._addresses_of(services, kind)
        random.shuffle(services)
        if kind == Type.SRV:
            return self._srv(services)
        if kind == Type.TXT:
            return Answer(records=[self._record(service.text) for service in services])
        return Answer()

    def _srv(self, services: list[ServiceRecords]) -> Answer:
        weights: dict[tuple[Name, int], int] = {}
        extra: dict[Name, Address] = {}
        for service in services:
            if service.target:
                # Two records alike would count as one, so their weights are summed.
                place = service.target, service.port
                weights[place] = min(weights.get(place, 0) + service.weight, 65_535)
                if service.address is not None:
                    extra[service.target] = service.address
        return Answer(
            records=[
                self._record(messages.srv(weight, port, target))
                for (target, port), weight in weights.items()
            ],
            additional=[
                self._extra(target, address) for target, address in extra.items()
            ],
        )

    def _addresses_of(self, services: list[ServiceRecords], kind: int) -> Answer:
        addresses = [
            service.address for service in services if service.address is not None
        ]
        if addresses:
            return self._at_addresses(addresses, kind)
        targets = [service.target for service in services if service.target]
        if not targets:
            return Answer()
        # A CNAME has to be alone (RFC 1034, 3.6.2), and it would hold for SRV and TXT
        # as well in a resolver that kept it: hence one, and for no time at all.
        target = random.choice(targets)
        return Answer(records=[Record(None, 0, messages.alias(target))])

    def _record(self, data: Rdata) -> Record:
        return Record(None, self._ttl, data)

    def _extra(self, owner: Name, address: Address) -> Record:
        return Record(owner, self._ttl, messages.address(address))

    def _soa(self, owner: Name | None) -> Record:
        serial = self._catalog.changed
        data = messages.soa(self._server, self._mailbox, serial, self._ttl)
        return Record(owner, self._ttl, data)

    def _hint(self) -> Record:
        # RFC 8482: a query for ANY gets the smallest answer.
        return self._record(messages.hint("RFC8482"))


def _type_of(address: Address) -> Type:
    return Type.A if address.version == 4 else Type.AAAA


def _wanted(labels: list[bytes]) -> str | None:
    """Return the name in the question, with dots; None if no service can have it."""
    if labels[-1:] == [b"_tcp"]:
        if len(labels) == 1:
            labels = []
        elif labels[0].startswith(b"_"):
            labels = [labels[0][1:], *labels[1:-1]]
    # A dot within a label is not one between labels.
    if any(b"." in label for label in labels):
        return None
    return b".".join(labels).decode("latin-1")
