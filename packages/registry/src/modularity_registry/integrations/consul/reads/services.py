"""The reads of services, of their checks and of the node."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Final, TypeVar
from weakref import ref

from modularity_registry.catalog.entry import Entry
from modularity_registry.errors import InvalidRequest, RegistryError
from modularity_registry.integrations.consul import names
from modularity_registry.integrations.consul.instance import Instance, Row
from modularity_registry.integrations.consul.node import ID, NAME, Node
from modularity_registry.integrations.consul.reads import blocking, options
from modularity_registry.integrations.consul.reads import selectors as kinds
from modularity_registry.integrations.consul.reads.blocking import Subject, index_of
from modularity_registry.integrations.consul.reads.filters import Filter
from modularity_registry.integrations.consul.reads.lists import LONG, Lists, Render, row
from modularity_registry.integrations.consul.reads.options import Options
from modularity_registry.integrations.consul.reads.service_names import (
    Names,
    ServiceNames,
)
from modularity_registry.integrations.consul.tracker import Tracker
from modularity_registry.integrations.http import Call, Pending, Ready, Reply
from modularity_registry.integrations.http.call import Header
from modularity_registry.runtime import Registry

T = TypeVar("T")
Outcome = Reply | Awaitable[Reply]
Rows = Callable[[Instance], Sequence[Row]]

EMPTY: Final = b"[]"


def headers(registry: Registry, revision: int | None = None) -> list[Header]:
    """Return what every read's reply has; ``revision`` is of what it lists."""
    leads = registry.feed.interruption is None
    stale = registry.view_health.stale_seconds or 0
    own = [
        ("X-Consul-Effective-Consistency", "leader" if leads else "stale"),
        ("X-Consul-KnownLeader", "true" if leads else "false"),
        ("X-Consul-LastContact", str(int(stale * 1000))),
    ]
    if revision is None:
        return own
    return [("X-Consul-Index", str(index_of(registry, revision))), *own]


@dataclass(frozen=True, slots=True)
class _Query:
    """A read of a list of services: what it depends on, and what a row shows."""

    key: tuple[object, ...]
    kind: Mapping[str, Any]
    rows: Rows
    entries: Callable[[], Sequence[Entry]]
    subject: Subject


class Reads:
    """Answers reads. Whatever many ask for is rendered once."""

    def __init__(
        self,
        node: Node,
        trackers: Mapping[str | None, Tracker],
        refuse: Callable[[RegistryError], Reply],
    ) -> None:
        """Return them; ``refuse`` makes the reply to an error."""
        self._node = node
        self._refuse = refuse
        self._trackers = trackers
        self.lists = Lists()
        self._service_names = ServiceNames()

    # The routes

    def services(self, call: Call) -> Outcome:
        """Answer `catalog/services`."""
        asked = options.of(call.arguments)
        registry = call.registry
        tracker = self._trackers[registry.namespace]
        subject = Subject(lambda: tracker.services)
        passes = asked.passes(kinds.SERVICES)

        def render() -> Outcome:
            revision = tracker.services
            found: Names | Awaitable[Names] = {}
            if asked.here:
                found = self._service_names.get(registry, index_of(registry, revision))
            if isinstance(found, dict):
                return self._names(registry, revision, found, passes)
            return _then(
                found, lambda those: self._names(registry, revision, those, passes)
            )

        return self._answer(call, subject, asked, render)

    def catalog_service(self, call: Call) -> Outcome:
        """Answer `catalog/service/{name}`."""
        return self._of_name(call, "catalog")

    def health_service(self, call: Call) -> Outcome:
        """Answer `health/service/{name}`."""
        return self._of_name(call, "health")

    def health_checks(self, call: Call) -> Outcome:
        """Answer `health/checks/{name}`."""
        return self._of_name(call, "checks")

    def health_state(self, call: Call) -> Outcome:
        """Answer `health/state/{state}`."""
        state = call.names.get("state") or ""
        if not state:
            raise InvalidRequest("Missing check state")

        def rows(instance: Instance) -> Sequence[Row]:
            checks = instance.checks()
            return [c for c in checks if state in ("any", c["Status"])]

        return self._of_all(call, "state", state, rows, state in ("any", "passing"))

    def health_node(self, call: Call) -> Outcome:
        """Answer `health/node/{node}`."""
        node = call.names.get("node") or ""
        if not node:
            raise InvalidRequest("Missing node name")
        if node != NAME:
            return self._nothing(call, EMPTY)
        return self._of_all(call, "node", "", lambda one: one.checks(), True)

    def nodes(self, call: Call) -> Outcome:
        """Answer `catalog/nodes`."""
        asked = options.of(call.arguments)
        passes = asked.passes(kinds.NODE)
        node = self._node.row
        shown = [node] if asked.here and (passes is None or passes(node)) else []
        return self._nothing(call, row(shown))

    def node_services(self, call: Call, as_list: bool = False) -> Outcome:
        """Answer `catalog/node/{node}`, or `catalog/node-services/{node}` as a list."""
        node = call.names.get("node") or ""
        if not node:
            raise InvalidRequest("Missing node name")
        if node not in (NAME, ID):
            return self._nothing(call, b"null")
        asked = options.of(call.arguments)
        passes = asked.passes(kinds.AGENT_SERVICE)
        registry = call.registry
        tracker = self._trackers[registry.namespace]

        def render_one(entry: Entry) -> bytes | None:
            instance = Instance(entry, self._node)
            shown = instance.node_row(instance.name)
            if passes is not None and not passes(shown):
                return None
            if as_list:
                return row(shown)
            return row(instance.id) + b":" + row(shown)

        def whole(listed: bytes) -> Reply:
            inner = listed if as_list else b"{%b}" % listed[1:-1]
            body = b'{"Node":%b,"Services":%b}' % (row(self._node.row), inner)
            return Reply(200, body, headers=headers(registry, tracker.everything))

        def render() -> Outcome:
            stamp = index_of(registry, tracker.everything)
            key = ("node-services", registry.namespace, as_list, asked.filter)
            entries = registry.catalog.services()
            listed = self.lists.render(key, stamp, entries, render_one)
            return whole(listed) if isinstance(listed, bytes) else _then(listed, whole)

        subject = Subject(lambda: tracker.everything)
        return self._answer(call, subject, asked, render)

    # What is planned

    def plan(
        self,
        registry: Registry,
        path: Mapping[str, Any],
        arguments: Sequence[tuple[str, str]],
        kind: str,
    ) -> Ready | None:
        """Return what answers `health/service/{name}` or `catalog/service/{name}`."""
        asked = options.of(tuple(arguments))
        if asked.filter or len(asked.tags) > 1 or not path.get("name"):
            return None
        query = self._query(registry, str(path["name"]), asked, kind)
        catalog, feed = registry.catalog, registry.feed
        name = names.capability(str(path["name"]))
        seen: object = None
        last: Callable[[], Reply | None] = _none

        def ready() -> Reply | None:
            nonlocal seen, last
            capability = catalog.capability(name)
            if capability is None or feed.interruption is not None:
                return None
            providers = capability.providers()
            at = min(capability.revision, catalog.revision)
            now = (at, providers.version, registry.hub.epoch)
            kept = last() if now == seen else None
            if kept is not None:
                return kept
            if len(providers.entries) > LONG:
                return None
            reply = self._list(registry, query, asked)
            assert isinstance(reply, Reply)  # a short one is rendered at once
            # Weakly: there are many heads, and `lists` bounds what is kept for all.
            seen, last = now, ref(reply)
            return reply

        if not asked.index:
            return ready
        pending = blocking.Query(
            registry,
            query.subject,
            asked,
            lambda: ready() or self._list(registry, query, asked),
            self._refuse,
        )

        def ready_or_pending() -> Reply | Pending | None:
            if blocking.must_wait(registry, query.subject, asked.index):
                return pending
            return ready()

        return ready_or_pending

    # How they are made

    def _of_name(self, call: Call, kind: str) -> Outcome:
        name = call.names.get("name") or ""
        if not name:
            raise InvalidRequest("Missing service name")
        asked = options.of(call.arguments)
        query = self._query(call.registry, name, asked, kind)
        return self._answer(
            call, query.subject, asked, lambda: self._list(call.registry, query, asked)
        )

    def _query(
        self, registry: Registry, name: str, asked: Options, kind: str
    ) -> _Query:
        catalog, capability = registry.catalog, names.capability(name)

        def revision() -> int:
            found = catalog.capability(capability)
            if found is not None:
                return found.revision
            return catalog.departed(capability) or 0

        def entries() -> Sequence[Entry]:
            found = catalog.capability(capability)
            if found is None or not asked.here:
                return ()
            listed = found.providers().by_id
            if not asked.passing or kind != "health":
                return listed
            return [entry for entry in listed if entry.status == "healthy"]

        rows: dict[str, tuple[Mapping[str, Any], Rows]] = {
            "health": (kinds.HEALTH, lambda one: [one.health_row(name)]),
            "catalog": (kinds.CATALOG, lambda one: [one.catalog_row(name)]),
            "checks": (kinds.CHECK, lambda one: one.checks(name)),
        }
        tags = () if kind == "checks" else asked.tags
        options_of_key = (asked.passing, tags, asked.filter, asked.here)
        key = (kind, registry.namespace, name, *options_of_key)
        subject = Subject(revision, blocking.about(capability))
        return _Query(key, *rows[kind], entries, subject)

    def _of_all(
        self, call: Call, kind: str, value: str, rows: Rows, with_node: bool
    ) -> Outcome:
        asked, registry = options.of(call.arguments), call.registry
        tracker = self._trackers[registry.namespace]
        entries = registry.catalog.services
        subject = Subject(lambda: tracker.everything)
        key = (kind, registry.namespace, value, asked.filter, asked.here)
        query = _Query(
            key, kinds.CHECK, rows, entries if asked.here else tuple, subject
        )
        passes = asked.passes(kinds.CHECK)
        own = self._node.check
        first = b""
        if with_node and asked.here and (passes is None or passes(own)):
            first = row(own)
        return self._answer(
            call, subject, asked, lambda: self._list(registry, query, asked, first)
        )

    def _list(
        self, registry: Registry, query: _Query, asked: Options, first: bytes = b""
    ) -> Outcome:
        """Return the reply; ``first`` is a row that comes before those of services."""
        revision = query.subject.revision()
        reply_headers = headers(registry, revision)
        if asked.cached:
            reply_headers.append(("X-Cache", "MISS"))
        stamp = tuple(reply_headers)
        kept = None if asked.filter else self.lists.get(query.key, stamp)
        if kept is not None:
            return kept
        render = self._render(query, asked)
        listed = self.lists.render(query.key, stamp, query.entries(), render)

        def whole(rows: bytes) -> Reply:
            if first:
                rows = b"[%b%b%b" % (first, b"," if len(rows) > 2 else b"", rows[1:])
            reply = Reply(200, rows, headers=reply_headers)
            if asked.filter:
                return reply
            return self.lists.put(query.key, stamp, reply)

        return whole(listed) if isinstance(listed, bytes) else _then(listed, whole)

    def _render(self, query: _Query, asked: Options) -> Render:
        passes = asked.passes(query.kind)
        tags = frozenset(asked.tags) if query.key[0] in ("health", "catalog") else ()

        def render(entry: Entry) -> bytes | None:
            instance = Instance(entry, self._node)
            if tags and not frozenset(tags) <= {tag.lower() for tag in instance.tags}:
                return None
            rows = query.rows(instance)
            if passes is not None:
                rows = [one for one in rows if passes(one)]
            return b",".join(map(row, rows)) if rows else None

        return render

    def _answer(
        self,
        call: Call,
        subject: Subject,
        asked: Options,
        render: Callable[[], Outcome],
    ) -> Outcome:
        if not blocking.must_wait(call.registry, subject, asked.index):
            return render()

        async def later() -> Reply:
            await blocking.changed(call, subject, asked)
            outcome = render()
            return await outcome if isawaitable(outcome) else outcome

        return later()

    def _nothing(self, call: Call, body: bytes) -> Outcome:
        """Return what never changes."""
        asked = options.of(call.arguments)
        reply = Reply(200, body, headers=headers(call.registry, 0))
        return self._answer(call, Subject(lambda: 0), asked, lambda: reply)

    def _names(
        self,
        registry: Registry,
        revision: int,
        listed: Names,
        passes: Filter | None,
    ) -> Reply:
        if passes is not None:
            listed = {
                name: tags
                for name, tags in listed.items()
                if passes({"ServiceName": name, "ServiceTags": tags})
            }
        return Reply(200, row(listed), headers=headers(registry, revision))


def _none() -> None:
    """Return nothing: no reply was made yet."""


async def _then(coming: Awaitable[T], make: Callable[[T], Reply]) -> Reply:
    return make(await coming)
