"""The checks of doctor: settings, connection, registry, services, store, location."""

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
from modularity_registry.cli.session import NAMESPACE_HINT, TOKEN_HINT, connected
from modularity_registry.errors import AddressRefused, BadSetting, StoreError
from modularity_registry.model.location import parse_location
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import NameLookup
from modularity_registry.stores import check_store_url, file_of, kind_of, open_store
from modularity_registry.stores.base import snapshot_of

PATIENCE: Final = 5.0
"""Seconds that a connection or a reply may take."""

SERVICE: Final = "modularity-registry"
SCHEMES: Final = {"tcp": "tcp", "grpc": "grpc"}


def environment(environ: Mapping[str, str], url: str) -> Iterator[Finding]:
    """Yield whether the settings in the environment are valid, and match the URL.

    Its configuration file counts as well.
    """
    try:
        settings, sources = config.load_with_sources({}, environ)
    except BadSetting as error:
        for fault in error.detail.split("\n"):
            advice = "correct or unset it; serve does not start with it"
            yield Finding("problem", "environment", plain(fault), advice)
        return
    file = config.config_file({}, environ)
    whose = f"its settings, and those in {plain(file)}," if file else "its settings"
    yield Finding("ok", "environment", f"{whose} are valid")
    ports = {urlsplit(part).port for part in url.split(",")}
    if "port" in sources and settings.port not in ports:
        yield Finding(
            "note",
            "environment",
            f"the port in {plain(sources['port'])} is {settings.port}, but {url} was"
            " checked",
            f"to check that port: --url http://127.0.0.1:{settings.port}",
        )


def connection(url: str) -> Finding | None:
    """Return why the URL's host can't be connected to; None if it can."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except socket.gaierror as error:
        message = f"the name {host} can't be looked up: {error.strerror}"
        return Finding("problem", url, message, "correct --url, or write an address")
    except ConnectionRefusedError:
        message = f"nothing listens at {host}, port {port}"
        return Finding("problem", url, message, _start(host, port))
    except TimeoutError:
        message = f"no connection within {PATIENCE:g} s"
        advice = "check that the machine runs, and that no firewall is in between"
        return Finding("problem", url, message, advice)
    except OSError as error:
        message = f"no connection: {error.strerror or error}"
        return Finding("problem", url, message, "correct --url, or check the network")
    return None


def _start(host: str, port: int) -> str:
    if host in config.LOOPBACK_HOSTS:
        return (
            f"start it: {SERVICE} serve --port {port}; if it runs, correct the port in"
            " --url; in a container, 127.0.0.1 is the container itself"
        )
    return (
        "check that it runs there, and on which address it listens: only on 127.0.0.1,"
        " unless it has --host"
    )


def registry(url: str, token: str) -> tuple[list[Finding], dict[str, Any] | None]:
    """Return the findings about one URL, and its health if a registry replies.

    ``token`` is empty for none, here and below.
    """
    failure = connection(url)
    if failure is not None:
        return [failure], None
    with connected(url, token, timeout=PATIENCE) as caller:
        try:
            health, skew = _health(caller)
        except RegistryError as error:
            return [_stranger(url, error)], None
        if health.get("service") != SERVICE:
            return [_other(url, f"its name is {plain(health['service'])}")], None
        results = list(findings.of_health(url, health, skew, __version__))
        results += _readiness(url, caller, health)
    return results, health


def _health(caller: Registry) -> tuple[dict[str, Any], float]:
    """Return ``/health`` and by how many seconds its clock is off."""
    before, started = datetime.now(UTC), time.monotonic()
    health, reply = caller.ask(calls.health())
    took = time.monotonic() - started
    assert reply is not None, "a read always has a reply"
    ahead = (health.timestamp - before).total_seconds()
    skew = ahead if ahead < 0 else max(0.0, ahead - took)
    return reply.json(), skew


def _readiness(
    url: str, caller: Registry, health: Mapping[str, Any]
) -> Iterator[Finding]:
    try:
        caller.ask(calls.ready())
    except RegistryError as error:
        if error.detail not in health.get("reasons", ()):
            message = f"not ready: {plain(error.detail)}"
            advice = "load balancers send it no calls until it is ready"
            yield Finding("problem", url, message, advice)


def _stranger(url: str, error: RegistryError) -> Finding:
    """Return why ``/health`` could not be read."""
    detail = plain(error.detail)
    match error:
        case client.Unauthorized() | client.Forbidden() if error.code:
            return Finding("problem", url, detail, TOKEN_HINT)
        case client.RegistryUnreachable():
            attempts = (plain(message) for _, message in error.attempts)
            detail = "; ".join(attempts) or detail
            advice = "check that it is an HTTP server, and http:// or https:// in --url"
            if "CERTIFICATE_VERIFY_FAILED" in detail:
                advice = "give the CA of its certificate with --ca-file"
            elif "CERTIFICATE_REQUIRED" in detail:
                advice = "it needs a client certificate: --client-cert, --client-key"
            return Finding("problem", url, f"no reply: {detail}", advice)
    return _other(url, f"HTTP {error.status}" if error.status >= 400 else detail)


def _other(url: str, detail: str) -> Finding:
    port = urlsplit(url).port
    advice = (
        "correct --url, or find the program that uses the port and give the registry"
        f" another: ss -ltnp 'sport = :{port}'"
    )
    if sys.platform == "darwin" and port == config.Settings().port:
        advice += "; on macOS it may be the AirPlay Receiver"
    message = f"the server there is not a registry: {detail}"
    return Finding("problem", url, message, advice)


def services(url: str, token: str) -> Iterator[Finding]:
    """Yield what is wrong with services, and the capabilities without a provider."""
    with connected(url, token, timeout=PATIENCE) as caller:
        try:
            reply = caller.ask(calls.services()).reply
            entries = [] if reply is None else reply.json()["services"]
            yield _number(len(entries))
            yield from findings.of_capabilities(entries)
            suspects = [entry for entry in entries if findings.is_suspect(entry)]
            for entry in suspects[: findings.MOST]:
                try:
                    reply = caller.ask(calls.service(entry["id"])).reply
                except ServiceNotFound:
                    continue  # it has unregistered meanwhile
                if reply is not None:
                    yield from _service(reply.json())
            yield from findings.of_rest(len(suspects[findings.MOST :]))
        except (Unauthorized, Forbidden):
            # The finding about the token has the reason and the advice.
            yield Finding("note", "services", "not checked: no right to read")
        except client.errors.UnknownNamespace as error:
            message = plain(error.detail).partition(";")[0]
            yield Finding("problem", "namespace", message, NAMESPACE_HINT)
        except RegistryError as error:
            yield Finding("problem", "services", plain(error.detail), "try again")


def _number(number: int) -> Finding:
    if number:
        return Finding("ok", "services", f"{count(number, 'service')} registered")
    advice = "modularity-registry register registers one"
    return Finding("note", "services", "no services are registered", advice)


def _service(service: Mapping[str, Any]) -> Iterator[Finding]:
    yield from findings.of_service(service)
    if service["evidence"]["outcome"] in ("dns", "policy"):
        place = location(service["location"], service["mode"], os.environ)
        yield Finding("note", place.about, f"from here: {place.message}", place.advice)


def location(place: str, mode: str | None, environ: Mapping[str, str]) -> Finding:
    """Return whether a registry with this environment would accept a location.

    ``mode`` None is that of the scheme. Names are looked up from here.
    """
    about = f"location {plain(place)}"
    mode = mode or SCHEMES.get(place.partition(":")[0].lower(), "http")
    try:
        _, setting = config.find("allowed_networks", environ)
        networks = setting or config.Settings().allowed_networks
        policy = AddressPolicy.parse(networks)
        parsed = parse_location(place, mode)
        lookup = NameLookup(timeout=PATIENCE).resolve
        policy.check_location(parsed, caller_is_local=True, lookup=lookup)
    except AddressRefused as error:
        advice = "" if setting else f"REGISTRY_ALLOWED_NETWORKS is not set: {networks}"
        return Finding("problem", about, f"refused: {plain(error.detail)}", advice)
    except (BadSetting, ValueError) as error:
        return Finding("problem", about, plain(error), "correct the setting")
    try:
        policy.check_location(parsed, caller_is_local=False, lookup=lookup)
    except AddressRefused:
        message = "accepted only from callers on the registry's own machine"
        advice = "from elsewhere, register an address that the registry can reach"
        return Finding("note", about, message, advice)
    return Finding("ok", about, f"accepted: {networks} allows it")


def store(url: str) -> Finding:
    """Return whether a store replies; opens it as a registry would."""
    kind = kind_of(url)  # no more of it: it may hold a password
    about = f"store {kind}"
    try:
        check_store_url(url)
        if kind == "memory":
            message = "memory:// lives in the registry's process: nothing to check"
            return Finding("note", about, message)
        file = file_of(url)
        if file is not None and not file.exists():
            message = f"there is no file {plain(file.absolute())}"
            advice = "correct the path (four slashes: from the root); serve creates it"
            return Finding("problem", about, message, advice)
        with closing(open_store(url)) as opened:
            opened.ping()
            records = len(snapshot_of(opened).records)
    except BadSetting as error:
        return Finding("problem", about, plain(error.detail), "correct --store")
    except StoreError as error:
        advice = "the registry needs it to start, and for every write"
        return Finding("problem", about, plain(error.detail), advice)
    return Finding("ok", about, f"it replies, and has {count(records, 'record')}")
