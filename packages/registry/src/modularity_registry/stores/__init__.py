"""The stores that keep the registry's records. `open_store` opens one by its URL.

A new store is a package and a row in ``_KINDS``; its driver is imported when a URL
needs it.
"""

import hashlib
import os
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple, cast
from urllib.parse import SplitResult, unquote, urlsplit

from modularity_registry.errors import BadSetting
from modularity_registry.stores.base import Store
from modularity_registry.stores.server_url import Form, Server, read_server

__all__ = ["check_store_url", "file_of", "identity_of", "kind_of", "open_store"]


class _Kind(NamedTuple):
    """A kind of store: ``target`` is called with what ``read`` returns for the URL.

    ``read`` raises `ValueError` with the reason, as the rest of a sentence that
    begins with the URL's scheme.
    """

    target: str
    read: Callable[[SplitResult], tuple[object, ...]]
    forms: tuple[str, ...]
    extra: str = ""


def open_store(url: str) -> Store:
    """Open the store that ``url`` names.

    Raises `BadSetting` for an invalid URL, `StoreUnavailable` or `StoreCorrupt` when
    the store can't be opened.
    """
    kind, arguments = _parse(url)
    module, _, name = kind.target.partition(":")
    try:
        store_class = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        extra = f'pip install "modularity-registry[{kind.extra}]"' if kind.extra else ""
        raise BadSetting(
            f"{kind.forms[0]} needs the package {error.name}, which is not installed"
            + (f"; run {extra}" if extra else "")
        ) from error
    return cast(Store, store_class(*arguments))


def check_store_url(url: str) -> None:
    """Raise `BadSetting` for an invalid URL; opens and imports nothing."""
    _parse(url)


def kind_of(url: str) -> str:
    """Return the scheme of a URL, valid or not, and nothing else that it holds.

    Empty when it has none: what is before a colon alone may be a part of a password.
    """
    scheme, colon, _ = url.partition("://")
    return scheme.lower() if colon and re.fullmatch(r"[A-Za-z+]+", scheme) else ""


def identity_of(url: str) -> str:
    """Return what is the same for all URLs of a store, and repeats no password.

    ``url`` must be valid: see `check_store_url`.
    """
    kind, arguments = _parse(url)
    parts: tuple[object, ...] = (os.path.realpath(str(*arguments)),)
    if isinstance(arguments[0], Server):
        server = arguments[0]
        database = f"{server.primary}/{server.database}".removeprefix("/")
        parts = (*sorted(map(str, server.hosts)), database, server.prefix)
    text = "\0".join(map(str, (kind.target, *parts)))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_of(url: str) -> Path | None:
    """Return the file of an SQLite store; None for other stores.

    ``url`` must be valid: see `check_store_url`.
    """
    kind, arguments = _parse(url)
    return Path(str(*arguments)) if kind is _KINDS["sqlite"] else None


def _parse(url: str) -> tuple[_Kind, tuple[object, ...]]:
    # A URL may carry a password, so no message repeats more than its scheme.
    try:
        parts = urlsplit(url)
    except ValueError:
        # The error's text may contain the password.
        raise BadSetting(f"the store URL can't be read; {_forms()}") from None
    kind = _KINDS.get(parts.scheme)
    if kind is None:
        scheme = kind_of(url)
        problem = f"{scheme}:// is not a kind of store" if scheme else ""
        raise BadSetting(f"{problem or 'the store URL has no scheme'}; {_forms()}")
    try:
        _require_plain(url, parts)
        return kind, kind.read(parts)
    except ValueError as error:
        forms = " or ".join(kind.forms)
        raise BadSetting(f"{parts.scheme}:// {error}; write {forms}") from error


def _require_plain(url: str, parts: SplitResult) -> None:
    if not url.lower().startswith(f"{parts.scheme}://"):
        raise ValueError("needs two slashes after the colon")
    if any(character < " " or character == "\x7f" for character in url):
        raise ValueError("accepts no line breaks or other control characters")


def _forms() -> str:
    forms = [form for kind in _KINDS.values() for form in kind.forms]
    return f"use {', '.join(forms)}"


def _read_memory(parts: SplitResult) -> tuple[object, ...]:
    if parts.netloc or parts.path or parts.query or parts.fragment:
        raise ValueError("accepts nothing after it")
    return ()


def _read_sqlite(parts: SplitResult) -> tuple[object, ...]:
    if parts.netloc:
        raise ValueError("accepts no host")
    if parts.query or parts.fragment:
        raise ValueError(
            "accepts no options; in a file's name write %3F for ? and %23 for #"
        )
    path = _decoded(parts.path.removeprefix("/"))
    if not path:
        raise ValueError("needs the path of a file")
    if path == ":memory:":
        raise ValueError("needs a file; to keep nothing, use memory:// instead")
    if path.endswith("/"):
        raise ValueError("needs the path of a file, not of a folder")
    return (path,)


def _decoded(path: str) -> str:
    try:
        decoded = unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("has a % code that is not UTF-8") from None
    if "\0" in decoded:
        raise ValueError("accepts no %00 in a path")
    return decoded


def _server(engine: str, store: str, example: str, form: Form) -> _Kind:
    def read(parts: SplitResult) -> tuple[object, ...]:
        return (read_server(parts, form),)

    target = f"modularity_registry.stores.{engine}.store:{store}"
    return _Kind(target, read, (example,), extra=engine)


_REDIS: Final = Form(6379, database=r"\d{0,4}")
_SENTINEL: Final = _REDIS._replace(port=26_379, several=True, sentinels=True)

_KINDS: Final = {
    "memory": _Kind(
        "modularity_registry.stores.memory:MemoryStore", _read_memory, ("memory://",)
    ),
    "sqlite": _Kind(
        "modularity_registry.stores.sqlite.store:SqliteStore",
        _read_sqlite,
        ("sqlite:///relative/path", "sqlite:////absolute/path"),
    ),
    "postgresql": _server(
        "postgresql",
        "PostgresStore",
        "postgresql://user:password@host:5432,host:5432/database",
        Form(5432, database=r"[^/]{1,63}", several=True),
    ),
    "redis": _server("redis", "RedisStore", "redis://:password@host:6379/0", _REDIS),
    "rediss": _server(
        "redis",
        "RedisStore",
        "rediss://:password@host:6379/0",
        _REDIS._replace(tls=True),
    ),
    "redis+sentinel": _server(
        "redis",
        "RedisStore",
        "redis+sentinel://:password@host:26379,host:26379/name/0",
        _SENTINEL,
    ),
    "rediss+sentinel": _server(
        "redis",
        "RedisStore",
        "rediss+sentinel://:password@host:26379,host:26379/name/0",
        _SENTINEL._replace(tls=True),
    ),
    "etcd": _server(
        "etcd",
        "EtcdStore",
        "etcd://user:password@host:2379,host:2379",
        Form(2379, several=True),
    ),
    "zookeeper": _server(
        "zookeeper",
        "ZookeeperStore",
        "zookeeper://user:password@host:2181,host:2181",
        Form(2181, several=True),
    ),
    "consul": _server("consul", "ConsulStore", "consul://:token@host:8500", Form(8500)),
}
