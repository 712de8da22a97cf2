"""The options for a source, and the client that calls it."""

import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import click
import httpx

from modularity_registry.cli.mirror.source import (
    Address,
    BadSource,
    Source,
    parsed,
)

TOKEN: Final = "MIRROR_FROM_TOKEN"
TOKEN_FILE: Final = "MIRROR_FROM_TOKEN_FILE"


def source_options(required: bool) -> Callable[[Callable[..., Any]], Any]:
    """Return what adds the options of a source to a command."""

    def decorate(command: Callable[..., Any]) -> Any:
        for option in (
            click.option(
                "--from-ca-file",
                metavar="FILE",
                help="CA (PEM) of the source's certificate.",
            ),
            click.option(
                "--from-token-file",
                metavar="FILE",
                envvar=TOKEN_FILE,
                help=f"File with the source's token. [{TOKEN_FILE}, or the token in"
                f" {TOKEN}]",
            ),
            click.option(
                "--only",
                multiple=True,
                metavar="NAME",
                help="Only services with this name at the source; * stands for any"
                " characters; repeat for more.",
            ),
            click.option(
                "--from",
                "address",
                metavar="SOURCE",
                required=required,
                help="consul://host:8500, consul=https://host:8501 or"
                " eureka=http://host:8761/eureka.",
            ),
        ):
            command = option(command)
        return command

    return decorate


def address_of(text: str) -> Address:
    """Return the source's address; raises `click.BadParameter` (code 2)."""
    try:
        return parsed(text)
    except BadSource as error:
        raise click.BadParameter(str(error), param_hint="--from") from None


@asynccontextmanager
async def source_of(
    address: Address, only: tuple[str, ...], token: str | None, tls: ssl.SSLContext
) -> AsyncIterator[Source]:
    """Give the source, with a client of its own until the end of the block."""
    headers, auth = {}, None
    if token and address.kind == "consul":
        headers["X-Consul-Token"] = token
    elif token:
        headers["Authorization"] = f"Bearer {token}"
    elif address.user is not None:
        auth = httpx.BasicAuth(*address.user)
    async with httpx.AsyncClient(
        base_url=f"{address.url}/", headers=headers, auth=auth, verify=tls, timeout=10
    ) as client:
        if address.kind == "consul":
            from modularity_registry.cli.mirror.consul_source import ConsulSource

            yield ConsulSource(client, only)
        else:
            from modularity_registry.cli.mirror.eureka_source import EurekaSource

            yield EurekaSource(client, only)


def token_of(file: str | None) -> str | None:
    """Return the source's token; raises `click.BadParameter` for a bad file."""
    if file is None:
        return os.environ.get(TOKEN, "").strip() or None
    try:
        return Path(file).read_text().strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(
            f"{file} can't be read: {error}", param_hint="--from-token-file"
        ) from None


def trust_of(ca_file: str | None) -> ssl.SSLContext:
    """Return which sources are trusted; raises `click.BadParameter`."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise click.BadParameter(
            f"{ca_file} can't be used: {error}", param_hint="--from-ca-file"
        ) from None
