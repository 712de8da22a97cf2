"""What clients of Eureka read: applications, instances, changes."""

from collections.abc import Awaitable
from http import HTTPStatus

from modularity_registry.errors import CapabilityNotFound, ServiceNotFound
from modularity_registry.integrations.eureka.document import Instance
from modularity_registry.integrations.eureka.lists import (
    Format,
    Lists,
    instance_document,
)
from modularity_registry.integrations.eureka.view import View
from modularity_registry.integrations.http import Call, Reply


class Reads:
    """Answers from the view alone. ``run`` is what tells versions of one run apart."""

    def __init__(self, view: View, run: str) -> None:
        self._view = view
        self._lists = Lists(view)
        self._run = run

    def applications(self, call: Call) -> Reply | Awaitable[Reply]:
        """Return all applications with all their instances."""
        form = format_of(call)
        return self._unless_known(call, form) or self._reply(
            self._lists.all(form), form
        )

    def delta(self, call: Call) -> Reply | Awaitable[Reply]:
        """Return the instances that changed in the last minutes."""
        form = format_of(call)
        return self._unless_known(call, form) or self._reply(
            self._lists.delta(form), form
        )

    def application_or_instance(self, call: Call) -> Reply | Awaitable[Reply]:
        """Return an application, or one instance of it."""
        form, path = format_of(call), call.names["path"]
        application = self._view.application(path)
        if application is not None:
            return self._reply(self._lists.application(application, form), form)
        instance = find(self._view, path)
        if instance is None:
            raise CapabilityNotFound(f"no application or instance {path!r} is here")
        return Reply(HTTPStatus.OK, instance_document(instance, form), form.value)

    def instance(self, call: Call) -> Reply:
        """Return an instance by its id alone."""
        form, instance_id = format_of(call), call.names["instance_id"]
        instance = next(self._view.instances(instance_id), None)
        if instance is None:
            raise ServiceNotFound(f"no instance {instance_id!r} is registered")
        return Reply(HTTPStatus.OK, instance_document(instance, form), form.value)

    def vip(self, call: Call) -> Awaitable[Reply]:
        """Return the instances behind a virtual address."""
        return self._of_vip(call, secure=False)

    def secure_vip(self, call: Call) -> Awaitable[Reply]:
        """Return the instances behind a secure virtual address."""
        return self._of_vip(call, secure=True)

    async def _of_vip(self, call: Call, secure: bool) -> Reply:
        form, address = format_of(call), call.names["address"]
        instances = self._view.of_vip(address, secure)
        if not instances:
            raise CapabilityNotFound(f"no instance has the address {address!r}")
        return await self._later(self._lists.selected(instances, form), form)

    def _reply(
        self, body: bytes | Awaitable[bytes], form: Format
    ) -> Reply | Awaitable[Reply]:
        if isinstance(body, bytes):
            headers = [("ETag", self._etag(form))]
            return Reply(HTTPStatus.OK, body, form.value, headers)
        return self._later(body, form)

    async def _later(self, body: Awaitable[bytes], form: Format) -> Reply:
        # Of before: what changes while the list is made may not be in it.
        headers = [("ETag", self._etag(form))]
        return Reply(HTTPStatus.OK, await body, form.value, headers)

    def _unless_known(self, call: Call, form: Format) -> Reply | None:
        """Return that nothing has changed since the caller asked before, if so."""
        etag = self._etag(form)
        known = (call.header("If-None-Match") or "").split(",")
        if etag not in (tag.strip().removeprefix("W/") for tag in known):
            return None
        return Reply(HTTPStatus.NOT_MODIFIED, headers=[("ETag", etag)])

    def _etag(self, form: Format) -> str:
        return f'"{self._run}-{self._view.version}-{form.name.lower()}"'


def format_of(call: Call) -> Format:
    """Return the format that a caller accepts; XML, as in Eureka, unless it says so."""
    return Format.JSON if "json" in (call.header("Accept") or "") else Format.XML


def find(view: View, path: str) -> Instance | None:
    """Return the instance that a path names; either name in it may have slashes."""
    parts = path.split("/")
    for number in range(1, min(len(parts), 8)):
        app, instance_id = "/".join(parts[:number]), "/".join(parts[number:])
        instance = view.instance(app, instance_id)
        if instance is not None:
            return instance
    return None
