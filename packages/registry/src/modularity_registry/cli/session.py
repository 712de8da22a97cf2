"""The options and errors of every command that calls a registry."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import click

import modularity_client as client
from modularity_client import AsyncRegistry, Registry, RegistryError
from modularity_client.http.call import Call
from modularity_client.http.endpoints import parse_urls
from modularity_registry.cli.exit import PROGRAM, fail
from modularity_registry.cli.options.connection import (
    DEFAULT_URL,
    connection_option,
)
from modularity_registry.cli.options.namespace import (
    current_namespace,
    namespace_option,
)
from modularity_registry.cli.options.tls import context, tls_options
from modularity_registry.cli.output import plain, take_any_text

P = ParamSpec("P")
T = TypeVar("T")
ClientT = TypeVar("ClientT", Registry, AsyncRegistry)

TOKEN_HINT: Final = (
    "give a token with --token-file, or with REGISTRY_TOKEN or REGISTRY_TOKEN_FILE"
)

NAMESPACE_HINT: Final = (
    f"{PROGRAM} namespaces lists those that there are; choose one with --namespace or"
    " REGISTRY_NAMESPACE"
)

TOO_OLD: Final = (
    "check that --url is the address of a registry, and that it is new enough to have"
    " namespaces"
)


@dataclass(frozen=True, slots=True)
class Session:
    """The registry that a command calls, and whether it prints JSON."""

    registry: Registry
    url: str
    json: bool

    def reply(
        self, make: Callable[P, Call[T]], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[T, Any]:
        """Make a call of `modularity_client.calls`; return its result and its JSON.

        Raises `click.UsageError` (code 2) for what can't be sent.
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
    """Add the options for the registry's URL, namespace, token and TLS to a command."""
    command = namespace_option(tls_options(command))
    # The client reads the environment: an option of either kind wins over both there.
    command = connection_option("--token-file")(command)
    command = connection_option("--token")(command)
    url = connection_option("--url", envvar="REGISTRY_URL", default=DEFAULT_URL)
    decorated: Callable[..., Any] = url(command)
    return decorated


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json`` to a command."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON, as in the API."
    )(command)


def with_session(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its registry; an error of that is one line and code 1."""

    @url_option
    @json_option
    @wraps(command)
    def with_options(
        url: str,
        token: str | None,
        token_file: str | None,
        as_json: bool,
        **rest: Any,
    ) -> None:
        take_any_text()
        with explained(), connected(url, token, token_file) as registry:
            command(Session(registry, url, as_json), **rest)

    return with_options


@contextmanager
def connected(
    url: str,
    token: str | None = None,
    token_file: str | None = None,
    timeout: float = 5.0,
) -> Iterator[Registry]:
    """Open a client of the registry; see `opened`."""
    with opened(Registry, url, token, token_file, timeout) as registry:
        yield registry


def opened(
    kind: type[ClientT],
    url: str,
    token: str | None = None,
    token_file: str | None = None,
    timeout: float = 5.0,
) -> ClientT:
    """Return a client of the registry, to be closed.

    Raises `click.BadParameter` (code 2) for a bad URL, namespace or token.
    """
    try:
        urls = parse_urls(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    namespace, tls = current_namespace(), context()
    try:
        return kind(
            urls,
            token,
            token_file=token_file,
            timeout=timeout,
            tls=tls,
            namespace=namespace,
        )
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--token") from None


@contextmanager
def explained() -> Iterator[None]:
    """End the program with one line for any error of the client."""
    try:
        yield
    except RegistryError as error:
        fail(complaint(error))


def complaint(error: RegistryError) -> str:
    """Return in one line what went wrong and what to do about it."""
    detail = plain(" ".join(error.detail.split()))
    match error:
        case client.RegistryUnreachable():
            return (
                f"{detail}; start it, correct --url or REGISTRY_URL, or run"
                f" {PROGRAM} doctor to find the cause"
            )
        case client.errors.BadReply():
            return f"{detail}; check --url, or run {PROGRAM} doctor to find the cause"
        case client.Unauthorized() | client.Forbidden():
            return f"{detail}; {TOKEN_HINT}"
        case client.errors.OwnedByAnother():
            return f"{detail}; give a key with --owner-key or REGISTRY_OWNER_KEY"
        case client.errors.TokenNotFound():
            return detail
        case client.ServiceNotFound():
            return f"{detail}; {PROGRAM} ls lists the services"
        case client.CapabilityNotFound():
            return f"{detail}; {PROGRAM} ls lists the capabilities"
        case client.NoHealthyProvider():
            return f"{detail.partition('; GET ')[0]}; {PROGRAM} explain shows why"
        case client.errors.UnknownNamespace():
            return f"{detail.partition(';')[0]}; {NAMESPACE_HINT}"
        case client.NotFound() if current_namespace():
            return f"{detail}; {TOO_OLD}"
        case client.NotFound():
            return f"{detail}; check that --url is the address of a registry"
    return detail
