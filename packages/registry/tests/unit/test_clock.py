"""Times as they are shown."""

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from modularity_registry.clock import SystemClock, rfc3339, rfc3339_json


@given(st.datetimes(timezones=st.just(UTC)))
def test_both_renderings_agree_and_read_back(moment: datetime) -> None:
    text = rfc3339(moment)
    assert rfc3339_json(moment) == b'"%b"' % text.encode()
    assert msgspec.convert(text, datetime) == moment


def test_a_whole_second_keeps_its_microseconds() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert rfc3339(moment) == "2026-01-02T03:04:05.000000Z"
    assert rfc3339_json(moment) == b'"2026-01-02T03:04:05.000000Z"'


def test_the_system_clock_shows_utc_and_only_grows() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
