"""What a doctor looks at: the line to a registry, its services, a store, settings."""

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import modularity_client as client
from modularity_client import (
    Forbidden,
    Registry,
    RegistryError,
    ServiceNotFound,
    Unauthorized,
    calls,
)
from modularity_registry import __version__, config
from modularity_registry.cli.doctor import findings
from modularity_registry.cli.doctor.findings import Finding
from modularity_registry.cli.output import count, plain
from modularity_registry.cli.session import TOKEN_HINT, connected
from modularity_registry.errors import AddressRefused, BadSetting, StoreError
from modularity_registry.model.location import parse_location
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import NameLookup
from modularity_registry.stores import check_store_url, file_of, open_store
from modularity_registry.stores.base import snapshot_of

PATIENCE: Final = 5.0
"""Seconds that a connection or an answer may take."""

SERVICE: Final = "modularity-registry"
SCHEMES: Final = {"tcp": "tcp", "grpc": "grpc"}


def environment(environ: Mapping[str, str], url: str) -> Iterator[Finding]:
    """Yield whether the settings in the environment can be read, and fit the URL."""
    try:
        settings = config.load({}, environ)
    except BadSetting as error:
        yield Finding(
            "problem",
            "environment",
            plain(error.detail),
            "correct or unset it; serve does not start with it",
        )
        return
    yield Finding("ok", "environment", "its settings can be read")
    asked = {urlsplit(each).port for each in url.split(",")}
    if "REGISTRY_PORT" in environ and settings.port not in asked:
        yield Finding(
            "note",
            "environment",
            f"REGISTRY_PORT says {settings.port}, but {url} was asked",
            f"--url http://127.0.0.1:{settings.port} asks there",
        )


def line(url: str) -> Finding | None:
    """Return why no connection to the URL's host can be made; None if it can."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except socket.gaierror as error:
        said = f"the name {host} can't be looked up: {error.strerror}"
        return Finding("problem", url, said, "correct --url, or write an address")
    except ConnectionRefusedError:
        said = f"nothing listens at {host}, port {port}"
        return Finding("problem", url, said, _start(host, port))
    except TimeoutError:
        said = f"no connection within {PATIENCE:g} s"
        advice = "is the machine on, and does a firewall let this through?"
        return Finding("problem", url, said, advice)
    except OSError as error:
        said = f"no connection: {error.strerror or error}"
        return Finding("problem", url, said, "correct --url, or see to the network")
    return None


def _start(host: str, port: int) -> str:
    if host in config.LOOPBACK_HOSTS:
        return (
            f"start it: {SERVICE} serve --port {port}; if it runs, --url names another"
            " port, and in a container 127.0.0.1 is the container itself"
        )
    return (
        "see that it runs there, and on which address it listens: on 127.0.0.1 alone,"
        " unless --host says otherwise"
    )


def registry(url: str, token: str) -> tuple[list[Finding], dict[str, Any] | None]:
    """Return what is found at one URL, and its health if a registry answers.

    ``token`` is empty for none, here and below.
    """
    broken = line(url)
    if broken is not None:
        return [broken], None
    with connected(url, token, timeout=PATIENCE) as asked:
        try:
            health, skew = _health(asked)
        except RegistryError as error:
            return [_stranger(url, error)], None
        if health.get("service") != SERVICE:
            return [_other(url, f"it calls itself {plain(health['service'])}")], None
        found = list(findings.of_health(url, health, skew, __version__))
        found += _readiness(url, asked, health)
    return found, health


def _health(asked: Registry) -> tuple[dict[str, Any], float]:
    """Return ``/health`` and how far its clock is off, beyond what the reply took."""
    before, started = datetime.now(UTC), time.monotonic()
    health, reply = asked.ask(calls.health())
    took = time.monotonic() - started
    assert reply is not None, "a read is no call that is done by a lost reply"
    ahead = (health.timestamp - before).total_seconds()
    skew = ahead if ahead < 0 else max(0.0, ahead - took)
    return reply.json(), skew


def _readiness(
    url: str, asked: Registry, health: Mapping[str, Any]
) -> Iterator[Finding]:
    try:
        asked.ask(calls.ready())
    except RegistryError as error:
        if error.detail not in health.get("reasons", ()):
            said = f"not ready: {plain(error.detail)}"
            yield Finding(
                "problem", url, said, "a balancer sends it no calls till then"
            )


def _stranger(url: str, error: RegistryError) -> Finding:
    """Return what it means that ``/health`` could not be read."""
    said = plain(error.detail)
    match error:
        case client.Unauthorized() | client.Forbidden() if error.code:
            return Finding("problem", url, said, TOKEN_HINT)
        case client.RegistryUnreachable():
            said = "; ".join(plain(message) for _, message in error.attempts) or said
            advice = "does it speak HTTP at all, and is it http:// or https://?"
            if "CERTIFICATE_VERIFY_FAILED" in said:
                advice = "give the CA that has signed its certificate with --ca-file"
            elif "CERTIFICATE_REQUIRED" in said:
                advice = "it wants to see a certificate: --client-cert, --client-key"
            return Finding("problem", url, f"no reply: {said}", advice)
    return _other(url, f"HTTP {error.status}" if error.status >= 400 else said)


def _other(url: str, said: str) -> Finding:
    port = urlsplit(url).port
    advice = (
        "correct --url, or see which program has the port and give the registry"
        f" another: ss -ltnp 'sport = :{port}'"
    )
    if sys.platform == "darwin" and port == config.Settings().port:
        advice += "; on macOS that may be the AirPlay Receiver"
    message = f"something answers that is not a registry: {said}"
    return Finding("problem", url, message, advice)


def services(url: str, token: str) -> Iterator[Finding]:
    """Yield what is wrong with services, and what nobody provides."""
    with connected(url, token, timeout=PATIENCE) as asked:
        try:
            reply = asked.ask(calls.services()).reply
            listed = [] if reply is None else reply.json()["services"]
            yield Finding(*_known(len(listed)))
            yield from findings.of_capabilities(listed)
            suspects = [each for each in listed if findings.needs_a_look(each)]
            for each in suspects[: findings.MOST]:
                try:
                    one = asked.ask(calls.service(each["id"])).reply
                except ServiceNotFound:
                    continue  # it has gone meanwhile
                if one is not None:
                    yield from _service(one.json())
            yield from findings.of_rest(len(suspects[findings.MOST :]))
        except (Unauthorized, Forbidden):
            # Why, and what to do, was said of the token.
            yield Finding("note", "services", "not seen, for want of the right to read")
        except RegistryError as error:
            yield Finding("problem", "services", plain(error.detail), "try again")


def _known(number: int) -> tuple[findings.Level, str, str, str]:
    if number:
        return "ok", "services", f"{count(number, 'service')} registered", ""
    advice = "modularity-registry register, or a service that joins"
    return "note", "services", "nobody is registered", advice


def _service(service: Mapping[str, Any]) -> Iterator[Finding]:
    yield from findings.of_service(service)
    if service["evidence"]["outcome"] in ("dns", "policy"):
        place = location(service["location"], service["mode"], os.environ)
        yield Finding("note", place.about, f"from here: {place.message}", place.advice)


def location(place: str, mode: str | None, environ: Mapping[str, str]) -> Finding:
    """Return whether a registry with this environment would take a location.

    ``mode`` left out is that of the scheme. NameLookup are looked up from here.
    """
    about = f"location {plain(place)}"
    setting = environ.get("REGISTRY_ALLOWED_NETWORKS")
    networks = setting or config.Settings().allowed_networks
    mode = mode or SCHEMES.get(place.partition(":")[0].lower(), "http")
    try:
        policy = AddressPolicy.parse(networks)
        parsed = parse_location(place, mode)
        lookup = NameLookup(timeout=PATIENCE).resolve
        policy.check_location(parsed, caller_is_local=True, lookup=lookup)
    except AddressRefused as error:
        advice = "" if setting else f"REGISTRY_ALLOWED_NETWORKS is not set: {networks}"
        return Finding("problem", about, f"refused: {plain(error.detail)}", advice)
    except ValueError as error:
        return Finding("problem", about, plain(error), "correct the setting")
    try:
        policy.check_location(parsed, caller_is_local=False, lookup=lookup)
    except AddressRefused:
        said = "taken only from a caller on the registry's own machine"
        advice = "elsewhere, register an address that the registry can reach"
        return Finding("note", about, said, advice)
    return Finding("ok", about, f"taken, where {networks} may be connected to")


def store(url: str) -> Finding:
    """Return whether a store answers; opens it as a registry would."""
    kind = plain(url.partition(":")[0])  # no more of it: it may hold a password
    about = f"store {kind}"
    try:
        check_store_url(url)
        if kind == "memory":
            said = "memory:// lives within the registry's process: nothing to try"
            return Finding("note", about, said)
        file = file_of(url)
        if file is not None and not file.exists():
            said = f"there is no file {plain(file.absolute())}"
            advice = "correct the path (four slashes: from the root); serve creates it"
            return Finding("problem", about, said, advice)
        with closing(open_store(url)) as opened:
            opened.ping()
            held = len(snapshot_of(opened).records)
    except BadSetting as error:
        return Finding("problem", about, plain(error.detail), "correct --store")
    except StoreError as error:
        advice = "the registry needs it to start, and for every write"
        return Finding("problem", about, plain(error.detail), advice)
    return Finding("ok", about, f"it answers, and holds {count(held, 'record')}")
