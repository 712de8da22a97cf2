"""Parses query strings into filters, pages and strategies; `schema` parses bodies."""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from modularity_registry.catalog.selection import (
    EVERYTHING,
    STRATEGIES,
    Filter,
    Strategy,
)
from modularity_registry.catalog.zones import Place
from modularity_registry.errors import FieldError, InvalidRequest
from modularity_registry.events import KINDS, Interest
from modularity_registry.model.service import ACTIVE, MODES, STATUSES
from modularity_registry.schema.patterns import ID_PATTERN, PLACE_PATTERN

MAX_LIMIT = 10_000
MAX_PARAMETERS = 64
MAX_KEY = 1024
# Python reads no number of more than 4,300 digits: a range may not hold one.
MAX_RANGE = 1024
MAX_WAIT = 300.0
"""Seconds that a reader may wait for a change; a longer wait is cut to this."""

FILTERS = (
    *("status", "capability", "mode", "name", "version"),
    *("zone", "region", "verified"),
)
PAGES = ("limit", "cursor")
PREFERENCE = ("prefer_healthy",)
STRATEGY = ("strategy", "key", *PREFERENCE)
NEAR = ("near",)
ZONE_HEADER = "X-Zone"
WAIT = ("wait", "revision")
LISTS = (*FILTERS, "metadata", *PAGES, *WAIT)
EVENTS = ("capability", "service", "type")
INSTANCE = ("instance",)
METADATA = "metadata."

# Digits, also as programs print small numbers: 1e-07.
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,20})?(e-[0-9]{1,3})?")

_PLACE = re.compile(PLACE_PATTERN)

Arguments = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: at most ``limit`` items, those after the key ``after``."""

    limit: int | None = None
    after: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a change after ``revision``, at most ``seconds``."""

    seconds: float
    revision: int


class Query:
    """The arguments of one request, read by name; `finish` reports all bad ones.

    For a bad argument, a reader notes the error and returns a default.
    """

    def __init__(self, arguments: Arguments, allowed: Iterable[str]) -> None:
        self._values: dict[str, list[str]] = {}
        self._errors: list[FieldError] = []
        allowed = tuple(allowed)
        if len(arguments) > MAX_PARAMETERS:
            raise InvalidRequest(
                f"the query has {len(arguments)} parameters; at most {MAX_PARAMETERS}"
                " are allowed"
            )
        for name, value in arguments:
            if name not in allowed and not (
                "metadata" in allowed and name.startswith(METADATA) and name != METADATA
            ):
                names = ", ".join(
                    "metadata.<key>" if k == "metadata" else k for k in allowed
                )
                names = names or "none"
                self._bad(name, f"is not a known parameter; known parameters: {names}")
            self._values.setdefault(name, []).append(value)

    def finish(self) -> None:
        """Raise `InvalidRequest` naming every bad argument, if there is one."""
        if self._errors:
            raise InvalidRequest.of(self._errors)

    def filter(self) -> Filter:
        """Return the filter for services."""
        names = set(self._values)
        if not names.intersection(FILTERS) and not any(
            name.startswith(METADATA) for name in names
        ):
            return EVERYTHING
        exact, version = self._version()
        return Filter(
            statuses=self._statuses(),
            capabilities=frozenset(self._values.get("capability", ())),
            modes=self._choices("mode", MODES),
            name=self._one("name"),
            exact_version=exact,
            version=version,
            zone=self._one("zone"),
            region=self._one("region"),
            verified=self._truth("verified"),
            metadata=tuple(
                (name.removeprefix(METADATA), value)
                for name, values in self._values.items()
                if name.startswith(METADATA)
                for value in values
            ),
        )

    def page(self) -> Page:
        """Return which part of a list to send."""
        limit, text = None, self._one("limit")
        if text is not None:
            if re.fullmatch(r"[0-9]{1,9}", text) and 1 <= int(text) <= MAX_LIMIT:
                limit = int(text)
            else:
                self._bad("limit", f"must be a whole number from 1 to {MAX_LIMIT}")
        cursor = self._one("cursor")
        return Page(limit, self._cursor(cursor) if cursor is not None else "")

    def wait(self) -> Wait | None:
        """Return what to wait for; None for a reply at once."""
        wait, revision = self._one("wait"), self._one("revision")
        if wait is None and revision is None:
            return None
        if wait is None or not _SECONDS.fullmatch(wait):
            self._bad("wait", "must be a number of seconds, given with revision")
            return None
        if revision is None or not re.fullmatch(r"[0-9]{1,18}", revision):
            self._bad("revision", "must be the revision of an earlier reply")
            return None
        return Wait(min(float(wait), MAX_WAIT), int(revision))

    def interest(self) -> Interest:
        """Return which events to send; types may also be separated by commas."""
        given = ",".join(self._values.get("type", ()))
        types = frozenset(given.split(",")) if "type" in self._values else frozenset()
        kinds = frozenset(kind for kind in KINDS if kind in types)
        if len(kinds) < len(types):
            self._bad("type", f"must be one of {', '.join(KINDS)}")
        return Interest(
            capabilities=frozenset(self._values.get("capability", ())),
            services=frozenset(self._values.get("service", ())),
            kinds=kinds,
        )

    def instance(self) -> str | None:
        """Return the instance that leaves; None for the service as a whole."""
        instance = self._one("instance")
        if instance is not None and not re.fullmatch(ID_PATTERN, instance):
            self._bad("instance", "must be an instance that has registered")
        return instance

    def strategy(self) -> Strategy:
        """Return how to pick a provider."""
        name, key = self._one("strategy"), self._one("key")
        if name is None:
            name = "round_robin"
        if name not in STRATEGIES:
            self._bad("strategy", f"must be one of {', '.join(STRATEGIES)}")
            return Strategy(prefer_healthy=self.prefer_healthy())
        if name == "hash" and not key:
            self._bad("key", "is required with strategy=hash")
        if name != "hash" and key is not None:
            self._bad("key", "is for strategy=hash only")
        if key is not None and len(key) > MAX_KEY:
            self._bad("key", f"must have at most {MAX_KEY} characters")
        return Strategy(name, key or "", self.prefer_healthy())

    def prefer_healthy(self) -> bool:
        """Return whether providers with a warning come after all healthy ones."""
        return self._truth("prefer_healthy") is not False

    def near(self, header: str | None) -> Place | None:
        """Return where the caller is, as ``near`` says or else the header X-Zone."""
        place = self._place(ZONE_HEADER, header) if header else None
        near = self._one("near")
        return place if near is None else self._place("near", near)

    def _place(self, name: str, text: str) -> Place | None:
        match = _PLACE.fullmatch(text)
        if match is None:
            self._bad(name, "must be a zone, such as eu-1a, or region/zone: eu-1/eu-1a")
            return None
        return Place(match[3], match[2] or "")

    def _bad(self, name: str, message: str) -> None:
        error = FieldError(name, message)
        if error not in self._errors:
            self._errors.append(error)

    def _one(self, name: str) -> str | None:
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            self._bad(name, "is given more than once")
        return values[0]

    def _choices(self, name: str, choices: tuple[str, ...]) -> frozenset[str]:
        values = frozenset(self._values.get(name, ()))
        if not values.issubset(choices):
            self._bad(name, f"must be one of {', '.join(choices)}")
        return values

    def _truth(self, name: str) -> bool | None:
        text = self._one(name)
        if text not in (None, "true", "false"):
            self._bad(name, "must be true or false")
        return None if text is None else text == "true"

    def _statuses(self) -> frozenset[str]:
        words = {"active": ACTIVE, "inactive": set(STATUSES) - ACTIVE}
        values: set[str] = set()
        for value in self._values.get("status", ()):
            if value not in STATUSES and value not in words:
                choices = ", ".join((*STATUSES, *words))
                self._bad("status", f"must be one of {choices}")
            values |= words.get(value, {value})
        return frozenset(values)

    def _version(self) -> tuple[str | None, SpecifierSet | None]:
        text = self._one("version")
        if text is not None and len(text) > MAX_RANGE:
            self._bad("version", f"must have at most {MAX_RANGE} characters")
            return None, None
        if text is None or not re.match(r"\s*[<>=!~]", text):
            return text, None
        try:
            return None, SpecifierSet(text)
        except InvalidSpecifier:
            self._bad("version", "must be a version or a range such as >=1.2,<2")
            return None, None

    def _cursor(self, text: str) -> str:
        try:
            key = base64.b64decode(text, b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            key = ""
        if not key:
            self._bad("cursor", "is not from this registry; start without one")
        return key


def cursor_after(key: str) -> str:
    """Return the cursor of the page that begins after ``key``."""
    return base64.urlsafe_b64encode(key.encode()).decode()
