"""Lists of applications as JSON and XML: rendered once for all who ask."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from typing import Any, Final, NamedTuple

from modularity_registry import schema, tasks
from modularity_registry.integrations.eureka import xml
from modularity_registry.integrations.eureka.document import (
    NO_METADATA,
    Instance,
    rendered,
)
from modularity_registry.integrations.eureka.view import (
    Application,
    View,
    counted,
    hash_of,
)

_XML_NAMES: Final = {"overriddenStatus": "overriddenstatus"}


class Format(Enum):
    """How a document is written. The value is its media type."""

    JSON = "application/json"
    XML = "application/xml"


class _Part(NamedTuple):
    """A rendered application, and the statuses of the instances that are in it."""

    body: bytes
    statuses: Counter[str]


class _Whole(NamedTuple):
    version: int
    body: bytes


class Lists:
    """Renders what clients poll. Nothing here takes longer than a slice of time.

    While something changes, each list is as of one moment for every application, and
    its hash is that of what is in it.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._kept: dict[tuple[str, Format], _Whole] = {}
        self._locks = {
            (name, form): asyncio.Lock() for name in ("all", "delta") for form in Format
        }

    def all(self, form: Format) -> bytes | Awaitable[bytes]:
        """Return all applications, or what to await for them."""
        return self._current("all", form) or self._make("all", form, self._all)

    def delta(self, form: Format) -> bytes | Awaitable[bytes]:
        """Return what has changed in the last minutes, or what to await for it."""
        return self._current("delta", form) or self._make("delta", form, self._delta)

    async def application(self, application: Application, form: Format) -> bytes:
        """Return one application as a document of its own."""
        part = await self._part(application, form)
        return b'{"application":%b}' % part.body if form is Format.JSON else part.body

    async def selected(self, instances: Iterable[Instance], form: Format) -> bytes:
        """Return some instances within their applications; as `all`."""
        instances = list(instances)
        bodies = await self._grouped(((one, "") for one in instances), form)
        return self._document(
            bodies, self._view.version, hash_of(counted(instances)), form
        )

    def _current(self, name: str, form: Format) -> bytes | None:
        kept = self._kept.get((name, form))
        return kept.body if kept and kept.version == self._view.version else None

    async def _make(
        self, name: str, form: Format, render: Callable[[Format], Awaitable[bytes]]
    ) -> bytes:
        """Return a list that is no older than this call; one is made at a time."""
        asked = self._view.version
        async with self._locks[name, form]:
            kept = self._kept.get((name, form))
            if kept is not None and kept.version >= asked:
                return kept.body
            version = self._view.version
            body = await render(form)
            self._kept[name, form] = _Whole(version, body)
            return body

    async def _all(self, form: Format) -> bytes:
        version = self._view.version
        applications = self._view.applications
        parts = [
            await self._part(application, form)
            for name in sorted(applications)
            if (application := applications.get(name)) is not None
        ]
        statuses: Counter[str] = Counter()
        for part in parts:
            statuses.update(part.statuses)
        bodies = [part.body for part in parts]
        return self._document(bodies, version, hash_of(statuses), form)

    async def _delta(self, form: Format) -> bytes:
        version, hash_ = self._view.version, self._view.hash()
        changes = self._view.changes()
        bodies = await self._grouped(
            ((change.instance, change.action) for change in changes), form
        )
        return self._document(bodies, version, hash_, form)

    async def _grouped(
        self, instances: Iterable[tuple[Instance, str]], form: Format
    ) -> list[bytes]:
        """Return some instances, those of one application together."""
        groups: dict[str, list[bytes]] = {}
        async for instance, action in tasks.in_slices(instances):
            body = _instance(instance, form, action)
            groups.setdefault(instance.app, []).append(body)
        return [_application(name, bodies, form) for name, bodies in groups.items()]

    async def _part(self, application: Application, form: Format) -> _Part:
        rendered_, known = application.rendered, application.rendered.get(form)
        if isinstance(known, _Part):
            return known
        instances = [one for _, one in sorted(application.instances.items())]
        bodies = [
            _instance(instance, form) async for instance in tasks.in_slices(instances)
        ]
        part = _Part(_application(application.name, bodies, form), counted(instances))
        # Of no use to anybody if the application has changed meanwhile.
        rendered_[form] = part
        return part

    def _document(
        self, applications: list[bytes], version: int, hash_: str, form: Format
    ) -> bytes:
        if form is Format.JSON:
            return (
                b'{"applications":{"versions__delta":"%d","apps__hashcode":"%b",'
                b'"application":[%b]}}'
            ) % (version, hash_.encode(), b",".join(applications))
        return (
            b"<applications><versions__delta>%d</versions__delta>"
            b"<apps__hashcode>%b</apps__hashcode>%b</applications>"
        ) % (version, hash_.encode(), b"".join(applications))


def instance_document(instance: Instance, form: Format) -> bytes:
    """Return one instance as a document of its own."""
    body = _instance(instance, form)
    return b'{"instance":%b}' % body if form is Format.JSON else body


def _instance(instance: Instance, form: Format, action: str = "") -> bytes:
    document = rendered(instance, action)
    if form is Format.JSON:
        return schema.encode(document)
    return xml.write("instance", _as_xml(document))


def _application(name: str, instances: list[bytes], form: Format) -> bytes:
    if form is Format.JSON:
        return b'{"name":%b,"instance":[%b]}' % (
            schema.encode(name),
            b",".join(instances),
        )
    return b"<application><name>%b</name>%b</application>" % (
        name.encode(),
        b"".join(instances),
    )


def _as_xml(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document as its XML has it: names of metadata are names of elements."""
    values = document["metadata"]
    if values is not NO_METADATA:
        values = {xml.escaped(key): value for key, value in values.items()}
    return {
        _XML_NAMES.get(key, key): values if key == "metadata" else part
        for key, part in document.items()
    }
