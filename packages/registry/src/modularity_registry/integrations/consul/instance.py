"""A service as Consul shows it."""

from functools import cached_property
from hashlib import sha256
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from modularity_registry.catalog.entry import CheckedVitals, Entry
from modularity_registry.integrations.consul import extras as extras_of
from modularity_registry.integrations.consul import names
from modularity_registry.integrations.consul.extras import CheckExtras, Extras
from modularity_registry.integrations.consul.node import DATACENTER, ID, NAME, Node
from modularity_registry.integrations.consul.writes.succession import NOT_YET
from modularity_registry.model.service import CHECKED_MODES, Fault
from modularity_registry.schema import encode

MAINTENANCE: Final = "_service_maintenance:"
NO_REASON: Final = (
    "Maintenance mode is enabled for this service, but no reason was provided. This is"
    " a default message."
)
_TYPES: Final = {"https": "http", "module": "http"}
_PROXY: Final[dict[str, Any]] = {"MeshGateway": {}, "Expose": {}}
_MISSED: Final = "no report within "

Row = dict[str, Any]


class Instance:
    """A service, read from an entry of the catalog for one reply."""

    def __init__(self, entry: Entry, node: Node) -> None:
        self.entry = entry
        self._node = node
        self._service = entry.service
        registration = self._registration = self._service.registration
        self.id = names.original(entry.id)
        self.extras = extras_of.of(registration)
        self.tags, self.meta = extras_of.tags_and_meta(registration, self.extras)
        self.address, self.port = self._place()

    @property
    def name(self) -> str:
        """The name of the service: its own if it provides that, else its first."""
        offered = [names.original(one) for one in self.entry.capabilities]
        own = self._registration.name
        return own if own in offered or not offered else offered[0]

    @property
    def status(self) -> str:
        """The worst status of its checks, or ``maintenance``."""
        return {
            "healthy": "passing",
            "warning": "warning",
            "draining": "maintenance",
        }.get(self.entry.status, "critical")

    def _place(self) -> tuple[str, int]:
        registration, extras = self._registration, self.extras or Extras()
        if registration.mode in CHECKED_MODES:
            location = registration.parsed_location
            address, port = location.host, location.port
        else:
            address, port = _host_and_port(registration.location)
        if extras.address == "":
            # Its readers go to the node, whose address is that of the replica asked.
            address = "" if address == self._node.address else address
        elif extras.address is not None:
            address = extras.address
        return address, port if extras.port is None else extras.port

    @cached_property
    def tagged(self) -> Row:
        """Its addresses by their tags."""
        tagged = self.extras.tagged if self.extras else {}
        places = {
            tag: {"Address": address, "Port": port}
            for tag, (address, port) in tagged.items()
        }
        try:
            version = ip_address(self.address).version
        except ValueError:
            return places
        for tag in (f"lan_ipv{version}", f"wan_ipv{version}"):
            places.setdefault(tag, {"Address": self.address, "Port": self.port})
        return dict(sorted(places.items()))

    @property
    def weights(self) -> Row:
        """Its weights when it passes, and when it warns."""
        warning = self.extras.warning_weight if self.extras else 1
        return {"Passing": self._registration.weight, "Warning": warning}

    @property
    def _override(self) -> bool:
        return self.extras is not None and self.extras.override

    def agent_row(self) -> Row:
        """Return it as the agent's API shows it."""
        row: Row = {
            "ID": self.id,
            "Service": self.name,
            "Tags": self.tags,
            "Meta": self.meta,
            "Port": self.port,
            "Address": self.address,
            "TaggedAddresses": self.tagged,
            "Weights": self.weights,
            "EnableTagOverride": self._override,
        }
        if not self.tagged:
            del row["TaggedAddresses"]
        return row

    def content_hash(self) -> str:
        """Return what is another one after each change of its registration."""
        return sha256(encode(self.agent_row())).hexdigest()[:16]

    def node_row(self, name: str) -> Row:
        """Return it as it stands in the list of a node's services."""
        row: Row = {
            "ID": self.id,
            "Service": name,
            "Tags": self.tags,
            "Address": self.address,
            "TaggedAddresses": self.tagged,
            "Meta": self.meta,
            "Port": self.port,
            "Weights": self.weights,
            "EnableTagOverride": self._override,
            "Proxy": _PROXY,
            "Connect": {},
            "CreateIndex": self.entry.revision,
            "ModifyIndex": self.entry.revision,
        }
        if not self.tagged:
            del row["TaggedAddresses"]
        return row

    def health_row(self, name: str) -> Row:
        """Return it as one of the instances of ``name``, with its checks."""
        return {
            "Node": self._node.row,
            "Service": self.node_row(name),
            "Checks": [self._node.check, *self.checks(name)],
        }

    def catalog_row(self, name: str) -> Row:
        """Return it as one of the instances of ``name``, without its checks."""
        row: Row = {
            "ID": ID,
            "Node": NAME,
            "Address": self._node.address,
            "Datacenter": DATACENTER,
            "TaggedAddresses": self._node.tagged,
            "NodeMeta": self._node.row["Meta"],
            "ServiceKind": "",
            "ServiceID": self.id,
            "ServiceName": name,
            "ServiceTags": self.tags,
            "ServiceAddress": self.address,
            "ServiceTaggedAddresses": self.tagged,
            "ServiceWeights": self.weights,
            "ServiceMeta": self.meta,
            "ServicePort": self.port,
            "ServiceEnableTagOverride": self._override,
            "ServiceProxy": _PROXY,
            "ServiceConnect": {},
            "CreateIndex": self.entry.revision,
            "ModifyIndex": self.entry.revision,
        }
        if not self.tagged:
            del row["ServiceTaggedAddresses"]
        return row

    def checks(self, name: str | None = None) -> list[Row]:
        """Return its checks, in order of their ids; ``name`` is that of the service."""
        rows = [
            self._check(check, extras, name)
            for check, extras in self.check_extras().items()
        ]
        drain = self._service.drain
        if drain is not None:
            extras = CheckExtras(
                id=MAINTENANCE + self.id,
                name="Service Maintenance Mode",
                type="maintenance",
                notes=drain.reason or NO_REASON,
            )
            rows.append(self._row(extras, "critical", "", name))
        return sorted(rows, key=lambda row: str(row["CheckID"]))

    def check_extras(self) -> dict[str, CheckExtras]:
        """Return all its checks by the registry's names; empty for its mode's own."""
        kept = self.extras.checks if self.extras else {}
        checks = dict(kept)
        default, title = f"service:{self.id}", f"Service '{self.name}' check"
        for check in self._registration.checks:
            if check.name not in checks:
                kind = _TYPES.get(check.kind, check.kind)
                check_id = f"{default}:{check.name}"
                checks[check.name] = CheckExtras(check_id, check.name, kind)
        if self._has_own_check:
            mode = self._registration.mode
            kind = mode if mode in CHECKED_MODES else "ttl"
            checks[""] = CheckExtras(default, title, kind)
        return checks

    @property
    def _has_own_check(self) -> bool:
        registration, service = self._registration, self._service
        health = registration.health
        is_checked = registration.mode in CHECKED_MODES and (
            health is None or health.enabled
        )
        found = (*service.faults, *service.warnings)
        return (
            is_checked
            or registration.ttl is not None
            or any(not fault.check for fault in found)
        )

    def _check(self, check: str, extras: CheckExtras, name: str | None) -> Row:
        for status, found in (
            ("critical", self._service.faults),
            ("warning", self._service.warnings),
        ):
            for fault in found:
                if fault.check == check:
                    return self._row(extras, status, _output(fault), name)
        return self._row(extras, "passing", self._evidence(check), name)

    def _evidence(self, check: str) -> str:
        """Return what a check that passes has seen, if this replica has made it."""
        vitals = self.entry.vitals
        seen = vitals.evidence
        if check:
            checks = vitals.checks if isinstance(vitals, CheckedVitals) else {}
            seen = checks[check].evidence if check in checks else None
        if seen is None or (seen.outcome == "reported" and seen.message == "healthy"):
            return ""
        return seen.message

    def _row(
        self, extras: CheckExtras, status: str, output: str, name: str | None
    ) -> Row:
        return {
            "Node": NAME,
            "CheckID": extras.id,
            "Name": extras.name,
            "Status": status,
            "Notes": extras.notes,
            "Output": output,
            "ServiceID": self.id,
            "ServiceName": self.name if name is None else name,
            "ServiceTags": self.tags,
            "Type": extras.type,
            "Definition": {},
            "CreateIndex": self.entry.revision,
            "ModifyIndex": self.entry.revision,
        }


def _output(fault: Fault) -> str:
    output = fault.reason.removeprefix(f"check '{fault.check}': ")
    if output == NOT_YET or output.startswith("reported "):
        return ""
    return "TTL expired" if output.startswith(_MISSED) else output


def _host_and_port(location: str) -> tuple[str, int]:
    """Return where a service is that the registry does not connect to."""
    try:
        parts = urlsplit(location if "//" in location else f"//{location}")
        return parts.hostname or location, parts.port or 0
    except ValueError:
        return location, 0
