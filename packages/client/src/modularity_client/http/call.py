"""What a call is, and how its parts are written into a request."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar
from urllib.parse import quote, urlencode

from modularity_client.errors import BadReply, RegistryError, from_problem
from modularity_client.types.services import Filters, ServiceFields

ResultT = TypeVar("ResultT")
Query = tuple[tuple[str, str], ...]

OWNER_KEY = re.compile(r"[\x21-\x7e]{16,256}")

_FIELDS = frozenset(ServiceFields.__annotations__)
_FILTERS = frozenset(Filters.__annotations__)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; names of ``headers`` are in lower case."""

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
        """Return the error that the reply is."""
        try:
            problem = self.json()
        except BadReply:
            problem = {}
        after = self.headers.get("retry-after", "")
        return from_problem(
            self.status,
            problem if isinstance(problem, dict) else {},
            float(after) if after.isdecimal() else None,
        )


class Answer(NamedTuple, Generic[ResultT]):
    """What a call came to, and the reply that said so, with all that it holds.

    ``reply`` is None when the call was done by a first try whose reply was lost.
    """

    value: ResultT
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Call(Generic[ResultT]):
    """One call. ``path`` begins below the registry's URL.

    ``repeat``: a second time does no harm. ``gone``: the result when a repeated call
    finds nothing, since the first one did it. ``wait``: seconds that the registry may
    wait before it replies. ``patient``: worth a second round when nobody answers.
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
        """Return path and query; ``wait`` is what is left of it (seconds)."""
        query = self.query
        if wait is not None:
            query = (*query, ("wait", f"{wait:.3f}"))
        return f"{self.path}?{urlencode(query)}" if query else self.path

    def with_reply(self) -> "Call[Answer[ResultT]]":
        """Return the same call, which keeps the reply beside its result."""

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
        """Return the result; raises `BadReply` when the reply is none."""
        try:
            return self.parse(reply.json(), reply)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadReply(
                f"the reply is not as the registry's are ({error!r}); is this its URL?",
                status=reply.status,
            ) from error


def registration(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return a registration's body; what is None is left to the registry."""
    unknown = service.keys() - _FIELDS
    missing = {"id", "name", "capabilities", "location"} - service.keys()
    if unknown or missing:
        raise TypeError(
            f"a service has {', '.join(sorted(_FIELDS))};"
            f" unknown: {sorted(unknown)}, missing: {sorted(missing)}"
        )
    fields = {name: value for name, value in service.items() if value is not None}
    fields["capabilities"] = texts(service["capabilities"])
    shown_key(fields.get("owner_key"))  # raises here, rather than be refused there
    fields.setdefault("mode", "http")
    return fields


def shown_key(owner_key: str | None) -> dict[str, str]:
    """Return the header that shows an owner's key, if there is one.

    Raises `ValueError` for what is none; it does not repeat it.
    """
    if owner_key is None:
        return {}
    if not OWNER_KEY.fullmatch(owner_key):
        raise ValueError(
            "an owner_key has 16-256 characters of ASCII that can be seen, no blanks"
        )
    return {"X-Owner-Key": owner_key}


def write(
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


def value_of(kind: type[ReadableT]) -> Callable[[Any, Reply], ReadableT]:
    """Return how a reply is read that is a value of this kind."""
    return lambda data, reply: kind.from_json(data)


def texts(values: str | Iterable[str]) -> list[str]:
    """Return the texts; a single one counts as a list of one, not as its letters."""
    return [values] if isinstance(values, str) else list(values)


def segment(text: str) -> str:
    """Return ``text`` as one part of a path; ids hold nothing that needs more."""
    if not text:
        raise ValueError("an id must not be empty")
    return text.replace(".", "%2E") if text in (".", "..") else quote(text, safe=":")


def capability_path(name: str) -> str:
    """Return where a capability is, in one piece whatever its name holds."""
    if not name:
        raise ValueError("a capability's name must not be empty")
    # An empty part or one of dots would not survive as it is.
    parts = (part and segment(part) for part in name.split("/"))
    return f"/api/capabilities/{'/'.join(parts)}"


def listing(
    limit: int | None,
    cursor: str | None,
    wait: float | None,
    revision: int | None,
    filters: Mapping[str, Any],
) -> Query:
    """Return the arguments of a list, but for ``wait``: that is the attempt's."""
    if (wait is None) != (revision is None):
        raise ValueError("wait and revision are given together")
    page = given(limit=limit, cursor=cursor, revision=revision)
    return page + filtering(filters)


def given(**values: object) -> Query:
    """Return as arguments those that are not None."""
    return tuple((k, str(value)) for k, value in values.items() if value is not None)


def filtering(filters: Mapping[str, Any]) -> Query:
    """Return filters as arguments; raises `TypeError` for an unknown one."""
    unknown = filters.keys() - _FILTERS
    if unknown:
        raise TypeError(f"unknown filters {sorted(unknown)}; known: {sorted(_FILTERS)}")
    query: list[tuple[str, str]] = []
    for name, value in filters.items():
        if name == "metadata":
            for key, wanted in value.items():
                # Text stands bare, anything else as JSON.
                text = wanted if isinstance(wanted, str) else json.dumps(wanted)
                query.append((f"metadata.{key}", text))
        elif value is not None:
            query += [(name, each) for each in texts(value)]
    return tuple(query)
