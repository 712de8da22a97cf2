"""The way from a location to addresses that may be connected to."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from modularity_registry.errors import AddressRefused
from modularity_registry.health.probes.outcome import CheckFailed, ConnectForbidden
from modularity_registry.model.location import Location
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import NameLookup


class Gate:
    """The address policy, with a name lookup that doesn't block the loop.

    Without ``loopback``, no loopback address passes: it is for services that were not
    registered from there.
    """

    def __init__(
        self, policy: AddressPolicy, name_lookup: NameLookup, loopback: bool = True
    ) -> None:
        self._policy = policy
        self._name_lookup = name_lookup
        self._loopback = loopback

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Return every address of ``host``, at least one; all of them have passed.

        Raises `CheckFailed` when there is none, `AddressRefused` when one may not be
        connected to: a mixed answer is how a name slips past a check.
        """
        addresses = self._name_lookup.remembered(host)
        if addresses is None:
            try:
                addresses = await asyncio.wrap_future(
                    self._name_lookup.start(host, port)
                )
            except Exception as error:
                why = getattr(error, "strerror", None) or error
                raise CheckFailed("dns", f"{host} can't be looked up: {why}") from error
        if not addresses:
            raise CheckFailed("dns", f"{host} has no address")
        self._check(*addresses)
        return addresses

    async def open(self, location: Location) -> Sequence[str]:
        """Return the checked addresses of ``location``; a literal is not looked up.

        Raises what `addresses` raises.
        """
        if location.address is None:
            return await self.addresses(location.host, location.port)
        self._check(location.host)
        return (location.host,)

    def check_connect(self, address: str) -> None:
        """Raise `ConnectForbidden` unless a socket may connect to ``address``."""
        try:
            self._check(address)
        except AddressRefused as refused:
            raise ConnectForbidden(refused) from refused

    def _check(self, *addresses: str) -> None:
        self._policy.check_addresses(addresses, caller_is_local=self._loopback)


async def try_each(
    addresses: Sequence[str],
    seconds: float,
    attempt: Callable[[str, float], Awaitable[None]],
) -> None:
    """Return when one address works; each gets its share of what is left of the time.

    Raises what the last attempt raised.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    for left in range(len(addresses), 0, -1):
        share = max(0.0, deadline - loop.time()) / left
        try:
            async with asyncio.timeout(share):
                await attempt(addresses[-left], share)
            return
        except (OSError, CheckFailed):
            if left == 1:
                raise
