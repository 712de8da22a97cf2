"""What a registered service takes over from the one with its id, as in Consul."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from modularity_registry.integrations.consul import extras as extras_of
from modularity_registry.integrations.consul.extras import Extras, with_extras
from modularity_registry.model.service import (
    CHECKED_MODES,
    Fault,
    Registration,
    Service,
)
from modularity_registry.model.status import status
from modularity_registry.writes.commands import Succession

NOT_YET = "it has not passed yet"
"""Why a check is critical that has no result: as in Consul, it begins so."""


class Statuses(NamedTuple):
    """What is said of checks, by the registry's names of them.

    ``given`` are their statuses and ``outputs`` what they have found. ``final`` says
    that they hold for checks that are known already, too.
    """

    given: Mapping[str, str]
    outputs: Mapping[str, str] = {}
    final: bool = False


def succession(statuses: Statuses, replace: bool = False) -> Succession:
    """Return it for a registration whose checks were given these statuses.

    Checks keep their status and stay, unless the registration may ``replace`` them. An
    order to drain stays as well.
    """

    def succeed(former: Service | None, new: Service) -> Service:
        if former is None:
            return _with_statuses(new, None, statuses)
        if not replace:
            joined = _joined(former.registration, new.registration)
            new = msgspec.structs.replace(new, registration=joined)
        new = _with_statuses(new, former, statuses)
        new = msgspec.structs.replace(new, drain=former.drain)
        if status(new) == status(former):
            new = msgspec.structs.replace(new, since=former.since)
        same = msgspec.structs.replace(new, registered_at=former.registered_at)
        return former if same == former else new

    return succeed


def _joined(former: Registration, new: Registration) -> Registration:
    """Return ``new`` with the checks that only ``former`` has."""
    old, own = extras_of.of(former), extras_of.of(new) or Extras()
    present = {check.name for check in new.checks}
    connects = new.mode in CHECKED_MODES
    more = tuple(
        check
        for check in former.checks
        if check.name not in present and (connects or check.ttl is not None)
    )
    kept = old.checks if old else {}
    checks = own.checks | {k: v for k, v in kept.items() if k not in own.checks}
    if not more and checks == own.checks:
        return new
    joined = msgspec.structs.replace(new, checks=(*new.checks, *more))
    return with_extras(joined, msgspec.structs.replace(own, checks=checks))


def _with_statuses(
    service: Service, former: Service | None, statuses: Statuses
) -> Service:
    extras = extras_of.of(service.registration) or Extras()
    old = extras_of.of(former.registration) if former else None
    faults, warnings = [], []
    for name in extras.checks:
        is_known = former is not None and old is not None and name in old.checks
        if (
            former is not None
            and is_known
            and not (statuses.final and name in statuses.given)
        ):
            faults += [fault for fault in former.faults if fault.check == name]
            warnings += [fault for fault in former.warnings if fault.check == name]
            continue
        reason = f"check '{name}': {statuses.outputs.get(name) or NOT_YET}"
        fault = Fault("check", reason, service.registered_at, name)
        given = statuses.given.get(name) or "critical"
        if given == "critical":
            faults.append(fault)
        elif given == "warning":
            warnings.append(fault)
    return msgspec.structs.replace(
        service, faults=tuple(faults), warnings=tuple(warnings)
    )
