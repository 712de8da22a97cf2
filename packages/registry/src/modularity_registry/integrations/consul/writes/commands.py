"""Writes by Consul's API, as commands of the registry."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from modularity_registry.catalog.entry import Entry
from modularity_registry.errors import (
    InvalidRequest,
    RegistryError,
    RevisionMismatch,
    ServiceNotFound,
    shortened,
)
from modularity_registry.integrations.consul import extras as extras_of
from modularity_registry.integrations.consul import names
from modularity_registry.integrations.consul.extras import Extras
from modularity_registry.integrations.consul.instance import Instance
from modularity_registry.integrations.consul.node import NAME, Node
from modularity_registry.integrations.consul.tracker import Tracker
from modularity_registry.integrations.consul.writes import checks, registration
from modularity_registry.integrations.consul.writes.checks import CheckRequest
from modularity_registry.integrations.consul.writes.fields import decoded
from modularity_registry.integrations.consul.writes.registration import Caller
from modularity_registry.integrations.consul.writes.succession import (
    Statuses,
    succession,
)
from modularity_registry.integrations.http import Call
from modularity_registry.model.checks import ServiceCheck, named
from modularity_registry.model.service import (
    CHECKED_MODES,
    Registration,
    ReportedStatus,
)
from modularity_registry.schema import CheckReport
from modularity_registry.writes.commands import contended
from modularity_registry.writes.precondition import Precondition

LONGEST_NOTE: Final = 1024
ATTEMPTS: Final = 10
_OF_NODES: Final = (
    *("id", "datacenter", "skipnodeupdate", "writerequest", "token"),
    *("ns", "namespace", "partition"),
)
_UNSHOWABLE = re.compile(r"[\x00-\x1f\x7f]+")
_HEALTH: Final[Mapping[str, ReportedStatus]] = {
    "passing": "healthy",
    "warning": "warning",
    "critical": "unhealthy",
}


class UnknownService(RegistryError):
    """Nothing is registered under an id that a call names."""

    code = "unknown_service"


class ConsulFailure(RegistryError):
    """What Consul answers with status 500, such as a check that it does not know."""

    code = "consul_failure"


class Writes:
    """Carries out what the agent's and the catalog's API order."""

    def __init__(self, node: Node, trackers: Mapping[str | None, Tracker]) -> None:
        self._node = node
        self._trackers = trackers

    async def register(self, call: Call, replace: bool) -> None:
        """Register the service in a call to the agent."""
        request = registration.of_agent(decoded(call.body), self._caller(call))
        await self._put(call, request.registration, Statuses(request.statuses), replace)

    async def register_in_catalog(self, call: Call) -> None:
        """Register the service and its checks in a call to the catalog."""
        fields = decoded(call.body)
        node, address = fields.text("node"), fields.text("address")
        if not node:
            raise ConsulFailure("Must provide node")
        if not address and not fields.flag("skipnodeupdate"):
            raise ConsulFailure("Must provide address if SkipNodeUpdate is not set")
        service = fields.object("service")
        found = [check for check in (fields.object("check"),) if check]
        found += fields.objects("checks")
        fields.raw("taggedaddresses")
        fields.raw("nodemeta")
        fields.end(*_OF_NODES)
        if not service:
            raise InvalidRequest(
                "the registry has one node of its own: register services, with Service"
            )
        name = service.text("service", "name")
        if not name:
            raise ConsulFailure("Must provide service name with ID")
        # A replica of another machine must not take it for its own address.
        address = "" if node == NAME else address
        request = registration.service(
            service, name, service.text("id") or name, address, (), self._caller(call)
        )
        known, given, outputs = {}, {}, {}
        for check in found:
            extras, status, output = checks.of_catalog(check)
            check_name = checks.name_of(extras.id)
            known[check_name], given[check_name] = extras, status
            outputs[check_name] = _shown(output)
        with_checks = msgspec.structs.replace(request.extras, checks=known)
        new = extras_of.with_extras(request.registration, with_checks)
        await self._put(call, new, Statuses(given, outputs, final=True), False)

    async def deregister(self, call: Call, service_id: str) -> None:
        """Unregister a service, if it is there."""
        entry = names.find(call.registry.catalog, service_id)
        call.caller.require_service(entry.id if entry else names.service_id(service_id))
        if entry is not None:
            with suppress(ServiceNotFound):
                await call.registry.commands.unregister(entry.id, claim=call.claim)

    async def deregister_from_catalog(self, call: Call) -> None:
        """Unregister a service or one of its checks, if it is there."""
        fields = decoded(call.body)
        node, service_id = fields.text("node"), fields.text("serviceid")
        check_id = fields.text("checkid")
        fields.end(*_OF_NODES, "address")
        if not node:
            raise ConsulFailure("Must provide node")
        if service_id:
            await self.deregister(call, service_id)
        elif check_id:
            await self.deregister_check(call, check_id)
        elif node == NAME:
            raise InvalidRequest(
                "the registry's own node stays; name a ServiceID or a CheckID"
            )

    async def maintain(
        self, call: Call, service_id: str, enable: bool, reason: str
    ) -> None:
        """Take a service out for maintenance, or back in."""
        entry = names.find(call.registry.catalog, service_id)
        call.caller.require_service(entry.id if entry else names.service_id(service_id))
        if entry is None:
            raise UnknownService(f'No service registered with ID "{service_id}"')
        commands = call.registry.commands
        if enable:
            if entry.status != "draining":  # else the first reason stays, as in Consul
                await commands.drain(entry.id, _shown(reason), call.claim)
        else:
            await commands.undrain(entry.id, call.claim)

    async def report(self, call: Call, check_id: str, status: str, output: str) -> None:
        """Record what a service says of one of its checks of kind TTL."""
        if status != "passing":
            await call.count_write()
        entry, name = self._check(call, check_id)
        check = named(entry.service.registration.checks, name) if entry else None
        if entry is None or check is None or check.ttl is None:
            raise ConsulFailure(f'CheckID "{check_id}" does not have associated TTL')
        call.caller.require_service(entry.id)
        report = CheckReport(_HEALTH[status], _shown(output))
        await call.registry.commands.report_check(entry.id, name, report, call.claim)

    async def register_check(self, call: Call) -> None:
        """Add a check to a service."""
        fields = decoded(call.body)
        service_id, name = fields.text("serviceid"), fields.text("name")
        if not name:
            raise InvalidRequest("Missing check name")
        request = checks.parse(fields, name, name)
        if not service_id:
            raise InvalidRequest(
                "Invalid check: the registry's node has no checks of its own; name a"
                " service, with ServiceID"
            )
        if names.find(call.registry.catalog, service_id) is None:
            raise ConsulFailure(f'ServiceID "{service_id}" does not exist')

        def add(old: Registration, extras: Extras) -> Registration:
            checked = _parsed(old, request)
            kept = {**extras.checks, request.name: request.extras}
            others = tuple(c for c in old.checks if c.name != request.name)
            return extras_of.with_extras(
                msgspec.structs.replace(old, checks=(*others, *checked)),
                msgspec.structs.replace(extras, checks=kept),
            )

        statuses = Statuses({request.name: request.status})
        # A check that connects is made from where the caller may have it made.
        local = call.is_local or not request.host
        await self._change(call, service_id, add, statuses, local)

    async def deregister_check(self, call: Call, check_id: str) -> None:
        """Take a check away from its service, if it is there."""
        entry, name = self._check(call, check_id)
        if entry is None or not name:
            call.caller.require_service(names.service_id(check_id))
            return

        def take(old: Registration, extras: Extras) -> Registration:
            kept = {key: c for key, c in extras.checks.items() if key != name}
            others = tuple(check for check in old.checks if check.name != name)
            return extras_of.with_extras(
                msgspec.structs.replace(old, checks=others),
                msgspec.structs.replace(extras, checks=kept),
            )

        await self._change(call, Instance(entry, self._node).id, take, Statuses({}))

    async def _put(
        self, call: Call, new: Registration, statuses: Statuses, replace: bool
    ) -> None:
        call.caller.require_service(new.id, new.capabilities)
        await call.registry.commands.register(
            new,
            call.is_local,
            claim=call.claim,
            succeed=succession(statuses, replace),
        )

    async def _change(
        self,
        call: Call,
        service_id: str,
        edit: Callable[[Registration, Extras], Registration],
        statuses: Statuses,
        local: bool = True,
    ) -> None:
        """Register a service as ``edit`` makes it of what is there, if it is there."""
        for _ in range(ATTEMPTS):
            entry = names.find(call.registry.catalog, service_id)
            if entry is None:
                return
            call.caller.require_service(entry.id)
            service = entry.service
            old = service.registration
            new = edit(old, extras_of.of(old) or Extras())
            with suppress(RevisionMismatch):  # another writer was faster: again
                await call.registry.commands.register(
                    new,
                    service.loopback and local,
                    Precondition(revisions=frozenset((entry.revision,)), exists=True),
                    call.claim,
                    succeed=succession(statuses, replace=True),
                )
                return
        raise contended(service_id)

    def _check(self, call: Call, check_id: str) -> tuple[Entry | None, str]:
        """Return the service with this check, and the registry's name of that."""
        entry = self._trackers[call.registry.namespace].find_check(check_id)
        if entry is not None:
            known = Instance(entry, self._node).check_extras()
            for name, extras in known.items():
                if extras.id == check_id:
                    return entry, name
        return None, ""

    def _caller(self, call: Call) -> Caller:
        address = str(call.environ.get("REMOTE_ADDR", ""))
        return Caller(address, call.is_local, self._node.address)


def _parsed(old: Registration, request: CheckRequest) -> tuple[ServiceCheck, ...]:
    """Return the check as one of a service that is registered already."""
    if request.host and old.mode in CHECKED_MODES:
        registration.require_host(request.host, old.parsed_location.host)
    body = {
        "id": old.id,
        "name": old.name,
        "capabilities": old.capabilities,
        "location": old.location,
        "mode": old.mode,
        "checks": [{"name": request.name, **request.body}],
    }
    return registration.parsed(body).checks


def _shown(text: str) -> str:
    """Return a text of a caller's as it is kept and shown."""
    return shortened(_UNSHOWABLE.sub(" ", text).strip(), LONGEST_NOTE)
