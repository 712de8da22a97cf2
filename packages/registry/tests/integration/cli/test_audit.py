"""The command audit: from the file of a registry to what people look for."""

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modularity_registry.audit import AuditFile
from modularity_registry.clock import rfc3339
from support import TESTS
from support.cli import environ, run, spaced
from support.registry import eventually

# The lines are hours apart, so that it does not matter how late a test comes.
NOW = datetime.now(UTC)


def act(event: str, minutes: float = 0.0, **fields: Any) -> bytes:
    """A line of so many minutes ago."""
    at = rfc3339(NOW - timedelta(minutes=minutes))
    return json.dumps({"timestamp": at, "event": event, **fields}).encode() + b"\n"


CALLER: dict[str, Any] = {"who": "deploy", "peer": "10.0.0.7"}
TOLD = {
    "location": "http://10.0.0.7:80",
    "version": "1.0.0",
    "capabilities": ["greet"],
}
LINES = (
    act("registry.started", 6000, who=None, by="registry", version="1.0.0", auth=True),
    act("token.created", 3000, **CALLER, token="ci", rights=["register"], ids=["*"]),
    act("service.registered", 2000, **CALLER, service_id="a", **TOLD),
    act(
        "service.replaced",
        1000,
        **CALLER,
        proxy="10.0.0.1",
        service_id="a",
        changed=["version", "metadata"],
        old={"version": "1.0.0"},
        new={"version": "2.0.0"},
    ),
    act(
        "access.refused",
        500,
        who=None,
        peer="10.0.0.9",
        call="GET /api/stats",
        status=401,
        reason="evil \x1b[31m\n words",
    ),
    act("service.unregistered", 200, **CALLER, service_id="a-b", **TOLD),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(LINES[3:]))
    path.with_name("audit.jsonl.1").write_bytes(b"".join(LINES[1:3]))
    with gzip.open(path.with_name("audit.jsonl.2.gz"), "wb") as file:
        file.write(LINES[0])
    return path


def shown(path: Path, *arguments: str) -> list[str]:
    """The events that it finds."""
    result = run("audit", "--file", str(path), "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return [json.loads(each)["event"] for each in result.stdout.splitlines()]


def test_a_table_has_one_row_for_each_act_the_oldest_first(path: Path) -> None:
    result = run("audit", REGISTRY_AUDIT_FILE=str(path))
    assert result.exit_code == 0, result.stderr
    heading, *rows = spaced(result.stdout)
    assert heading == "TIME EVENT WHO FROM ABOUT WHAT"
    assert [row.partition(" ")[2] for row in rows] == [
        "registry.started registry - - version 1.0.0, with auth",
        "token.created deploy 10.0.0.7 ci rights register, ids *",
        "service.registered deploy 10.0.0.7 a 1.0.0 at http://10.0.0.7:80: greet",
        "service.replaced deploy 10.0.0.7 by 10.0.0.1 a version 1.0.0 -> 2.0.0,"
        " metadata",
        "access.refused - 10.0.0.9 GET /api/stats 401: evil \\x1b[31m\\n words",
        "service.unregistered deploy 10.0.0.7 a-b 1.0.0 at http://10.0.0.7:80: greet",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--service", "a"), ["service.registered", "service.replaced"]),
        (("--who", "ci"), ["token.created"]),
        (("--who", "deploy", "--event", "service.replaced"), ["service.replaced"]),
        (("--event", "token"), ["token.created"]),
        (("--event", "serv"), []),
        (("--since", "10h"), ["access.refused", "service.unregistered"]),
        (("--since", "20h", "--until", "5h"), ["service.replaced", "access.refused"]),
        (("--since", (NOW - timedelta(minutes=300)).isoformat()), [LINES[5]]),
        (("--until", "2001-01-01"), []),
        (("--limit", "2"), ["access.refused", "service.unregistered"]),
        (("--service", "é"), []),
    ],
)
def test_lines_are_picked(
    path: Path, arguments: tuple[str, ...], expected: list[Any]
) -> None:
    wanted = [json.loads(e)["event"] if isinstance(e, bytes) else e for e in expected]
    assert shown(path, *arguments) == wanted


def test_what_is_left_out_of_a_table_is_said(path: Path) -> None:
    path.write_bytes(b"".join(LINES) * 30)
    result = run("audit", "--file", str(path))
    assert len(result.stdout.splitlines()) == 101
    assert "83 earlier lines not shown; --limit 0 shows all" in result.stderr
    whole = run("audit", "--file", str(path), "--limit", "0")
    assert len(whole.stdout.splitlines()) == 184
    assert whole.stderr == ""


def test_lines_that_can_not_be_read_are_told_and_passed_over(path: Path) -> None:
    broken = (b"rubbish\n", b"[]\n", b"\xff\n", b'{"timestamp":"20', b"\n", b"{}\n")
    path.write_bytes(b"".join((*broken[:3], LINES[3], *broken[3:], LINES[5][:-5])))
    result = run("audit", "--file", str(path), "--json", "--event", "service")
    events = [json.loads(each)["event"] for each in result.stdout.splitlines()]
    assert events == ["service.registered", "service.replaced"]
    assert result.exit_code == 0
    *first, last = result.stderr.splitlines()
    assert first == [
        f"modularity-registry: line {n} of {path} can't be read" for n in (1, 2, 3)
    ]
    assert last == "modularity-registry: 6 lines can't be read"


def test_a_file_of_something_else_never_ends_in_a_traceback(path: Path) -> None:
    odd = (
        b'{"event":"service.replaced","changed":1,"old":[],"new":null}\n'
        b'{"event":"access.left_out","count":"x","timestamp":7,"who":[1]}\n'
        b'{"event":"audit.lost"}\n{"event":"nobody.knows","service_id":{"a":1}}\n'
    )
    path.write_bytes(odd + bytes(range(256)))
    result = run("audit", "--file", str(path), "--limit", "0")
    assert result.exit_code == 0, result.output
    assert "nobody.knows" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "--file or REGISTRY_AUDIT_FILE"),
        (("--file", "off"), 2, "--file or REGISTRY_AUDIT_FILE"),
        (("--file", "/nowhere/audit.jsonl"), 1, "there is no file"),
        (("--file", "{}", "--since", "yesterday"), 2, "is not a time; write"),
        (("--file", "{}", "--since", "999999d"), 2, "is not a time; write"),
        (("--file", "{}", "--limit", "-1"), 2, "-1 is not in the range"),
    ],
)
def test_mistakes_are_explained(
    path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = run("audit", *(each.format(path) for each in arguments))
    assert result.exit_code == code
    assert said in result.stderr


def test_a_damaged_packed_file_is_explained(path: Path) -> None:
    packed = path.with_name("audit.jsonl.2.gz")
    packed.write_bytes(packed.read_bytes()[:-9])
    result = run("audit", "--file", str(path))
    assert result.exit_code == 1
    assert "a compressed file" in result.stderr


@pytest.fixture
def following(path: Path, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "support.programs.cli",
                "audit",
                "-f",
                "--limit",
                "1",
            ],
            env=environ(PYTHONPATH=str(TESTS), REGISTRY_AUDIT_FILE=str(path)),
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


def test_it_follows_over_files_that_are_put_aside(
    path: Path, tmp_path: Path, following: "subprocess.Popen[bytes]"
) -> None:
    def told() -> list[str]:
        lines = (tmp_path / "said").read_text().splitlines()
        return [each.split()[4] for each in lines]

    eventually(lambda: told() == ["a-b"])
    file = AuditFile(path, 200, 9)
    names = [f"s-{number}" for number in range(6)]
    for name in names:
        file.append(act("service.drained", **CALLER, service_id=name))
    eventually(lambda: told() == ["a-b", *names])
    assert path.with_name("audit.jsonl.5").exists()
    following.send_signal(signal.SIGINT)
    assert following.wait(10) == 0
