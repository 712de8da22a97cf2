"""Why a lookup returns some of the providers of a capability and not others."""

from modularity_registry.catalog.catalog import Providers
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.selection import Filter
from modularity_registry.catalog.splits import groups_of
from modularity_registry.model import status
from modularity_registry.model.service import ACTIVE


class Explainer:
    """Says why a lookup returns some of the providers, and in which groups they are."""

    def __init__(self, providers: Providers, selection: Filter) -> None:
        self._split, self._selection = providers.split, selection
        self._whole = _Reasons(providers, selection)
        self._groups = groups_of(providers)
        # The split is over those that the filter leaves.
        matching = groups_of(self._whole.matching)
        self._with_calls = matching.weights if matching else {}
        members = self._groups.members if self._groups else {}
        self._by_group = {
            name: _Reasons(group, selection) for name, group in members.items()
        }

    def explain(self, entry: Entry) -> tuple[dict[str, str | None], list[str]]:
        """Return the field that names the group, and why the provider gets no calls."""
        if self._split is None or self._groups is None:
            return {}, self._whole.why_not_returned(entry)
        name = self._groups.group_of.get(entry.id)
        group = {"group": name}
        if not self._with_calls:
            return group, self._whole.why_not_returned(entry)
        if name is None:
            alone = _Reasons(Providers((entry,), 0), self._selection)
            why = ["it is in no group of the split, and others are"]
            return group, [*alone.why_not_returned(entry), *why]
        reasons = self._by_group[name].why_not_returned(entry)
        if name not in self._with_calls and not self._split.groups[name]:
            reasons.append(f"its group {name} has weight 0, and others have more")
        return group, reasons


class _Reasons:
    """Says why a lookup returns some of these providers, and not others of them.

    ``matching`` are those that the filter leaves.
    """

    def __init__(self, providers: Providers, selection: Filter) -> None:
        self._selection = selection
        self.matching = providers.matching(selection.matches)
        candidates = self.matching.candidates
        self._returned = frozenset(entry.id for entry in candidates)
        self._usable = frozenset(entry.id for entry in self.matching.usable)
        self._best = min((entry.priority for entry in candidates), default=0)

    def why_not_returned(self, entry: Entry) -> list[str]:
        """Return every reason why a provider gets no calls; empty when it may."""
        if entry.id in self._returned:
            return []
        reasons = []
        fault = status.reason(entry.service)
        if entry.status not in ACTIVE:
            reasons.append(f"it is {entry.status}: {fault}")
        mismatch = self._selection.mismatch(entry)
        if mismatch is not None:
            reasons.append(mismatch)
        elif not reasons:
            reasons.append(self._why_later(entry, fault))
        return reasons

    def _why_later(self, entry: Entry, fault: str | None) -> str:
        if entry.id in self._usable:
            first = f"providers of priority {self._best} come first"
            return f"its priority is {entry.priority}, and {first}"
        return f"healthy providers come before its warning: {fault}"
