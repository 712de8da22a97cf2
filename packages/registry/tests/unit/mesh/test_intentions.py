"""Who may call what, and that Envoy's rules say the same."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modularity_registry.integrations.mesh.resources.permissions import policy
from modularity_registry.model.intention import (
    ACTIONS,
    Intention,
    for_capability,
    is_allowed,
    matches,
)

NAMES = ("a", "ab", "abc", "b", "ba")
PATTERNS = ("*", "a*", "ab*", *NAMES)

intentions = st.lists(
    st.builds(
        Intention,
        st.sampled_from(PATTERNS),
        st.sampled_from(PATTERNS),
        st.sampled_from(ACTIONS),
    ),
    unique_by=lambda one: (one.source, one.capability),
)


@given(intentions, st.sampled_from(ACTIONS))
def test_envoys_rules_allow_what_the_intentions_allow(
    given_ones: list[Intention], default: Any
) -> None:
    for capability in NAMES:
        rules = for_capability(given_ones, default, capability)
        made = policy(capability, rules, "mesh")
        for source in NAMES:
            name = f"spiffe://mesh/service/{source}"
            allowed = made is not None and any(
                _is(principal, name) for principal in made["principals"]
            )
            assert allowed == is_allowed(rules, source)


@given(intentions, st.sampled_from(ACTIONS))
def test_the_most_exact_intention_decides(
    given_ones: list[Intention], default: Any
) -> None:
    for capability in NAMES:
        rules = for_capability(given_ones, default, capability)
        for source in NAMES:
            concerned = [
                one
                for one in given_ones
                if matches(one.source, source) and matches(one.capability, capability)
            ]
            best = max(
                concerned,
                key=lambda one: (
                    *(not one.capability.endswith("*"), len(one.capability)),
                    *(not one.source.endswith("*"), len(one.source)),
                ),
                default=None,
            )
            action = best.action if best else default
            assert is_allowed(rules, source) == (action == "allow")


def test_a_policy_grows_no_faster_than_the_intentions() -> None:
    def size(count: int) -> int:
        rules = [
            Intention(f"s{number:04}", "c", ACTIONS[number % 2])
            for number in range(count)
        ]
        return len(str(policy("c", [*rules, Intention("*", "*", "allow")], "mesh")))

    assert size(2000) < 11 * size(200)


def _is(principal: dict[str, Any], name: str) -> bool:
    """Say what Envoy says of a caller with this name."""
    [(kind, value)] = principal.items()
    if kind == "authenticated":
        [(how, text)] = value["principal_name"].items()
        return name.startswith(text) if how == "prefix" else bool(name == text)
    if kind == "not_id":
        return not _is(value, name)
    if kind == "or_ids":
        return any(_is(each, name) for each in value["ids"])
    assert kind == "and_ids"
    return all(_is(each, name) for each in value["ids"])
