"""What a doctor finds, judged from what a registry says: pure, asks nobody."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from modularity_registry.cli.output import moment, plain

Level = Literal["ok", "note", "problem"]

SKEW: Final = 5.0
"""Seconds by which two clocks may differ before it is worth a word."""

MOST: Final = 20
"""So many services are looked at one by one; the rest is counted."""

ADVICE: Final[Mapping[str, str]] = {
    "ok": "the last check was good: the next ones will make it healthy",
    "refused": "nothing listens there, as the registry sees it: start the service,"
    " correct its port, or let it listen on more than 127.0.0.1 (in a location that is"
    " the registry's own machine or container)",
    "unreachable": "no way leads there from the registry's machine: look for a firewall"
    " in between, or a wrong network",
    "timeout": "no answer comes in time: look for a firewall that drops connections, or"
    " for what the service waits for; health.timeout in its registration allows more",
    "closed": "the connection ended before the answer was complete: see the service's"
    " log, and whether its mode is right",
    "dns": "the registry can't look up the name: correct it, or register an address",
    "tls": "the handshake fails: see name, dates and issuer of the certificate; a"
    " service without TLS has a location with http://",
    "status": "it answers that it is not well: see its log; health.path in its"
    " registration says what is asked, /_module/health if nothing",
    "protocol": "what answers there does not speak this mode: correct port or mode",
    "policy": "the registry may not connect there: add the network to its"
    " REGISTRY_ALLOWED_NETWORKS, or register another address",
    "local": "the registry itself is out of sockets or memory, which says nothing of"
    " the service: see its limits (ulimit -n)",
}
"""What to do about each outcome of a check."""

LEASE: Final = (
    "no heartbeat came for a whole ttl: see that the service runs, reaches the registry"
    " and sends one about three times per ttl; ten missed in a row remove it"
)
REPORT: Final = "the service says so itself, until its next good heartbeat: see its log"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``about`` what, and ``advice`` on what to do, if anything.

    Only a ``problem`` is one; a ``note`` may be as it should.
    """

    level: Level
    about: str
    message: str
    advice: str = ""


def of_health(
    url: str, health: Mapping[str, Any], skew: float, version: str
) -> Iterator[Finding]:
    """Yield what ``/health`` says of the registry at ``url``.

    ``skew`` is the registry's clock minus this machine's, in seconds, as far as it is
    more than the reply took; ``version`` is that of this program.
    """
    theirs = plain(health.get("version"))
    store = plain(health.get("store"))
    yield Finding("ok", url, f"a registry, version {theirs}, store {store}")
    for reason in health.get("reasons", ()):
        yield Finding(
            "problem",
            url,
            f"degraded: {plain(reason)}",
            "it goes on with what it knows; see its store and its network, and its log"
            " (doctor --store URL tries a store from here)",
        )
    for warning in health.get("warnings", ()):
        said, _, advice = plain(warning).partition("; ")
        yield Finding("problem", url, said, advice)
    if "stale_seconds" in health:
        yield Finding(
            "problem",
            url,
            f"its view has been out of date for {health['stale_seconds']} s",
            "reads go on and writes are refused until its store is back",
        )
    if theirs != version:
        yield Finding(
            "note",
            url,
            f"it has version {theirs}, this program {version}",
            "install the same, so that each knows what the other says",
        )
    if abs(skew) > SKEW:
        yield Finding(
            "problem",
            url,
            f"its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'}"
            " this machine's",
            "set both by NTP: times in replies and logs don't fit together (leases and"
            " checks don't mind)",
        )
    yield from _of_replicas(url, health.get("replicas", ()), theirs)


def _of_replicas(
    url: str, replicas: Iterable[Mapping[str, Any]], version: str
) -> Iterator[Finding]:
    for each in replicas:
        name = f"replica {plain(each['id'])}"
        if each["state"] == "lost":
            yield Finding(
                "problem",
                name,
                f"lost on {plain(each['host'])}: no sign of life for"
                f" {each['seen']:.0f} s, as {url} sees it",
                "start it again, or wait: two minutes after its last sign of life it is"
                " taken off the list",
            )
        elif plain(each["version"]) != version:
            yield Finding(
                "note",
                name,
                f"it has version {plain(each['version'])}, the one asked {version}",
                "finish the upgrade",
            )


def of_strangers(answers: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield the registries that do not know of the first one; healths by URL."""
    (first, health), *others = answers.items()
    known = _replicas(health)
    for url, other in others:
        if other.get("replica") not in known:
            yield Finding(
                "problem",
                url,
                f"it is a registry of its own: {first} does not know it",
                "start both with the same --store, or ask them one by one",
            )


def _replicas(health: Mapping[str, Any]) -> set[Any]:
    listed = (each["id"] for each in health.get("replicas", ()))
    return {health.get("replica"), *listed}


def of_capabilities(services: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield the capabilities that nobody can get at the moment, by name."""
    known: dict[str, int] = {}
    healthy: set[str] = set()
    for each in services:
        for name in each["capabilities"]:
            known[name] = known.get(name, 0) + 1
            if each["status"] == "healthy":
                healthy.add(name)
    down = sorted(known.keys() - healthy)
    for name in down[:MOST]:
        yield Finding(
            "problem",
            f"capability {plain(name)}",
            f"no healthy provider, of {known[name]:,}: callers get 503",
            f"modularity-registry explain {plain(name)}",
        )
    if len(down) > MOST:
        message = f"{len(down) - MOST:,} more have no healthy provider"
        yield Finding("problem", "capabilities", message, "see the services below")


def needs_a_look(service: Mapping[str, Any]) -> bool:
    """Say whether the service is not as it should be, by what a list shows."""
    return bool(service["status"] != "healthy" or service["failed_checks"])


def of_service(service: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield why a service is not healthy, or may soon not be: one with evidence."""
    evidence = service["evidence"]
    about = f"service {plain(service['id'])}"
    faulty = False
    for fault in evidence["faults"]:
        faulty = True
        yield Finding(
            "problem",
            about,
            f"unhealthy since {moment(fault['at'])}, {plain(fault['source'])}:"
            f" {plain(fault['reason'])} (at {plain(service['location'])})",
            _advice(fault["source"], evidence["outcome"]),
        )
    if not faulty and service["failed_checks"]:
        said = plain(evidence["message"] or "known to another replica")
        yield Finding(
            "note",
            about,
            f"{service['failed_checks']} failed check(s) in a row: {said}",
            ADVICE.get(evidence["outcome"] or "", ""),
        )
    if evidence["drain"]:
        drain = evidence["drain"]
        yield Finding(
            "note",
            about,
            f"draining since {moment(drain['at'])}:"
            f" {plain(drain['reason']) or 'no reason given'}",
            f"modularity-registry undrain {plain(service['id'])} puts it back",
        )


def _advice(source: str, outcome: str | None) -> str:
    if source == "lease":
        return LEASE
    if source == "report":
        return REPORT
    return ADVICE.get(
        outcome or "", "modularity-registry info shows the last check of it"
    )


def of_rest(count: int) -> Iterator[Finding]:
    """Yield how many services were not looked at one by one, if any."""
    if count:
        yield Finding(
            "note",
            "services",
            f"{count:,} more are not healthy or fail checks",
            "modularity-registry ls --status inactive lists them",
        )
