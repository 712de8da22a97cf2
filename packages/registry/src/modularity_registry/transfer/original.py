"""What the original registry saved: its `registry.json`, or its list of services."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from modularity_registry import schema
from modularity_registry.catalog.documents import encode, key_of
from modularity_registry.errors import InvalidRequest
from modularity_registry.model.service import Fault, Service
from modularity_registry.transfer.jsonl import BadFile

TOLD: Final = 20
"""Services that are refused, named at once."""


class _Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service as it was saved; its times are local ones, without a zone."""

    id: str
    name: msgspec.Raw
    capabilities: msgspec.Raw
    location: msgspec.Raw
    mode: msgspec.Raw
    registered_at: datetime
    last_seen: datetime
    status: str = "active"
    failed_checks: int = 0
    version: msgspec.Raw = msgspec.Raw(b'"1.0.0"')
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


class _List(msgspec.Struct, frozen=True):
    services: list[msgspec.Raw]


_decode_saved = msgspec.json.Decoder(_Saved).decode
_decode_file = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(_List).decode


def read_original(data: bytes) -> dict[str, bytes] | None:
    """Return the documents of the services by their keys; None for another file.

    Raises `BadFile`, naming the services that a registry would not take.
    """
    try:
        saved = list(_services(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not saved or not all(bytes(service)[:1] == b"{" for _, service in saved):
        return None
    documents: dict[str, bytes] = {}
    refused: list[str] = []
    for name, service in saved:
        try:
            document = _document(service)
        except InvalidRequest as error:
            refused.append(f"{name}: {error.detail.removeprefix('the body is ')}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            refused.append(f"{name} is not a service: {error}")
        else:
            documents[key_of(document.registration.id)] = encode(document)
    if refused:
        more = len(refused) - TOLD
        told = "; ".join(refused[:TOLD]) + (f"; and {more:,} more" if more > 0 else "")
        raise BadFile(f"correct or remove in the file, then import it again: {told}")
    return documents


def _services(data: bytes) -> Iterable[tuple[str, msgspec.Raw]]:
    """Return each service with what an error calls it."""
    by_id: Mapping[str, msgspec.Raw] = _decode_file(data)
    if bytes(by_id.get("services", b""))[:1] == b"[":
        listed = _decode_list(data).services
        return [(f"service {n}", each) for n, each in enumerate(listed, 1)]
    return [(repr(service_id), each) for service_id, each in by_id.items()]


def _document(service: msgspec.Raw) -> Service:
    saved = _decode_saved(service)
    registration = schema.parse_registration(
        schema.encode(
            {
                "id": saved.id,
                "name": saved.name,
                "capabilities": saved.capabilities,
                "location": saved.location,
                "mode": saved.mode,
                "version": saved.version,
                "metadata": saved.metadata,
            }
        )
    )
    registered_at, seen = saved.registered_at, saved.last_seen
    # It checked services over HTTP only; a check by this registry clears the fault.
    if saved.status == "active" or registration.mode != "http":
        return Service(registration, _utc(registered_at), _utc(registered_at))
    reason = f"{saved.failed_checks} failed checks at the registry it comes from"
    fault = Fault("check", reason, _utc(seen))
    return Service(registration, _utc(registered_at), _utc(seen), (fault,))


def _utc(moment: datetime) -> datetime:
    """Return the time in UTC; one without a zone is of this machine's."""
    return moment.astimezone(UTC)
