"""Every call, by both clients, with a real registry."""

import inspect
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from client_support import REPOSITORY
from client_support.harness import Asker, RegistryProcess
from modularity_client import (
    AsyncRegistry,
    CapabilityNotFound,
    InvalidRequest,
    NoHealthyProvider,
    Registry,
    RevisionMismatch,
    ServiceNotFound,
    calls,
    errors,
)
from modularity_client.errors import NotRegistered

Asking = Callable[..., Asker]
DOCS = REPOSITORY / "docs" / "api.md"
# Faults of a client or of a registry: nobody has a use for a type of their own.
GENERIC = {
    "method_not_allowed",
    "body_too_large",
    "head_too_large",
    "unsupported_media_type",
    "internal_error",
}


@pytest.fixture
def ask(shared: RegistryProcess, asking: Asking) -> Asker:
    return asking(shared.url)


@pytest.fixture
def fields() -> dict[str, Any]:
    """A service like no other, of a mode that is not checked."""
    unique = uuid.uuid4().hex
    return {
        "id": f"service-{unique}",
        "name": f"Service {unique}",
        "capabilities": [f"greet-{unique}", f"greet-{unique}/formal"],
        "location": "worker 7",
        "mode": "standalone",
        "metadata": {"region": unique, "gpu": True},
    }


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in vars(kind).items()
            if callable(member) and not name.startswith("_")
        }

    assert methods(Registry) == methods(AsyncRegistry)
    assert "capability" in methods(Registry)
    assert list(inspect.signature(Registry("http://x").stats).parameters) == []


def test_a_registered_service_reads_back(ask: Asker, fields: dict[str, Any]) -> None:
    before = datetime.now(UTC)
    done = ask("register", **fields, weight=3, ttl=60, version="2.1.0")
    assert (done.service_id, done.created) == (fields["id"], True)
    service = ask("service", fields["id"])
    assert service.name == fields["name"]
    assert service.capabilities == tuple(fields["capabilities"])
    assert service.metadata == fields["metadata"]
    assert (service.weight, service.ttl, service.version) == (3, 60, "2.1.0")
    assert (service.status, service.health) == ("healthy", None)
    assert (service.revision, service.failed_checks) == (done.revision, 0)
    assert before <= service.registered_at <= datetime.now(UTC)
    assert service.evidence is not None
    assert len({service, service}) == 1


def test_the_reply_can_be_had_beside_the_result(
    ask: Asker, fields: dict[str, Any]
) -> None:
    done = ask("ask", calls.put(**fields))
    assert done.reply.status == 201
    assert done.reply.json()["service_id"] == done.value.service_id == fields["id"]
    read = ask("ask", calls.service(fields["id"]))
    assert read.value == ask("service", fields["id"])
    assert int(read.reply.headers["x-registry-revision"]) >= done.value.revision
    with pytest.raises(ServiceNotFound):
        ask("ask", calls.service(f"not-{fields['id']}"))


def test_a_service_is_replaced_only_where_that_is_wanted(
    ask: Asker, fields: dict[str, Any]
) -> None:
    first = ask("register", **fields)
    assert not ask("register", **fields).created
    with pytest.raises(RevisionMismatch):
        ask("put", **fields, revision=first.revision)
    with pytest.raises(RevisionMismatch):
        ask("put", **fields, only_new=True)
    with pytest.raises(RevisionMismatch):
        ask("register", **fields, only_new=True)
    now = ask("service", fields["id"]).revision
    assert ask("put", **fields, revision=now).revision > now


def test_an_error_names_every_bad_field(ask: Asker, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask("register", **{**fields, "name": "", "weight": -1})
    assert (caught.value.status, caught.value.code) == (400, "invalid_request")
    assert {each.field for each in caught.value.errors} == {"name", "weight"}
    with pytest.raises(TypeError, match="port"):
        ask("register", **fields, port=1)
    with pytest.raises(TypeError, match="location"):
        ask("register", **{k: v for k, v in fields.items() if k != "location"})


def test_a_single_capability_is_not_taken_for_its_letters(
    ask: Asker, fields: dict[str, Any]
) -> None:
    name = fields["capabilities"][0]
    ask("register", **{**fields, "capabilities": name})
    assert ask("service", fields["id"]).capabilities == (name,)


def test_lists_are_filtered_and_come_in_pages(
    ask: Asker, fields: dict[str, Any]
) -> None:
    for number in range(5):
        version = f"1.{number}.0"
        service_id = f"{fields['id']}-{number}"
        ask("register", **{**fields, "id": service_id, "version": version})
    mine = {"metadata": {"region": fields["metadata"]["region"], "gpu": True}}
    page = ask("services", limit=2, **mine)
    assert (len(page), page.next is not None) == (2, True)
    following = ask("services", limit=2, cursor=page.next, **mine)
    assert [each.id[-1] for each in [*page, *following]] == list("0123")
    found = ask("iter_services", limit=2, **mine)
    assert [each.id[-1] for each in found] == list("01234")
    some = ask("services", version=">=1.1,<1.3", capability=fields["capabilities"])
    assert [each.version for each in some] == ["1.1.0", "1.2.0"]
    either = ask("services", status=["healthy", "draining"], mode="ipc", **mine)
    assert len(either) == 0
    with pytest.raises(TypeError, match="colour"):
        ask("services", colour="red")


def test_a_provider_is_picked_by_strategy_and_filter(
    ask: Asker, fields: dict[str, Any]
) -> None:
    plain, formal = fields["capabilities"]
    ids = {f"{fields['id']}-{letter}" for letter in "ab"}
    for service_id in ids:
        ask("register", **{**fields, "id": service_id})
    assert {ask("capability", plain).id for _ in ids} == ids
    keyed = {ask("capability", formal, strategy="hash", key="k").id for _ in range(4)}
    assert len(keyed) == 1
    ask("heartbeat", min(ids), warning=True, note="queue is long")
    assert {ask("capability", plain).id for _ in ids} == {max(ids)}
    either = {ask("capability", plain, prefer_healthy=False).id for _ in ids}
    assert either == ids
    drained = min(ids)
    ask("drain", drained, reason="upgrade")
    assert ask("capability", plain, mode="standalone").id == max(ids)
    with pytest.raises(NoHealthyProvider) as caught:
        ask("capability", plain, mode="ipc")
    assert caught.value.retry_after is not None
    assert ask("capability", plain, name=fields["name"]).id == max(ids)


def test_a_capability_that_ends_as_a_list_is_found_by_other_calls(
    ask: Asker, fields: dict[str, Any]
) -> None:
    name = f"{fields['capabilities'][0]}/services"
    ask("register", **{**fields, "capabilities": [name]})
    assert [each.id for each in ask("providers", name)] == [fields["id"]]
    assert [each.service.id for each in ask("discover", [name])] == [fields["id"]]
    with pytest.raises(ValueError, match="providers"):
        ask("capability", name)


@pytest.mark.parametrize("name", ["a/.b", "a/b.", "a/..b"])
def test_a_capability_with_odd_parts_keeps_its_name(ask: Asker, name: str) -> None:
    unique = f"{uuid.uuid4().hex}/{name}"
    service = {"name": "Odd", "location": "x", "mode": "ipc"}
    ask("register", id="odd", capabilities=[unique], **service)
    assert ask("capability", unique).id == "odd"


def test_drained_means_not_picked_and_explained(
    ask: Asker, fields: dict[str, Any]
) -> None:
    ask("register", **fields)
    name = fields["capabilities"][0]
    assert ask("drain", fields["id"], reason="upgrade").status == "draining"
    with pytest.raises(NoHealthyProvider):
        ask("capability", name)
    (why,) = ask("explain", name)
    assert (why.service_id, why.returned) == (fields["id"], False)
    assert "upgrade" in why.reasons[0]
    assert name not in [each.name for each in ask("capabilities")]
    assert ask("undrain", fields["id"]).status == "healthy"
    assert ask("capability", name).id == fields["id"]
    (known,) = ask("capabilities", capability=name, name=fields["name"], limit=1)
    assert known.providers == (fields["id"],)


def test_discover_puts_the_best_first(ask: Asker, fields: dict[str, Any]) -> None:
    plain, formal = fields["capabilities"]
    ask("register", **fields)
    ask("register", **{**fields, "id": fields["id"] + "-0", "capabilities": [plain]})
    best, other = ask("discover", [plain], optional=[formal])
    assert (best.service.id, best.score) == (fields["id"], 2)
    assert (best.required, best.optional) == ((plain,), (formal,))
    assert other.score < best.score


def test_what_is_not_there_is_said_by_type(ask: Asker, fields: dict[str, Any]) -> None:
    unknown = fields["id"]
    with pytest.raises(ServiceNotFound):
        ask("service", unknown)
    with pytest.raises(ServiceNotFound):
        ask("unregister", unknown)
    with pytest.raises(NotRegistered):
        ask("heartbeat", unknown)
    with pytest.raises(CapabilityNotFound):
        ask("capability", unknown)
    with pytest.raises(ServiceNotFound):
        ask("connections", unknown)
    assert len(ask("providers", unknown)) == 0
    with pytest.raises(ValueError, match="empty"):
        ask("service", "")


def test_a_heartbeat_says_how_the_service_is(
    ask: Asker, fields: dict[str, Any]
) -> None:
    ask("register", **fields, ttl=60)
    assert ask("heartbeat", fields["id"]).ttl == 60
    ask("heartbeat", fields["id"], unhealthy=True, note="the disk is full")
    assert ask("service", fields["id"]).status == "unhealthy"
    (why,) = ask("explain", fields["capabilities"][0])
    assert "the disk is full" in why.reasons[0]
    ask("heartbeat", fields["id"])
    assert ask("service", fields["id"]).status == "healthy"


def test_a_check_is_reported_by_its_name(ask: Asker, fields: dict[str, Any]) -> None:
    checks = [{"name": "jobs", "kind": "ttl", "ttl": 60.0}]
    ask("register", **fields, checks=checks)
    assert ask("report_check", fields["id"], "jobs").ttl == 60
    ask("report_check", fields["id"], "jobs", status="unhealthy", note="stuck")
    service = ask("service", fields["id"])
    assert (service.status, service.status_reason) == (
        "unhealthy",
        "check 'jobs': stuck",
    )
    assert service.checks == tuple(checks)
    ask("report_check", fields["id"], "jobs")
    assert ask("service", fields["id"]).status == "healthy"
    with pytest.raises(NotRegistered):
        ask("report_check", fields["id"], "none")


def test_unregistering_may_be_bound_to_a_revision(
    ask: Asker, fields: dict[str, Any]
) -> None:
    done = ask("register", **fields)
    with pytest.raises(RevisionMismatch):
        ask("unregister", fields["id"], revision=done.revision + 1)
    gone = ask("unregister", fields["id"], revision=done.revision)
    assert (gone.status, gone.service_id) == ("unregistered", fields["id"])
    with pytest.raises(NoHealthyProvider):
        ask("capability", fields["capabilities"][0])


def test_reported_calls_make_connections_and_a_graph(
    ask: Asker, fields: dict[str, Any]
) -> None:
    ask("register", **fields)
    name, caller = fields["capabilities"][0], f"caller-of-{fields['id']}"
    call = {"consumer_id": caller, "provider_id": fields["id"], "capability": name}
    assert ask("track_invocation", **call, latency_ms=12.5)
    known = ask("connections", fields["id"])
    assert (known.service_name, known.consuming) == (fields["name"], ())
    (made,) = known.providing
    assert (made.service_id, made.request_count) == (caller, 1)
    assert (made.avg_latency_ms, made.success_rate) == (12.5, 1.0)
    graph = ask("graph", name=fields["name"])
    (edge,) = graph.edges
    assert (edge.consumer_id, edge.provider_id) == (caller, fields["id"])
    nodes = {node.id: node.registered for node in graph.nodes}
    assert nodes == {caller: False, fields["id"]: True}


def test_several_calls_are_reported_at_once(ask: Asker, fields: dict[str, Any]) -> None:
    ask("register", **fields)
    call = {
        "consumer_id": "caller",
        "provider_id": fields["id"],
        "capability": fields["capabilities"][0],
    }
    stray = {**call, "provider_id": f"not-{fields['id']}"}
    done = ask("track_invocations", [call, {**call, "success": False}, stray])
    assert (done.recorded, done.unknown) == (2, (stray["provider_id"],))
    (made,) = ask("connections", fields["id"]).providing
    assert (made.request_count, made.success_rate) == (2, 0.5)
    with pytest.raises(InvalidRequest) as caught:
        ask("track_invocations", [call, {**call, "latency_ms": -1}])
    assert [each.field for each in caught.value.errors] == ["invocations.1.latency_ms"]


def test_the_registry_speaks_of_itself(ask: Asker, fields: dict[str, Any]) -> None:
    ask("register", **fields)
    stats = ask("stats")
    assert stats.total_services >= 1
    assert stats.raw["revision"] >= 1
    assert ask("ready").status == "ready"
    health = ask("health")
    assert (health.status, health.service) == ("healthy", "modularity-registry")
    assert health.timestamp.tzinfo is not None


def test_waiting_ends_with_the_time_or_the_change(
    ask: Asker, fields: dict[str, Any]
) -> None:
    done = ask("register", **fields)
    name = fields["capabilities"][0]
    same = ask("providers", name, wait=0.2, revision=done.revision)
    assert [each.revision for each in same] == [done.revision]
    # What has changed already is answered at once.
    changed = ask("services", wait=60, revision=done.revision - 1, capability=name)
    assert [each.id for each in changed] == [fields["id"]]
    with pytest.raises(ValueError, match="together"):
        ask("services", wait=1)


def test_every_code_of_the_api_page_has_its_type() -> None:
    page = DOCS.read_text()
    table = page[page.index("| code | status |") :].split("\n\n")[0]
    for line in table.splitlines()[2:]:
        code, status = (cell.strip(" `") for cell in line.split("|")[1:3])
        error = errors.from_problem(int(status), {"code": code, "detail": "x"})
        assert error.code == code
        generic = code in GENERIC
        assert (type(error) is errors.RegistryError) == generic, code
