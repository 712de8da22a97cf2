"""Which region each zone is in, as the services there say."""

from collections import Counter

from modularity_registry.catalog.entry import Entry


class Regions:
    """The region of each zone that a service is in. Written by the catalog alone.

    ``version`` grows when a zone's region changes.
    """

    def __init__(self) -> None:
        self.version = 0
        self._by_zone: dict[str, Counter[str]] = {}
        self._of: dict[str, str] = {}

    def __contains__(self, zone: str) -> bool:
        return zone in self._by_zone

    def of(self, zone: str) -> str:
        """Return the zone's region; empty if no service says it.

        If they say several, the one that most of them say.
        """
        return self._of.get(zone, "")

    def known(self) -> dict[str, str]:
        """Return the region of each zone."""
        return dict(self._of)

    def assume(self, regions: dict[str, str]) -> None:
        """Take these for the regions of zones, before any service is counted."""
        self._of = regions
        self._by_zone = {zone: Counter({region: 1}) for zone, region in regions.items()}

    def count(self, old: Entry | None, new: Entry | None) -> None:
        """Note that ``new`` has taken the place of ``old``. For the catalog."""
        if new is not None and new.zone:
            self._replace(new.zone, new.region, 1)
        if old is not None and old.zone:
            self._replace(old.zone, old.region, -1)

    def _replace(self, zone: str, region: str, more: int) -> None:
        # A new one each time: other threads may be reading the one before.
        regions = Counter(self._by_zone.get(zone, ()))
        regions[region] += more
        regions = +regions
        before = self.of(zone)
        if regions:
            self._by_zone[zone] = regions
            named = filter(None, regions)
            self._of[zone] = max(named, key=regions.__getitem__, default="")
        else:
            del self._by_zone[zone], self._of[zone]
        if self.of(zone) != before:
            self.version += 1
