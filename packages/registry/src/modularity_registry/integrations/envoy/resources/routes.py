"""Routes: which cluster gets a call, by the capability that the caller names."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import (
    PreviousHostsPredicate,
)
from envoy.extensions.retry.priority.previous_priorities.v3 import (
    previous_priorities_config_pb2 as previous_priorities,
)
from google.protobuf.json_format import ParseDict

from modularity_registry.integrations.envoy.kinds import url_of
from modularity_registry.integrations.envoy.resources.clusters import cluster_name

OUTBOUND: Final = "@egress"
"""The name of the outbound listener and its routes; no capability has it."""

HEADER: Final = "x-capability"
"""The header by which a caller names a capability, if not by the host."""

AUTHORITY: Final = ":authority"

RETRIES: Final = 3

# Of these calls, a second one does no more than the first.
_REPEATABLE: Final = "GET|HEAD|OPTIONS|PUT|DELETE|TRACE"
_BEFORE_SENT: Final = "connect-failure,refused-stream,reset-before-request"
_ANY_TIME: Final = "connect-failure,refused-stream,reset,retriable-status-codes"


class Target(NamedTuple):
    """Where the calls of a capability go.

    ``weights`` are those of the groups that get calls; none if they are not split.
    ``path`` comes before the path of each call.
    """

    capability: str
    weights: tuple[tuple[str, int], ...] = ()
    path: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether all calls go to the cluster that has the capability's name."""
        return not self.weights and not self.path


def outbound_routes(special: Sequence[Target]) -> RouteConfiguration:
    """Return the routes of the outbound listener.

    A call goes to the cluster that its header `HEADER`, or else its host, names. So the
    routes are the same for any number of capabilities, but for the ``special`` ones.
    """
    routes = [
        route
        for header in (HEADER, AUTHORITY)
        for route in [
            *(r for one in special for r in _routes(_exactly(header, one), _to(one))),
            *_routes({"name": header, "present_match": True}, _named_in(header)),
        ]
    ]
    content = {
        "name": OUTBOUND,
        "virtual_hosts": [{"name": OUTBOUND, "domains": ["*"], "routes": routes}],
        "validate_clusters": False,
    }
    return ParseDict(content, RouteConfiguration())


def target_routes(target: Target) -> RouteConfiguration:
    """Return the routes of a client that calls one capability alone, such as gRPC's."""
    action = _to(target) | {"retry_policy": _GRPC_RETRY}
    host = {
        "name": target.capability,
        "domains": ["*"],
        "routes": [{"match": {"prefix": ""}, "route": action}],
    }
    content = {"name": target.capability, "virtual_hosts": [host]}
    return ParseDict(content, RouteConfiguration())


def _exactly(header: str, target: Target) -> dict[str, Any]:
    return {"name": header, "string_match": {"exact": target.capability}}


def _named_in(header: str) -> dict[str, Any]:
    return {"cluster_header": header}


def _to(target: Target) -> dict[str, Any]:
    """Return the clusters that the calls of a capability go to, and how."""
    capability, weights, path = target
    action: dict[str, Any] = {"cluster": cluster_name(capability)}
    if weights:
        clusters = [
            {"name": cluster_name(capability, group), "weight": weight}
            for group, weight in weights
        ]
        action = {"weighted_clusters": {"clusters": clusters}}
    return action | ({"prefix_rewrite": f"{path}/"} if path else {})


def _routes(header: Mapping[str, Any], action: Mapping[str, Any]) -> list[Any]:
    """Return two routes for calls with a header: calls that may be repeated, others."""
    repeatable = {
        "name": ":method",
        "string_match": {"safe_regex": {"regex": _REPEATABLE}},
    }
    return [
        {
            "match": {"prefix": "/", "headers": headers},
            "route": {
                **action,
                "timeout": "0s",  # The caller's own is what counts.
                "auto_host_rewrite": True,
                "retry_policy": _retry(reasons),
            },
        }
        for headers, reasons in (
            ([header, repeatable], _ANY_TIME),
            ([header], _BEFORE_SENT),
        )
    ]


def _retry(reasons: str) -> dict[str, Any]:
    return {
        "retry_on": reasons,
        "num_retries": RETRIES,
        "retriable_status_codes": [503],
        "host_selection_retry_max_attempts": 3,
        # The last ones of a zone may all be gone: then elsewhere.
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": url_of(previous_priorities.PreviousPrioritiesConfig),
                "update_frequency": 2,
            },
        },
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": url_of(PreviousHostsPredicate)},
            }
        ],
    }


_GRPC_RETRY: Final = {"retry_on": "unavailable", "num_retries": RETRIES}
