"""The registry's metrics, named by Prometheus' conventions.

Each scrape reads them from the parts themselves, so nothing is counted twice. No label
grows with the number of services.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from time import perf_counter, time
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request
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
from modularity_registry.api.route_policy import template
from modularity_registry.model.service import MODES, STATUSES
from modularity_registry.serving.certificate_reload import Certificates
from modularity_registry.telemetry.counters import BOUNDS, Metrics, Timings

if TYPE_CHECKING:
    from modularity_registry.runtime import Registry

_DAY = 86_400.0

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

DISCOVERY = ("/api/capabilities/{name}", "/api/discover")
"""Routes that are discovery queries."""

OTHER = "other"
"""The label of requests that match no route: their paths may be anything."""


def time_requests(app: Flask, metrics: Metrics) -> None:
    """Time every request of ``app`` up to its headers; the hot path times its own."""

    @app.before_request
    def begin() -> None:
        g.began = perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        rule = request.url_rule
        route = OTHER if rule is None else template(rule.rule)
        began = g.get("began", None)
        if began is not None:
            timings = metrics.request(
                route.replace("{service_id}", "{id}"), response.status_code
            )
            timings.observe(perf_counter() - began)
        return response


class Collector:
    """Gives Prometheus' client the present figures."""

    def __init__(self, registry: "Registry") -> None:
        self._registry = registry
        self._namespaces = registry.all_namespaces

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family, each once."""
        yield from self._catalog()
        yield from self._requests()
        yield from self._changes()
        yield from self._health_checks()
        yield from self._watching()
        yield from self._store()
        yield from self._upstreams()
        yield from self._state()

    def _catalog(self) -> Iterator[Metric]:
        yield self._services()
        yield self._of_each(
            "registry_capabilities",
            "Capabilities that some service offers.",
            lambda registry: registry.catalog.total_capabilities,
        )
        quotas = self._registry.quotas
        yield _gauge(
            "registry_services_limit",
            "Services that there may be; 0 if any number.",
            quotas.services.limit,
        )
        yield self._of_each(
            "registry_registrations_bytes",
            "Bytes of all registrations.",
            lambda registry: registry.quotas.bytes.held,
        )
        yield _gauge(
            "registry_registrations_limit_bytes",
            "Bytes of registrations that there may be; 0 if any number.",
            quotas.bytes.limit,
        )

    def _services(self) -> Metric:
        labels = ["status", "mode", *self._label_names]
        services = GaugeMetricFamily(
            "registry_services", "Registered services.", labels=labels
        )
        for registry in self._namespaces:
            counts = dict(registry.catalog.by_status_and_mode)
            for status in STATUSES:
                for mode in MODES:
                    labels = [status, mode, *self._label_of(registry)]
                    services.add_metric(labels, counts.get((status, mode), 0))
        return services

    @property
    def _label_names(self) -> list[str]:
        """What tells the namespaces apart: no label if there is only the default one.

        Of that, the label is empty otherwise, which to Prometheus is the same as none.
        """
        return ["namespace"] if len(self._namespaces) > 1 else []

    def _of_each(
        self, name: str, help_: str, value: Callable[["Registry"], float]
    ) -> Metric:
        """Return a gauge with a value for each namespace."""
        family = GaugeMetricFamily(name, help_, labels=self._label_names)
        for registry in self._namespaces:
            family.add_metric(self._label_of(registry), value(registry))
        return family

    def _label_of(self, registry: "Registry") -> list[str]:
        return [registry.namespace or ""] if self._label_names else []

    def _total(self, value: Callable[["Registry"], int]) -> int:
        """Return the sum of what each namespace has."""
        return sum(map(value, self._namespaces))

    def _requests(self) -> Iterator[Metric]:
        metrics = self._registry.metrics
        yield _histograms(
            "registry_http_request_duration_seconds",
            "Time from a request to the head of its reply.",
            ("route", "status"),
            {(route, str(code)): t for (route, code), t in metrics.requests.items()},
        )
        yield _counters(
            "registry_discovery_queries",
            "Discovery queries, by whether a provider matched.",
            "result",
            self._queries(),
        )

    def _changes(self) -> Iterator[Metric]:
        metrics = self._registry.metrics
        expired = self._total(lambda registry: registry.metrics.expired)
        removed = self._total(lambda registry: registry.metrics.unregistered)
        yield _counters(
            "registry_registrations",
            "Registrations, by whether the id was new.",
            "result",
            {
                "created": self._total(lambda registry: registry.metrics.registered),
                "replaced": self._total(lambda registry: registry.metrics.replaced),
            },
        )
        yield _counters(
            "registry_unregistrations",
            "Services that were removed, on request or because their lease expired.",
            "reason",
            {"request": removed - expired, "lease": expired},
        )
        yield _counters(
            "registry_dns_replies",
            "Replies to DNS queries.",
            "transport",
            metrics.dns_replies,
        )
        yield _counters(
            "registry_dns_truncated",
            "Replies by UDP that were cut, so that the sender asks by TCP.",
            "reason",
            metrics.dns_truncated,
        )
        yield _counter(
            "registry_heartbeats",
            "Heartbeats that were accepted.",
            self._total(lambda registry: registry.metrics.heartbeats),
        )
        audit = self._registry.audit
        yield _counters(
            "registry_audit_lines",
            "Lines of the audit log, and those that could not be written.",
            "result",
            {"written": audit.lines, "lost": audit.lost},
        )

    def _health_checks(self) -> Iterator[Metric]:
        yield _histograms(
            "registry_health_check_duration_seconds",
            "Duration of health checks.",
            ("outcome",),
            {
                (outcome,): Timings.sum(
                    registry.metrics.checks[outcome] for registry in self._namespaces
                )
                for outcome in self._registry.metrics.checks
            },
        )
        yield _gauge(
            "registry_health_watched_services",
            "Services that this replica checks, or whose lease it watches.",
            self._total(lambda registry: registry.monitor.watched),
        )
        yield _gauge(
            "registry_health_checks_running",
            "Checks under way.",
            self._total(lambda registry: registry.monitor.checks.taken),
        )
        yield _gauge(
            "registry_health_checks_waiting",
            "Checks that wait until their owner or host has fewer under way.",
            self._total(lambda registry: registry.monitor.checks.waiting),
        )
        yield _counter(
            "registry_health_checks_late",
            "Checks that began more than an interval after they were due.",
            self._total(lambda registry: registry.metrics.late_checks),
        )
        yield _gauge(
            "registry_health_verdicts_held",
            "Checks that can't connect, without a verdict while other replicas can.",
            self._total(lambda registry: registry.monitor.verdicts_held),
        )

    def _queries(self) -> dict[str, int]:
        results = {"hit": 0, "miss": 0}
        for (route, status), timings in list(self._registry.metrics.requests.items()):
            if route in DISCOVERY:
                results["hit" if status in (200, 304) else "miss"] += timings.count
        return results

    def _watching(self) -> Iterator[Metric]:
        hub, metrics = self._registry.hub, self._registry.metrics
        yield self._of_each(
            "registry_watchers",
            "Open event streams and waiting reads.",
            lambda registry: len(registry.hub),
        )
        yield _gauge(
            "registry_watchers_limit",
            "Limit on event streams and waiting reads together.",
            hub.places.total,
        )
        yield from self._places()
        yield _histograms(
            "registry_propagation_seconds",
            "Time from a change reaching this replica to its event being written.",
            (),
            {(): metrics.propagation},
        )

    def _places(self) -> Iterator[Metric]:
        taken = GaugeMetricFamily(
            "registry_places_taken",
            "Places that callers have taken, by what they are for.",
            labels=["kind"],
        )
        limit = GaugeMetricFamily(
            "registry_places_limit", "How many there are.", labels=["kind"]
        )
        refused = CounterMetricFamily(
            "registry_places_refused",
            "Callers for whom there was none: all were taken, or they had their share.",
            labels=["kind", "reason"],
        )
        for places in self._registry.places:
            taken.add_metric([places.kind], places.taken)
            limit.add_metric([places.kind], places.total)
            for reason, count in places.refused.items():
                refused.add_metric([places.kind, reason], count)
        yield taken
        yield limit
        yield refused

    def _store(self) -> Iterator[Metric]:
        registry, metrics = self._registry, self._registry.metrics
        yield _histograms(
            "registry_store_operation_duration_seconds",
            "Duration of store operations.",
            ("operation",),
            {(name,): timings for name, timings in metrics.store.items()},
        )
        yield _counters(
            "registry_store_errors",
            "Store operations that failed.",
            "operation",
            dict(metrics.store_errors),
        )
        yield _gauge(
            "registry_feed_age_seconds",
            "How old the view may be; 0 if the store is in this process.",
            registry.feed_age,
        )
        yield _gauge(
            "registry_view_stale_seconds",
            "How long the view has been stale; 0 while it is current.",
            registry.view_health.stale_seconds or 0,
        )
        yield _gauge(
            "registry_revision", "Revision of the view.", registry.catalog.revision
        )

    def _upstreams(self) -> Iterator[Metric]:
        upstreams = self._registry.upstreams
        lookups = CounterMetricFamily(
            "registry_upstream_lookups",
            "Lookups that an upstream was asked: a provider, none, or no answer.",
            labels=["upstream", "result"],
        )
        connected = GaugeMetricFamily(
            "registry_upstream_connected",
            "1 while the upstream can be asked, else 0.",
            labels=["upstream"],
        )
        for state in upstreams.states():
            connected.add_metric([state.name], int(state.reason is None))
            for result in ("hit", "miss", "unknown"):
                count = upstreams.lookups[state.name, result]
                lookups.add_metric([state.name, result], count)
        yield lookups
        yield connected

    def _state(self) -> Iterator[Metric]:
        registry = self._registry
        replicas = GaugeMetricFamily(
            "registry_replicas",
            "Replicas that this one knows of, itself included.",
            labels=["state"],
        )
        states = [replica.state for replica in registry.membership.states()]
        replicas.add_metric(["alive"], len(registry.membership.alive))
        replicas.add_metric(["lost"], states.count("lost"))
        yield replicas
        yield _gauge(
            "registry_degraded",
            "1 while /health reports degraded, else 0.",
            int(bool(registry.degraded())),
        )
        yield _gauge(
            "registry_uptime_seconds",
            "Time since this replica started.",
            registry.clock.monotonic() - registry.started_at,
        )
        info = InfoMetricFamily("registry", "Version and kind of store.")
        info.add_metric(
            [], {"version": __version__, "store": registry.settings.store_kind}
        )
        yield info


class Expiries:
    """Gives Prometheus' client when certificates expire; nothing without TLS."""

    def __init__(self, certificates: Certificates | None) -> None:
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        """Yield both families, each once."""
        ends = GaugeMetricFamily(
            "registry_tls_certificate_expiry_timestamp_seconds",
            "When what is served by TLS expires, in seconds since 1970.",
            labels=["certificate"],
        )
        left = GaugeMetricFamily(
            "registry_tls_certificate_expiry_days",
            "Days until then; negative afterwards.",
            labels=["certificate"],
        )
        current = self._certificates.current if self._certificates else None
        for name, validity in (
            ("server", current and current.served),
            ("client_ca", current and current.accepted),
        ):
            if validity:
                moment = validity.ends.timestamp()
                ends.add_metric([name], moment)
                left.add_metric([name], (moment - time()) / _DAY)
        yield ends
        yield left


def exposition(registry: "Registry") -> CollectorRegistry:
    """Return everything that ``/metrics`` shows, including figures of the process."""
    collectors = CollectorRegistry(auto_describe=False)
    collectors.register(Collector(registry))
    ProcessCollector(registry=collectors)
    return collectors


def text(collectors: CollectorRegistry) -> bytes:
    """Return the metrics in Prometheus' text format."""
    return generate_latest(collectors)


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_, value=value)


def _counter(name: str, help_: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_, value=value)


def _counters(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, help_, labels=[label])
    for label_value, value in values.items():
        family.add_metric([label_value], value)
    return family


def _histograms(
    name: str,
    help_: str,
    labels: Iterable[str],
    timings: Mapping[tuple[str, ...], Timings],
) -> Metric:
    family = HistogramMetricFamily(name, help_, labels=list(labels))
    for label_values, timing in list(timings.items()):
        # Read once: the sum of the buckets is the count, whatever is added meanwhile.
        counts, total = list(timing.counts), timing.total
        buckets, below = [], 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric(list(label_values), buckets, total)
    return family
