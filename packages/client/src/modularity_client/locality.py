"""Where a caller is, and which providers are near to it, as the registry has it."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from modularity_client.types.services import Service

ZONE_THRESHOLD = 0.7
"""The share of a zone's providers that must be healthy, as the registry's default."""

_valid = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}").fullmatch


@dataclass(frozen=True, slots=True)
class Place:
    """A caller's zone and region; both may be empty."""

    zone: str = ""
    region: str = ""

    def header(self) -> dict[str, str]:
        """Return the header that tells the registry."""
        if not self.zone:
            return {}
        return {"X-Zone": f"{self.region}/{self.zone}" if self.region else self.zone}

    def fields(self) -> dict[str, str]:
        """Return the fields of a registration at this place."""
        fields = {"zone": self.zone, "region": self.region}
        return {name: value for name, value in fields.items() if value}


NOWHERE = Place()


def find_place(zone: str | None, region: str | None) -> Place:
    """Return the place in the arguments, else in the environment.

    Raises `ValueError` for what is no name, or a region without a zone.
    """
    if zone is None and region is None:
        zone, region = (
            "" if value == "off" else value  # as the registry's own setting
            for value in map(os.environ.get, ("REGISTRY_ZONE", "REGISTRY_REGION"))
        )
    place = Place(zone or "", region or "")
    for name, value in (("zone", place.zone), ("region", place.region)):
        if value and not _valid(value):
            raise ValueError(
                f"{name} {value!r} must be a letter or digit, then letters, digits,"
                " dots, underscores and hyphens, at most 63 in all"
            )
    if place.region and not place.zone:
        raise ValueError("a region needs a zone: use zone= or REGISTRY_ZONE")
    return place


def nearest(
    usable: tuple[Service, ...],
    providers: Sequence[Service],
    place: Place,
    threshold: float,
) -> tuple[Service, ...]:
    """Return those of ``usable`` that are near: in the zone, else in the region.

    All of them, if neither has one, or too few of its ``providers`` with their priority
    are usable: less than the share ``threshold``. A missing region is that of a
    provider in the zone.
    """
    region = place.region or _region_of(place.zone, providers)
    priorities = {each.priority for each in usable}
    providers = [each for each in providers if each.priority in priorities]
    for kind, name in (("zone", place.zone), ("region", region)):
        near = tuple(each for each in usable if name and getattr(each, kind) == name)
        total = sum(getattr(each, kind) == name for each in providers)
        if near and len(near) / total >= threshold:
            return near
    return usable


def _region_of(zone: str, providers: Sequence[Service]) -> str:
    regions = (each.region for each in providers if zone and each.zone == zone)
    return next(filter(None, regions), "")
