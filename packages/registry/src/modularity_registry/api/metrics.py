"""Shows a running registry by Prometheus' names and conventions.

Read at each scrape from the parts themselves, so nothing is counted twice and an idle
registry counts nothing. No label grows with the number of services.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from modularity_registry import __version__
from modularity_registry.model.service import MODES, STATUSES
from modularity_registry.telemetry.counters import BOUNDS, Timings

if TYPE_CHECKING:
    from modularity_registry.runtime import Registry

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

FOUND = ("/api/capabilities/{name}", "/api/discover")
"""Routes that are discovery queries."""


class Collector:
    """Gives Prometheus' client what there is to show now."""

    def __init__(self, registry: "Registry") -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family, each once."""
        yield from self._catalog()
        yield from self._work()
        yield from self._watching()
        yield from self._store()
        yield from self._state()

    def _catalog(self) -> Iterator[Metric]:
        catalog = self._registry.catalog
        services = GaugeMetricFamily(
            "registry_services", "Registered services.", labels=["status", "mode"]
        )
        counts = dict(catalog.by_status_and_mode)
        for status in STATUSES:
            for mode in MODES:
                services.add_metric([status, mode], counts.get((status, mode), 0))
        yield services
        yield _gauge(
            "registry_capabilities",
            "Capabilities that some service offers.",
            catalog.total_capabilities,
        )

    def _work(self) -> Iterator[Metric]:
        metrics = self._registry.metrics
        yield _histograms(
            "registry_http_request_duration_seconds",
            "Time from a request to the head of its reply.",
            ("route", "status"),
            {(route, str(code)): t for (route, code), t in metrics.requests.items()},
        )
        yield _counters(
            "registry_registrations",
            "Registrations, by whether the id was new.",
            "result",
            {"created": metrics.registered, "replaced": metrics.replaced},
        )
        yield _counters(
            "registry_unregistrations",
            "Services that were taken out, by request or because their lease ran out.",
            "reason",
            {
                "request": metrics.unregistered - metrics.expired,
                "lease": metrics.expired,
            },
        )
        yield _counter(
            "registry_heartbeats", "Heartbeats that were taken.", metrics.heartbeats
        )
        audit = self._registry.audit
        yield _counters(
            "registry_audit_lines",
            "Lines of the audit, and those that could not be written.",
            "result",
            {"written": audit.lines, "lost": audit.lost},
        )
        yield _counters(
            "registry_discovery_queries",
            "Questions for a provider, by whether there was one.",
            "result",
            self._queries(),
        )
        yield _histograms(
            "registry_health_check_duration_seconds",
            "Time that health checks took.",
            ("outcome",),
            {(outcome,): timings for outcome, timings in metrics.checks.items()},
        )
        yield _gauge(
            "registry_health_watched_services",
            "Services that this replica checks or whose lease it watches.",
            self._registry.monitor.watched,
        )

    def _queries(self) -> dict[str, int]:
        found = {"hit": 0, "miss": 0}
        for (route, status), timings in list(self._registry.metrics.requests.items()):
            if route in FOUND:
                found["hit" if status in (200, 304) else "miss"] += timings.count
        return found

    def _watching(self) -> Iterator[Metric]:
        hub, metrics = self._registry.hub, self._registry.metrics
        yield _gauge("registry_watchers", "Open streams and waiting reads.", len(hub))
        yield _gauge(
            "registry_watchers_limit", "Places for streams and waits.", hub.places
        )
        yield _histograms(
            "registry_propagation_seconds",
            "Time from a change reaching this replica to its event being written.",
            (),
            {(): metrics.propagation},
        )

    def _store(self) -> Iterator[Metric]:
        registry, metrics = self._registry, self._registry.metrics
        yield _histograms(
            "registry_store_operation_duration_seconds",
            "Time that the store took.",
            ("operation",),
            {(name,): timings for name, timings in metrics.store.items()},
        )
        yield _counters(
            "registry_store_errors",
            "Operations that the store failed at.",
            "operation",
            dict(metrics.store_errors),
        )
        yield _gauge(
            "registry_feed_age_seconds",
            "Time since the store was last heard of; 0 where it is in this process.",
            registry.feed_age,
        )
        yield _gauge(
            "registry_view_stale_seconds",
            "For how long the view has been stale; 0 while it is current.",
            registry.view_health.stale_seconds or 0,
        )
        yield _gauge(
            "registry_revision", "Revision of the view.", registry.catalog.revision
        )

    def _state(self) -> Iterator[Metric]:
        registry = self._registry
        replicas = GaugeMetricFamily(
            "registry_replicas",
            "Replicas as this one sees them, itself included.",
            labels=["state"],
        )
        states = [replica.state for replica in registry.membership.states()]
        replicas.add_metric(["alive"], len(registry.membership.alive))
        replicas.add_metric(["lost"], states.count("lost"))
        yield replicas
        yield _gauge(
            "registry_degraded",
            "1 while /health says degraded.",
            int(bool(registry.degraded())),
        )
        yield _gauge(
            "registry_uptime_seconds",
            "Time since this replica started.",
            registry.clock.monotonic() - registry.started_at,
        )
        info = InfoMetricFamily("registry", "What this registry is.")
        info.add_metric(
            [], {"version": __version__, "store": registry.settings.store_kind}
        )
        yield info


def exposition(registry: "Registry") -> CollectorRegistry:
    """Return everything that ``/metrics`` shows, the process's own figures as well."""
    collected = CollectorRegistry(auto_describe=False)
    collected.register(Collector(registry))
    ProcessCollector(registry=collected)
    return collected


def text(collected: CollectorRegistry) -> bytes:
    """Return it in Prometheus' text format."""
    return generate_latest(collected)


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_, value=value)


def _counter(name: str, help_: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_, value=value)


def _counters(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, help_, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def _histograms(
    name: str,
    help_: str,
    labels: Iterable[str],
    timings: Mapping[tuple[str, ...], Timings],
) -> Metric:
    family = HistogramMetricFamily(name, help_, labels=list(labels))
    for values, each in list(timings.items()):
        # Read once: the sum of the buckets is the count, whatever comes meanwhile.
        counts, total = list(each.counts), each.total
        buckets, below = [], 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric(list(values), buckets, total)
    return family
