"""The parser of Server-Sent Events: the standard's rules, and any cut of the bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modularity_client.events.sse import Frame, Parser, TooLong


def parse(*parts: bytes) -> list[Frame]:
    parser = Parser()
    return [frame for part in parts for frame in parser.feed(part)]


def test_an_event_has_an_id_a_name_and_data() -> None:
    assert parse(b"id: 7\nevent: resync\ndata: {}\n\n") == [Frame("7", "resync", "{}")]


def test_an_event_without_a_name_is_a_message() -> None:
    assert parse(b"data: x\n\n") == [Frame("", "message", "x")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_ending_will_do(end: bytes) -> None:
    lines = [b"data: a", b"data: b", b"", b"data: c", b"", b""]
    assert [each.data for each in parse(end.join(lines))] == ["a\nb", "c"]


def test_a_carriage_return_ends_a_line_before_the_next_byte_is_there() -> None:
    assert len(parse(b"data: x\r\r")) == 1


def test_only_one_space_after_the_colon_is_taken_away() -> None:
    assert parse(b"data:  x\ndata:y\ndata\n\n")[0].data == " x\ny\n"


def test_comments_and_unknown_fields_say_nothing() -> None:
    assert parse(b": still here\n\nwhat: ever\ndata: x\n\n") == [
        Frame("", "message", "x")
    ]


def test_an_event_without_data_is_none_but_its_id_counts() -> None:
    parser = Parser()
    assert list(parser.feed(b"id: 9\nevent: x\n\ndata: y\n\n")) == [
        Frame("9", "message", "y")
    ]
    assert parser.last_id == "9"


def test_an_id_lasts_until_there_is_another() -> None:
    assert [
        each.id for each in parse(b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n")
    ] == [
        "1",
        "1",
        "",
    ]


def test_an_id_with_a_null_byte_does_not_count() -> None:
    assert parse(b"id: 1\nid: 2\0\ndata: x\n\n")[0].id == "1"


def test_the_id_of_an_unfinished_event_is_not_where_to_resume() -> None:
    parser = Parser("4")
    assert list(parser.feed(b"id: 5\ndata: x\n")) == []
    assert parser.last_id == "4"


@pytest.mark.parametrize(
    ("line", "seconds"),
    [(b"retry: 1500", 1.5), (b"retry: soon", None), (b"retry: -1", None)],
)
def test_retry_is_in_milliseconds_and_digits(line: bytes, seconds: float) -> None:
    parser = Parser()
    list(parser.feed(line + b"\n"))
    assert parser.retry == seconds


def test_a_byte_order_mark_is_taken_away_at_the_start_only() -> None:
    mark = b"\xef\xbb\xbf"
    assert [e.data for e in parse(mark + b"data: a\n\n" + mark + b"data: b\n\n")] == [
        "a"
    ]


def test_what_is_not_utf_8_is_replaced() -> None:
    assert parse(b"data: \xff\n\n")[0].data == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("text", [b"data: 0123456789", b"data: 0123456789\n"])
def test_a_line_over_the_limit_is_refused_finished_or_not(text: bytes) -> None:
    frames = Parser(max_line=10).feed(b"data: x\n\n" + text)
    assert next(frames).data == "x"
    with pytest.raises(TooLong):
        next(frames)


def test_an_event_over_the_limit_is_refused() -> None:
    with pytest.raises(TooLong):
        list(Parser(max_event=20).feed(b"data: 123456\n" * 2))


ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"])
FIELDS = [b"data: a", b"data", b"data:b", b"id: 1", b"id", b"event: e", b"retry: 50"]
ODDS = [b"", b": c", b"id: 2\0", b"\xff", b"\xef\xbb\xbf", "data: \N{SNOWMAN}".encode()]
LINES = st.tuples(st.sampled_from(FIELDS + ODDS), ENDS).map(b"".join)
TEXTS = st.lists(LINES, max_size=15).map(b"".join)


@given(TEXTS, st.data())
def test_any_cut_of_the_bytes_gives_the_same_events(
    text: bytes, data: st.DataObject
) -> None:
    places = st.lists(st.integers(0, len(text)), max_size=len(text) + 1)
    cuts = [0, *sorted(data.draw(places)), len(text)]
    pieces = [text[start:end] for start, end in pairwise(cuts)]
    single = [text[at : at + 1] for at in range(len(text))]
    whole = Parser()
    expected = list(whole.feed(text))
    for parts in (pieces, single):
        parser = Parser()
        assert [frame for part in parts for frame in parser.feed(part)] == expected
        assert (parser.last_id, parser.retry) == (whole.last_id, whole.retry)
