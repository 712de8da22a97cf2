"""Eureka's API, for clients that register with Eureka or look there."""

import uuid
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from modularity_registry.config import Settings
from modularity_registry.errors import BadSetting
from modularity_registry.integrations import Integration
from modularity_registry.integrations.http import Application
from modularity_registry.runtime import Registry


def check(settings: Settings) -> None:
    """Raise `BadSetting` if the library that reads XML is not installed."""
    if find_spec("defusedxml") is None:
        raise BadSetting(
            "--integrations eureka needs a library that is not installed; install"
            " modularity-registry[eureka]"
        )


def create(registry: Registry) -> Integration:
    """Return the API over a registry's default namespace."""
    return _Eureka(registry)


class _Eureka(Integration):
    def __init__(self, registry: Registry) -> None:
        from modularity_registry.integrations.eureka.application import (
            EurekaApplication,
        )
        from modularity_registry.integrations.eureka.reads import Reads
        from modularity_registry.integrations.eureka.view import View
        from modularity_registry.integrations.eureka.writes import Writes

        self._view = View(registry.catalog, registry.clock.monotonic)
        registry.feed.listen(self._view)
        reads = Reads(self._view, uuid.uuid4().hex[:8])
        writes = Writes(registry, self._view)
        self.applications: Sequence[Application] = (EurekaApplication(reads, writes),)

    async def start(self) -> None:
        await self._view.load()

    def statistics(self) -> Mapping[str, Any]:
        """Return how many applications and instances clients see."""
        return {
            "applications": len(self._view.applications),
            "instances": self._view.statuses.total(),
        }
