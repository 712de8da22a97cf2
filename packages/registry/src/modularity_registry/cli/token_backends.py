"""Where a command finds tokens: at a running registry, in its store, in a file."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import click

from modularity_registry import schema, tokens
from modularity_registry.cli.output import plain
from modularity_registry.cli.session import PROGRAM, Asked, connected, explained, fail
from modularity_registry.clock import SystemClock
from modularity_registry.errors import BadSetting, RegistryError
from modularity_registry.tokens import FileShelf, Shelf, StoreShelf

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """What the options say of where the tokens are; ``url`` counts if nothing else."""

    url: str
    token: str | None
    token_file: str | None
    store: str | None
    file: str | None

    @property
    def offline(self) -> bool:
        """Whether no registry is asked: who can write there needs no token."""
        return self.store is not None or self.file is not None

    @contextmanager
    def desk(self, new: bool = False, last_admin: bool = False) -> "Iterator[Desk]":
        """Give the desk that is there; what it refuses is one line and code 1.

        ``new``: a file need not be there yet. ``last_admin`` lets it revoke the last
        that an admin has, where no registry is asked.
        """
        try:
            if self.file is not None:
                _require_file(Path(self.file), new)
                yield _Offline(FileShelf(self.file), last_admin)
            elif self.store is not None:
                with _opened(self.store) as shelf:
                    yield _Offline(shelf, last_admin)
            else:
                with (
                    explained(),
                    connected(self.url, self.token, self.token_file) as registry,
                ):
                    yield _Online(Asked(registry, self.url, json=True))
        except RegistryError as error:
            fail(plain(error.detail))

    def refuse_mixed(self, context: click.Context) -> None:
        """End with code 2 when options name two places."""
        command_line = click.core.ParameterSource.COMMANDLINE
        named = [name for name in ("store", "file") if getattr(self, name) is not None]
        asked = [
            name
            for name in ("url", "token", "token_file")
            if context.get_parameter_source(name) is command_line
        ]
        if len(named) > 1 or (named and asked):
            both = (f"--{name.replace('_', '-')}" for name in (named + asked)[:2])
            raise click.UsageError(
                f"{' and '.join(both)} don't go together: tokens are changed either at"
                " a running registry, or in a store, or in a file."
            )


class Desk(Protocol):
    """Has tokens made and unmade. Everything is as the HTTP API shows it."""

    def create(self, wish: Json) -> Json:
        """Return a new token, with its text."""

    def all(self) -> list[Json]:
        """Return every token, by name."""

    def rotate(self, name: str, grace: float) -> Json:
        """Return a token with its new text; ``grace`` is in seconds."""

    def revoke(self, name: str) -> None:
        """Make a token worthless."""


def _require_file(file: Path, new: bool) -> None:
    # Locking it would create all of its folders.
    if not file.absolute().parent.is_dir():
        raise BadSetting(f"--file: there is no folder {file.absolute().parent}")
    if not new and not file.exists():
        raise BadSetting(
            f"--file: there is no file {file.absolute()}; {PROGRAM} token create makes"
            " it"
        )


@contextmanager
def _opened(url: str) -> Iterator[Shelf]:
    # Imported late: --help needs none of it.
    from modularity_registry.stores import file_of, open_store
    from modularity_registry.transfer import store_url

    store_url(url, {})  # refuses what is none, and one that no other process reaches
    file = file_of(url)
    if file is not None and not file.exists():
        raise BadSetting(
            f"--store: there is no file {file.absolute()}; correct the path (four"
            f" slashes: from the root), or start the registry first: {PROGRAM} serve"
            " --auth makes it, and the first token"
        )
    with closing(open_store(url)) as store:
        yield StoreShelf(store)


class _Online:
    def __init__(self, asked: Asked) -> None:
        from modularity_client import calls

        self._asked = asked
        self._calls = calls

    def create(self, wish: Json) -> Json:
        made: Json = self._asked.read(self._calls.create_token, **wish)
        return made

    def all(self) -> list[Json]:
        listed: list[Json] = self._asked.read(self._calls.tokens)["tokens"]
        return listed

    def rotate(self, name: str, grace: float) -> Json:
        made: Json = self._asked.read(self._calls.rotate_token, name, grace=grace)
        return made

    def revoke(self, name: str) -> None:
        self._asked.read(self._calls.revoke_token, name)


class _Offline:
    def __init__(self, shelf: Shelf, last_admin: bool) -> None:
        self._shelf = shelf
        self._last_admin = last_admin
        self._clock = SystemClock()

    def create(self, wish: Json) -> Json:
        parsed = schema.parse_token(schema.encode(wish))
        now = self._clock.now()
        return tokens.shown_once(tokens.create(self._shelf, parsed, now))

    def all(self) -> list[Json]:
        return [
            tokens.shown(token) for _, (token, _) in sorted(self._shelf.all().items())
        ]

    def rotate(self, name: str, grace: float) -> Json:
        seconds = schema.parse_rotation(schema.encode({"grace": grace}))
        now = self._clock.now()
        span = timedelta(seconds=seconds)
        return tokens.shown_once(tokens.rotate(self._shelf, name, span, now))

    def revoke(self, name: str) -> None:
        tokens.revoke(self._shelf, name, self._last_admin)
