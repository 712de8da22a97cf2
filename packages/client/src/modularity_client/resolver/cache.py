"""The providers of all followed capabilities, in memory. Thread-safe; does no I/O.

Readers use ``pickers`` and ``choices`` without a lock, since each entry is replaced as
a whole. Writers hold the lock.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from itertools import chain

from modularity_client.balancing import Choice, Strategy
from modularity_client.events.session import SPLIT_CHANGED, Event
from modularity_client.resolver.quarantine import Quarantine
from modularity_client.resolver.view import CapabilityView
from modularity_client.splits import choice_of
from modularity_client.types.services import Service, ServiceList

Pending = Future[None]
Near = Callable[[tuple[Service, ...], Sequence[Service]], tuple[Service, ...]]
"""Returns those of the usable ones that are near, given all providers."""


class ProviderCache:
    """The views of all followed capabilities.

    ``pickers`` has a function for each capability, which picks by the default strategy
    among the providers that are not skipped, those with a warning only if there are no
    others. A capability without a provider to call has no picker, but an empty choice.
    """

    def __init__(
        self,
        strategy: Strategy,
        skip_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        near: Near | None = None,
    ) -> None:
        self.pickers: dict[str, Callable[[], Service]] = {}
        self.choices: dict[str, Choice] = {}
        self._strategy = strategy
        self._skip_seconds = skip_seconds
        self._clock = clock
        self._near = near
        self._views: dict[str, CapabilityView] = {}
        self._connected = False
        self._as_of: float | None = None
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Pending]] = {}
        self._quarantine = Quarantine(self._skip_seconds)

    def wait(self, name: str) -> Pending | None:
        """Return a future that ends when the capability is loaded; None if it is."""
        with self._lock:
            if name in self.choices:
                return None
            pending: Pending = Future()
            self._waiting.setdefault(name, []).append(pending)
            return pending

    def cancel_wait(self, name: str, pending: Pending) -> None:
        """Forget a future of `wait`."""
        with self._lock, suppress(KeyError, ValueError):
            self._waiting[name].remove(pending)

    def watch(self, names: Iterable[str]) -> None:
        """Keep views of these capabilities from now on."""
        with self._lock:
            for name in names:
                if name not in self._views:
                    # Replaced, not changed: a reader may be iterating over it.
                    self._views = {**self._views, name: CapabilityView(name)}

    def names(self) -> list[str]:
        """Return the followed capabilities."""
        return list(self._views)

    def tiers(self, name: str) -> tuple[tuple[Service, ...], ...] | None:
        """Return the providers to call, the best tier first; None until loaded."""
        view = self._views.get(name)
        return view.tiers if view is not None and view.loaded else None

    def usable(self, name: str) -> tuple[Service, ...]:
        """Return the providers to call, those of the best tier first."""
        return tuple(chain.from_iterable(self.tiers(name) or ()))

    def not_skipped(self, providers: Iterable[Service]) -> set[str]:
        """Return the ids of those that are not skipped."""
        with self._lock:
            skipped = self._quarantine.members(self._clock())
        return {each.id for each in providers if each.id not in skipped}

    @property
    def live(self) -> bool:
        """Whether all loaded views are current."""
        views = self._views.values()
        return self._connected and all(view.current for view in views if view.loaded)

    @property
    def age(self) -> float:
        """Seconds since the views were current: 0 while they are, infinite before."""
        if self.live:
            return 0.0
        if self._as_of is None:
            return math.inf
        return max(0.0, self._clock() - self._as_of)

    def skip(self, service_id: str) -> float | None:
        """Skip a provider; return for how many seconds, None if it already is."""
        with self._lock:
            now = self._clock()
            self._quarantine.remove_expired(now)
            seconds = self._quarantine.add(service_id, now)
            if seconds is not None:
                self._publish_all_of(service_id)
            return seconds

    def unskip(self, service_id: str) -> None:
        """Use a provider again if its term is over."""
        with self._lock:
            self._publish_all_of(service_id)

    # Called by the follower only

    def connected(self) -> None:
        """Note that the stream of events is open."""
        self._connected = True

    def disconnected(self, last_heard: float) -> None:
        """Note that the stream ended; its last sign of life came at ``last_heard``."""
        if self.live:
            self._as_of = last_heard
        self._connected = False

    def accept_stale(self) -> None:
        """Use the loaded views, however old: the registry can't be reached."""
        with self._lock:
            for name, view in self._views.items():
                if view.loaded and name not in self.choices:
                    self._publish(view)

    def mark_stale(self) -> None:
        """Note that events are missing: all lists have to be read again."""
        with self._lock:
            if self.live:
                self._as_of = self._clock()
            for view in self._views.values():
                view.mark_stale()

    def stale_names(self) -> list[str]:
        """Return the capabilities whose list has to be read."""
        return [name for name, view in self._views.items() if not view.current]

    def generation(self, name: str) -> int:
        """Return the argument for `install`; call this before you read the list."""
        return self._views[name].generation

    def install(
        self, name: str, providers: ServiceList, generation: int
    ) -> tuple[bool, bool]:
        """Install a list; return whether it was used, and whether providers changed."""
        with self._lock:
            view = self._views[name]
            before = view.tiers if view.loaded else None
            split = view.split
            if not view.install(
                providers.services, providers.revision, generation, providers.split
            ):
                return False, False
            changed = view.tiers != before
            is_split = view.split is not None or split is not None
            if changed or self._near or is_split or name not in self.choices:
                self._publish(view)
            return True, changed

    def apply(self, event: Event) -> list[str]:
        """Apply an event; return the capabilities whose usable providers changed."""
        if event.type == SPLIT_CHANGED:
            self._apply_split(event)
        service = event.service
        if service is None:
            return []
        with self._lock:
            # The registry has news of it; it may have been restarted.
            released = service.status == "healthy" and self._quarantine.release(
                service.id
            )
            before = self._near and self._having(service.id)
            changed = [view for view in self._views.values() if view.apply(event)]
            for view in changed:
                self._publish(view)
            for view in before or ():
                # How many providers a zone has counts as well.
                if view not in changed and view.capability in self.choices:
                    self._publish(view)
            if released:
                self._publish_all_of(service.id)
            return [view.capability for view in changed]

    def _apply_split(self, event: Event) -> None:
        with self._lock:
            view = self._views.get(event.data.get("capability", ""))
            if view is not None and view.apply_split(event):
                self._publish(view)

    def choice(self, name: str, tiers: Sequence[tuple[Service, ...]]) -> Choice:
        """Return the choice among some providers, by the split if there is one."""
        view = self._views.get(name)
        split = view.split if view is not None else None
        return choice_of(tiers, tuple(chain.from_iterable(tiers)), split, _anywhere)

    def forked(self) -> None:
        """Start over in a child process, whose views are from before the fork."""
        last_heard = self._clock() if self.live else self._as_of
        self._reset()
        self.pickers.clear()
        self.choices.clear()
        self._connected, self._as_of = False, last_heard
        for view in self._views.values():
            view.mark_stale()

    def close(self) -> None:
        """Drop all providers, and end all waits."""
        with self._lock:
            self.pickers.clear()
            self.choices.clear()
            waiting, self._waiting = self._waiting, {}
        for pending in chain.from_iterable(waiting.values()):
            _finish(pending)

    # Under the lock

    def _publish_all_of(self, service_id: str) -> None:
        for view in self._views.values():
            if view.capability in self.choices and view.has(service_id):
                self._publish(view)

    def _having(self, service_id: str) -> list[CapabilityView]:
        return [view for view in self._views.values() if view.has(service_id)]

    def _publish(self, view: CapabilityView) -> None:
        name, tiers = view.capability, view.tiers
        skipped = self._quarantine.members(self._clock())
        if skipped:
            usable = (
                tuple(each for each in tier if each.id not in skipped) for tier in tiers
            )
            # When all have failed, one of them is still better than none.
            tiers = tuple(filter(None, usable)) or tiers
        near = self._near or _anywhere
        choice = choice_of(tiers, view.providers, view.split, near)
        picker = choice.picker(self._strategy) if tiers else None
        if picker is None:
            self.pickers.pop(name, None)
        else:
            self.pickers[name] = picker
        self.choices[name] = choice
        for pending in self._waiting.pop(name, ()):
            _finish(pending)


def _anywhere(
    usable: tuple[Service, ...], providers: Sequence[Service]
) -> tuple[Service, ...]:
    return usable


def _finish(pending: Pending) -> None:
    with suppress(InvalidStateError):  # the caller stopped waiting in the meantime
        pending.set_result(None)
