"""Clients that read and listen all the while, and what they saw."""

import http.client
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from faults.replicas.fleet import Fleet, Replica
from faults.replicas.providers import CAPABILITY, Providers
from modularity_client import Registry
from modularity_client.errors import RegistryError
from modularity_client.events.stream import EventStream
from support.registry import eventually
from support.serving import HOST

TIMEOUT = 3.0
"""Seconds in which a client that knows all replicas has an answer."""

HEALTHY = f"/api/capabilities/{CAPABILITY}/services?status=healthy&limit=1000"


class Verdict(NamedTuple):
    """The end of a service, as an event told: ``kind`` is unhealthy or unregistered."""

    service_id: str
    kind: str
    revision: int | None


class Witness:
    """Reads from all replicas and from each, and listens to each, until `close`.

    ``failures`` has what no client should have seen. ``longest`` has the most seconds
    without an answer, of a client that knows all replicas, and of each replica by its
    port while nothing was done to it. ``verdicts`` has when (monotonic) each was first
    told. ``served`` has for how long a service was given out after its end, by a view
    that was not marked as stale.
    """

    def __init__(self, fleet: Fleet, providers: Providers) -> None:
        self.failures: list[str] = []
        self.answers: Counter[str] = Counter()
        self.longest: dict[str, float] = defaultdict(float)
        self.verdicts: dict[Verdict, float] = {}
        self.served: dict[str, float] = {}
        self._providers = providers
        self._ending = threading.Event()
        self._connected = 0
        self._registry = Registry(fleet.urls, timeout=TIMEOUT)
        self._streams = [Registry(url).events() for url in fleet.urls]
        jobs: list[Callable[[], None]] = [self._ask_all]
        jobs += [partial(self._ask, replica) for replica in fleet.replicas]
        jobs += [partial(self._listen, stream) for stream in self._streams]
        self._threads = [threading.Thread(target=job) for job in jobs]
        for thread in self._threads:
            thread.start()
        eventually(lambda: self._connected >= len(self._streams))

    @property
    def gone(self) -> dict[str, float]:
        """When each service ended (monotonic)."""
        return self._providers.gone

    def gaps(self) -> str:
        """Return the longest time without an answer of each replica, for people."""
        gaps = [f"{v:.2f} s" for k, v in sorted(self.longest.items()) if k != "all"]
        return ", ".join(gaps)

    def verdict(self, service_id: str, kind: str = "unhealthy") -> float | None:
        """Return the seconds from a service's end to its verdict; None before that."""
        end = self._providers.gone[service_id]
        told = [
            at
            for verdict, at in dict(self.verdicts).items()
            if (verdict.service_id, verdict.kind) == (service_id, kind)
        ]
        return min(told) - end if told else None

    def false_verdicts(self) -> list[Verdict]:
        """Return those on services that were alive."""
        gone = self._providers.gone
        return [
            verdict
            for verdict, at in self.verdicts.items()
            if at < gone.get(verdict.service_id, at + 1)
        ]

    def doubled(self) -> list[str]:
        """Return the services whose end was told as two events."""
        counts = Counter(verdict[:2] for verdict in self.verdicts)
        return [f"{pair}" for pair, count in counts.items() if count > 1]

    def close(self) -> None:
        """End all reads and streams."""
        self._ending.set()
        for stream in self._streams:
            stream.close()
        for thread in self._threads:
            thread.join()
        self._registry.close()

    def _ask_all(self) -> None:
        last = time.monotonic()
        while not self._ending.wait(0.02):
            try:
                self._registry.capability(CAPABILITY)
            except RegistryError as error:
                self.failures.append(f"no replica answered: {error}")
            else:
                self.answers["all"] += 1
                now = time.monotonic()
                self.longest["all"] = max(self.longest["all"], now - last)
                last = now

    def _ask(self, replica: Replica) -> None:
        connection = http.client.HTTPConnection(HOST, replica.port, timeout=5)
        name, last = str(replica.port), None
        while not self._ending.wait(0.05):
            excused = replica.excused
            try:
                connection.request("GET", HEALTHY)
                reply = connection.getresponse()
                stale = reply.headers["X-Registry-Stale"] is not None
                services = json.loads(reply.read())["services"]
            except (OSError, http.client.HTTPException, KeyError) as error:
                connection.close()
                last = None
                if not (excused or replica.excused):
                    self.failures.append(f"a replica did not answer: {error!r}")
                continue
            now = time.monotonic()
            self.answers[name] += 1
            if last is not None and not (excused or replica.excused):
                self.longest[name] = max(self.longest[name], now - last)
            last = None if excused or replica.excused else now
            if not stale:
                self._note_served({service["id"] for service in services}, now)
        connection.close()

    def _note_served(self, ids: set[str], now: float) -> None:
        for service_id, end in list(self._providers.gone.items()):
            if service_id in ids:
                seconds = max(now - end, self.served.get(service_id, 0.0))
                self.served[service_id] = seconds

    def _listen(self, stream: EventStream) -> None:
        for event in stream:
            now = time.monotonic()
            self._connected += event.type == "connected"
            if event.service is None:
                continue
            kind = event.type.partition(".")[2]
            if kind == "status_changed" and event.service.status == "unhealthy":
                kind = "unhealthy"
            if kind in ("unhealthy", "unregistered"):
                verdict = Verdict(event.service.id, kind, event.revision)
                self.verdicts.setdefault(verdict, now)
