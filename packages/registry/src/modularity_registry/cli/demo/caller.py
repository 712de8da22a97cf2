"""Calls between the demo's services: found by capability, and reported."""

import time

import aiohttp

from modularity_client import AsyncRegistry, RegistryUnreachable, Unavailable
from modularity_client.errors import CapabilityNotFound
from modularity_client.types.registry import CallReport

PASSING = (Unavailable, RegistryUnreachable, CapabilityNotFound)
"""The errors that a shop lives through; a refusal does not pass by itself."""


class Caller:
    """Finds a provider at the registry for each call, and notes how the call went."""

    def __init__(self, registry: AsyncRegistry, http: aiohttp.ClientSession) -> None:
        self._registry = registry
        self._http = http
        self._reports: list[CallReport] = []

    async def call(self, capability: str, consumer_id: str | None = None) -> None:
        """Call one provider; without a consumer, nobody reports it.

        Raises `RegistryError` if the registry refuses the lookup.
        """
        try:
            provider = await self._registry.capability(capability, strategy="random")
        except PASSING:
            return
        begun = time.monotonic()
        success = await self._invoke(provider.location, capability)
        if consumer_id is not None:
            report = CallReport(
                consumer_id=consumer_id, provider_id=provider.id, capability=capability
            )
            report["success"] = success
            report["latency_ms"] = (time.monotonic() - begun) * 1000
            self._reports.append(report)

    async def _invoke(self, location: str, capability: str) -> bool:
        call = {"capability": capability}
        try:
            async with self._http.post(f"{location}/_module/invoke", json=call) as sent:
                return sent.ok
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def send_reports(self) -> None:
        """Report the calls since the last time; those the registry misses are lost."""
        reports, self._reports = self._reports, []
        if reports:
            try:
                await self._registry.track_invocations(reports)
            except PASSING:
                return
