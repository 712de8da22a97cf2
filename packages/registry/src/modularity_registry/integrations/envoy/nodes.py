"""What each node was sent, what it accepted, and what it refused, for people."""

import logging
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from modularity_registry.clock import Clock, rfc3339
from modularity_registry.integrations.envoy.kinds import Kind
from modularity_registry.integrations.envoy.node import Node
from modularity_registry.model.printable import printable
from modularity_registry.telemetry import logs

log = logging.getLogger(__name__)

MOST_SHOWN: Final = 100
"""So many nodes are shown one by one: those that refused something before others."""

MOST_POLLERS: Final = 10_000
"""So many nodes that ask again and again are remembered.

A further one takes the place of the oldest of the client that has most of them: no
client can push those of others out by making up ids.
"""

POLLER_LASTS: Final = 60.0
"""Seconds that a node is remembered that asks again and again."""

LONGEST: Final = 1000
"""Of a node's message, characters that are kept."""


class Rejection(NamedTuple):
    """Why a node refused a response, in its own words, and when."""

    kind: Kind
    version: str
    message: str
    at: datetime


@dataclass(slots=True)
class NodeState:
    """What is known of one node, on one of its streams, or by all that it asks.

    The rest is of one who asks again: ``unanswered`` are the versions that it has not
    spoken of yet, ``supplied`` the clusters whose endpoints it has, ``empty`` those of
    them that had none when it asked last, and ``held_until``
    (monotonic) is for how long its routes wait for those of others.
    """

    node: Node
    sent: dict[Kind, str] = field(default_factory=dict)
    accepted: dict[Kind, tuple[str, datetime]] = field(default_factory=dict)
    rejected: dict[Kind, Rejection] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    supplied: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)
    held_until: float | None = None
    seen: float = 0.0


Pollers = OrderedDict[str, NodeState]
"""The nodes that one client asks for, by id, who asked last at the end."""


class Nodes:
    """The nodes of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._streams: dict[Hashable, NodeState] = {}
        # By client, who asked last at the end.
        self._pollers: OrderedDict[str, Pollers] = OrderedDict()
        self.responses = 0
        self.accepted = 0
        self.rejected = 0

    def join(self, stream: Hashable, node: Node) -> NodeState:
        """Note that a node has a stream, until it leaves."""
        state = self._streams[stream] = NodeState(node)
        return state

    def leave(self, stream: Hashable) -> None:
        """Forget a stream. Idempotent."""
        self._streams.pop(stream, None)

    def poller(self, node: Node, client: str) -> NodeState:
        """Note that a node asks, and return what is known of it."""
        now = self._clock.monotonic()
        own = self._pollers.setdefault(client, OrderedDict())
        self._pollers.move_to_end(client)
        is_new = node.id not in own
        state = own.setdefault(node.id, NodeState(node))
        own.move_to_end(node.id)
        # Its metadata may be long, and nothing here needs it.
        state.node, state.seen = replace(node, metadata="{}"), now
        if is_new:
            self._forget_pollers(own, now - POLLER_LASTS)
        return state

    def _forget_pollers(self, own: Pollers, since: float) -> None:
        """Forget who has not asked since a time, and who is one too many."""
        while next(iter(own.values())).seen < since:
            own.popitem(last=False)
        while _are_gone(next(iter(self._pollers.values())), since):
            self._pollers.popitem(last=False)
        while sum(map(len, self._pollers.values())) > MOST_POLLERS:
            max(self._pollers.values(), key=len).popitem(last=False)

    def sent(self, state: NodeState, kind: Kind, version: str) -> None:
        """Note what a node was sent."""
        state.sent[kind] = version
        self.responses += 1

    def answered(
        self, state: NodeState, kind: Kind, version: str, refusal: str | None
    ) -> None:
        """Note that a node accepted a version, or why it did not."""
        now = self._clock.now()
        if refusal is None:
            self.accepted += 1
            state.accepted[kind] = version, now
        else:
            self.rejected += 1
            message = printable(refusal[:LONGEST])
            if not _refuses(state):
                log.warning(
                    "a node refuses what it was sent: %s",
                    message,
                    extra=logs.fields(node=state.node.id, type=kind.label),
                )
            state.rejected[kind] = Rejection(kind, version, message, now)

    def statistics(self) -> dict[str, Any]:
        """Return counts, and nodes by their ids, those that refused something first."""
        nodes: dict[tuple[str, str], list[NodeState]] = {}
        for state in self._states():
            key = state.node.id, state.node.way.value
            nodes.setdefault(key, []).append(state)
        rows = [_row(states) for states in nodes.values()]
        rows.sort(key=lambda row: (row["rejected"] is None, row["id"]))
        return {
            "nodes": len(nodes),
            "streams": len(self._streams),
            "responses": self.responses,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "shown": rows[:MOST_SHOWN],
        }

    def _states(self) -> Iterator[NodeState]:
        since = self._clock.monotonic() - POLLER_LASTS
        yield from self._streams.values()
        for states in self._pollers.values():
            yield from (one for one in states.values() if one.seen >= since)


def _are_gone(states: Pollers, since: float) -> bool:
    return not states or next(reversed(states.values())).seen < since


def _refuses(state: NodeState) -> bool:
    return any(
        kind not in state.accepted or state.accepted[kind][1] < rejection.at
        for kind, rejection in state.rejected.items()
    )


def _row(states: list[NodeState]) -> dict[str, Any]:
    """Return what is shown of a node, whatever number of streams it has."""
    node = states[0].node
    sent = {kind: text for state in states for kind, text in state.sent.items()}
    accepted = {kind: pair for one in states for kind, pair in one.accepted.items()}
    rejections = [each for state in states for each in state.rejected.values()]
    last = max(rejections, key=lambda rejection: rejection.at, default=None)
    return {
        "id": node.id,
        "cluster": node.cluster,
        "zone": node.zone,
        "by": node.way.value,
        "types": {
            kind.label: {
                "sent": sent.get(kind),
                "accepted": accepted[kind][0] if kind in accepted else None,
                "accepted_at": (
                    rfc3339(accepted[kind][1]) if kind in accepted else None
                ),
            }
            for kind in Kind
            if kind in sent or kind in accepted
        },
        "rejected": _rejection(last) if last else None,
        "up_to_date": not any(map(_refuses, states)),
    }


def _rejection(rejection: Rejection) -> dict[str, Any]:
    return {
        "type": rejection.kind.label,
        "version": rejection.version,
        "message": rejection.message,
        "at": rfc3339(rejection.at),
    }
