"""One stream of a node: what it asks for, and what it is sent, in which order."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from time import monotonic
from typing import Any, Final

from modularity_registry.integrations.envoy.delivery import responses
from modularity_registry.integrations.envoy.delivery.subscriptions import (
    DeltaSubscription,
    Subscription,
    WholeSubscription,
)
from modularity_registry.integrations.envoy.kinds import Kind
from modularity_registry.integrations.envoy.nodes import Nodes, NodeState
from modularity_registry.integrations.envoy.resources.source import Names, Snapshot

HOLD: Final = 5.0
"""Seconds that listeners and routes wait for a node to have their clusters.

So no call is routed to a cluster that the node does not have yet. A node that says
nothing for so long gets them nevertheless.
"""

_nonces = count(1)

Write = Callable[[bytes], Awaitable[None]]


class Stream:
    """A stream of one or all kinds, begun by ``snapshot``'s node.

    It holds no queue: what may have changed is noted, and what is sent is made when it
    can go out.
    """

    def __init__(
        self, snapshot: Snapshot, nodes: Nodes, write: Write, is_delta: bool
    ) -> None:
        self._snapshot = snapshot
        self._nodes = nodes
        self._write = write
        self._is_delta = is_delta
        self._subscriptions: dict[Kind, Subscription] = {}
        self._in_order: list[Subscription] = []
        self._wake = asyncio.Event()
        self._state: NodeState = nodes.join(self, snapshot.node)
        # The clusters that the node was sent, until it has their endpoints.
        self._new_clusters: set[str] = set()
        self._held_until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Forget it. Idempotent."""
        self._nodes.leave(self)
        if self._timer is not None:
            self._timer.cancel()

    def note(self, names: Names | None) -> bool:
        """Note what may have changed, None for anything; say whether it concerns it."""
        concerns = False
        for kind, subscription in self._subscriptions.items():
            if names is None or kind in names:
                of_kind = None if names is None else names[kind]
                concerns = subscription.note(of_kind) or concerns
        if concerns:
            self._wake.set()
        return concerns

    def take(self, kind: Kind, request: Any) -> None:
        """Take a request: what the node wants, and what it says of the last response.

        Raises `TooManyNames`.
        """
        subscription = self._subscriptions.get(kind)
        if subscription is None:
            make = DeltaSubscription if self._is_delta else WholeSubscription
            subscription = self._subscriptions[kind] = make(kind)
            known = self._subscriptions
            self._in_order = [known[each] for each in Kind if each in known]
        if subscription.take(request):
            refused = request.HasField("error_detail")
            refusal = request.error_detail.message if refused else None
            version = subscription.version
            self._nodes.answered(self._state, kind, version, refusal)
        self._wake.set()

    async def run(self) -> None:
        """Send what there is to send, for as long as the stream lasts."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (subscription := self._next()) is not None:
                await self._send(subscription)

    def _next(self) -> Subscription | None:
        """Return whose turn it is: who others refer to comes first."""
        for subscription in self._in_order:
            if subscription.is_due:
                if not subscription.kind.comes_first and self._holds():
                    return None
                return subscription
        return None

    def _holds(self) -> bool:
        """Say whether listeners and routes have to wait; wake the stream in time."""
        clusters = self._subscriptions.get(Kind.CLUSTERS)
        endpoints = self._subscriptions.get(Kind.ENDPOINTS)
        if clusters is None:
            return False
        if endpoints is not None and not endpoints.lacks(self._new_clusters):
            self._new_clusters.clear()
        wait = clusters.waits or (endpoints is not None and endpoints.waits)
        if not (wait or self._new_clusters):
            return False
        left = self._held_until - monotonic()
        if left <= 0:
            self._new_clusters.clear()
            return False
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(left, self._look_again)
        return True

    def _look_again(self) -> None:
        self._timer = None
        self._wake.set()

    async def _send(self, subscription: Subscription) -> None:
        made = await subscription.response(self._snapshot)
        if made is None:
            return
        response, names = made
        nonce = f"{next(_nonces):x}"
        subscription.nonce, subscription.version = nonce, response.version
        subscription.waits = True
        kind = subscription.kind
        self._nodes.sent(self._state, kind, response.version)
        self._follow(kind, names)
        await self._write(responses.with_nonce(response.body, nonce, self._is_delta))

    def _follow(self, kind: Kind, names: list[str]) -> None:
        """See that what a response refers to comes after it.

        A cluster that has changed waits for its endpoints, though those have not.
        """
        if kind.comes_first:
            self._held_until = monotonic() + HOLD
        if kind is Kind.CLUSTERS:
            self._new_clusters.update(names)
            self._again(Kind.ENDPOINTS, names)
        elif kind is Kind.LISTENERS:
            self._again(Kind.ROUTES, None)

    def _again(self, kind: Kind, names: list[str] | None) -> None:
        subscription = self._subscriptions.get(kind)
        if subscription is not None:
            subscription.send_again(names)
