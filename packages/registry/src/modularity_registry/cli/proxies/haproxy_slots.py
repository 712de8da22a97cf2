"""Which server of HAProxy stands for which provider, and what to change."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

State = Literal["ready", "drain", "maint"]

LARGEST_WEIGHT: Final = 256


class Slot(NamedTuple):
    """A server of a backend, as HAProxy has it now."""

    name: str
    address: str
    port: int
    weight: int
    state: State


class Target(NamedTuple):
    """Where a provider is, and whether it gets calls or only ends those it has."""

    address: str
    port: int
    weight: int
    state: Literal["ready", "drain"] = "ready"


Command = tuple[str, str]
"""A server's name, and what to set."""


class Plan(NamedTuple):
    """The commands, in order, and how many providers find no server."""

    commands: list[Command]
    missing: int


def plan(slots: Sequence[Slot], targets: Sequence[Target]) -> Plan:
    """Return what makes the servers those of the providers.

    Who has a server keeps it. Others take one that is in maintenance, a draining one
    none. What stands for nobody goes into maintenance, first of all.
    """
    by_place = {(target.address, target.port): target for target in targets}
    kept: dict[str, Target] = {}
    for slot in slots:
        target = by_place.pop((slot.address, slot.port), None)
        if target is not None:
            kept[slot.name] = target
    waiting = [each for each in by_place.values() if each.state == "ready"]
    commands: list[Command] = []
    for slot in slots:
        if slot.name not in kept and slot.state != "maint":
            commands.append((slot.name, "state maint"))
    free = [slot for slot in slots if slot.name not in kept]
    for slot, target in zip(free, waiting, strict=False):
        kept[slot.name] = target
    for slot in slots:
        if slot.name in kept:
            commands += _changes(slot, kept[slot.name])
    return Plan(commands, max(0, len(waiting) - len(free)))


def _changes(slot: Slot, target: Target) -> list[Command]:
    """Return what makes one server that of a provider; its state comes last."""
    changes = []
    if (slot.address, slot.port) != (target.address, target.port):
        changes.append(f"addr {target.address} port {target.port}")
        # Calls that go on with who was here do so.
        slot = slot._replace(state="maint")
    if target.state == "ready" and slot.weight != target.weight:
        changes.append(f"weight {target.weight}")
    if slot.state != target.state and not (
        slot.state == "maint" and target.state == "drain"
    ):
        changes.append(f"state {target.state}")
    return [(slot.name, change) for change in changes]
