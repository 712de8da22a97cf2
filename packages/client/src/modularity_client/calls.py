"""Every call of the registry: its request, its reply, and whether it may repeat.

Nothing is sent here. A call whose reply was lost is *repeated* if doing it twice is the
same as doing it once. A request that was never sent is always sent again, by
`attempts`. The calls about tokens are in `token_calls`, those about splits in
`split_calls`.
"""

from collections.abc import Iterable
from typing import Any, Literal, Unpack

from modularity_client.http.call import (
    Call,
    Query,
    Reply,
    arguments,
    call_with_body,
    capability_path,
    filter_arguments,
    if_match,
    list_arguments,
    owner_key_header,
    parser_of,
    path_segment,
    registration_body,
    string_list,
)
from modularity_client.namespaces import LIST
from modularity_client.split_calls import end_split, set_split, split, splits
from modularity_client.token_calls import (
    create_token,
    own_token,
    revoke_token,
    rotate_token,
    tokens,
)
from modularity_client.types.registry import (
    CallReport,
    Connections,
    Graph,
    Health,
    Namespace,
    Ready,
    RecordedCalls,
    Stats,
)
from modularity_client.types.services import (
    Acknowledgement,
    CapabilityList,
    Changed,
    ExplanationList,
    Filters,
    MatchList,
    Registered,
    Service,
    ServiceFields,
    ServiceList,
)

__all__ = [
    "Reply",
    "capabilities",
    "capability",
    "connections",
    "create_token",
    "discover",
    "drain",
    "end_split",
    "explain",
    "graph",
    "health",
    "heartbeat",
    "namespaces",
    "own_token",
    "providers",
    "put",
    "ready",
    "register",
    "report_check",
    "revoke_token",
    "rotate_token",
    "service",
    "services",
    "set_split",
    "split",
    "splits",
    "stats",
    "tokens",
    "track_invocation",
    "track_invocations",
    "undrain",
    "unregister",
]


def register(
    *, only_new: bool = False, **service: Unpack[ServiceFields]
) -> Call[Registered]:
    """Register a service, or replace the one with its id.

    With ``only_new``, raises `RevisionMismatch` instead of replacing. Not repeated
    after a lost reply, since another service may have registered in between; use `put`
    for that.
    """
    fields = registration_body(service)
    headers = {"If-None-Match": "*"} if only_new else {}
    return call_with_body(
        "POST", "/api/register", fields, _registered, headers, repeat=False
    )


def put(
    *,
    revision: int | None = None,
    only_new: bool = False,
    **service: Unpack[ServiceFields],
) -> Call[Registered]:
    """Register or replace a service at its own address.

    With ``revision``, replaces only that revision; with ``only_new``, never replaces;
    else raises `RevisionMismatch`. Repeated only without these conditions, since the
    first attempt may have changed them.
    """
    fields = registration_body(service)
    headers = if_match(revision) | ({"If-None-Match": "*"} if only_new else {})
    path = f"/api/services/{path_segment(service['id'])}"
    return call_with_body("PUT", path, fields, _registered, headers, repeat=not headers)


def services(
    *,
    limit: int | None = None,
    cursor: str | None = None,
    wait: float | None = None,
    revision: int | None = None,
    **filters: Unpack[Filters],
) -> Call[ServiceList]:
    """List the services that match the filters, by id.

    ``limit`` and ``cursor`` (the ``next`` of the page before) select a page. ``wait``
    (seconds) with ``revision`` waits for a change after that revision.
    """
    query = list_arguments(limit, cursor, wait, revision, filters)
    return Call("GET", "/api/services", parser_of(ServiceList), query, wait=wait)


def service(service_id: str) -> Call[Service]:
    """Read one service with its evidence; raises `ServiceNotFound`."""
    return Call("GET", f"/api/services/{path_segment(service_id)}", parser_of(Service))


def unregister(
    service_id: str,
    *,
    revision: int | None = None,
    instance: str | None = None,
    owner_key: str | None = None,
) -> Call[Changed]:
    """Unregister a service; with ``revision``, only if it is at that revision.

    With ``instance``, only this one leaves while there are others: the ``status`` of
    the result is ``left`` instead of ``unregistered``.

    Raises `ServiceNotFound`, but not if a retry after a lost reply finds it gone.
    """
    message = f"Service {service_id!r} is gone"
    return Call(
        "DELETE",
        f"/api/services/{path_segment(service_id)}",
        parser_of(Changed),
        query=arguments(instance=instance),
        headers=if_match(revision) | owner_key_header(owner_key),
        gone=Changed(service_id, "unregistered", None, message),
    )


def drain(
    service_id: str, *, reason: str = "", owner_key: str | None = None
) -> Call[Changed]:
    """Take a service out of discovery; it stays registered."""
    path = f"/api/services/{path_segment(service_id)}/drain"
    body = {"reason": reason} if reason else {}
    return call_with_body(
        "PUT", path, body, parser_of(Changed), owner_key_header(owner_key)
    )


def undrain(service_id: str, *, owner_key: str | None = None) -> Call[Changed]:
    """Put a drained service back; the result has its current ``status``."""
    path = f"/api/services/{path_segment(service_id)}/drain"
    return Call("DELETE", path, parser_of(Changed), headers=owner_key_header(owner_key))


def heartbeat(
    service_id: str,
    *,
    unhealthy: bool = False,
    warning: bool = False,
    note: str = "",
    owner_key: str | None = None,
) -> Call[Acknowledgement]:
    """Renew a lease, and report the health; raises `NotRegistered`.

    With ``warning``, callers get the service only if no other one is healthy.
    """

    def parse(data: Any, _: Reply) -> Acknowledgement:
        return Acknowledgement(data["status"], data["ttl"], data["message"])

    status = "unhealthy" if unhealthy else "warning" if warning else "healthy"
    body = {"status": status}
    if note:
        body["note"] = note
    path = f"/api/heartbeat/{path_segment(service_id)}"
    return call_with_body("POST", path, body, parse, owner_key_header(owner_key))


def report_check(
    service_id: str,
    name: str,
    *,
    status: Literal["healthy", "warning", "unhealthy"] = "healthy",
    note: str = "",
    owner_key: str | None = None,
) -> Call[Acknowledgement]:
    """Report one of the service's checks of kind ``ttl``; raises `NotRegistered`.

    The result has the ``ttl`` within which to report it again.
    """

    def parse(data: Any, _: Reply) -> Acknowledgement:
        return Acknowledgement(data["status"], data["ttl"], data["message"])

    body = {"status": status} | ({"note": note} if note else {})
    path = f"/api/services/{path_segment(service_id)}/checks/{path_segment(name)}"
    return call_with_body("POST", path, body, parse, owner_key_header(owner_key))


def capability(
    name: str,
    /,
    *,
    strategy: str | None = None,
    key: str | None = None,
    near: str | None = None,
    prefer_healthy: bool = True,
    **filters: Unpack[Filters],
) -> Call[Service]:
    """Pick one provider to call; ``strategy="hash"`` needs a ``key``.

    It is healthy. If none is, it is one with a warning; without ``prefer_healthy``,
    both are alike. ``near`` is a zone, or ``region/zone``: providers there come first.
    The default is the ``zone`` of the registry's object.

    Raises `CapabilityNotFound` if no service offers it, as far as the registry knows
    none ever did, `NoHealthyProvider` if it has no provider to call.
    """
    if name.endswith(("/services", "/explain")):
        raise ValueError(
            f"{name!r} ends as the address of a list does; use providers() or"
            " discover() for it"
        )
    query = arguments(strategy=strategy, key=key, near=near)
    query += _preference(prefer_healthy) + filter_arguments(filters)
    return Call("GET", capability_path(name), parser_of(Service), query)


def capabilities(
    *,
    limit: int | None = None,
    cursor: str | None = None,
    wait: float | None = None,
    revision: int | None = None,
    **filters: Unpack[Filters],
) -> Call[CapabilityList]:
    """List capabilities with a provider to call, by name; otherwise as `services`."""
    query = list_arguments(limit, cursor, wait, revision, filters)
    return Call("GET", "/api/capabilities", parser_of(CapabilityList), query, wait=wait)


def providers(
    name: str,
    /,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    wait: float | None = None,
    revision: int | None = None,
    **filters: Unpack[Filters],
) -> Call[ServiceList]:
    """List all providers of a capability, healthy or not; otherwise as `services`.

    A capability that no service has offered has none; you can wait for the first.
    """
    query = list_arguments(limit, cursor, wait, revision, filters)
    path = f"{capability_path(name)}/services"
    return Call("GET", path, parser_of(ServiceList), query, wait=wait)


def explain(
    name: str,
    /,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    wait: float | None = None,
    revision: int | None = None,
    prefer_healthy: bool = True,
    **filters: Unpack[Filters],
) -> Call[ExplanationList]:
    """Explain for each provider whether it can be picked, and if not, why."""
    query = list_arguments(limit, cursor, wait, revision, filters)
    query += _preference(prefer_healthy)
    path = f"{capability_path(name)}/explain"
    return Call("GET", path, parser_of(ExplanationList), query, wait=wait)


def discover(
    capabilities: Iterable[str] = (),
    *,
    optional: Iterable[str] = (),
    near: str | None = None,
    prefer_healthy: bool = True,
    **filters: Unpack[Filters],
) -> Call[MatchList]:
    """Find services with all ``capabilities``; most ``optional`` ones first.

    Those with a warning come after all healthy ones, unless not ``prefer_healthy``. Of
    equal ones, those that are ``near`` come first, as for `capability`.
    """
    body = {
        "capabilities": string_list(capabilities),
        "optional": string_list(optional),
    }
    query = arguments(near=near) + _preference(prefer_healthy)
    query += filter_arguments(filters)
    return call_with_body(
        "POST", "/api/discover", body, parser_of(MatchList), query=query
    )


def _preference(prefer_healthy: bool) -> Query:
    # Without a preference to say, older registries take the call as well.
    return () if prefer_healthy else (("prefer_healthy", "false"),)


def namespaces() -> Call[tuple[Namespace, ...]]:
    """List the namespaces that you may read, the default one first."""

    def parse(data: Any, _: Reply) -> tuple[Namespace, ...]:
        return tuple(map(Namespace.from_json, data["namespaces"]))

    return Call("GET", LIST, parse)


def stats() -> Call[Stats]:
    """Count services and capabilities."""
    return Call("GET", "/api/stats", parser_of(Stats))


def health() -> Call[Health]:
    """Read the registry's health; ``degraded`` is a result, not an error."""
    return Call("GET", "/health", parser_of(Health), patient=False)


def ready() -> Call[Ready]:
    """Check that the registry can take calls; raises `NotReady`."""

    def parse(data: Any, _: Reply) -> Ready:
        return Ready(data["status"], data.get("revision"))

    return Call("GET", "/ready", parse, patient=False)


def track_invocation(
    *,
    consumer_id: str,
    provider_id: str,
    capability: str,
    success: bool = True,
    latency_ms: float | None = None,
) -> Call[str]:
    """Report a call that one service made to another; returns a message.

    Not repeated after a lost reply: it would count twice.
    """
    body = {
        "consumer_id": consumer_id,
        "provider_id": provider_id,
        "capability": capability,
        "success": success,
        "latency_ms": latency_ms,
    }

    def parse(data: Any, _: Reply) -> str:
        return str(data["message"])

    return call_with_body("POST", "/api/track/invocation", body, parse, repeat=False)


def track_invocations(reports: Iterable[CallReport]) -> Call[RecordedCalls]:
    """Report 1-1,000 calls; those to providers that are not registered are left out.

    Raises `InvalidRequest`, and nothing is recorded, if a report is malformed. Not
    repeated after a lost reply: all would count twice.
    """
    return call_with_body(
        "POST",
        "/api/track/invocations",
        {"invocations": list(reports)},
        parser_of(RecordedCalls),
        repeat=False,
    )


def connections(service_id: str) -> Call[Connections]:
    """List which services this one calls and is called by; raises `ServiceNotFound`."""
    return Call(
        "GET", f"/api/connections/{path_segment(service_id)}", parser_of(Connections)
    )


def graph(**filters: Unpack[Filters]) -> Call[Graph]:
    """Read the call graph, for providers that match the filters."""
    return Call("GET", "/api/graph", parser_of(Graph), filter_arguments(filters))


def _registered(data: Any, reply: Reply) -> Registered:
    revision, created = int(data["revision"]), reply.status == 201
    message, displaced = data["message"], data.get("displaced")
    return Registered(data["service_id"], revision, created, message, displaced)
