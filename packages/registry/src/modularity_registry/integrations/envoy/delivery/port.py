"""The port for streams, tried before anything starts. It imports nothing large."""

import socket

from modularity_registry.config import Settings
from modularity_registry.errors import BadSetting
from modularity_registry.network import listen_address


def check(settings: Settings) -> None:
    """Raise `BadSetting` if the port can't be had."""
    host, port = settings.host, settings.xds_port
    family, address = listen_address.address_of(host, port, socket.SOCK_STREAM)
    try:
        socket.create_server(address, family=family).close()
    except OSError as error:
        raise taken(settings, error) from error


def address(settings: Settings) -> str:
    """Return the address and port to listen at, as gRPC reads them."""
    host, port = settings.host, settings.xds_port
    _, found = listen_address.address_of(host, port, socket.SOCK_STREAM)
    return listen_address.authority(found[0], port)


def taken(settings: Settings, error: Exception) -> BadSetting:
    """Return the error that the port can't be had."""
    return BadSetting(
        f"can't serve xDS on {settings.host} port {settings.xds_port}:"
        f" {listen_address.why_not(error, '--xds-port')}"
    )
