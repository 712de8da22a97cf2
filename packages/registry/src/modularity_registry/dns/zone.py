"""Answers the questions of a zone from the present catalog.

::

    <domain>                            SOA, NS
    ns.<domain>                         the address of this server
    <capability>.capability.<domain>    SRV, A, AAAA, TXT of whom lookups may return
    <capability>.primary.<domain>       the same of those with the best priority
    <capability>.backup.<domain>        the same of the others
    <capability>.capability.<zone>.zone.<domain>
                                        the same of those nearest to a zone, also for
                                        primary and backup
    <id>.service.<domain>               the same of one service, if it is active
    <port>.<address>.addr.<domain>      A or AAAA: what SRV records lead to
    <capability or id as above>.<namespace>.ns.<domain>
                                        the same in a namespace of the registry

``_<name>._tcp`` in place of ``<name>`` (RFC 2782) gets the same answers.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain
from typing import Final, NamedTuple

from modularity_registry.catalog.catalog import Catalog, Providers
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.splits import groups_of
from modularity_registry.catalog.zones import Place, near
from modularity_registry.dns import records
from modularity_registry.dns.messages import (
    CLASS_IN,
    MOST,
    Answer,
    Query,
    Rcode,
    Record,
    Soa,
)
from modularity_registry.dns.names import Index, Names
from modularity_registry.dns.records import Data, Name, Type
from modularity_registry.dns.service_records import (
    BEST_PRIORITY,
    ServiceRecords,
    label_address,
    service_records,
)
from modularity_registry.model.location import Address
from modularity_registry.model.service import ACTIVE

KEPT: Final = 8192
"""How many services' record data are cached."""

LARGEST_WEIGHT: Final = 65_535


class Share(NamedTuple):
    """A group of a capability's providers that gets calls, and its weight."""

    providers: Providers
    weight: int


Source = Providers | Share | Entry
"""Where an answer comes from; it never changes, but another one takes its place."""

BRANCHES: Final = (b"capability", b"primary", b"backup")
"""The labels under which capabilities are found."""

Find = Callable[[str], Sequence[Source]]


class Zone:
    """Answers questions under ``domain``; ``ttl`` is seconds, also for what is not.

    ``addresses`` are those of the server itself, ``namespaces`` what there is to find
    in each namespace but the default one.
    """

    def __init__(
        self,
        names: Names,
        domain: str,
        ttl: int,
        addresses: tuple[Address, ...] = (),
        namespaces: Mapping[str, Names] | None = None,
    ) -> None:
        self._names = names
        self._namespaces = {
            name.encode(): each for name, each in (namespaces or {}).items()
        }
        self._everywhere = (names, *self._namespaces.values())
        self._domain = tuple(domain.encode().split(b"."))
        self._apex = records.name(*self._domain)
        self._server = records.name(b"ns", *self._domain)
        self._mailbox = records.name(b"hostmaster", *self._domain)
        self._ttl = ttl
        self._addresses = addresses
        # An entry never changes, so neither does its record data.
        self._service_records = lru_cache(KEPT)(
            partial(service_records, domain=self._domain)
        )

    @property
    def version(self) -> int:
        """Grows with each change of a catalog."""
        return sum(
            names.version + names.catalog.splits_changed for names in self._everywhere
        )

    def sources(self, query: Query) -> tuple[object, ...]:
        """Return what the answer is made of; nothing if it is made of other things.

        While these are the same objects, the answer to this question is the same.
        """
        return self._sources(self._below(query) or ())

    def answer(self, query: Query, crowd: int = MOST) -> Answer:
        """Return the answer to any question, also to one about another zone.

        Of a capability with more than `MOST` providers, it is a choice of ``crowd``.
        """
        if query.edns is not None and query.edns.version:
            return Answer(authoritative=False)  # the reply says which one is known
        labels = self._below(query)
        if labels is None or query.type in (Type.AXFR, Type.IXFR):
            return Answer(Rcode.REFUSED, authoritative=False)
        answer = self._find(labels, query.type, crowd)
        if answer is None and any(one.catalog.is_preview for one in self._everywhere):
            # What was registered since, and names that need an index, are not known.
            return Answer(Rcode.SERVFAIL, authoritative=False)
        if answer is None:
            return Answer(Rcode.NXDOMAIN, soa=self._negative())
        if query.type == Type.ANY:
            # RFC 8482: a query for ANY gets the smallest answer.
            return Answer(records=[Record(self._ttl, records.hint("RFC8482"))])
        if not answer.records:
            return Answer(soa=self._negative(), chosen=answer.chosen)
        return answer

    def _below(self, query: Query) -> tuple[bytes, ...] | None:
        """Return the labels below the domain; None if it is not in there."""
        depth = len(self._domain)
        if query.labels[-depth:] != self._domain or query.family != CLASS_IN:
            return None
        return query.labels[:-depth]

    def _sources(self, labels: tuple[bytes, ...]) -> tuple[Source, ...]:
        """Return who stands behind a name of a capability or a service."""
        if labels[-1:] == (b"ns",):
            names = self._namespaces.get(labels[-2]) if len(labels) > 2 else None
            return self._named(names, labels[:-2]) if names is not None else ()
        return self._named(self._names, labels)

    def _named(self, names: Names, labels: tuple[bytes, ...]) -> tuple[Source, ...]:
        labels, zone = _split(labels)
        if labels and labels[-1] in BRANCHES:
            place = _place(names, zone) if zone else None
            find = partial(_providers, names.catalog, branch=labels[-1], place=place)
            return self._behind(labels, names.capabilities, find)
        if labels[-1:] == (b"service",):
            find = partial(_service, names.catalog)
            return self._behind(labels, names.services, find)
        return ()

    def _behind(
        self, labels: tuple[bytes, ...], index: Index, find: Find
    ) -> tuple[Source, ...]:
        key = _wanted(list(labels[:-1]))
        if key is None:
            return ()
        return tuple(chain.from_iterable(map(find, index.find(key))))

    def _find(self, labels: tuple[bytes, ...], kind: int, crowd: int) -> Answer | None:
        """Return the records of this kind at a name; None if the name doesn't exist."""
        if not labels:
            return self._at_apex(kind)
        *left, branch = labels
        if branch == b"ns":
            return self._at_ns(tuple(left), kind, crowd)
        if branch == b"addr":
            return self._at_addr(left, kind)
        return self._at_branch(self._names, labels, kind, crowd)

    def _at_ns(self, labels: tuple[bytes, ...], kind: int, crowd: int) -> Answer | None:
        if not labels:
            return self._at_addresses(self._addresses, kind)
        *left, namespace = labels
        names = self._namespaces.get(namespace)
        if names is None:
            return None
        return self._at_branch(names, tuple(left), kind, crowd) if left else Answer()

    def _at_branch(
        self, names: Names, labels: tuple[bytes, ...], kind: int, crowd: int
    ) -> Answer | None:
        *left, branch = labels
        if branch == b"zone" and not any(label in BRANCHES for label in left):
            return Answer()  # any zone may be asked for, and has names below
        if branch in (*BRANCHES, b"zone"):
            return self._at_name(names, labels, kind, names.capabilities, crowd)
        if branch == b"service":
            return self._at_name(names, labels, kind, names.services, crowd)
        return None

    def _at_apex(self, kind: int) -> Answer:
        if kind == Type.SOA:
            return Answer(records=[Record(self._ttl, self._soa())])
        if kind == Type.NS:
            address = next(map(records.address, self._addresses), None)
            data = records.server(self._server)
            return Answer(records=[Record(self._ttl, data, address)])
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
        return Answer(
            records=[Record(self._ttl, records.address(each)) for each in matching]
        )

    def _at_name(
        self,
        names: Names,
        labels: tuple[bytes, ...],
        kind: int,
        index: Index,
        crowd: int,
    ) -> Answer | None:
        sources = self._named(names, labels)
        if sources:
            if any(isinstance(source, Share) for source in sources):
                return self._of_split(sources, kind, crowd)
            entries = _candidates(sources)
            chosen = len(entries) > MOST
            if chosen:
                entries = random.sample(entries, crowd)
            services = [self._service_records(entry) for entry in entries]
            return replace(self._of(services, kind), chosen=chosen)
        key = _wanted(list(_split(labels)[0][:-1]))
        if key is None:
            return None
        part = not key or index.has_below(key.removesuffix("._tcp"))
        return Answer() if part else None

    def _of_split(self, sources: Sequence[Source], kind: int, crowd: int) -> Answer:
        """Return the records of providers whose calls are split.

        Addresses have no weights: they are those of one group, which is chosen by
        weight for each reply.
        """
        total = max(1, sum(len(_candidates([source])) for source in sources))
        most = crowd if total > MOST else total
        by_source: list[tuple[int, list[ServiceRecords]]] = []
        for source in sources:
            entries = _candidates([source])
            # Of each group some, or a small one would have no share of its own.
            count = min(len(entries), -(-most * len(entries) // total))
            services = [
                self._service_records(entry) for entry in random.sample(entries, count)
            ]
            weight = source.weight if isinstance(source, Share) else 1
            by_source.append((weight, services))
        if kind not in (Type.A, Type.AAAA):
            answer = self._of(_weighted(by_source), kind)
            return replace(answer, chosen=total > MOST)
        while by_source:
            weights = [weight for weight, _ in by_source]
            at = random.choices(range(len(by_source)), weights)[0]
            answer = self._of(by_source.pop(at)[1], kind)
            if answer.records:
                return replace(answer, chosen=True)
        return Answer(chosen=True)

    def _of(self, services: list[ServiceRecords], kind: int) -> Answer:
        if kind in (Type.A, Type.AAAA):
            return self._addresses_of(services, kind)
        if kind == Type.SRV:
            return self._srv(services)
        if kind == Type.TXT:
            return Answer(
                records=[Record(self._ttl, service.text) for service in services]
            )
        return Answer()

    def _srv(self, services: list[ServiceRecords]) -> Answer:
        weights: dict[tuple[int, Name, int], int] = {}
        places: dict[tuple[int, Name, int], Address | None] = {}
        for service in services:
            if service.target:
                # Two records alike would count as one, so their weights are summed.
                place = service.priority, service.target, service.port
                weights[place] = min(
                    weights.get(place, 0) + service.weight, LARGEST_WEIGHT
                )
                places[place] = service.address
        return Answer(
            records=[
                Record(
                    self._ttl,
                    records.srv(place[0], weights[place], place[2], place[1]),
                    None if address is None else records.address(address),
                )
                for place, address in places.items()
            ]
        )

    def _addresses_of(self, services: list[ServiceRecords], kind: int) -> Answer:
        addresses = [
            service.address for service in services if service.address is not None
        ]
        if addresses:
            return self._at_addresses(addresses, kind)
        targets = [service.target for service in services if service.target]
        # A CNAME has to be alone (RFC 1034, 3.6.2), and it would hold for SRV and TXT
        # as well in a resolver that kept it: hence one, and for no time at all.
        return Answer(
            records=[Record(0, records.alias(target)) for target in targets], most=1
        )

    def _negative(self) -> Soa:
        return Soa(self._apex, self._ttl, self._soa())

    def _soa(self) -> Data:
        serial = max(names.catalog.changed for names in self._everywhere)
        return records.soa(self._server, self._mailbox, serial, self._ttl)


def _service(catalog: Catalog, service_id: str) -> Sequence[Source]:
    entry = catalog.service(service_id)
    return () if entry is None else (entry,)


def _providers(
    catalog: Catalog, name: str, branch: bytes, place: Place | None
) -> Sequence[Source]:
    capability = catalog.capability(name)
    if capability is None:
        return ()
    providers = capability.providers()
    if branch != b"capability":
        primary, backup = providers.tiers()
        providers = primary if branch == b"primary" else backup
    groups = groups_of(providers)
    if groups is None or not groups.weights:
        return (_near(catalog, providers, place),)
    return [
        Share(_near(catalog, groups.members[name], place), weight)
        for name, weight in groups.weights.items()
    ]


def _near(catalog: Catalog, providers: Providers, place: Place | None) -> Providers:
    return near(catalog, providers, place) if place else providers


def _place(names: Names, labels: tuple[bytes, ...]) -> Place:
    """Return the zone with this name; of several, one that services are in."""
    key = b".".join(labels).decode("latin-1")
    zones = (*names.zones.find(key), key)
    regions = names.catalog.regions
    return Place(next((zone for zone in zones if zone in regions), key))


def _weighted(
    groups: Iterable[tuple[int, list[ServiceRecords]]],
) -> list[ServiceRecords]:
    """Return the services of all groups, each with its part of its group's weight.

    The largest part is `LARGEST_WEIGHT`. A service without a weight has none here
    either, unless that is so for its whole group. Priorities are taken off: each group
    has one, and the calls are for all groups.
    """
    parts: list[tuple[ServiceRecords, float]] = []
    for weight, services in groups:
        placed = [service for service in services if service.target]
        total = sum(service.weight for service in placed)
        for service in services:
            own = service.weight / total if total else 1 / max(1, len(placed))
            parts.append((service, weight * own if service.target else 0.0))
    largest = max((part for _, part in parts), default=0.0)
    return [
        replace(
            service,
            priority=BEST_PRIORITY,
            weight=max(1, round(LARGEST_WEIGHT * part / largest)) if part else 0,
        )
        for service, part in parts
    ]


def _candidates(sources: Sequence[Source]) -> Sequence[Entry]:
    found: list[Sequence[Entry]] = []
    for source in sources:
        if isinstance(source, Share):
            found.append(source.providers.candidates)
        elif isinstance(source, Providers):
            found.append(source.candidates)
        elif source.status in ACTIVE:
            found.append((source,))
    # One name is mostly one capability, whose providers need no copy.
    return found[0] if len(found) == 1 else tuple(chain.from_iterable(found))


def _split(labels: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return a name without its zone, and the labels of that; none if it has none."""
    if labels[-1:] != (b"zone",):
        return labels, ()
    if b"capability" in labels:
        end = len(labels) - labels[::-1].index(b"capability")
        return labels[:end], labels[end:-1]
    # A zone may be called so too, but its name is not empty.
    ends = [end for end in range(1, len(labels) - 1) if labels[end - 1] in BRANCHES]
    return (labels[: ends[-1]], labels[ends[-1] : -1]) if ends else (labels, ())


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
