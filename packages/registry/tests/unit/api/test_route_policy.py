"""The table of all limits says what the code does."""

from e2e.docs.blocks import table
from modularity_registry import errors, schema
from modularity_registry.api import problems, query
from modularity_registry.api.long_replies import streams
from modularity_registry.catalog import call_graph, catalog
from modularity_registry.config import OFF, OPTIONS, Settings, value_parsers
from modularity_registry.events import history
from modularity_registry.federation import kept_lists, upstream
from modularity_registry.health import check_queue
from modularity_registry.integrations.consul.reads import filters, lists, options
from modularity_registry.integrations.consul.writes import registration
from modularity_registry.integrations.envoy import nodes
from modularity_registry.integrations.envoy.delivery import subscriptions
from modularity_registry.integrations.envoy.resources import places
from modularity_registry.integrations.eureka import writes as eureka_writes
from modularity_registry.model import intention, service, split
from modularity_registry.ratelimit import FAILURES, memory_counters
from modularity_registry.schema import check_models, strict_json
from modularity_registry.serving import protocol
from modularity_registry.serving.head import MOST_HEADER_BLOCKS, MOST_HEADS
from modularity_registry.serving.limits import ServerOptions
from support import REPOSITORY

LIMITS = REPOSITORY / "docs" / "limits.md"
ROWS = table(LIMITS.read_text(), "limit")
SETTINGS, SERVER = Settings(), ServerOptions()

# Rows by their first words, with the figure that holds.
FIGURES: dict[str, object] = {
    "heads that are remembered": MOST_HEADS,
    "headers that are remembered": MOST_HEADER_BLOCKS,
    "writes of one client": SETTINGS.write_rate,
    "reads of one client": SETTINGS.read_rate,
    "calls with bad tokens": FAILURES,
    "DNS queries of one": SETTINGS.dns_rate,
    "clients whose calls": memory_counters.MOST_CLIENTS,
    "streams and waits of one": "75",
    "streams and waits": SETTINGS.max_watchers,
    "connections, beside": SETTINGS.max_connections,
    "connections that wait": SERVER.backlog,
    "connections of one": "75",
    "calls that threads": SERVER.threads,
    "heads being received": SERVER.heads,
    "heads in pieces of one": SERVER.heads // 4,
    "bodies being received": SERVER.bodies,
    "bodies in pieces of one": SERVER.bodies // 4,
    "head of a request": protocol.MAX_HEAD,
    "headers of a request": protocol.MAX_HEADERS,
    "time for a head": SERVER.header_seconds,
    "body": protocol.MAX_BODY,
    "time for a body": SERVER.body_seconds,
    "time in which nothing": SERVER.unread_seconds,
    "time for what is under way": SERVER.stop_seconds,
    "parameters in a query": query.MAX_PARAMETERS,
    "bad fields or parameters": errors.MOST_ERRORS,
    "digits of": strict_json.MOST_DIGITS,
    "`wait`": query.MAX_WAIT,
    "health checks under way in one": check_queue.PLACES * 3 // 4,
    "`wait` of [Consul's": int(options.LONGEST_WAIT) // 60,
    "replies of Consul's": lists.MOST_BYTES >> 20,
    "filter of Consul's": filters.LONGEST,
    "`Meta` of a service of Consul's": registration.MOST_META,
    "an instance in [Eureka's": eureka_writes.MAX_BODY,
    "resources of a type": subscriptions.MOST_NAMES,
    "host names of providers": places.MOST_NAMES,
    "nodes that ask by REST": nodes.MOST_POLLERS,
    "[namespaces]": value_parsers.MOST_NAMESPACES,
    "health checks under way of": check_queue.SHARE,
    "health checks under way": check_queue.PLACES,
    "`limit`": query.MAX_LIMIT,
    "calls in one `POST": schema.MAX_INVOCATIONS,
    "services, in all": SETTINGS.max_services,
    "services that one token": SETTINGS.max_services_per_token,
    "MiB of registrations, in all": SETTINGS.max_megabytes,
    "MiB of registrations that one": SETTINGS.max_megabytes_per_token,
    "splits, in all": split.MOST_SPLITS,
    "[intentions](integrations/mesh.md), in all": intention.MOST_INTENTIONS,
    "groups of a split": split.MOST_GROUPS,
    "instances of a service": service.MOST_INSTANCES,
    "capabilities of a service": schema.MAX_CAPABILITIES,
    "`metadata`": schema.MAX_METADATA_BYTES,
    "`checks` of a service": check_models.MAX_CHECKS,
    "changes that a stream": history.MAX_EVENTS,
    "memory that these": history.MAX_BYTES // 1024**2,
    "bytes that a stream": streams.MOST_UNSENT,
    "pairs of services": call_graph.MAX_PAIRS,
    "capabilities remembered": catalog.MAX_DEPARTED,
    "healthy providers of one": upstream.MOST_PROVIDERS,
    "capabilities of one upstream": kept_lists.MOST_CAPABILITIES,
    "providers of these": kept_lists.MOST_SERVICES,
    "lists that are read": upstream.LISTS_AT_ONCE,
    "time for an upstream": upstream.ANSWER_WITHIN,
}


def said(figure: object) -> str:
    """Return a figure as the table has it, without its unit."""
    if figure in (OFF, 0):
        return "none"
    return figure if isinstance(figure, str) else f"{figure:,g}"


def named(row: list[str]) -> str:
    """Return the row's key: the longest one that it begins with."""
    found = [key for key in FIGURES if row[0].startswith(key)]
    assert found, row[0]
    return max(found, key=len)


def test_every_figure_is_that_of_the_code() -> None:
    shown = {
        named(row): row[1].removeprefix("about ").partition(" ")[0] for row in ROWS
    }
    assert shown == {
        key: f"{figure:,}" if isinstance(figure, int) and figure else said(figure)
        for key, figure in FIGURES.items()
    }


def test_every_limit_is_set_by_what_it_says() -> None:
    flags = {f"`{option.flag}`" for option in OPTIONS}
    assert {row[2] for row in ROWS} <= flags | {"fixed"}
    about = ("_rate", "max_watchers", "_per_client", "max_connections")
    limits = {f"`{each.flag}`" for each in OPTIONS if each.field.endswith(about)}
    assert limits <= {row[2] for row in ROWS}


def test_every_answer_is_one_that_there_is() -> None:
    codes = {kind.code: status.value for kind, status in problems.STATUS.items()}
    for row in ROWS:
        status, _, rest = row[3].partition(" ")
        if "`" in rest and status.isdecimal():
            assert codes[rest.split("`")[1]] == int(status), row[0]
