"""The agent's API: what the programs on a machine register and report."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from modularity_registry.errors import InvalidRequest
from modularity_registry.events import SERVICE_CHANGES, Interest
from modularity_registry.integrations.consul import names
from modularity_registry.integrations.consul.instance import Instance, Row
from modularity_registry.integrations.consul.node import Node
from modularity_registry.integrations.consul.reads import options
from modularity_registry.integrations.consul.reads import selectors as kinds
from modularity_registry.integrations.consul.reads.blocking import Waiter
from modularity_registry.integrations.consul.reads.filters import Filter
from modularity_registry.integrations.consul.reads.lists import Lists, row
from modularity_registry.integrations.consul.tracker import Tracker
from modularity_registry.integrations.consul.writes.checks import STATUSES
from modularity_registry.integrations.consul.writes.commands import (
    ConsulFailure,
    UnknownService,
    Writes,
)
from modularity_registry.integrations.consul.writes.fields import decoded
from modularity_registry.integrations.http import Call, Reply

TEXT: Final = "text/plain; charset=utf-8"
_CODES: Final = {"passing": 200, "warning": 429}
_WORST: Final = ("passing", "warning", "critical", "maintenance")
_REPORTS: Final = dict(zip(("pass", "warn", "fail"), STATUSES, strict=True))

Outcome = Reply | Awaitable[Reply]


class Agent:
    """Answers the calls under `/v1/agent/`."""

    def __init__(
        self, node: Node, trackers: Mapping[str | None, Tracker], lists: Lists
    ) -> None:
        self._node = node
        self._lists = lists
        self._writes = Writes(node, trackers)

    # Reads

    def about(self, call: Call) -> Reply:
        """Answer `self`."""
        return _json(self._node.agent)

    def members(self, call: Call) -> Reply:
        """Answer `members`."""
        wan = call.argument("wan") in options.TRUE
        return _json([] if wan else [self._node.member])

    async def services(self, call: Call) -> Reply:
        """Answer `services`."""
        passes = options.of(call.arguments).passes(kinds.AGENT_SERVICE)

        def render(instance: Instance) -> list[tuple[str, Row]]:
            return [(instance.id, instance.agent_row())]

        return await self._object(call, "agent-services", render, passes)

    async def checks(self, call: Call) -> Reply:
        """Answer `checks`."""
        passes = options.of(call.arguments).passes(kinds.CHECK)

        def render(instance: Instance) -> list[tuple[str, Row]]:
            rows = instance.checks()
            for one in rows:
                one["CreateIndex"] = one["ModifyIndex"] = 0  # as the agent has them
            return [(one["CheckID"], one) for one in rows]

        return await self._object(call, "agent-checks", render, passes)

    async def _object(
        self,
        call: Call,
        kind: str,
        rows: Callable[[Instance], list[tuple[str, Row]]],
        passes: Filter | None,
    ) -> Reply:
        """Return the rows of all services as one object."""
        catalog = call.registry.catalog

        def render(entry: Any) -> bytes | None:
            parts = [
                row(key) + b":" + row(value)
                for key, value in rows(Instance(entry, self._node))
                if passes is None or passes(value)
            ]
            return b",".join(parts) if parts else None

        key = (kind, call.registry.namespace, call.argument("filter"))
        listed = self._lists.render(key, catalog.changed, catalog.services(), render)
        body = listed if isinstance(listed, bytes) else await listed
        return Reply(200, b"{%b}" % body[1:-1])

    async def service(self, call: Call) -> Reply:
        """Answer `service/{id}`, at once or when its hash is another one."""
        asked = options.of(call.arguments)
        service_id = str(call.names["service_id"])
        catalog, instance = call.registry.catalog, self._find(call, service_id)
        if instance is None:
            raise UnknownService(f"unknown service ID: {service_id}")
        if asked.hash and instance.content_hash() == asked.hash:
            entry_id = instance.entry.id

            def has_changed() -> bool:
                entry = catalog.service(entry_id)
                now = Instance(entry, self._node) if entry else None
                return now is None or now.content_hash() != asked.hash

            interest = Interest(services=frozenset((entry_id,)), kinds=SERVICE_CHANGES)
            await Waiter(call, has_changed).wait(interest, asked.seconds)
            instance = self._find(call, service_id)
            if instance is None:
                raise UnknownService(f"unknown service ID: {service_id}")
        content_hash = instance.content_hash()
        shown = instance.agent_row() | {"ContentHash": content_hash}
        return Reply(200, row(shown), headers=[("X-Consul-ContentHash", content_hash)])

    def health_by_id(self, call: Call) -> Reply:
        """Answer `health/service/id/{id}`."""
        service_id = str(call.names["service_id"])
        instance = self._find(call, service_id)
        if instance is None:
            reason = f"ServiceId {service_id} not found"
            nothing = {"AggregatedStatus": "critical", "Service": None, "Checks": None}
            return _health(call, 404, reason, nothing, "critical")
        status = instance.status
        return _health(call, _CODES.get(status, 503), status, _shown(instance), status)

    def health_by_name(self, call: Call) -> Reply:
        """Answer `health/service/name/{name}`."""
        name = str(call.names["name"])
        capability = call.registry.catalog.capability(names.capability(name))
        if capability is None:
            reason = f"ServiceName {name} Not Found"
            return _health(call, 404, reason, [], "critical")
        entries = capability.providers().by_id
        instances = [Instance(entry, self._node) for entry in entries]
        status = max((one.status for one in instances), key=_WORST.index)
        code = _CODES.get(status, 503)
        return _health(call, code, status, [_shown(one) for one in instances], status)

    def _find(self, call: Call, service_id: str) -> Instance | None:
        entry = names.find(call.registry.catalog, service_id)
        return Instance(entry, self._node) if entry else None

    # Writes

    async def register(self, call: Call) -> Reply:
        """Answer `service/register`."""
        # Clients write the argument without a value, too.
        replace = call.argument("replace-existing-checks")
        await self._writes.register(call, replace in options.TRUE)
        return Reply(200)

    async def deregister(self, call: Call) -> Reply:
        """Answer `service/deregister/{id}`: nothing happens to one that is not here."""
        service_id = str(call.names.get("service_id") or "")
        if not service_id:
            raise ConsulFailure("ServiceID missing")
        await self._writes.deregister(call, service_id)
        return Reply(200)

    async def maintenance(self, call: Call) -> Reply:
        """Answer `service/maintenance/{id}`."""
        enable = call.argument("enable")
        if not enable:
            raise InvalidRequest("Missing value for enable")
        if enable not in options.TRUE | options.FALSE:
            raise InvalidRequest(f'Invalid value for enable: "{enable[:64]}"')
        service_id = str(call.names["service_id"])
        reason = call.argument("reason") or ""
        await self._writes.maintain(call, service_id, enable in options.TRUE, reason)
        return Reply(200)

    async def register_check(self, call: Call) -> Reply:
        """Answer `check/register`."""
        await self._writes.register_check(call)
        return Reply(200)

    async def deregister_check(self, call: Call) -> Reply:
        """Answer `check/deregister/{id}`: nothing happens to one that is not here."""
        await self._writes.deregister_check(call, str(call.names["check_id"]))
        return Reply(200)

    async def report(self, call: Call) -> Reply:
        """Answer `check/pass/{id}`, `check/warn/{id}` and `check/fail/{id}`."""
        status = _REPORTS[str(call.names["verdict"])]
        note = call.argument("note") or ""
        await self._writes.report(call, str(call.names["check_id"]), status, note)
        return Reply(200)

    async def update(self, call: Call) -> Reply:
        """Answer `check/update/{id}`."""
        fields = decoded(call.body)
        status, output = fields.text("status"), fields.text("output")
        fields.end()
        if status not in _REPORTS.values():
            raise InvalidRequest(f"Invalid check status: '{status[:64]}'")
        await self._writes.report(call, str(call.names["check_id"]), status, output)
        return Reply(200)


def _shown(instance: Instance) -> Row:
    return {
        "AggregatedStatus": instance.status,
        "Service": instance.agent_row(),
        "Checks": instance.checks(),
    }


def _health(call: Call, code: int, reason: str, shown: Any, status: str) -> Reply:
    own = [("X-Consul-Reason", reason)]
    if call.argument("format") == "text":
        return Reply(code, status.encode(), "text/plain", own)
    return Reply(code, row(shown), headers=own)


def _json(value: Any) -> Reply:
    return Reply(200, row(value))
