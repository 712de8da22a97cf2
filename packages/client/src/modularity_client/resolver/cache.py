"""All that is known, ready to be picked from. Thread-safe; does no I/O.

Readers take what is in ``ready`` or ``choices`` without a lock: each entry is replaced
as a whole. Writers hold the lock.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from modularity_client.balancing import Choice, Strategy
from modularity_client.events.session import Event
from modularity_client.resolver.quarantine import Bench
from modularity_client.resolver.view import View
from modularity_client.types.services import Service, ServiceList

Pending = Future[None]


class Board:
    """The views of all capabilities of interest.

    ``ready`` picks by the usual strategy, of those who don't sit out; a capability
    without a healthy provider is missing there, but has an empty choice.
    """

    def __init__(
        self,
        strategy: Strategy,
        skip_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ready: dict[str, Callable[[], Service]] = {}
        self.choices: dict[str, Choice] = {}
        self._strategy = strategy
        self._skip_seconds = skip_seconds
        self._clock = clock
        self._views: dict[str, View] = {}
        self._connected = False
        self._as_of: float | None = None
        self._renew()

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Pending]] = {}
        self._bench = Bench(self._skip_seconds)

    # For everybody

    def wait(self, name: str) -> Pending | None:
        """Return what is done once the capability can be picked from; None if now."""
        with self._lock:
            if name in self.choices:
                return None
            pending: Pending = Future()
            self._waiting.setdefault(name, []).append(pending)
            return pending

    def give_up(self, name: str, pending: Pending) -> None:
        """Forget one who waits no longer."""
        with self._lock, suppress(KeyError, ValueError):
            self._waiting[name].remove(pending)

    def watch(self, names: Iterable[str]) -> None:
        """Begin to keep views of these capabilities."""
        with self._lock:
            for name in names:
                if name not in self._views:
                    # Replaced, not changed: a reader may be going through it.
                    self._views = {**self._views, name: View(name)}

    def names(self) -> list[str]:
        """Return the capabilities of interest."""
        return list(self._views)

    def healthy(self, name: str) -> tuple[Service, ...] | None:
        """Return the healthy providers by id; None while they are not known."""
        view = self._views.get(name)
        return view.healthy if view is not None and view.known else None

    @property
    def live(self) -> bool:
        """Whether all that is shown is as the registry has it now."""
        views = self._views.values()
        return self._connected and all(each.current for each in views if each.known)

    @property
    def age(self) -> float:
        """Seconds since all was known to be current: 0 while it is, else infinite."""
        if self.live:
            return 0.0
        if self._as_of is None:
            return math.inf
        return max(0.0, self._clock() - self._as_of)

    # Skipping: for everybody

    def skip(self, service_id: str) -> float | None:
        """Skip a provider that failed; return for how many seconds, None if already."""
        with self._lock:
            now = self._clock()
            self._bench.sweep(now)
            seconds = self._bench.failed(service_id, now)
            if seconds is not None:
                self._publish_all_of(service_id)
            return seconds

    def unskip(self, service_id: str) -> None:
        """Show a provider again if its time is over."""
        with self._lock:
            self._publish_all_of(service_id)

    # For the one who follows the registry

    def connected(self) -> None:
        """Note that events come in."""
        self._connected = True

    def disconnected(self, heard: float) -> None:
        """Note that none do, and when the registry was ``heard`` of last."""
        if self.live:
            self._as_of = heard
        self._connected = False

    def settle(self) -> None:
        """Let what is known count, however old: there is nobody to ask."""
        with self._lock:
            for name, view in self._views.items():
                if view.known and name not in self.choices:
                    self._publish(view)

    def doubt(self) -> None:
        """Note that events are missing: all lists have to be read again."""
        with self._lock:
            if self.live:
                self._as_of = self._clock()
            for view in self._views.values():
                view.doubt()

    def doubtful(self) -> list[str]:
        """Return the capabilities whose list has to be read."""
        return [name for name, view in self._views.items() if not view.current]

    def generation(self, name: str) -> int:
        """Return what `install` wants to know: asked for before the list is read."""
        return self._views[name].generation

    def install(
        self, name: str, listed: ServiceList, generation: int
    ) -> tuple[bool, bool]:
        """Take a list; return whether it was taken, and whether it changes anything."""
        with self._lock:
            view = self._views[name]
            before = view.healthy if view.known else None
            if not view.install(listed.services, listed.revision, generation):
                return False, False
            changed = view.healthy != before
            if changed or name not in self.choices:
                self._publish(view)
            return True, changed

    def take(self, event: Event) -> list[str]:
        """Apply an event; return the capabilities whose healthy providers changed."""
        service = event.service
        if service is None:
            return []
        with self._lock:
            # The registry knows something new of it, perhaps that it was restarted.
            forgiven = service.status == "healthy" and self._bench.forgive(service.id)
            changed = [view for view in self._views.values() if view.take(event)]
            for view in changed:
                self._publish(view)
            if forgiven:
                self._publish_all_of(service.id)
            return [view.capability for view in changed]

    def forked(self) -> None:
        """Begin anew in a child: what is shown is the parent's, of before the fork."""
        heard = self._clock() if self.live else self._as_of
        self._renew()
        self.ready.clear()
        self.choices.clear()
        self._connected, self._as_of = False, heard
        for view in self._views.values():
            view.doubt()

    def close(self) -> None:
        """Show nothing any more, and let nobody wait."""
        with self._lock:
            self.ready.clear()
            self.choices.clear()
            waiting, self._waiting = self._waiting, {}
        for pending in (each for group in waiting.values() for each in group):
            _finish(pending)

    # Under the lock

    def _publish_all_of(self, service_id: str) -> None:
        for view in self._views.values():
            if view.capability in self.choices and view.has(service_id):
                self._publish(view)

    def _publish(self, view: View) -> None:
        name, shown = view.capability, view.healthy
        out = self._bench.out(self._clock())
        if out:
            # When all have failed, one of them is still better than none.
            shown = tuple(each for each in shown if each.id not in out) or shown
        choice = Choice(shown)
        picker = choice.picker(self._strategy) if shown else None
        if picker is None:
            self.ready.pop(name, None)
        else:
            self.ready[name] = picker
        self.choices[name] = choice
        for pending in self._waiting.pop(name, ()):
            _finish(pending)


def _finish(pending: Pending) -> None:
    with suppress(InvalidStateError):  # its owner has given up in the meantime
        pending.set_result(None)
