"""The log: the form of its lines, what they hide, how they are written."""

import io
import json
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest
import structlog

from modularity_registry.telemetry import log_format, log_stream, logs
from modularity_registry.telemetry.log_context import process_fields
from support.logs import Log
from support.registry import eventually

SECRET = "hunter2"


@pytest.fixture
def asked() -> Iterator[logs.RequestContext]:
    found = logs.RequestContext("id-1", "10.0.0.7", "ab" * 16)
    token = logs.current_request.set(found)
    yield found
    logs.current_request.reset(token)


@pytest.fixture
def replica() -> Iterator[str]:
    logs.add_context(replica="here-1")
    yield "here-1"
    process_fields.clear()


def fail(message: str) -> None:
    raise ValueError(message)


def test_a_json_line_says_when_what_where_and_for_whom(
    asked: logs.RequestContext, replica: str
) -> None:
    log = Log("json")
    logs.log_event(
        log.logger, logging.INFO, "it is", service_id="a", reason=None, count=2
    )
    assert list(log.last) == [
        "timestamp", "level", "logger", "event", "replica", "request_id", "trace_id",
        "peer", "service_id", "count",
    ]  # fmt: skip
    assert log.last["timestamp"].endswith("Z")
    assert len(log.last["timestamp"]) == len("2025-10-17T02:59:31.123456Z")
    about = (asked.request_id, asked.trace_id, asked.peer)
    wanted = ("info", "test", "it is", replica, *about, "a", 2)
    assert tuple(log.last.values())[1:] == wanted


@pytest.mark.parametrize("form", logs.FORMATS)
def test_both_ways_through_the_formatter_come_to_the_same(form: str) -> None:
    log = Log(form)
    record = logging.LogRecord("test", 20, "", 0, "%s é", ("x",), None)
    record.__dict__.update(logs.fields(path="/a b", size=3))
    formatter = log.stream.formatter
    assert isinstance(formatter, log_format.Formatter)
    slow = super(log_format.Formatter, formatter).format(record)
    assert formatter.format(record) == slow


def test_an_exception_is_one_field_of_one_line() -> None:
    log = Log("json")
    try:
        fail("no\nway")
    except ValueError:
        log.logger.exception("it failed")
    assert len(log.lines) == 1
    assert log.last["event"] == "it failed"
    assert log.last["exception"].startswith("Traceback")
    assert log.last["exception"].endswith("ValueError: no\nway")


@pytest.mark.parametrize(
    "end",
    ["\n", "\r", "\x1b[2K", "\u2028", "\x85", "\0", "\t", "\u202e", "\u2066", "\ufeff"],
)
def test_no_value_can_forge_a_line(end: str) -> None:
    for form in logs.FORMATS:
        log = Log(form)
        forged = f"x{end}2026-01-01T00:00:00.000000Z INFO forged"
        logs.log_event(log.logger, logging.INFO, forged, reason=forged)
        assert log.text.getvalue().count("\n") == 1
        if form == "human":
            assert log.text.getvalue()[:-1].isprintable()


def test_no_exception_can_forge_a_line() -> None:
    log = Log("human")
    try:
        fail("x\n2026-01-01T00:00:00.000000Z INFO forged\u202e\x1b[2K")
    except ValueError:
        log.logger.exception("it failed")
    first, *others = log.text.getvalue().splitlines()
    assert first.endswith("it failed")
    assert all(line.startswith("  ") and line.isprintable() for line in others)
    assert others[-1] == r"  2026-01-01T00:00:00.000000Z INFO forged\u202e\x1b[2K"


def test_json_keeps_every_character() -> None:
    log = Log("json")
    logs.log_event(log.logger, logging.INFO, "a\u202eb", reason="\u2066\ufeff\x1b")
    assert (log.last["event"], log.last["reason"]) == ("a\u202eb", "\u2066\ufeff\x1b")


@pytest.mark.parametrize(
    "text",
    [
        f"redis://user:{SECRET}@host:1/0",
        f"redis://:p@ss/{SECRET}@host",
        f"password={SECRET} is wrong",
        f"host=db PASSWORD={SECRET}&x=1",
        f'{{"token": "{SECRET}"}}',
        f"{{'api_key': '{SECRET}'}}",
        f"Authorization: Bearer {SECRET}",
        f"sent bearer {SECRET}",
    ],
)
@pytest.mark.parametrize("form", logs.FORMATS)
def test_secrets_are_not_shown(form: str, text: str) -> None:
    log = Log(form)
    log.logger.info("tried %s", text)
    logs.log_event(log.logger, logging.INFO, "tried", reason=text, more=[text])
    try:
        fail(text)
    except ValueError:
        log.logger.exception("failed")
    assert SECRET not in log.text.getvalue()
    assert log.text.getvalue().count("***") >= 4


def test_what_is_no_secret_stays() -> None:
    for text in (
        "http://10.0.0.1:80/a?x=1",
        "bad token: expired",
        "a@b.example",
        "no heartbeat within its ttl of 3 s",
    ):
        assert log_format.redacted(text) == text


def test_half_a_character_is_no_reason_to_lose_a_line() -> None:
    log = Log("json")
    log.logger.info("file %s", "\udcff")
    assert log.last["event"] == "file \udcff"


@contextmanager
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Logging set up as for a server, and what it writes to stderr."""
    root, text = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    monkeypatch.setattr("sys.stderr", text)
    # Who ran a command in this process may have left it believing that it captures.
    logging.captureWarnings(False)
    logs.configure("json", "info")
    try:
        yield text
    finally:
        logging.captureWarnings(False)
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)


def test_libraries_structlog_and_warnings_come_out_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with configured(monkeypatch) as text, warnings.catch_warnings():
        logging.getLogger("werkzeug").info("from %s", "werkzeug")
        structlog.get_logger("native").info("from structlog", size=3)
        warnings.simplefilter("always")
        warnings.warn("mind this", UserWarning, stacklevel=1)
        logging.getLogger("x").debug("too low")
    library, native, warning = (
        json.loads(line) for line in text.getvalue().splitlines()
    )
    assert (library["logger"], library["event"]) == ("werkzeug", "from werkzeug")
    assert (native["logger"], native["event"]) == ("native", "from structlog")
    assert (native["level"], native["size"]) == ("info", 3)
    assert warning["logger"] == "py.warnings"
    assert "mind this" in warning["event"]


class SlowText(io.StringIO):
    """A stream that writes only when it may, and counts how often it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()
        self.writes = 0

    def write(self, text: str) -> int:
        assert self.may.wait(30)
        self.writes += 1
        return super().write(text)


def test_many_lines_are_written_together_and_in_order() -> None:
    log = Log("human")
    log.stream.setStream(slow := SlowText())
    log.stream.start_batching()
    slow.may.set()
    for number in range(2_000):
        log.logger.info("line %d", number)
    eventually(lambda: "line 1999\n" in slow.getvalue())
    told = [int(line.rpartition(" ")[2]) for line in slow.getvalue().splitlines()]
    assert told == list(range(2_000))
    assert slow.writes < 200
    log.stream.close()


def test_what_waits_is_written_in_order_at_the_end() -> None:
    log = Log("human")
    log.stream.start_batching()
    for number in range(3):
        log.logger.info("before %d", number)
        log.logger.warning("now %d", number)
    log.logger.info("last")
    log.stream.close()
    words = [f"{word} {number}" for number in range(3) for word in ("before", "now")]
    assert [line.partition("test: ")[2] for line in log.lines] == [*words, "last"]


def test_a_line_that_has_no_form_says_so() -> None:
    log = Log("human")
    log.stream.start_batching()
    log.logger.info("%d services", "many")
    log.stream.close()
    assert "has no form: '%d services'" in log.lines[0]
    assert "TypeError" in log.text.getvalue()


@pytest.fixture
def pipe() -> Iterator[tuple[TextIO, TextIO]]:
    """The two ends of a pipe that nobody reads."""
    out, into = os.pipe()
    with open(out) as reader, open(into, "w") as writer:
        yield reader, writer


def in_time(function: Callable[[], None]) -> None:
    """Fail, and don't hang, if ``function`` does not return."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


def test_a_full_pipe_stops_nobody_who_logs_and_lost_lines_are_counted(
    pipe: tuple[TextIO, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "MOST_WAITING", 200_000)
    monkeypatch.setattr(log_stream, "FLUSH_SECONDS", 30)
    reader, writer = pipe
    log = Log("human")
    log.stream.setStream(writer)
    log.stream.start_batching()

    def write() -> None:
        for number in range(10_000):
            log.logger.warning("line %d", number)

    in_time(write)
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(reader), daemon=True)
    reading.start()
    log.stream.flush()
    log.logger.info("there is room")
    log.stream.close()
    writer.close()
    reading.join(30)
    losses = [line for line in lines if "are lost" in line]
    lost = sum(int(line.partition("log_stream: ")[2].split()[0]) for line in losses)
    assert lines[-2] == losses[-1]
    assert "there is room" in lines[-1]
    numbers = [int(line.split()[-1]) for line in lines[:-1] if line not in losses]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + lost == 10_000
    assert 0 < lost < 10_000


def test_the_end_does_not_wait_long_for_a_full_pipe(
    pipe: tuple[TextIO, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "FLUSH_SECONDS", 0.01)
    log = Log("human")
    log.stream.setStream(pipe[1])
    log.stream.start_batching()
    log.logger.error("x" * 1_000_000)
    in_time(log.stream.close)
    in_time(pipe[1].flush)
    # So that the thread ends.
    threading.Thread(target=pipe[0].read, daemon=True).start()
    eventually(lambda: "log" not in {thread.name for thread in threading.enumerate()})
