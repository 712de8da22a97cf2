"""Which server of HAProxy gets which provider, and what is changed for that."""

from modularity_registry.cli.proxies.haproxy_slots import Slot, State, Target, plan


def slot(name: str, port: int = 1, weight: int = 1, state: State = "maint") -> Slot:
    return Slot(name, "127.0.0.1", port, weight, state)


def target(port: int, weight: int = 1, drains: bool = False) -> Target:
    return Target("127.0.0.1", port, weight, "drain" if drains else "ready")


def test_a_new_provider_gets_a_free_server_whose_state_comes_last() -> None:
    assert plan([slot("s1"), slot("s2")], [target(80, 7)]) == (
        [("s1", "addr 127.0.0.1 port 80"), ("s1", "weight 7"), ("s1", "state ready")],
        0,
    )


def test_nothing_is_done_where_all_is_right() -> None:
    slots = [slot("s1", 80, 7, "ready"), slot("s2", 81, 1, "drain"), slot("s3")]
    assert plan(slots, [target(80, 7), target(81, 0, drains=True)]) == ([], 0)


def test_only_what_differs_is_changed() -> None:
    slots = [slot("s1", 80, 7, "ready"), slot("s2", 81, 1, "ready")]
    assert plan(slots, [target(80, 9), target(81, 0, drains=True)]) == (
        [("s1", "weight 9"), ("s2", "state drain")],
        0,
    )


def test_who_is_gone_gives_its_server_to_another_one() -> None:
    slots = [slot("s1", 80, 1, "ready"), slot("s2", 81, 1, "ready")]
    assert plan(slots, [target(81), target(82)]).commands == [
        ("s1", "state maint"),
        ("s1", "addr 127.0.0.1 port 82"),
        ("s1", "state ready"),
    ]


def test_a_provider_that_comes_back_gets_its_server_again() -> None:
    slots = [slot("s1", 80), slot("s2", 81)]
    assert plan(slots, [target(81)]).commands == [("s2", "state ready")]


def test_a_draining_one_without_a_server_needs_none() -> None:
    assert plan([slot("s1")], [target(80, drains=True)]) == ([], 0)
    # Nor does one whose server HAProxy has put into maintenance with a restart.
    assert plan([slot("s1", 80)], [target(80, drains=True)]) == ([], 0)


def test_who_finds_no_server_is_counted() -> None:
    slots = [slot("s1", 80, 1, "ready")]
    assert plan(slots, [target(80), target(81), target(82)]) == ([], 2)
    assert plan([], []) == ([], 0)
