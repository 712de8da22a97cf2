"""The catalog as applications and instances, kept up with every change of it."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, Literal, NamedTuple

from modularity_registry import tasks
from modularity_registry.catalog.catalog import Catalog, Transition
from modularity_registry.catalog.entry import Entry
from modularity_registry.integrations.eureka.document import Instance, instances_of
from modularity_registry.integrations.eureka.registration import ids_of

KEPT: Final = 180.0
"""Seconds for which a delta repeats a change, as in Eureka."""

Action = Literal["ADDED", "MODIFIED", "DELETED"]


class Change(NamedTuple):
    """The last change of an instance, ``at`` a time in seconds (monotonic)."""

    at: float
    action: Action
    instance: Instance


class Application:
    """The instances of one application, by the id of their service.

    ``rendered`` is what has been made of them since the last change, by format.
    """

    __slots__ = ("instances", "name", "rendered")

    def __init__(self, name: str) -> None:
        self.name = name
        self.instances: dict[str, Instance] = {}
        self.rendered: dict[object, object] = {}


class View:
    """All applications. A listener of the feed; ``version`` counts its changes.

    ``statuses`` counts the instances of each status.
    """

    def __init__(self, catalog: Catalog, monotonic: Callable[[], float]) -> None:
        self.version = 1
        self.statuses: Counter[str] = Counter()
        self.applications: dict[str, Application] = {}
        self._catalog = catalog
        self._monotonic = monotonic
        self._by_id: dict[str, tuple[Instance, ...]] = {}
        self._changes: OrderedDict[tuple[str, str], Change] = OrderedDict()
        self._vips: dict[str, dict[tuple[str, str], None]] = {}
        self._secure_vips: dict[str, dict[tuple[str, str], None]] = {}

    async def load(self) -> None:
        """Take in all services that there are, while changes may go on.

        A delta then has all of them for a while: a client that had read another
        replica, or this one before its start, finds out what it has missed.
        """
        async for service_id in tasks.in_slices(list(self._catalog.ids())):
            self.update(service_id, self._catalog.service(service_id))

    # As a listener of the feed

    def changed(self, change: Transition) -> None:
        """Take in one change."""
        self.update(change.id, change.new)

    def reloaded(self, changes: Collection[Transition], revision: int) -> None:
        """Take in the changes of a reload."""
        for change in changes:
            self.update(change.id, change.new)

    def advanced(self, revision: int) -> None:
        """Nothing has changed here."""

    # Reading

    def application(self, app: str) -> Application | None:
        """Return an application, however its name is written; None if there is none."""
        return self.applications.get(app.upper())

    def instance(self, app: str, instance_id: str) -> Instance | None:
        """Return an instance of an application."""
        application = self.application(app)
        if application is None:
            return None
        for service_id in ids_of(app, instance_id):
            instance = application.instances.get(service_id)
            if instance is not None and instance.instance_id == instance_id:
                return instance
        return None

    def instances(self, instance_id: str) -> Iterator[Instance]:
        """Yield the instances with an id, of whatever application."""
        for service_id in ids_of("", instance_id)[:1]:
            for instance in self._by_id.get(service_id, ()):
                if instance.instance_id == instance_id:
                    yield instance

    def of_vip(self, address: str, secure: bool) -> list[Instance]:
        """Return the instances behind a virtual address, by application and id."""
        vips = self._secure_vips if secure else self._vips
        keys = sorted(vips.get(address.lower(), ()))
        return [self.applications[app].instances[key] for app, key in keys]

    def changes(self) -> list[Change]:
        """Return the last change of each instance that changed in the last minutes.

        Applications that are gone come last: py-eureka-client takes in no more of a
        delta once it finds one that it does not know.
        """
        end = self._monotonic() - KEPT
        while self._changes and next(iter(self._changes.values())).at < end:
            self._changes.popitem(last=False)
        return sorted(
            self._changes.values(),
            key=lambda change: change.instance.app not in self.applications,
        )

    def hash(self) -> str:
        """Return the hash by which clients find that they have missed something."""
        return hash_of(self.statuses)

    # Writing

    def update(self, service_id: str, entry: Entry | None) -> None:
        """Put a service, as it is now, in the place of what it was."""
        old = self._by_id.get(service_id, ())
        new = instances_of(entry) if entry else ()
        if not old and not new:
            return
        before = {instance.app: instance for instance in old}
        # Names that differ in case alone are one application.
        after = {instance.app: instance for instance in new}
        for app, instance in before.items():
            self._take_out(service_id, instance)
            if app not in after:
                self._note(service_id, "DELETED", instance)
        for app, instance in after.items():
            self._put_in(service_id, instance)
            action: Action = "MODIFIED" if app in before else "ADDED"
            self._note(service_id, action, instance)
        if after:
            self._by_id[service_id] = tuple(after.values())
        else:
            del self._by_id[service_id]
        self.version += 1

    def _note(self, service_id: str, action: Action, instance: Instance) -> None:
        key = instance.app, service_id
        self._changes[key] = Change(self._monotonic(), action, instance)
        self._changes.move_to_end(key)

    def _put_in(self, service_id: str, instance: Instance) -> None:
        application = self.applications.get(instance.app)
        if application is None:
            application = Application(instance.app)
            self.applications[instance.app] = application
        application.instances[service_id] = instance
        application.rendered = {}
        self.statuses[instance.status] += 1
        key = instance.app, service_id
        for index, address in self._indexed(instance):
            index.setdefault(address, {})[key] = None

    def _take_out(self, service_id: str, instance: Instance) -> None:
        application = self.applications[instance.app]
        del application.instances[service_id]
        application.rendered = {}
        if not application.instances:
            del self.applications[instance.app]
        self.statuses[instance.status] -= 1
        key = instance.app, service_id
        for index, address in self._indexed(instance):
            keys = index.get(address, {})
            keys.pop(key, None)
            if not keys:
                index.pop(address, None)

    def _indexed(
        self, instance: Instance
    ) -> Iterator[tuple[dict[str, dict[tuple[str, str], None]], str]]:
        for address in instance.vips:
            yield self._vips, address.lower()
        for address in instance.secure_vips:
            yield self._secure_vips, address.lower()


def hash_of(statuses: Counter[str]) -> str:
    """Return how many instances have each status, in the order of their names."""
    return "".join(
        f"{status}_{number}_" for status, number in sorted(statuses.items()) if number
    )


def counted(instances: Iterable[Instance]) -> Counter[str]:
    """Return how many instances have each status."""
    return Counter(instance.status for instance in instances)
