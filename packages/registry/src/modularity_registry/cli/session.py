"""What every command that asks a registry has: whom, as whom, and what went wrong."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import click

import modularity_client as client
from modularity_client import Registry, RegistryError
from modularity_client.http.call import Call
from modularity_client.http.endpoints import parse_urls
from modularity_registry.cli.exit import PROGRAM, fail
from modularity_registry.cli.output import plain, take_any_text
from modularity_registry.cli.tls_options import context, tls_options

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_URL: Final = "http://127.0.0.1:5000"

TOKEN_HINT: Final = (
    "give a token with --token-file, or with REGISTRY_TOKEN or REGISTRY_TOKEN_FILE"
)


@dataclass(frozen=True, slots=True)
class Session:
    """The registry that a command talks to, and whether it prints JSON."""

    registry: Registry
    url: str
    json: bool

    def reply(
        self, make: Callable[P, Call[T]], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[T, Any]:
        """Make a call of `modularity_client.calls`; return its result and its JSON.

        What can't be sent is the caller's mistake (code 2).
        """
        try:
            call = make(*args, **kwargs)
        except (TypeError, ValueError) as error:
            raise click.UsageError(plain(error)) from None
        value, reply = self.registry.ask(call)
        return value, None if reply is None else reply.json()

    def read(
        self, make: Callable[P, Call[Any]], *args: P.args, **kwargs: P.kwargs
    ) -> Any:
        """Make a call; return the JSON of its reply, checked to be one."""
        return self.reply(make, *args, **kwargs)[1]


def url_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add to a command whom to ask, as whom, and whom to trust."""
    # The client reads the environment: an option of either kind wins over both there.
    command = tls_options(command)
    command = click.option(
        "--token-file",
        metavar="FILE",
        help="A file that holds the token instead. [REGISTRY_TOKEN_FILE]",
    )(command)
    command = click.option(
        "--token",
        metavar="TOKEN",
        help="As whom to ask; others on this machine can see options. [REGISTRY_TOKEN]",
    )(command)
    return click.option(
        "--url",
        metavar="URL",
        envvar="REGISTRY_URL",
        default=DEFAULT_URL,
        help=f"The registry, several with commas. [REGISTRY_URL; {DEFAULT_URL}]",
    )(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json`` to a command."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON, as the API has it."
    )(command)


def with_session(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its registry; what that refuses is one line and code 1."""

    @url_option
    @json_option
    @wraps(command)
    def asking(
        url: str,
        token: str | None,
        token_file: str | None,
        as_json: bool,
        **rest: Any,
    ) -> None:
        take_any_text()
        with explained(), connected(url, token, token_file) as registry:
            command(Session(registry, url, as_json), **rest)

    return asking


@contextmanager
def connected(
    url: str,
    token: str | None = None,
    token_file: str | None = None,
    timeout: float = 5.0,
) -> Iterator[Registry]:
    """Give the client of a registry.

    A bad URL is the caller's mistake (code 2), and so is what can't be a token.
    """
    try:
        urls = parse_urls(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    try:
        registry = Registry(
            urls, token, token_file=token_file, timeout=timeout, tls=context()
        )
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--token") from None
    with registry:
        yield registry


@contextmanager
def explained() -> Iterator[None]:
    """End the program with one line for whatever the client raises."""
    try:
        yield
    except RegistryError as error:
        fail(complaint(error))


def complaint(error: RegistryError) -> str:
    """Return in one line what went wrong and what to do about it."""
    said = plain(" ".join(error.detail.split()))
    match error:
        case client.RegistryUnreachable():
            return (
                f"{said}; see that it runs, name another with --url or REGISTRY_URL,"
                f" or have {PROGRAM} doctor look for the cause"
            )
        case client.BadReply():
            return f"{said}; see --url, or have {PROGRAM} doctor look for the cause"
        case client.Unauthorized() | client.Forbidden():
            return f"{said}; {TOKEN_HINT}"
        case client.OwnedByAnother():
            return f"{said}; give a key with --owner-key or REGISTRY_OWNER_KEY"
        case client.TokenNotFound():
            return said
        case client.ServiceNotFound():
            return f"{said}; {PROGRAM} ls shows those that are"
        case client.CapabilityNotFound():
            return f"{said}; {PROGRAM} ls shows what is offered"
        case client.NoHealthyProvider():
            return f"{said.partition('; GET ')[0]}; {PROGRAM} explain says why"
        case client.NotFound():
            return f"{said}; is --url the address of a registry?"
    return said
