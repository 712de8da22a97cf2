"""The command haproxy: the servers of a running HAProxy, current with the registry."""

import asyncio
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import click

from modularity_client import AsyncRegistry, RegistryError, Service
from modularity_client.http.transport import AsyncDriver
from modularity_client.locality import NOWHERE, Place, find_place
from modularity_registry.cli.exit import fail
from modularity_registry.cli.proxies.balance import weighted
from modularity_registry.cli.proxies.follower import Follower, read, say
from modularity_registry.cli.proxies.haproxy_slots import (
    LARGEST_WEIGHT,
    Target,
    plan,
)
from modularity_registry.cli.proxies.haproxy_socket import HAProxyError, HAProxySocket
from modularity_registry.cli.proxies.loop import until_signal
from modularity_registry.cli.proxies.snapshot import Snapshot
from modularity_registry.cli.proxies.template import (
    TemplateService,
    template_service,
)
from modularity_registry.cli.session import complaint, opened, url_option

PERIOD: Final = 1.0
"""Seconds until HAProxy is looked at again: it may have been restarted."""

_BACKEND: Final = re.compile(r"([A-Za-z0-9_.:\-]+)(?:/([A-Za-z0-9_.:\-]+))?=(.+)")


class Backend(NamedTuple):
    """A backend, of which the servers with a prefix stand for a capability."""

    name: str
    prefix: str
    capability: str


def _backends(
    _: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[Backend, ...]:
    backends = []
    for value in values:
        match = _BACKEND.fullmatch(value)
        if match is None:
            raise click.BadParameter(
                f"{value!r} is not BACKEND=CAPABILITY or BACKEND/PREFIX=CAPABILITY",
                param=parameter,
            )
        backends.append(Backend(match[1], match[2] or "", match[3]))
    return tuple(backends)


def _place(_: click.Context, parameter: click.Parameter, value: str | None) -> Place:
    region, _slash, zone = (value or "").rpartition("/")
    try:
        return find_place(zone, region) if value else NOWHERE
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from None


@click.command()
@click.option(
    "--socket",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="HAProxy's socket, with level admin.",
)
@click.option(
    "--backend",
    "backends",
    required=True,
    multiple=True,
    callback=_backends,
    metavar="BACKEND=CAPABILITY",
    help="Backend whose servers are the capability's providers; repeat for others."
    " BACKEND/PREFIX takes only the servers whose names begin so.",
)
@click.option(
    "--near",
    callback=_place,
    metavar="ZONE",
    help="Prefer providers in this zone, or region/zone.",
)
@click.option("--once", is_flag=True, help="Set the servers once, and end.")
@url_option
def haproxy(
    url: str,
    token: str | None,
    token_file: str | None,
    path: Path,
    backends: tuple[Backend, ...],
    near: Place,
    once: bool,
) -> None:
    """Keep the servers of a running HAProxy current, without a reload.

    Each backend needs a server-template with as many servers as there may be
    providers. While the registry is away, they stay as they are.
    """
    registry = opened(AsyncRegistry, url, token, token_file)
    control = HAProxyControl(HAProxySocket(path), backends, near)
    if once:
        asyncio.run(_set_once(registry, control))
    else:
        asyncio.run(until_signal(_follow(registry, control)))


async def _set_once(registry: AsyncRegistry, control: "HAProxyControl") -> None:
    driver = AsyncDriver(registry.settings)
    try:
        snapshot = await read(driver, control.capabilities)
    except RegistryError as error:
        fail(complaint(error))
    finally:
        await driver.close()
    faults = await control.apply(snapshot)
    if faults:
        fail(*faults)


async def _follow(registry: AsyncRegistry, control: "HAProxyControl") -> None:
    follower = Follower(registry.settings, control.capabilities)
    async with asyncio.TaskGroup() as group:
        group.create_task(follower.run())
        group.create_task(_keep_current(follower, control))


async def _keep_current(follower: Follower, control: "HAProxyControl") -> None:
    before: list[str] = []
    while True:
        try:
            async with asyncio.timeout(PERIOD):
                await follower.changed.wait()
        except TimeoutError:
            pass  # HAProxy may have been restarted
        follower.changed.clear()
        if follower.snapshot is None:
            continue
        faults = await control.apply(follower.snapshot)
        for fault in faults:
            if fault not in before:
                say(f"{fault}; trying again")
        if before and not faults:
            say(f"{control.socket.path}: all servers are set again")
        before = faults


class HAProxyControl:
    """Sets the servers of some backends."""

    def __init__(
        self, control: HAProxySocket, backends: Sequence[Backend], place: Place
    ) -> None:
        self.socket = control
        self.capabilities = [backend.capability for backend in backends]
        self._backends = backends
        self._place = place

    async def apply(self, snapshot: Snapshot) -> list[str]:
        """Set what differs; return what could not be done."""
        faults = []
        for backend in self._backends:
            try:
                faults += await self._apply_one(backend, snapshot)
            except HAProxyError as error:
                faults.append(str(error))
        return list(dict.fromkeys(faults))

    async def _apply_one(self, backend: Backend, snapshot: Snapshot) -> list[str]:
        providers = snapshot.providers(backend.capability)
        split = snapshot.split(backend.capability)
        targets, faults = await _targets(providers, split, self._place)
        slots = await self.socket.slots(backend.name, backend.prefix)
        commands, missing = plan(slots, targets)
        faults += await self.socket.apply(backend.name, commands)
        if missing:
            faults.append(
                f"backend {backend.name} has {len(slots)} servers, {missing} too few"
                f" for {backend.capability}: make its server-template larger"
            )
        return faults


async def _targets(
    providers: Sequence[Service], split: Mapping[str, int] | None, place: Place
) -> tuple[list[Target], list[str]]:
    """Return where the providers are, and what is wrong with some of them."""
    chosen = weighted(providers, split, LARGEST_WEIGHT, place)
    states = [("ready", template_service(each.service, each.weight)) for each in chosen]
    states += [
        ("drain", template_service(each))
        for each in providers
        if each.status == "draining"
    ]
    states = [(state, service) for state, service in states if service.host]
    addresses = await asyncio.gather(
        *(_address(service) for _, service in states), return_exceptions=True
    )
    targets: dict[tuple[str, int], Target] = {}
    faults = []
    for (state, service), address in zip(states, addresses, strict=True):
        if isinstance(address, OSError):
            faults.append(f"{service.id}: {service.host} has no address: {address}")
            continue
        if isinstance(address, BaseException):
            raise address
        weight = service.weight if state == "ready" else 0
        target = Target(
            address, service.port, weight, "ready" if state == "ready" else "drain"
        )
        targets.setdefault((address, service.port), target)
    return list(targets.values()), faults


async def _address(service: TemplateService) -> str:
    """Return the first address of a service's host. Raises `OSError`."""
    if service.address_type != "FQDN":
        return service.host
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(
        service.host, service.port, type=socket.SOCK_STREAM
    )
    return str(addresses[0][4][0])
