"""What clients of Eureka write: registrations, heartbeats, statuses, metadata."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from modularity_registry import schema
from modularity_registry.catalog.entry import Entry, metadata
from modularity_registry.errors import (
    BodyTooLarge,
    FieldError,
    InvalidRequest,
    NotRegistered,
)
from modularity_registry.integrations.eureka import statuses, xml
from modularity_registry.integrations.eureka.document import (
    dirty_timestamp,
    instances_of,
)
from modularity_registry.integrations.eureka.reads import find
from modularity_registry.integrations.eureka.registration import (
    RESERVED,
    Instance,
    ids_of,
    number,
    parsed,
    registration_of,
)
from modularity_registry.integrations.eureka.view import View
from modularity_registry.integrations.http import Call, Reply
from modularity_registry.model.service import Service
from modularity_registry.runtime import Registry

MAX_BODY: Final = 65_536
"""Bytes of an instance. The metadata of a service takes less than this."""

DONE: Final = Reply(HTTPStatus.OK)
REGISTERED: Final = Reply(HTTPStatus.NO_CONTENT)


class Writes:
    """Makes writes by the registry's commands, for instances that the view has."""

    def __init__(self, registry: Registry, view: View) -> None:
        self._catalog = registry.catalog
        self._commands = registry.commands
        self._clock = registry.clock
        self._view = view

    async def register(self, call: Call) -> Reply:
        """Register an instance, or replace the one with its id."""
        instance = parsed(_content(call), call.names["app"])
        registration = registration_of(instance, self._id_for(instance))
        call.caller.require_service(registration.id, registration.capabilities)

        def succeed(current: Service | None, new: Service) -> Service:
            return statuses.registered(current, new, instance.status)

        await self._commands.register(
            registration, call.is_local, claim=call.claim, succeed=succeed
        )
        return REGISTERED

    async def renew(self, call: Call) -> Reply:
        """Take a heartbeat: its status, if it says one, is the instance's from now."""
        entry = self._entry(call)
        dirty = number(call.argument("lastDirtyTimestamp"))
        if dirty and dirty > (dirty_timestamp(entry) or dirty):
            raise NotRegistered(
                f"{entry.id!r} has changed since it registered; register it again"
            )
        word, now = call.argument("status"), self._clock.now()
        if word and statuses.known(word) != statuses.UP:
            await call.count_write()

        def change(service: Service) -> Service:
            if word:
                return statuses.reported(service, statuses.known(word), now)
            return statuses.renewed(service, now)

        await self._change(call, entry, change)
        self._commands.record_heartbeat(self._catalog.service(entry.id) or entry)
        return DONE

    async def cancel(self, call: Call) -> Reply:
        """Remove an instance."""
        entry = self._entry(call)
        await self._commands.unregister(entry.id, claim=call.claim)
        return DONE

    async def override(self, call: Call) -> Reply:
        """Put a status over that of an instance: with any but `UP`, it is drained."""
        entry, word = self._entry(call), (call.argument("value") or "").upper()
        if word not in statuses.STATUSES:
            names = ", ".join(sorted(statuses.STATUSES))
            raise InvalidRequest.of([FieldError("value", f"must be one of {names}")])
        if word == statuses.UP:
            await self._commands.undrain(entry.id, call.claim)
        else:
            reason = statuses.override(word)
            await self._commands.drain(entry.id, reason, call.claim)
        return DONE

    async def end_override(self, call: Call) -> Reply:
        """Show an instance with its own status again."""
        await self._commands.undrain(self._entry(call).id, call.claim)
        return DONE

    async def set_metadata(self, call: Call) -> Reply:
        """Set some of an instance's metadata; the rest stays."""
        entry = self._entry(call)
        new = dict(call.arguments)
        await self._change(call, entry, lambda service: _with_metadata(service, new))
        return DONE

    async def _change(
        self, call: Call, entry: Entry, change: Callable[[Service], Service]
    ) -> None:
        await self._commands.change(entry.id, change, call.claim)

    def _entry(self, call: Call) -> Entry:
        """Return the service of the instance in the path, if the caller may write it.

        Raises `NotRegistered`, at which clients register again.
        """
        path = call.names["path"]
        instance = find(self._view, path)
        if instance is None:
            raise NotRegistered(
                f"no instance {path!r} is registered here; register it again"
            )
        call.caller.require_service(instance.entry.id)
        return self._catalog.require(instance.entry.id)

    def _id_for(self, instance: Instance) -> str:
        """Return the id for a new instance: one that no other application's has."""
        ids = ids_of(instance.app, instance.instance_id)
        for service_id in ids:
            entry = self._catalog.service(service_id)
            if entry is None or any(
                other.app == instance.app.upper()
                and other.instance_id == instance.instance_id
                for other in instances_of(entry)
            ):
                return service_id
        raise InvalidRequest.of(
            [FieldError("instanceId", f"belongs to the service {ids[0]!r} already")]
        )


def _content(call: Call) -> Any:
    """Return the instance in a body of JSON or XML."""
    body = call.body
    if len(body) > MAX_BODY:
        raise BodyTooLarge(f"an instance may have at most {MAX_BODY:,} bytes")
    if body.lstrip().startswith(b"<"):
        return xml.read(body, "instance")
    return schema.decode_object(body).get("instance")


def _with_metadata(service: Service, new: Mapping[str, str]) -> Service:
    """Return the service with some of its metadata set to other values.

    Raises `InvalidRequest` for more than a service may have.
    """
    values = metadata(service)
    updated = dict(values)
    for key, value in new.items():
        if key == RESERVED and isinstance(values.get(RESERVED), dict):
            kept = values[RESERVED]
            updated[RESERVED] = {**kept, "metadata": {RESERVED: value}}
        else:
            updated[key] = value
    if updated == values:
        return service
    encoded = schema.encode(updated)
    if len(encoded) > schema.MAX_METADATA_BYTES:
        raise InvalidRequest.of(
            [
                FieldError(
                    "metadata",
                    f"must be at most {schema.MAX_METADATA_BYTES} bytes as JSON, not"
                    f" {len(encoded)}",
                )
            ]
        )
    registration = msgspec.structs.replace(
        service.registration, metadata=msgspec.Raw(encoded)
    )
    return msgspec.structs.replace(service, registration=registration)
