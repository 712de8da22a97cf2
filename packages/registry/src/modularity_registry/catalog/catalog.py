"""The view that every read is answered from: one writer, readers without locks.

Only `feed` writes, on the event loop. A reader in any thread takes one reference (an
`Entry`, a `Providers`, a list of ids) and works on that: nothing reachable from it
changes but the service's vital signs.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from itertools import accumulate, count
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import msgspec

from modularity_registry.catalog import documents
from modularity_registry.catalog.counts import Counts
from modularity_registry.catalog.entry import CheckedVitals, Entry, Renderer, new_vitals
from modularity_registry.catalog.regions import Regions
from modularity_registry.catalog.sorted_keys import SortedKeys
from modularity_registry.clock import Clock
from modularity_registry.errors import ServiceNotFound
from modularity_registry.model.service import ACTIVE, Service
from modularity_registry.model.split import Split
from modularity_registry.stores.base import Record

if TYPE_CHECKING:
    from modularity_registry.catalog.splits import Choices, Groups
    from modularity_registry.catalog.zones import Localities, Place

ValueT = TypeVar("ValueT", covariant=True)

MAX_DEPARTED = 10_000
"""So many capabilities without a provider are remembered as once offered."""


MOST_PARTS = 64
"""Of the providers of one capability, so many selections are remembered."""


class Providers:
    """Who provides one capability, as of ``revision``; never changed once made.

    ``usable`` are the healthy ones, and only if there is none those with a warning;
    without ``prefer_healthy``, both alike. ``candidates`` are those of them with the
    best priority: a lookup returns one of these.
    ``split`` says how their calls are split among groups of them; None if they are not.
    """

    __slots__ = (
        "_by_id",
        "_indifferent",
        "_parts",
        "_thresholds",
        "_tiers",
        "candidates",
        "choices",
        "entries",
        "groups",
        "localities",
        "prefer_healthy",
        "revision",
        "split",
        "usable",
        "version",
    )

    def __init__(
        self,
        entries: tuple[Entry, ...],
        revision: int,
        version: int = 0,
        prefer_healthy: bool = True,
        split: Split | None = None,
    ) -> None:
        self.entries = entries
        self.usable = _usable(entries, prefer_healthy)
        self.candidates = _best(self.usable)
        self.prefer_healthy = prefer_healthy
        self.revision = revision
        self.version = version
        self.split = split
        # Made by `splits`, by the caller's place; None is nowhere in particular.
        self.choices: dict[Place | None, Choices] = {}
        # Made by `splits` if there is a split.
        self.groups: Groups | None = None
        # Made by `zones` when a caller says where it is.
        self.localities: Localities | None = None
        self._by_id: list[Entry] | None = None
        self._indifferent: Providers | None = None
        self._thresholds: list[int] | None = None
        self._tiers: tuple[Providers, Providers] | None = None
        self._parts: dict[object, Providers] = {}

    def part(self, key: object, matches: Callable[[Entry], bool]) -> "Providers":
        """Return those that match; remembered by ``key``, on one thread."""
        part = self._parts.get(key)
        if part is None:
            if len(self._parts) >= MOST_PARTS:
                self._parts.clear()
            part = self._parts[key] = self.matching(matches)
        return part

    def matching(self, matches: Callable[[Entry], bool]) -> "Providers":
        """Return those that match, healthy or not."""
        return self.only(tuple(filter(matches, self.entries)))

    def remember(self, place: "Place | None", choices: "Choices") -> None:
        """Keep the choices of callers at ``place``, of whom there may be any number."""
        if len(self.choices) >= MOST_PARTS:
            self.choices = {}
        self.choices[place] = choices

    def only(self, entries: tuple[Entry, ...]) -> "Providers":
        """Return these of them, with the same preference and split."""
        return Providers(
            entries,
            self.revision,
            prefer_healthy=self.prefer_healthy,
            split=self.split,
        )

    def tiers(self) -> tuple["Providers", "Providers"]:
        """Return the usable primary and backup providers; made when first asked.

        Primary ones have the best priority of all that are registered.
        """
        if self._tiers is None:
            best = _best_priority(self.entries)
            primary = tuple(each for each in self.usable if each.priority == best)
            backup = tuple(each for each in self.usable if each.priority > best)
            self._tiers = self.only(primary), self.only(backup)
        return self._tiers

    def indifferent(self) -> "Providers":
        """Return them without a preference for healthy ones; made when first asked."""
        if self._indifferent is None:
            self._indifferent = Providers(
                self.entries, self.revision, self.version, False, self.split
            )
        return self._indifferent

    @property
    def by_id(self) -> list[Entry]:
        """All providers in order of id; not to be changed by the caller."""
        if self._by_id is None:
            self._by_id = sorted(self.entries, key=lambda entry: entry.id)
        return self._by_id

    @property
    def thresholds(self) -> list[int]:
        """The running totals of the candidates' weights, in their order."""
        if self._thresholds is None:
            weights = (entry.service.registration.weight for entry in self.candidates)
            self._thresholds = list(accumulate(weights))
        return self._thresholds


def _usable(entries: tuple[Entry, ...], prefer_healthy: bool) -> tuple[Entry, ...]:
    active = tuple(entry for entry in entries if entry.status in ACTIVE)
    if not prefer_healthy:
        return active
    return tuple(entry for entry in active if entry.status == "healthy") or active


def _best(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    best = _best_priority(entries)
    return tuple(entry for entry in entries if entry.priority == best)


def _best_priority(entries: tuple[Entry, ...]) -> int:
    return min((entry.priority for entry in entries), default=0)


class Capability:
    """A capability that somebody offers now; ``turns`` counts its callers.

    Its providers are gathered when they are asked for, by any thread, so a thousand
    registrations in a row cost no copies.
    """

    __slots__ = (
        "_first_turn",
        "_members",
        "_providers",
        "_turns",
        "_version",
        "name",
        "revision",
        "split",
        "turns",
    )

    def __init__(self, name: str, split: Split | None = None) -> None:
        self.name = name
        self.split = split
        self.turns = count()
        self._turns: dict[object, count[int]] = {}
        self._first_turn = 0
        self.revision = 0
        # Counts the changes: several may share a revision.
        self._version = 0
        self._members: dict[str, Entry] = {}
        self._providers: Providers | None = None

    def providers(self) -> Providers:
        """Return the providers as they are now, in order of their registration."""
        providers = self._providers
        if providers is None or providers.version != self._version:
            # The version first: of a change that comes meanwhile, the next one learns.
            version, revision = self._version, self.revision
            members = tuple(self._members.values())
            providers = Providers(members, revision, version, split=self.split)
            self._providers = providers
        return providers

    def turns_of(self, part: object) -> "count[int]":
        """Return what counts the callers of some of the providers.

        With one count for all, callers of two zones that take turns would each get
        every second provider of theirs, and the others none.
        """
        turns = self._turns.get(part)
        if turns is None:
            if len(self._turns) >= MOST_PARTS:
                self._turns.clear()
                # Were it the same again, only the first providers would get calls.
                self._first_turn += 1
            turns = self._turns.setdefault(part, count(self._first_turn))
        return turns

    def put(self, entry: Entry) -> None:
        """Add or replace a provider. For the catalog."""
        self._members[entry.id] = entry
        self.revision = entry.revision
        self._version += 1

    def set_split(self, split: Split | None, revision: int) -> None:
        """Split the calls from now on, or no more. As `put`."""
        self.split = split
        self.revision = max(self.revision, revision)
        self._version += 1

    def remove(self, service_id: str, revision: int) -> bool:
        """Take a provider out; say whether nobody is left. As `put`."""
        self._members.pop(service_id, None)
        self.revision = revision
        self._version += 1
        return not self._members


class StoredService(NamedTuple):
    """A service as the store holds it, read and as it was."""

    service: Service
    document: bytes
    revision: int


class StoredSplit(NamedTuple):
    """A split, and the revision of the write that stored it."""

    split: Split
    revision: int


class Transition(msgspec.Struct, frozen=True, gc=False):
    """What one change did: no ``old`` for a new service, no ``new`` for a gone one.

    ``capabilities`` are those that the service provided before or provides now. Several
    changes may share a revision; the ``last`` completes it.
    """

    id: str
    old: Entry | None
    new: Entry | None
    revision: int
    capabilities: frozenset[str]
    last: bool = True


class Lookup(Protocol[ValueT]):
    """What is found by name; a `dict`, or what makes its values when asked."""

    def __len__(self) -> int: ...

    def get(self, key: str, /) -> ValueT | None:
        """Return what has this name; None if nothing has."""


class Keys(Protocol):
    """Names in order: see `SortedKeys`."""

    def all(self) -> list[str]:
        """Return them; not to be changed by the caller."""


class View(NamedTuple):
    """What reads are answered from."""

    entries: Lookup[Entry]
    capabilities: Lookup[Capability]
    ids: Keys
    names: Keys
    counts: Counts


class Additions(Collection[Transition]):
    """The changes of a catalog that was empty: each is made when it is looked at."""

    # A list of them would take 300 bytes a service, and nobody may need one.
    def __init__(self, entries: Collection[Entry]) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, change: object) -> bool:
        return any(one == change for one in self)

    def __iter__(self) -> Iterator[Transition]:
        for new in self._entries:
            names = frozenset(new.capabilities)
            yield Transition(new.id, None, new, new.revision, names, False)


class Catalog:
    """All services by id and by capability, with counts, at one revision.

    A change costs what it touches. ``revision`` is set after the change is in place
    and read before the data, so a reply is never older than the revision it names.
    ``changed`` is the revision of the last change of a service. ``by_owner`` counts the
    services of each owner, ``bytes_by_owner`` the bytes of their stored documents.
    ``zone_threshold`` is the share of its providers that a zone needs: see `zones`.
    ``splits_changed`` counts the changes of splits.
    """

    def __init__(
        self, renderer: Renderer, clock: Clock, zone_threshold: float = 0.7
    ) -> None:
        self.revision = 0
        self.changed = 0
        self.renderer = renderer
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._capabilities: dict[str, Capability] = {}
        self._ids = SortedKeys()
        self._names = SortedKeys()
        self._counts = Counts()
        # What reads are answered from: the above, but for a `preview`.
        self._view = self._own_view()
        self._departed: dict[str, int] = {}
        self._leases_from = 0.0
        self.zone_threshold = zone_threshold
        self.splits_changed = 0
        self._splits: dict[str, StoredSplit] = {}

    # Reading

    def __len__(self) -> int:
        return len(self._view.entries)

    def service(self, service_id: str) -> Entry | None:
        """Return the service with this id, if there is one."""
        return self._view.entries.get(service_id)

    def require(self, service_id: str) -> Entry:
        """Return the service with this id; raises `ServiceNotFound`."""
        entry = self._view.entries.get(service_id)
        if entry is None:
            raise not_found(service_id)
        return entry

    def services(self) -> list[Entry]:
        """Return all services in order of id."""
        get = self._view.entries.get
        ids = self._view.ids.all()
        return [entry for key in ids if (entry := get(key)) is not None]

    def ids(self) -> list[str]:
        """Return all ids in order; not to be changed by the caller."""
        return self._view.ids.all()

    def id_chunks(self) -> list[list[str]]:
        """Return the same in short lists, as they are now; at once."""
        return self._ids.chunks()

    def capability_chunks(self) -> list[list[str]]:
        """Return the names of all capabilities in order, as `id_chunks`."""
        return self._names.chunks()

    def lease_seen(self, entry: Entry) -> float:
        """Return when (monotonic) the term of a service's lease began."""
        return max(entry.vitals.lease_seen, self._leases_from)

    def report_seen(self, entry: Entry, name: str) -> float:
        """Return when (monotonic) the term of a check began that is reported."""
        vitals = entry.vitals
        if not isinstance(vitals, CheckedVitals):
            return self._leases_from
        return max(vitals.reported.get(name, vitals.began), self._leases_from)

    def capability(self, name: str) -> Capability | None:
        """Return the capability if somebody offers it now."""
        return self._view.capabilities.get(name)

    def capabilities(self) -> list[Capability]:
        """Return all capabilities that somebody offers, in order of name."""
        get = self._view.capabilities.get
        return [
            capability
            for name in self._view.names.all()
            if (capability := get(name)) is not None
        ]

    def providing(self, names: frozenset[str]) -> list[Entry]:
        """Return the providers of all ``names`` in order of id; of none: all services.

        Those of the rarest one, to be exact: who looks for all checks the others.
        """
        if not names:
            return self.services()
        candidates: list[Providers] = []
        for name in names:
            capability = self._view.capabilities.get(name)
            if capability is None:
                return []
            candidates.append(capability.providers())
        return min(candidates, key=lambda providers: len(providers.entries)).by_id

    def departed(self, name: str) -> int | None:
        """Return the revision at which the capability lost its last provider.

        None when it has providers, or was never offered as far as this process knows:
        it remembers the `MAX_DEPARTED` last ones.
        """
        return self._departed.get(name)

    def split(self, name: str) -> StoredSplit | None:
        """Return how the calls of a capability are split; None if they are not.

        Of a capability that nobody offers there may be a split as well.
        """
        return self._splits.get(name)

    @property
    def total_splits(self) -> int:
        """How many capabilities have a split."""
        return len(self._splits)

    def splits(self) -> list[StoredSplit]:
        """Return all splits, in order of the names of their capabilities."""
        return sorted(
            self._splits.copy().values(), key=lambda stored: stored.split.capability
        )

    @property
    def is_preview(self) -> bool:
        """Whether reads are answered from another view: see `preview`."""
        return self._view.entries is not self._entries

    @property
    def by_status_and_mode(self) -> Counter[tuple[str, str]]:
        """How many services have each status and mode."""
        return self._view.counts.by_status_and_mode

    @property
    def by_runtime(self) -> Counter[str]:
        """How many services have each runtime."""
        return self._view.counts.by_runtime

    @property
    def by_owner(self) -> Counter[str]:
        """How many services each owner has."""
        return self._view.counts.by_owner

    @property
    def bytes_by_owner(self) -> Counter[str]:
        """How many bytes the stored documents of each owner have."""
        return self._view.counts.bytes_by_owner

    @property
    def document_bytes(self) -> int:
        """How many bytes all stored documents have."""
        return self._view.counts.document_bytes

    @property
    def regions(self) -> Regions:
        """The region of each zone."""
        return self._view.counts.regions

    @property
    def by_status(self) -> Counter[str]:
        """How many services have each status."""
        counts: Counter[str] = Counter()
        for (status, _), services in self.by_status_and_mode.copy().items():
            counts[status] += services
        return counts

    @property
    def by_mode(self) -> Counter[str]:
        """How many services have each mode."""
        counts: Counter[str] = Counter()
        for (_, mode), services in self.by_status_and_mode.copy().items():
            counts[mode] += services
        return counts

    @property
    def total_capabilities(self) -> int:
        """How many capabilities somebody offers."""
        return len(self._view.capabilities)

    # Writing: the feed only

    def load(
        self,
        records: deque[Record],
        read: Callable[[Record], StoredService | None],
        revision: int,
    ) -> Generator[None, None, Collection[Transition]]:
        """Replace everything by ``records``, used up, and return what that changed.

        Yields after each step, for others to have a turn. Who can't be ``read`` is left
        out, who has not changed is not read. Whoever stays gets a full term before a
        lease can be missed: what was seen while this view was away is not known.
        """
        changes: Collection[Transition]
        if self._entries:
            changes = yield from self._reload(records, read, revision)
        else:
            changes = yield from self._fill(records, read)
        self.revision = self.changed = revision
        self.renew_leases()
        return changes

    def _fill(
        self,
        records: deque[Record],
        read: Callable[[Record], StoredService | None],
    ) -> Generator[None, None, Collection[Transition]]:
        """Take ``records`` into a catalog that is empty."""
        while records:
            # What has been read need not be held twice.
            stored = read(records.popleft())
            if stored is not None:
                new = self._entry(stored, None)
                self._entries[new.id] = new
                for name in new.capabilities:
                    capability = self._capabilities.get(name)
                    if capability is None:
                        capability = self._capabilities[name] = self._capability(name)
                        self._departed.pop(name, None)
                    capability.put(new)
                self._counts.count(None, new)
            yield
        yield from self._ids.fill(list(self._entries))
        yield from self._names.fill(list(self._capabilities))
        self._view = self._own_view()
        return Additions(self._entries.values())

    def _own_view(self) -> View:
        return View(
            self._entries, self._capabilities, self._ids, self._names, self._counts
        )

    def make(self, stored: StoredService) -> Entry:
        """Return the entry of a service, without taking it in."""
        return self._entry(stored, None)

    def preview(self, view: View, revision: int) -> None:
        """Answer reads from another view until the first `load` is complete.

        Splits and `departed` stay this catalog's own.
        """
        self._view = view
        self.revision = self.changed = revision

    def _reload(
        self,
        records: deque[Record],
        read: Callable[[Record], StoredService | None],
        revision: int,
    ) -> Generator[None, None, list[Transition]]:
        present = {record.key for record in records}
        gone = [key for key in self._entries if documents.key_of(key) not in present]
        transitions = []
        for key in gone:
            transitions.append(self.apply(key, None, revision, last=False))
            yield
        while records:
            transition = self._load_one(records.popleft(), read, revision)
            if transition is not None:
                transitions.append(transition)
            yield
        return transitions

    def _load_one(
        self,
        record: Record,
        read: Callable[[Record], StoredService | None],
        revision: int,
    ) -> Transition | None:
        key = record.key[len(documents.PREFIX) :]
        old = self._entries.get(key)
        if (
            old is not None
            and old.revision == record.revision
            and old.document == record.value
        ):
            return None
        stored = read(record)
        if stored is not None:
            return self.apply(key, stored, record.revision, last=False)
        return self.apply(key, None, revision, last=False) if old else None

    def renew_leases(self) -> None:
        """Give every lease a full term from now on: signs of life may be missing."""
        self._leases_from = self._clock.monotonic()

    def apply(
        self, key: str, stored: StoredService | None, revision: int, last: bool = True
    ) -> Transition:
        """Put ``stored`` in place of what was under ``key``; None removes it.

        Only the ``last`` change of a revision completes it.
        """
        old = self._entries.get(key)
        new = self._entry(stored, old) if stored else None
        offers = new.capabilities if new else ()
        offered = old.capabilities if old else ()
        if stored is not None and new is not None:
            # Who listens reads it at once; of a whole store, few may ever be read.
            new.render(stored.service)
            self._entries[key] = new
            self._offer(new)
            if old is None:
                self._ids.add(key)
        elif old is not None:
            del self._entries[key]
            self._ids.remove(key)
        names = frozenset(offers)
        if offered != offers:
            gone = [name for name in offered if name not in names]
            self._withdraw(key, gone, revision)
            names = names.union(offered)
        self._counts.count(old, new)
        self.changed = max(self.changed, revision)
        if last:
            self.revision = max(self.revision, revision)
        return Transition(key, old, new, revision, names, last)

    def put_split(self, name: str, stored: StoredSplit | None, revision: int) -> None:
        """Split the calls of a capability; with None, no more.

        The change is one of ``revision``, which `advance` completes.
        """
        if stored is None:
            self._splits.pop(name, None)
        else:
            self._splits[name] = stored
        self.splits_changed += 1
        self.changed = max(self.changed, revision)
        capability = self._capabilities.get(name)
        if capability is not None:
            capability.set_split(stored.split if stored else None, revision)

    def advance(self, revision: int) -> None:
        """Note that the store went on to ``revision`` with nothing for this view."""
        self.revision = max(self.revision, revision)

    def _entry(self, stored: StoredService, old: Entry | None) -> Entry:
        service, document, revision = stored
        if old is not None and old.registered_at == service.registered_at:
            return self.renderer.entry(service, document, revision, old.vitals)
        vitals = new_vitals(service, self._clock.monotonic())
        return self.renderer.entry(service, document, revision, vitals)

    def _offer(self, entry: Entry) -> None:
        for name in entry.capabilities:
            capability = self._capabilities.get(name)
            if capability is None:
                capability = self._capabilities[name] = self._capability(name)
                self._names.add(name)
                self._departed.pop(name, None)
            capability.put(entry)

    def _capability(self, name: str) -> Capability:
        stored = self._splits.get(name)
        return Capability(name, stored.split if stored else None)

    def _withdraw(self, key: str, names: Iterable[str], revision: int) -> None:
        for name in names:
            if self._capabilities[name].remove(key, revision):
                del self._capabilities[name]
                self._names.remove(name)
                self._remember(name, revision)

    def _remember(self, name: str, revision: int) -> None:
        self._departed[name] = revision
        if len(self._departed) > MAX_DEPARTED:
            del self._departed[next(iter(self._departed))]


def not_found(service_id: str) -> ServiceNotFound:
    """Return the error that no service has this id."""
    return ServiceNotFound(f"no service {service_id!r} is registered")
