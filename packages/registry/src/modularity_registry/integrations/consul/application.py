"""Consul's HTTP API: which call is answered by what, and how it is told of errors."""

import http
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Final

from werkzeug.exceptions import HTTPException, MethodNotAllowed

from modularity_registry import errors
from modularity_registry.api import problems
from modularity_registry.api.route_policy import Cost
from modularity_registry.config import DEFAULT_NAMESPACE
from modularity_registry.integrations.consul.agent import TEXT, Agent
from modularity_registry.integrations.consul.node import DATACENTER, Node
from modularity_registry.integrations.consul.reads import options
from modularity_registry.integrations.consul.reads.blocking import index_of
from modularity_registry.integrations.consul.reads.lists import row
from modularity_registry.integrations.consul.reads.options import NoDatacenter
from modularity_registry.integrations.consul.reads.services import Reads
from modularity_registry.integrations.consul.tracker import Tracker
from modularity_registry.integrations.consul.writes.commands import (
    ConsulFailure,
    UnknownService,
    Writes,
)
from modularity_registry.integrations.http import Application, Call, Reply, Route
from modularity_registry.integrations.http.route import Handler
from modularity_registry.model.rights import Right
from modularity_registry.serving.head import Environ

STATUS: Final[Mapping[type[errors.RegistryError], int]] = {
    UnknownService: 404,
    ConsulFailure: 500,
    NoDatacenter: 500,
    errors.Unauthorized: 403,
    errors.OwnedByAnother: 403,
    errors.StoreError: 500,
}
"""The status of an error, where Consul has another one than the registry."""

_DENIED: Final = (errors.Unauthorized, errors.Forbidden, errors.OwnedByAnother)
LEFT_OUT: Final = (
    "is not here: the registry has Consul's agent, catalog, health and status, and no"
    " key/value store, sessions, queries, events, ACLs or mesh"
)


class ConsulApplication(Application):
    """The API under `/v1/`."""

    def __init__(self, node: Node, trackers: Mapping[str | None, Tracker]) -> None:
        self.reads = Reads(node, trackers, self.error)
        self._node = node
        self._writes = Writes(node, trackers)
        agent = Agent(node, trackers, self.reads.lists)
        super().__init__(
            ("/v1/",),
            [*_agent_routes(agent), *self._list_routes(), *self._other_routes()],
        )

    def _list_routes(self) -> list[Route]:
        reads = self.reads
        listed: list[tuple[str, Handler]] = [
            ("catalog/services", reads.services),
            ("catalog/nodes", reads.nodes),
            ("catalog/node/", reads.node_services),
            ("catalog/node/<path:node>", reads.node_services),
            (
                "catalog/node-services/<path:node>",
                partial(reads.node_services, as_list=True),
            ),
            ("health/node/", reads.health_node),
            ("health/node/<path:node>", reads.health_node),
            ("health/state/", reads.health_state),
            ("health/state/<path:state>", reads.health_state),
            ("health/checks/", reads.health_checks),
            ("health/checks/<path:name>", reads.health_checks),
        ]
        routes = [
            Route("GET", f"/v1/{rule}", handler, cost=Cost.READ, waits=True)
            for rule, handler in listed
        ]
        for kind, handler in (
            ("health", reads.health_service),
            ("catalog", reads.catalog_service),
        ):
            plan = partial(reads.plan, kind=kind)
            rule = f"/v1/{kind}/service/"
            routes.append(Route("GET", rule, handler, waits=True))
            rule += "<path:name>"
            routes.append(Route("GET", rule, handler, waits=True, plan=plan))
        return routes

    def _other_routes(self) -> list[Route]:
        write = partial(Route, "PUT", right=Right.REGISTER, cost=Cost.WRITE)
        return [
            write("/v1/catalog/register", self.register),
            write("/v1/catalog/deregister", self.deregister),
            Route("GET", "/v1/catalog/datacenters", self.datacenters, None),
            Route("GET", "/v1/status/leader", self.leader, None),
            Route("GET", "/v1/status/peers", self.peers, None),
            Route("GET", "/v1/kv/", self.no_key),
            Route("GET", "/v1/kv/<path:key>", self.no_key),
        ]

    async def register(self, call: Call) -> Reply:
        """Answer `catalog/register`."""
        await self._writes.register_in_catalog(call)
        return Reply(200, b"true")

    async def deregister(self, call: Call) -> Reply:
        """Answer `catalog/deregister`."""
        await self._writes.deregister_from_catalog(call)
        return Reply(200, b"true")

    def datacenters(self, call: Call) -> Reply:
        """Answer `catalog/datacenters`."""
        return Reply(200, row([DATACENTER]))

    def leader(self, call: Call) -> Reply:
        """Answer `status/leader`: nobody leads while the store is away."""
        options.require_here(call.argument("dc") or "")
        leads = call.registry.feed.interruption is None
        return Reply(200, row(self._node.leader if leads else ""))

    def peers(self, call: Call) -> Reply:
        """Answer `status/peers`."""
        options.require_here(call.argument("dc") or "")
        return Reply(200, row([self._node.leader]))

    def no_key(self, call: Call) -> Reply:
        """Answer `kv`: some clients ask for a key, and go on if it is not there."""
        index = str(index_of(call.registry, 0))
        return Reply(404, content_type=TEXT, headers=[("X-Consul-Index", index)])

    # What the frame asks

    def authorization(
        self, environ: Environ, arguments: Sequence[tuple[str, str]]
    ) -> str | None:
        token = environ.get("HTTP_X_CONSUL_TOKEN") or next(
            (value for name, value in arguments if name == "token"), ""
        )
        header: str | None = environ.get("HTTP_AUTHORIZATION")
        return f"Bearer {token}" if token else header

    def namespace(self, environ: Environ, arguments: Sequence[tuple[str, str]]) -> str:
        named = next((value for name, value in arguments if name == "ns"), "")
        header = environ.get("HTTP_X_CONSUL_NAMESPACE") or environ.get("HTTP_NS")
        return str(named or header or DEFAULT_NAMESPACE)

    def cost(self, route: Route, arguments: Sequence[tuple[str, str]]) -> Cost:
        waits = route.waits and any(name == "index" for name, _ in arguments)
        return Cost.READ if waits else route.cost

    def error(self, error: errors.RegistryError) -> Reply:
        status = next(
            (STATUS[kind] for kind in type(error).__mro__ if kind in STATUS),
            problems.status_of(error),
        )
        text = error.detail
        if isinstance(error, _DENIED):
            text = f"Permission denied: {text}"
        headers = []
        if isinstance(error, errors.TooManyRequests):
            headers.append(("Retry-After", str(error.retry_after)))
        return _text(int(status), text, headers)

    def http_error(self, error: HTTPException) -> Reply:
        if isinstance(error, MethodNotAllowed):
            allowed = sorted({*(error.valid_methods or ())} - {"HEAD"})
            return _text(
                405,
                f"method not allowed; use {' or '.join(allowed)}",
                [("Allow", ",".join(allowed))],
            )
        status = error.code or 500
        if status == 404:
            return _text(404, f"this part of Consul's API {LEFT_OUT}")
        return _text(status, error.description or http.HTTPStatus(status).phrase)

    def failure(self, error: BaseException) -> Reply:
        problems.unexpected(error)
        return _text(500, "an internal error occurred; see the registry's log")


def _agent_routes(agent: Agent) -> list[Route]:
    read = partial(Route, "GET", cost=Cost.READ)
    write = partial(Route, "PUT", right=Right.REGISTER, cost=Cost.WRITE)
    report = partial(Route, "PUT", right=Right.REGISTER, cost=Cost.HEARTBEAT)
    service, check = "/v1/agent/service", "/v1/agent/check"
    verdicts = '<any("pass", "warn", "fail"):verdict>'
    return [
        read("/v1/agent/self", agent.about),
        read("/v1/agent/members", agent.members),
        read("/v1/agent/services", agent.services),
        read("/v1/agent/checks", agent.checks),
        read(f"{service}/<path:service_id>", agent.service, waits=True),
        read("/v1/agent/health/service/id/<path:service_id>", agent.health_by_id),
        read("/v1/agent/health/service/name/<path:name>", agent.health_by_name),
        write(f"{service}/register", agent.register),
        write(f"{service}/deregister/", agent.deregister),
        write(f"{service}/deregister/<path:service_id>", agent.deregister),
        write(f"{service}/maintenance/<path:service_id>", agent.maintenance),
        write("/v1/agent/maintenance", _no_node_maintenance),
        write(f"{check}/register", agent.register_check),
        write(f"{check}/deregister/<path:check_id>", agent.deregister_check),
        report(f"{check}/{verdicts}/<path:check_id>", agent.report),
        report(f"{check}/update/<path:check_id>", agent.update),
    ]


def _no_node_maintenance(call: Call) -> Reply | Awaitable[Reply]:
    return _text(
        501,
        "the registry's one node has the services of all machines on it, and can't be"
        " taken out for maintenance; take out services, with agent/service/maintenance",
    )


def _text(status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> Reply:
    return Reply(status, text.encode(errors="replace"), TEXT, headers)
