"""Reads requests and makes replies for the routes."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Response, request

from modularity_registry import schema
from modularity_registry.api.query import Page, Query, cursor_after
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.selection import Filter
from modularity_registry.errors import UnsupportedMediaType
from modularity_registry.model.split import Split
from modularity_registry.replicas.staleness import ViewHealth
from modularity_registry.serving.forwarded import LOCAL, is_loopback
from modularity_registry.writes.precondition import ANY, Precondition, WriteResult

JSON = "application/json"
# Word for word: clients in the field compare them.
REGISTERED = "Service registered successfully"
UNREGISTERED = "Service unregistered successfully"
# What a proxy adds; as WSGI spells it.
FORWARDED = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_REAL_IP",
    "HTTP_VIA",
)

T = TypeVar("T")


def body() -> bytes:
    """Return the request's body; empty when there is none.

    Raises `UnsupportedMediaType` when there is one that isn't declared as JSON in
    UTF-8, or is compressed.
    """
    data = request.get_data()
    if not data:
        return data
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise UnsupportedMediaType(
            f"send the body as it is, not with Content-Encoding: {coding[:64]}"
        )
    kind = request.mimetype
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if kind != JSON and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        raise UnsupportedMediaType(f"send Content-Type: {JSON}, not {kind or 'none'!r}")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(f"send the body in UTF-8, not {charset}")
    return data


def query(*names: str) -> Query:
    """Return the request's arguments; others than ``names`` are errors."""
    return Query(list(request.args.items(multi=True)), names)


def caller_is_local(environ: Mapping[str, Any]) -> bool:
    """Say whether the caller is on this machine.

    A caller behind a proxy is not: its address is the proxy's own. Only a trusted
    proxy may say otherwise (`Proxies`).
    """
    local: bool | None = environ.get(LOCAL)
    if local is not None:
        return local
    if any(name in environ for name in FORWARDED):
        return False
    return is_loopback(environ.get("REMOTE_ADDR", ""))


def precondition() -> Precondition:
    """Return the precondition in `If-Match` and `If-None-Match: *`.

    A revision matches as a strong or a weak tag: it covers all that a write can change.
    """
    if_match = request.environ.get("HTTP_IF_MATCH")
    absent = request.environ.get("HTTP_IF_NONE_MATCH", "").strip() == "*"
    if if_match is None:
        return Precondition(absent=True) if absent else ANY
    if if_match.strip() == "*":
        return Precondition(exists=True, absent=absent)
    tags = re.findall(r'(?:W/)?"([^"]*)"', if_match)
    revisions = frozenset(int(tag) for tag in tags if re.fullmatch(r"[0-9]{1,19}", tag))
    return Precondition(revisions=revisions, exists=True, absent=absent)


def reply(value: Any, status: int = 200) -> Response:
    """Return ``value`` as JSON."""
    return Response(schema.encode(value), status, content_type=JSON)


def read(data: bytes | Callable[[], bytes], tag: int | str, revision: int) -> Response:
    """Return rendered JSON with its validator, or 304 when the caller has it already.

    ``tag`` is the revision of what is shown, ``revision`` that of the whole view. The
    tag is weak: heartbeats change a service within one revision.
    """
    render = data if callable(data) else lambda: data
    response = unless_cached(str(tag), render, JSON)
    response.headers["ETag"] = f'W/"{tag}"'
    response.headers["X-Registry-Revision"] = str(revision)
    return response


def unless_cached(tag: str, render: Callable[[], bytes], kind: str) -> Response:
    """Return what ``render`` makes, or 304 when the caller has this tag already."""
    if not request.if_none_match.contains_weak(tag):
        return Response(render(), content_type=kind)
    response = Response(status=304)
    del response.headers["Content-Type"]
    return response


def stale(view_health: ViewHealth) -> list[tuple[str, str]]:
    """Return the header that marks a read from a view which is not current."""
    seconds = view_health.stale_seconds
    return [] if seconds is None else [("X-Registry-Stale", str(seconds))]


def registered(result: WriteResult) -> tuple[bytes, HTTPStatus]:
    """Return body and status of the reply to a registration."""
    status = HTTPStatus.CREATED if result.created else HTTPStatus.OK
    if not result.displaced:
        return changed(result, "registered", REGISTERED), status
    message = (
        f"{REGISTERED}, in place of the one at {result.displaced}, which was healthy;"
        " if both run, give each an id of its own"
    )
    return changed(result, "registered", message, displaced=result.displaced), status


def unregistered(result: WriteResult) -> bytes:
    """Return the body of the reply to an unregistration."""
    return changed(result, "unregistered", UNREGISTERED)


def changed(result: WriteResult, status: str, message: str, **more: str) -> bytes:
    """Return the body of the reply to a write that is not a registration."""
    answer = {
        "status": status,
        "service_id": result.service_id,
        "revision": result.revision,
        "message": message,
        **more,
    }
    return schema.encode(answer)


@lru_cache(maxsize=1024)
def acknowledgement(ttl: float | None) -> bytes:
    """Return the body of the reply to a heartbeat."""
    rendered = b"null" if ttl is None else schema.encode(ttl)
    return b'{"status":"ok","message":"Heartbeat received","ttl":%b}' % rendered


def cut(
    items: Iterable[T], page: Page, key: Callable[[T], str]
) -> tuple[Sequence[T], str | None]:
    """Return the items of a page and the cursor of the next; ``items`` in key order."""
    chosen: list[T] = []
    for item in items:
        if page.after and key(item) <= page.after:
            continue
        if page.limit is not None and len(chosen) == page.limit:
            return chosen, cursor_after(key(chosen[-1]))
        chosen.append(item)
    return chosen, None


def listing(
    name: str,
    items: Sequence[bytes],
    revision: int,
    cursor: str | None = None,
    split: Split | None = None,
) -> bytes:
    """Return a list body: the items under ``name``, their count, the revision.

    Of providers, also the split of their calls, if there is one.
    """
    end = listing_end(len(items), revision, cursor, split)
    return b'{"%b":[%b%b' % (name.encode(), b",".join(items), end)


def listing_end(
    count: int, revision: int, cursor: str | None = None, split: Split | None = None
) -> bytes:
    """Return the end of a list body, from behind its last item on."""
    end = b'],"count":%d,"revision":%d' % (count, revision)
    if cursor:
        end += b',"next":"%b"' % cursor.encode()
    if split is not None:
        end += b',"split":%b' % schema.encode(split.groups)
    return end + b"}"


def services(
    entries: Iterable[Entry],
    selection: Filter,
    page: Page,
    revision: int,
    split: Split | None = None,
) -> bytes:
    """Return the list body of the services that match; ``entries`` in order of id."""
    matching = (entry for entry in entries if selection.matches(entry))
    chosen, cursor = cut(matching, page, lambda entry: entry.id)
    bodies = [entry.json for entry in chosen]
    return listing("services", bodies, revision, cursor, split)
