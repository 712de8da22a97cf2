"""What a node has asked for on a stream, and what it has been sent of that."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Final

from modularity_registry import tasks
from modularity_registry.integrations.envoy.delivery import responses
from modularity_registry.integrations.envoy.delivery.responses import Response
from modularity_registry.integrations.envoy.kinds import Kind
from modularity_registry.integrations.envoy.resources.source import (
    Resource,
    Snapshot,
)

ALL: Final = "*"
"""The name by which a node asks for everything."""

MOST_NAMES: Final = 20_000
"""So many resources of a kind a node may name on one stream."""


class TooManyNames(Exception):
    """A node names more resources than it may."""


class Subscription(ABC):
    """The resources of one kind that a node has asked for.

    ``nonce`` is that of the last response, ``version`` its version, and ``waits`` says
    that the node has not answered it yet. What may have changed is looked at when the
    next response is made: however often it changed meanwhile, only the last state goes
    out.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.wildcard = False
        self.names: set[str] = set()
        self.nonce = ""
        self.version = ""
        self.waits = False
        # What the node has, by name; None: it knows that there is none.
        self._sent: dict[str, str | None] = {}
        self._changed: set[str] = set()
        self._all_changed = False

    @property
    def is_due(self) -> bool:
        """Whether something may have to be sent."""
        return self._all_changed or bool(self._changed)

    def note(self, names: frozenset[str] | None) -> bool:
        """Note what may have changed, None for any; say whether it is of concern."""
        if names is None:
            self._all_changed = True
            return True
        concerned = names if self.wildcard else names & self.names
        self._changed |= concerned
        return bool(concerned)

    def send_again(self, names: Iterable[str] | None = None) -> None:
        """Send these again though they are the same as before; None for all."""
        again = self.names if names is None else self.names.intersection(names)
        for name in again:
            self._sent.pop(name, None)
        self._changed |= again

    def lacks(self, names: Iterable[str]) -> bool:
        """Say whether the node has not been sent one of these yet."""
        return any(name not in self._sent for name in names)

    @abstractmethod
    def take(self, request: Any) -> bool:
        """Take what a request asks for; return whether it answers the last response."""

    @abstractmethod
    async def response(self, snapshot: Snapshot) -> tuple[Response, list[str]] | None:
        """Return what to send now, and the names in it; None if nothing has changed.

        Other work has its turn in between.
        """

    def _find(self, snapshot: Snapshot, name: str) -> Resource | None:
        """Return a resource if the node has asked for it."""
        if name in self.names or (self.wildcard and snapshot.covers(self.kind, name)):
            return snapshot.find(self.kind, name)
        return None

    def _answers(self, request: Any) -> bool:
        answers = self.waits and request.response_nonce == self.nonce
        if answers:
            self.waits = False
        return answers

    def _take_changes(self) -> tuple[bool, set[str]]:
        every, names = self._all_changed, self._changed
        self._all_changed, self._changed = False, set()
        return every, names

    def _set_names(self, names: set[str]) -> None:
        if len(names) > MOST_NAMES:
            raise TooManyNames
        self.names = names


class WholeSubscription(Subscription):
    """One of the protocol's variant with the state of the world."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self._began = False
        self._last: tuple[Resource, ...] | None = None

    def take(self, request: Any) -> bool:
        if self._began and request.response_nonce != self.nonce:
            return False  # Written before the last response came; another follows.
        names = set(request.resource_names)
        wildcard = ALL in names or (
            self.kind.complete and not names and (self.wildcard or not self._began)
        )
        names.discard(ALL)
        if names != self.names or wildcard != self.wildcard or not self._began:
            self._change_names(names, wildcard)
        self._began = True
        return self._answers(request)

    def _change_names(self, names: set[str], wildcard: bool) -> None:
        added, gone = names - self.names, self.names - names
        self._set_names(names)
        if wildcard and not self.wildcard:
            self._all_changed = True
        self.wildcard = wildcard
        for name in gone:
            self._sent.pop(name, None)
        # New names are answered even if nobody has changed them.
        self.send_again(added)
        if self.kind.complete:
            self._last = None
            self._all_changed = self._all_changed or bool(added) or not self._began

    async def response(self, snapshot: Snapshot) -> tuple[Response, list[str]] | None:
        every, changed = self._take_changes()
        if self.kind.complete:
            return await self._all(snapshot)
        names: Iterable[str] = changed
        if every:
            names = {*self.names, *(snapshot.names(self.kind) if self.wildcard else ())}
        resources = []
        async for name in tasks.in_slices(sorted(names)):
            one = self._find(snapshot, name)
            if one is not None and self._sent.get(name) != one.version:
                self._sent[name] = one.version
                resources.append(one)
        if not resources:
            return None
        return self._made(tuple(resources))

    async def _all(self, snapshot: Snapshot) -> tuple[Response, list[str]] | None:
        """Return all that was asked for, if it is not what was sent before."""
        names = sorted(self.names)
        if self.wildcard:
            names = list(dict.fromkeys((*snapshot.names(self.kind), *names)))
        resources = []
        async for name in tasks.in_slices(names):
            one = snapshot.find(self.kind, name)
            if one is not None:
                resources.append(one)
        now = tuple(resources)
        if now == self._last:
            return None
        before, self._last = self._last, now
        response, _ = self._made(now)
        self._sent = {each.name: each.version for each in now}
        return response, [each.name for each in set(now).difference(before or ())]

    def _made(self, resources: tuple[Resource, ...]) -> tuple[Response, list[str]]:
        response = responses.whole(self.kind, resources)
        return response, [each.name for each in resources]


class DeltaSubscription(Subscription):
    """One of the protocol's incremental variant."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self._began = False
        self._must_answer = False

    def take(self, request: Any) -> bool:
        added = set(request.resource_names_subscribe)
        gone = set(request.resource_names_unsubscribe)
        if not self._began:
            self._sent |= request.initial_resource_versions
            if self.kind.complete and not added:
                added.add(ALL)
        if ALL in added and not self.wildcard:
            # Answered even if there is nothing: the node waits for it.
            self.wildcard = self._all_changed = self._must_answer = True
        if ALL in gone:
            self.wildcard = False
        added.discard(ALL)
        gone.discard(ALL)
        self._set_names((self.names - gone) | added)
        for name in gone:
            self._sent.pop(name, None)
        if self._began:
            # Asked for again: the node has lost it.
            self.send_again(added)
        self._changed |= added
        self._began = True
        return self._answers(request)

    async def response(self, snapshot: Snapshot) -> tuple[Response, list[str]] | None:
        every, changed = self._take_changes()
        names: Iterable[str] = sorted(changed)
        if every:
            present = snapshot.names(self.kind) if self.wildcard else ()
            names = dict.fromkeys((*present, *self._sent, *sorted(self.names)))
        resources, removed = [], []
        async for name in tasks.in_slices(names):
            one = self._find(snapshot, name)
            if one is None:
                if self._has(name):
                    removed.append(name)
                if name in self.names:
                    self._sent[name] = None
                else:
                    self._sent.pop(name, None)
            elif self._sent.get(name) != one.version:
                self._sent[name] = one.version
                resources.append(one)
        must_answer, self._must_answer = self._must_answer, False
        if not (resources or removed or must_answer):
            return None
        response = responses.delta(self.kind, tuple(resources), tuple(removed))
        return response, [each.name for each in resources]

    def _has(self, name: str) -> bool:
        """Say whether the node is to be told that a resource is not there."""
        return self._sent.get(name, "" if name in self.names else None) is not None
