"""Events as lines of text and as JSON."""

from datetime import UTC, datetime
from typing import Any

from modularity_client import Event
from modularity_registry.cli.output import milliseconds, moment, pairs, plain
from modularity_registry.clock import rfc3339


def sentence(event: Event) -> str:
    """Return what happened, in one line."""
    data = event.data
    service_id = plain(data.get("id", ""))
    match event.type:
        case "connected":
            return f"following from revision {event.revision}"
        case "disconnected":
            return f"no connection: {plain(data.get('reason'))}; reconnecting"
        case "resync":
            return f"events were missed: {plain(data.get('reason'))}"
        case "service.registered":
            return f"{service_id} registered at {plain(data.get('location'))}"
        case "service.updated":
            return f"{service_id} updated, at {plain(data.get('location'))}"
        case "service.unregistered":
            return f"{service_id} unregistered"
        case "service.status_changed":
            return (
                f"{service_id} {plain(data.get('old_status'))} ->"
                f" {plain(data.get('new_status'))}{_because(data.get('reason'))}"
            )
        case "capability.split_changed":
            return _split(data)
        case "capability.invoked":
            return _call(data)
    return ""  # of a newer registry: only its type is shown


def _because(reason: Any) -> str:
    return f": {plain(reason)}" if reason else ""


def _split(data: Any) -> str:
    split = data.get("split")
    weights = f"split: {pairs(split)}" if split else "no longer split"
    return f"{plain(data.get('capability'))} {weights}"


def _call(data: Any) -> str:
    outcome = "ok" if data.get("success") else "failed"
    latency = milliseconds(data.get("latency_ms"))
    return (
        f"{plain(data.get('consumer_id'))} called {plain(data.get('provider_id'))}"
        f" for {plain(data.get('capability'))}: {outcome}, {latency}"
    )


def line(event: Event) -> str:
    """Return an event as a line of text: time, type, and what happened."""
    return f"{moment(_at(event))}  {plain(event.type):<22}  {sentence(event)}".rstrip()


def document(event: Event) -> dict[str, Any]:
    """Return an event as in the ``data`` of the API's streams."""
    return {
        "event": event.type,
        "timestamp": _at(event),
        "revision": event.revision,
        "data": event.data,
    }


def _at(event: Event) -> str:
    # The client's own event, disconnected, has no time of the registry.
    return rfc3339(event.timestamp or datetime.now(UTC))
