"""Where a token command works: at a running registry, in its store, or in a file."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import click

from modularity_client import calls
from modularity_registry import schema, tokens
from modularity_registry.cli.exit import PROGRAM, fail
from modularity_registry.cli.options.namespace import current_namespace
from modularity_registry.cli.output import plain
from modularity_registry.cli.session import Session, connected, explained
from modularity_registry.clock import SystemClock
from modularity_registry.errors import BadSetting, RegistryError
from modularity_registry.stores import file_of, open_store
from modularity_registry.stores.parts import Division
from modularity_registry.tokens import FileTokenBackend, StoreTokenBackend, TokenBackend
from modularity_registry.transfer import store_url

Json = dict[str, Any]


class TokenAdmin(Protocol):
    """Creates and revokes tokens. Its JSON is that of the HTTP API."""

    def create(self, request: Json) -> Json:
        """Return a new token, with its text."""

    def all(self) -> list[Json]:
        """Return every token, by name."""

    def rotate(self, name: str, grace: float) -> Json:
        """Return a token with its new text; ``grace`` is in seconds."""

    def revoke(self, name: str) -> None:
        """Revoke a token, at once."""


@dataclass(frozen=True, slots=True)
class TokenBackendOptions:
    """The options that name a token backend; ``url`` counts if no other is given."""

    url: str
    token: str | None
    token_file: str | None
    store: str | None
    file: str | None

    @property
    def offline(self) -> bool:
        """Whether no registry is called: if you can write there, you need no token."""
        return self.store is not None or self.file is not None

    @contextmanager
    def open(self, new: bool = False, last_admin: bool = False) -> Iterator[TokenAdmin]:
        """Open the backend; a refusal ends the program with one line and code 1.

        ``new``: the file may be missing. ``last_admin``: offline, allow revoking the
        last token with the right admin. In a namespace that is always allowed: admins
        of the default one can make another.
        """
        namespace = current_namespace()
        last_admin = last_admin or bool(namespace)
        try:
            if self.file is not None:
                _require_file(Path(self.file), new)
                file = FileTokenBackend(self.file, namespace)
                yield _OfflineAdmin(file, last_admin)
            elif self.store is not None:
                with _opened(self.store, namespace) as backend:
                    yield _OfflineAdmin(backend, last_admin)
            else:
                with (
                    explained(),
                    connected(self.url, self.token, self.token_file) as registry,
                ):
                    yield _RegistryAdmin(Session(registry, self.url, json=True))
        except RegistryError as error:
            fail(plain(error.detail))

    def refuse_mixed(self, context: click.Context) -> None:
        """End with code 2 when options name two backends."""
        command_line = click.core.ParameterSource.COMMANDLINE
        offline = [
            name for name in ("store", "file") if getattr(self, name) is not None
        ]
        online = [
            name
            for name in ("url", "token", "token_file")
            if context.get_parameter_source(name) is command_line
        ]
        if len(offline) > 1 or (offline and online):
            flags = (f"--{name.replace('_', '-')}" for name in (offline + online)[:2])
            raise click.UsageError(
                f"{' and '.join(flags)} can't be used together: choose a running"
                " registry, a store or a file."
            )


def _require_file(file: Path, new: bool) -> None:
    # Locking it would create all of its folders.
    if not file.absolute().parent.is_dir():
        raise BadSetting(f"--file: there is no folder {file.absolute().parent}")
    if not new and not file.exists():
        raise BadSetting(
            f"--file: there is no file {file.absolute()}; create it with"
            f" {PROGRAM} token create"
        )


@contextmanager
def _opened(url: str, namespace: str) -> Iterator[TokenBackend]:
    store_url(url, {})  # refuses a bad URL, and memory://
    file = file_of(url)
    if file is not None and not file.exists():
        raise BadSetting(
            f"--store: there is no file {file.absolute()}; correct the path (four"
            f" slashes: from the root), or start the registry first: {PROGRAM} serve"
            " --auth creates it, and the first token"
        )
    with closing(open_store(url)) as store:
        if namespace:
            store = Division(store, [namespace]).parts[namespace]
        yield StoreTokenBackend(store)


class _RegistryAdmin:
    def __init__(self, session: Session) -> None:
        self._session = session

    def create(self, request: Json) -> Json:
        token: Json = self._session.read(calls.create_token, **request)
        return token

    def all(self) -> list[Json]:
        entries: list[Json] = self._session.read(calls.tokens)["tokens"]
        return entries

    def rotate(self, name: str, grace: float) -> Json:
        token: Json = self._session.read(calls.rotate_token, name, grace=grace)
        return token

    def revoke(self, name: str) -> None:
        self._session.read(calls.revoke_token, name)


class _OfflineAdmin:
    def __init__(self, backend: TokenBackend, last_admin: bool) -> None:
        self._backend = backend
        self._last_admin = last_admin
        self._clock = SystemClock()

    def create(self, request: Json) -> Json:
        parsed = schema.parse_token(schema.encode(request))
        now = self._clock.now()
        return tokens.issued_document(tokens.create(self._backend, parsed, now))

    def all(self) -> list[Json]:
        entries = sorted(self._backend.all().items())
        return [tokens.token_document(token) for _, (token, _) in entries]

    def rotate(self, name: str, grace: float) -> Json:
        seconds = schema.parse_rotation(schema.encode({"grace": grace}))
        now = self._clock.now()
        span = timedelta(seconds=seconds)
        return tokens.issued_document(tokens.rotate(self._backend, name, span, now))

    def revoke(self, name: str) -> None:
        tokens.revoke(self._backend, name, self._last_admin)
