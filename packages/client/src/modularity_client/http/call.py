"""A call of the registry, and the parts of its request and reply."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar, get_args
from urllib.parse import quote, urlencode

from modularity_client.errors import BadReply, RegistryError, from_problem
from modularity_client.namespaces import path_in
from modularity_client.types.services import Filters, Mode, ServiceFields

ResultT = TypeVar("ResultT")
Query = tuple[tuple[str, str], ...]

OWNER_KEY = re.compile(r"[\x21-\x7e]{16,256}")

_FIELDS = frozenset(ServiceFields.__annotations__)
_FILTERS = frozenset(Filters.__annotations__)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply; names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body; raises `BadReply` when it isn't JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise BadReply(
                "the reply is not JSON; is this the registry's URL?", status=self.status
            ) from None

    def error(self) -> RegistryError:
        """Return the reply as an error."""
        try:
            problem = self.json()
        except BadReply:
            problem = {}
        retry_after = self.headers.get("retry-after", "")
        return from_problem(
            self.status,
            problem if isinstance(problem, dict) else {},
            float(retry_after) if retry_after.isdecimal() else None,
        )


class Answer(NamedTuple, Generic[ResultT]):
    """The result of a call, and the whole reply.

    ``reply`` is None if the call was done by an attempt whose reply was lost.
    """

    value: ResultT
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Call(Generic[ResultT]):
    """One call. ``path`` is relative to the registry's URL.

    ``repeat``: a retry does no harm. ``gone``: the result if a retry finds nothing,
    since the first attempt did it. ``wait``: seconds that the registry may wait before
    it replies. ``patient``: try all URLs more than once.
    """

    method: str
    path: str
    parse: Callable[[Any, Reply], ResultT]
    query: Query = ()
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeat: bool = True
    gone: ResultT | None = None
    wait: float | None = None
    patient: bool = True

    def target(self, wait: float | None) -> str:
        """Return path and query; ``wait`` is the rest of it (seconds)."""
        query = self.query
        if wait is not None:
            query = (*query, ("wait", f"{wait:.3f}"))
        return f"{self.path}?{urlencode(query)}" if query else self.path

    def within(self, namespace: str) -> Self:
        """Return the same call in a namespace; empty is the default one."""
        path = path_in(namespace, self.path)
        return self if path == self.path else replace(self, path=path)

    def with_reply(self) -> "Call[Answer[ResultT]]":
        """Return the same call with an `Answer` as its result."""

        def parse(data: Any, reply: Reply) -> Answer[ResultT]:
            return Answer(self.parse(data, reply), reply)

        gone = None if self.gone is None else Answer(self.gone, None)
        return Call(
            self.method,
            self.path,
            parse,
            self.query,
            self.body,
            self.headers,
            self.repeat,
            gone,
            self.wait,
            self.patient,
        )

    def read(self, reply: Reply) -> ResultT:
        """Return the result; raises `BadReply` if the reply is not a registry's."""
        try:
            return self.parse(reply.json(), reply)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadReply(
                f"the reply is not a registry's ({error!r}); is this its URL?",
                status=reply.status,
            ) from error


def check_timeout(timeout: float | None) -> None:
    """Raise `ValueError` unless ``timeout`` is a number of seconds above 0."""
    if not isinstance(timeout, int | float) or not timeout > 0:
        raise ValueError(
            f"timeout must be a number of seconds above 0, not {timeout!r}; for a long"
            " time, give a large number"
        )


def registration_body(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return a registration's body, without the fields that are None."""
    unknown = service.keys() - _FIELDS
    missing = {"id", "name", "capabilities", "location"} - service.keys()
    if unknown or missing:
        raise TypeError(
            f"a service has {', '.join(sorted(_FIELDS))};"
            f" unknown: {sorted(unknown)}, missing: {sorted(missing)}"
        )
    fields = {name: value for name, value in service.items() if value is not None}
    fields["capabilities"] = string_list(service["capabilities"])
    if "checks" in fields:
        fields["checks"] = list(fields["checks"])
    owner_key_header(fields.get("owner_key"))  # fail before the call
    mode = fields.setdefault("mode", "http")
    if mode not in get_args(Mode):
        raise ValueError(f"mode {mode!r} is not one of {', '.join(get_args(Mode))}")
    return fields


def owner_key_header(owner_key: str | None) -> dict[str, str]:
    """Return the header with an owner's key, if there is one.

    Raises `ValueError` for an invalid key, without the key in its message.
    """
    if owner_key is None:
        return {}
    if not OWNER_KEY.fullmatch(owner_key):
        raise ValueError(
            "an owner_key must be 16-256 printable ASCII characters without blanks"
        )
    return {"X-Owner-Key": owner_key}


def if_match(revision: int | None) -> dict[str, str]:
    """Return the header of a write over what is at this revision; None for any."""
    return {} if revision is None else {"If-Match": f'"{revision}"'}


def call_with_body(
    method: str,
    path: str,
    value: Mapping[str, Any],
    parse: Callable[[Any, Reply], ResultT],
    headers: Mapping[str, str] | None = None,
    query: Query = (),
    repeat: bool = True,
) -> Call[ResultT]:
    """Return a call with ``value`` as its body."""
    body = json.dumps(value, allow_nan=False).encode()
    headers = {"Content-Type": "application/json", **(headers or {})}
    return Call(method, path, parse, query, body, headers, repeat)


class _Readable(Protocol):
    @classmethod
    def from_json(cls, data: Any) -> Self: ...


ReadableT = TypeVar("ReadableT", bound=_Readable)


def parser_of(kind: type[ReadableT]) -> Callable[[Any, Reply], ReadableT]:
    """Return a function that parses a reply as this type."""
    return lambda data, reply: kind.from_json(data)


def string_list(values: str | Iterable[str]) -> list[str]:
    """Return a list; a single string becomes a list of one."""
    return [values] if isinstance(values, str) else list(values)


def path_segment(text: str) -> str:
    """Return ``text`` as one segment of a path."""
    if not text:
        raise ValueError("an id must not be empty")
    return text.replace(".", "%2E") if text in (".", "..") else quote(text, safe=":")


def capability_path(name: str) -> str:
    """Return the path of a capability, whatever its name contains."""
    if not name:
        raise ValueError("a capability's name must not be empty")
    # Proxies and clients normalize parts that are dots.
    parts = (part and path_segment(part) for part in name.split("/"))
    return f"/api/capabilities/{'/'.join(parts)}"


def list_arguments(
    limit: int | None,
    cursor: str | None,
    wait: float | None,
    revision: int | None,
    filters: Mapping[str, Any],
) -> Query:
    """Return the query of a list, without ``wait``, which each attempt sets."""
    if (wait is None) != (revision is None):
        raise ValueError("wait and revision must be given together")
    page = arguments(limit=limit, cursor=cursor, revision=revision)
    return page + filter_arguments(filters)


def arguments(**values: object) -> Query:
    """Return the values that are not None as a query."""
    return tuple((k, str(value)) for k, value in values.items() if value is not None)


def filter_arguments(filters: Mapping[str, Any]) -> Query:
    """Return filters as a query; raises `TypeError` for an unknown filter."""
    unknown = filters.keys() - _FILTERS
    if unknown:
        raise TypeError(f"unknown filters {sorted(unknown)}; known: {sorted(_FILTERS)}")
    query: list[tuple[str, str]] = []
    for name, value in filters.items():
        if name == "metadata":
            for key, expected in value.items():
                # Strings are sent as they are, other values as JSON.
                text = expected if isinstance(expected, str) else json.dumps(expected)
                query.append((f"metadata.{key}", text))
        elif isinstance(value, bool):
            query.append((name, json.dumps(value)))
        elif value is not None:
            query += [(name, text) for text in string_list(value)]
    return tuple(query)
