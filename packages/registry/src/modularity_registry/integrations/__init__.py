"""Speaks to the programs of other registries and meshes. Each part is off by default.

A part is a package of its own over the commands and the catalog. It is imported only
when the setting `integrations` names it.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from modularity_registry.api.tracing import Tracing
from modularity_registry.config import Settings
from modularity_registry.integrations.http import Application, IntegrationFront
from modularity_registry.runtime import Registry
from modularity_registry.serving.front import Front


class Integration:
    """One part that is switched on.

    A subclass overrides what it has. ``applications`` are the APIs that it answers on
    the registry's own port.
    """

    applications: Sequence[Application] = ()

    def connect(self, parts: Mapping[str, "Integration"]) -> None:
        """Meet all parts that are switched on, by name, before any of them starts."""

    async def start(self) -> None:
        """Begin, once the registry has its view."""

    async def stop(self) -> None:
        """End all that is under way. Idempotent."""

    @property
    def fault(self) -> str | None:
        """Why it is not at its best, for `/health`; None when it is."""
        return None

    def statistics(self) -> Mapping[str, Any]:
        """Return what `GET /api/stats` shows of it; JSON's types alone."""
        return {}


class Integrations:
    """The parts that a registry's settings name. The registry shows what they say."""

    def __init__(self, registry: Registry) -> None:
        """Return them, not started."""
        self._registry = registry
        self._parts = {
            name: _package(name).create(registry)
            for name in registry.settings.integrations
        }
        for name, part in self._parts.items():
            registry.integrations[name] = part.statistics
            registry.more_faults.append(_fault_of(name, part))
        for part in self._parts.values():
            part.connect(self._parts)

    def front(self, rest: Front, tracing: Tracing | None, logged: bool) -> Front:
        """Return a front that answers their calls and leaves others to ``rest``."""
        parts = self._parts.values()
        applications = [one for part in parts for one in part.applications]
        if not applications:
            return rest
        return IntegrationFront(self._registry, rest, applications, tracing, logged)

    async def start(self) -> None:
        """Start all of them."""
        for part in self._parts.values():
            await part.start()

    async def stop(self) -> None:
        """Stop all of them. Idempotent."""
        for part in self._parts.values():
            await part.stop()


def check(settings: Settings) -> None:
    """Raise `BadSetting` if a part that the settings name can't be had."""
    for name in settings.integrations:
        _package(name).check(settings)


class _Package(Protocol):
    """What each part's package has."""

    def check(self, settings: Settings) -> None:
        """Raise `BadSetting` for a library, a file or a setting that it lacks."""

    def create(self, registry: Registry) -> Integration:
        """Return the part, not started."""


def _package(name: str) -> _Package:
    package: Any = import_module(f"{__name__}.{name}")
    return cast(_Package, package)


def _fault_of(name: str, part: Integration) -> Callable[[], str | None]:
    return lambda: None if part.fault is None else f"{name}: {part.fault}"
