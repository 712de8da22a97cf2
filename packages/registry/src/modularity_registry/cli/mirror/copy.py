"""Copies the services of a source once."""

from typing import Any

from modularity_client import AsyncRegistry
from modularity_registry.cli.mirror.follow import unchecked
from modularity_registry.cli.mirror.plan import is_suspicious, plan_of
from modularity_registry.cli.mirror.source import Source
from modularity_registry.cli.mirror.target import Target
from modularity_registry.model.service import CHECKED_MODES


async def copy(
    registry: AsyncRegistry,
    source: Source,
    name: str,
    only: tuple[str, ...],
    prune: bool,
    dry_run: bool,
) -> tuple[str, int]:
    """Copy what a source has; return a summary, and how many were refused.

    With ``prune``, services that were copied before and are gone are removed, unless
    most are. With ``dry_run``, it only counts. Raises `SourceAway` and what the client
    raises.
    """
    snapshot = await source.read()
    target = Target(registry, name, only, reports=False)
    plan = plan_of(snapshot, await target.mirrored(), name, _lease)
    same, gone = len(plan.same), len(plan.gone) if prune else 0
    if gone and is_suspicious(plan, 0):
        gone = 0
        prune = False
    if dry_run:
        new = sum(write.revision is None for write in plan.writes)
        replaced = len(plan.writes) - new
        return _summary("would import", new, replaced, same, gone), 0
    done = await target.carry_out(plan, remove=prune)
    summary = _summary("imported", done.new, done.changed, same, done.removed)
    if done.native:
        summary += f", {len(done.native):,} left alone"
    if done.refused:
        summary += f", {done.refused:,} refused"
    return summary, done.refused


def _summary(verb: str, new: int, replaced: int, same: int, pruned: int) -> str:
    return (
        f"{verb}: {new:,} new, {replaced:,} replaced, {same:,} unchanged,"
        f" {pruned:,} pruned"
    )


def _lease(mode: str) -> dict[str, Any]:
    """Return the fields of a service that only this registry looks after."""
    checks = [{"name": "port", "kind": "tcp"}] if mode in CHECKED_MODES else []
    return {"checks": checks, **unchecked(mode)}
