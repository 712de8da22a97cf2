"""Where to connect next, and when: pure, with chance and time by hand."""

import pytest

from modularity_client.http.reconnect import LONGEST, SWITCH_WITHIN, ReconnectSchedule

A, B = "http://a", "http://b"


def test_a_lost_registry_is_asked_again_after_a_pause_that_grows() -> None:
    schedule, now, pauses = ReconnectSchedule([A], chance=lambda: 1.0), 100.0, []
    for _ in range(6):
        schedule.failed(A, now)
        pauses.append(schedule.next(now)[1])
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, LONGEST, LONGEST]


def test_pauses_are_spread_over_their_whole_length() -> None:
    schedule = ReconnectSchedule([A], chance=lambda: 0.25)
    schedule.failed(A, 0)
    assert schedule.next(0)[1] == 0.25


def test_the_server_says_how_long_the_first_pause_is() -> None:
    schedule = ReconnectSchedule([A], chance=lambda: 1.0)
    schedule.retry = 0.1
    schedule.failed(A, 0)
    assert schedule.next(0)[1] == 0.1


def test_nobody_comes_back_before_retry_after() -> None:
    schedule = ReconnectSchedule([A], chance=lambda: 0.0)
    schedule.failed(A, 0, retry_after=60)
    assert schedule.next(0) == (A, 60)


def test_when_one_is_lost_the_next_is_asked_almost_at_once() -> None:
    schedule = ReconnectSchedule([A, B], chance=lambda: 1.0)
    assert schedule.next(0) == (A, 0)
    schedule.failed(A, 0)
    assert schedule.next(0) == (B, SWITCH_WITHIN)


def test_when_all_are_lost_the_first_to_be_free_is_asked() -> None:
    schedule = ReconnectSchedule([A, B], chance=lambda: 1.0)
    schedule.failed(A, 0, retry_after=5)
    schedule.failed(B, 0)
    assert schedule.next(0) == (B, 1)


def test_who_has_worked_is_kept_though_another_one_comes_first() -> None:
    schedule = ReconnectSchedule([A, B], chance=lambda: 0.5)
    schedule.failed(A, 0)
    schedule.connected(B)
    assert schedule.next(100) == (B, 0)


def test_an_answer_ends_the_growth() -> None:
    schedule = ReconnectSchedule([A], chance=lambda: 1.0)
    schedule.failed(A, 0)
    schedule.failed(A, 0)
    schedule.connected(A)
    schedule.failed(A, 0)
    assert schedule.next(0)[1] == 1


def test_there_has_to_be_a_registry() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ReconnectSchedule([])
