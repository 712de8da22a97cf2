"""Every metric of the registry."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from modularity_registry import config, runtime
from modularity_registry.api.metrics import Expiries, exposition
from reference.markdown_text import WIDE, code, table

# What Prometheus' text format adds to the names of these types.
_SUFFIXES = {"counter": "_total", "info": "_info"}


def page() -> str:
    """Return the page of all metrics, as a scrape has them."""
    rows = [
        (
            code(family.name + _SUFFIXES.get(family.type, "")),
            family.type,
            ", ".join(map(code, _labels(family))),
            family.documentation,
        )
        for family in _families()
    ]
    return f"""{WIDE}
# Metrics

`GET /metrics` has these in Prometheus' text format. [Monitor the
registry](../docs/operating.md#metrics) says what to do when one is off, and which
alerts there are. A histogram also has `_bucket`, `_sum` and `_count`. The metrics about
certificates have values with TLS only.

{table(("metric", "type", "labels", "what it is"), rows)}"""


def _families() -> Iterator[Metric]:
    registry = runtime.build(config.Settings())
    yield from exposition(registry).collect()
    yield from Expiries(None).collect()


def _labels(family: Metric) -> tuple[str, ...]:
    if family.type == "info":
        return tuple(sorted(family.samples[0].labels))
    # A family without samples tells its labels nowhere else.
    labels: tuple[str, ...] = family._labelnames  # type: ignore[attr-defined]
    return labels
