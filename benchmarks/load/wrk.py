"""Runs wrk, the load generator, with Lua scripts that are written here.

The summary that wrk prints is rounded. The `done` function of the scripts prints exact
figures as JSON, and counts each kind of error.
"""

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.processes import (
    CpuMeter,
    HasCpuTime,
    Server,
    children_cpu_seconds,
)
from benchmarks.harness.results import BenchmarkError, Sample
from benchmarks.harness.workload import BLANK, PER_CAPABILITY

CONNECTIONS = 32
MARK = "figures: "
SEPARATOR = "\x01"

DONE = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'MARK{"requests":%d,"us":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,'
    .. '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
""".replace("MARK", MARK)

# The requests are built beforehand, so wrk does next to nothing for each.
CYCLE = """
local calls, count, at = {}, 0, 0
local file = assert(io.open(%(file)s, "rb"))
for raw in file:read("*a"):gmatch("[^\\1]+") do
  count = count + 1
  calls[count] = raw
end
file:close()

function request()
  at = at %% count + 1
  return calls[at]
end
"""

# Three digits at a time from a table are cheaper than formatting.
COUNT = """
local triple = {%(triples)s}
local floor = math.floor
local function digits(n)
  return triple[floor(n / 1000000) %% 1000 + 1]
    .. triple[floor(n / 1000) %% 1000 + 1] .. triple[n %% 1000 + 1]
end
local n = %(start)d

function request()
  n = n + 1
  local number, group = digits(n), digits(floor(n / %(share)d))
  return %(parts)s
end
"""


def cycle_script(path: Path, requests: Iterable[bytes]) -> Path:
    """Write a script that sends the requests over and over, and return its path."""
    data = path.with_suffix(".calls")
    data.write_bytes(SEPARATOR.encode().join(requests))
    path.write_text(CYCLE % {"file": _lua(str(data))} + DONE)
    return path


def count_script(path: Path, blank: bytes, start: int) -> Path:
    """Write a script that sends a new service each time, and return its path.

    ``blank`` is a request built from `workload.BLANK`. Its markers are replaced by
    numbers that count up from ``start``.
    """
    number, group = BLANK.number, BLANK.group
    parts = _lua(blank.decode())
    parts = parts.replace(number, '" .. number .. "').replace(group, '" .. group .. "')
    assert "number" in parts
    text = COUNT % {
        "triples": ",".join(f'"{n:03d}"' for n in range(1000)),
        "start": start,
        "share": PER_CAPABILITY,
        "parts": parts,
    }
    path.write_text(text + DONE)
    return path


def _lua(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\r", "\\r").replace("\n", "\\n") + '"'


@dataclass(frozen=True, slots=True)
class Load:
    """The figures of one run of wrk. ``p50`` and ``p99`` are in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    reply_bytes: float
    client_busy: float


def wrk(
    port: int,
    script: Path,
    seconds: float,
    connections: int,
    cores: Sequence[int] = (),
) -> Load:
    """Run wrk and return its figures; raises when any request failed.

    It runs on the core of this process, or on ``cores``.
    """
    command = ["setpriv", "--pdeathsig", "KILL"]
    if cores:
        command += ["taskset", "-c", ",".join(map(str, cores))]
    command += ["wrk", "--threads", "1"]
    command += ["--connections", str(connections), "--timeout", "10s"]
    command += ["--duration", f"{max(1, round(seconds))}s", "--script", str(script)]
    before = children_cpu_seconds()
    run = subprocess.run(
        [*command, f"http://127.0.0.1:{port}"],
        capture_output=True,
        check=False,
        text=True,
        timeout=seconds + 60,
    )
    line = next((s for s in run.stdout.splitlines() if s.startswith(MARK)), None)
    if run.returncode != 0 or line is None:
        raise BenchmarkError(f"wrk failed: {(run.stderr or run.stdout).strip()}")
    figures: dict[str, int] = json.loads(line.removeprefix(MARK))
    _refuse_errors(figures)
    took = figures["us"] / 1e6
    return Load(
        requests=figures["requests"],
        seconds=took,
        p50=figures["p50_us"] / 1000,
        p99=figures["p99_us"] / 1000,
        reply_bytes=figures["bytes"] / figures["requests"],
        client_busy=(children_cpu_seconds() - before) / took,
    )


def _refuse_errors(figures: dict[str, int]) -> None:
    kinds = ("connect", "read", "write", "status", "timeout")
    errors = {kind: figures[kind] for kind in kinds if figures[kind]}
    if errors or not figures["requests"]:
        raise BenchmarkError(f"{figures['requests']} requests, errors: {errors}")


def measure(
    server: Server,
    script: Path,
    seconds: float,
    beside: Sequence[HasCpuTime] = (),
    connections: int = CONNECTIONS,
    cores: Sequence[int] = (),
) -> tuple[Load, Sample]:
    """Return the figures of a run of wrk, and a sample with the processor shares.

    ``beside`` are programs that work for the measurement on the core of the load.
    """
    meter = CpuMeter(server, *beside)
    load = wrk(server.port, script, seconds, connections, cores)
    server_used, *beside_used = meter.used()
    sample = Sample(
        value=load.requests / load.seconds,
        p50=load.p50,
        p99=load.p99,
        server_busy=server_used / load.seconds,
        client_busy=load.client_busy + sum(beside_used) / load.seconds,
        reply_bytes=load.reply_bytes,
        foreign=meter.foreign_share(),
    )
    return load, sample
