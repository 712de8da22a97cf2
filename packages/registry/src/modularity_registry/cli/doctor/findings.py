"""The findings of doctor, from a registry's replies: pure, without I/O."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from modularity_registry.cli.output import count, moment, plain
from modularity_registry.model.service import ACTIVE

Level = Literal["ok", "note", "problem"]

SKEW: Final = 5.0
"""Seconds by which two clocks may differ."""

MOST: Final = 20
"""How many services are examined one by one; the rest is counted."""

ADVICE: Final[Mapping[str, str]] = {
    "ok": "the last check succeeded; the next ones make it healthy again",
    "warning": "the service warns of this itself: check its log",
    "refused": "nothing listens there, seen from the registry: start the service,"
    " correct its port, or let it listen on more than 127.0.0.1 (to the registry,"
    " 127.0.0.1 is its own machine or container)",
    "unreachable": "the registry's machine has no route to it: check the network, and"
    " the firewalls in between",
    "timeout": "the service did not reply in time: check for a firewall that drops"
    " connections, find out what the service waits for, or raise health.timeout in"
    " its registration",
    "closed": "the connection closed before the reply was complete: check the service's"
    " log, and its mode",
    "dns": "the registry can't look up the name: correct it, or register an address",
    "tls": "the TLS handshake failed: check the certificate's name, dates and issuer; a"
    " service without TLS needs a location with http://",
    "status": "the service reports an error: check its log; the check calls health.path"
    " of its registration, or /_module/health",
    "protocol": "the reply is not in the protocol of this mode: correct port or mode",
    "mismatch": "the module is not what it registered: register what it provides, or"
    " start the right version",
    "policy": "the registry's settings forbid this address: add its network to"
    " REGISTRY_ALLOWED_NETWORKS, or register another address",
    "local": "the registry is out of sockets or memory; the service may be fine: check"
    " the registry's limits (ulimit -n)",
}
"""What to do about each outcome of a check."""

LEASE: Final = (
    "no heartbeat came for a whole ttl: check that the service runs, reaches the"
    " registry and sends about three heartbeats per ttl; after ten ttls without one, it"
    " is removed"
)
DISAGREEMENT: Final = (
    "other replicas reach it: check the network and the firewalls between this replica"
    " and the service"
)
REPORT: Final = (
    "the service reports this itself, until its next good heartbeat: check its log"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, with ``advice`` on what to do, if anything.

    A ``note`` may be intended.
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
            "it keeps serving what it knows; check its store, its network and its log"
            " (doctor --store URL checks a store from here)",
        )
    for warning in health.get("warnings", ()):
        message, _, advice = plain(warning).partition("; ")
        yield Finding("problem", url, message, advice)
    if "stale_seconds" in health:
        yield Finding(
            "problem",
            url,
            f"its view has been out of date for {health['stale_seconds']} s",
            "reads still work; writes are refused until its store is back",
        )
    if theirs != version:
        yield Finding(
            "note",
            url,
            f"it has version {theirs}, this program has {version}",
            "install the same version",
        )
    if abs(skew) > SKEW:
        yield _of_clock(url, skew)
    yield from _of_replicas(url, health.get("replicas", ()), theirs)
    for upstream in health.get("upstreams", ()):
        if upstream["reason"] is not None:
            yield Finding(
                "problem",
                url,
                f"its upstream {plain(upstream['name'])} at {plain(upstream['url'])}"
                f" can't be asked: {plain(upstream['reason'])}",
                "what is only there is not found; start it, or correct --upstream",
            )


def _of_clock(url: str, skew: float) -> Finding:
    side = "ahead of" if skew > 0 else "behind"
    return Finding(
        "problem",
        url,
        f"its clock is {abs(skew):.0f} s {side} this machine's",
        "set both by NTP, so that times in replies and logs match (leases and checks"
        " work all the same)",
    )


def _of_replicas(
    url: str, replicas: Iterable[Mapping[str, Any]], version: str
) -> Iterator[Finding]:
    for replica in replicas:
        name = f"replica {plain(replica['id'])}"
        if replica["state"] == "lost":
            yield Finding(
                "problem",
                name,
                f"lost on {plain(replica['host'])}: {url} has not heard from it for"
                f" {replica['seen']:.0f} s",
                "start it again, or wait: a lost replica leaves the list after two"
                " minutes",
            )
        elif plain(replica["version"]) != version:
            yield Finding(
                "note",
                name,
                f"it has version {plain(replica['version'])},"
                f" {url} has version {version}",
                "finish the upgrade",
            )


def of_strangers(answers: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield the registries that are no replica of the first; healths by URL."""
    (first, health), *others = answers.items()
    replicas = _replicas(health)
    for url, other in others:
        if other.get("replica") not in replicas:
            yield Finding(
                "problem",
                url,
                f"it is a separate registry: {first} does not list it as a replica",
                "start both with the same --store, or check them one by one",
            )


def _replicas(health: Mapping[str, Any]) -> set[Any]:
    others = (replica["id"] for replica in health.get("replicas", ()))
    return {health.get("replica"), *others}


def of_capabilities(services: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield the capabilities without a provider to call, by name."""
    providers: dict[str, int] = {}
    active: set[str] = set()
    for service in services:
        for name in service["capabilities"]:
            providers[name] = providers.get(name, 0) + 1
            if service["status"] in ACTIVE:
                active.add(name)
    down = sorted(providers.keys() - active)
    for name in down[:MOST]:
        yield Finding(
            "problem",
            f"capability {plain(name)}",
            f"no healthy provider ({providers[name]:,} registered): callers get 503",
            f"modularity-registry explain {plain(name)}",
        )
    if len(down) > MOST:
        message = f"{len(down) - MOST:,} more have no healthy provider"
        yield Finding("problem", "capabilities", message, "see the services below")


def is_suspect(service: Mapping[str, Any]) -> bool:
    """Return whether a list shows that a service fails, or may soon fail."""
    return bool(service["status"] != "healthy" or service["failed_checks"])


def of_service(service: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield why a service is not healthy, or may soon not be. It has ``evidence``."""
    evidence = service["evidence"]
    about = f"service {plain(service['id'])}"
    faulty = False
    for fault in evidence["faults"]:
        faulty = True
        yield _of_fault(about, "unhealthy", fault, service)
    for warning in evidence.get("warnings", ()):
        yield _of_fault(about, "warning", warning, service)
    if not faulty and service["failed_checks"]:
        message = plain(evidence["message"] or "another replica has the reason")
        yield Finding(
            "note",
            about,
            f"{count(service['failed_checks'], 'failed check')} in a row: {message}",
            ADVICE.get(evidence["outcome"] or "", ""),
        )
    for check in (evidence, *evidence.get("checks", ())):
        opinion = check.get("second_opinion", {})
        if opinion.get("state") == "held":
            yield Finding("note", about, plain(opinion["message"]), DISAGREEMENT)
    if evidence["drain"]:
        drain = evidence["drain"]
        yield Finding(
            "note",
            about,
            f"draining since {moment(drain['at'])}:"
            f" {plain(drain['reason']) or 'no reason given'}",
            f"modularity-registry undrain {plain(service['id'])} puts it back",
        )


def _of_fault(
    about: str, status: str, fault: Mapping[str, Any], service: Mapping[str, Any]
) -> Finding:
    return Finding(
        "note" if status == "warning" else "problem",
        about,
        f"{status} since {moment(fault['at'])}, {plain(fault['source'])}:"
        f" {plain(fault['reason'])} (at {plain(service['location'])})",
        _advice(fault["source"], service["evidence"]["outcome"]),
    )


def _advice(source: str, outcome: str | None) -> str:
    if source == "lease":
        return LEASE
    if source == "report":
        return REPORT
    return ADVICE.get(outcome or "", "modularity-registry info shows its last check")


def of_rest(number: int) -> Iterator[Finding]:
    """Yield how many services were not examined one by one, if any."""
    if number:
        yield Finding(
            "note",
            "services",
            f"{number:,} more are not healthy or fail checks",
            "modularity-registry ls --status inactive --status warning lists them",
        )
