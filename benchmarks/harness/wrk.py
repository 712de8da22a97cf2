"""The load: wrk with scripts written here, its findings as values.

wrk prints its summary for people and rounds it. The scripts' `done` prints the same
as JSON, exact, and tells the errors apart.
"""

import base64
import json
import os
import resource
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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

# The requests are ready to send, so that the generator does next to nothing for each.
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

# Three digits at a time, from a table: cheaper than formatting, and it works in
# base64 too, where three bytes become four characters.
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


def cycle_script(path: Path, calls: Iterable[bytes]) -> Path:
    """Write a script that sends the calls over and over, and return where it is."""
    data = path.with_suffix(".calls")
    data.write_bytes(SEPARATOR.encode().join(calls))
    path.write_text(CYCLE % {"file": _lua(str(data))} + DONE)
    return path


def count_script(path: Path, blank: bytes, start: int, encoded: bool = False) -> Path:
    """Write a script whose every request is new, and return where it is.

    ``blank`` is a request made of `workload.BLANK`; its markers become numbers that
    follow on ``start``. ``encoded`` is for a marker that stands in base64.
    """
    plain = [f"{n:03d}" for n in range(1000)]
    triples = [base64.b64encode(t.encode()).decode() for t in plain]
    number, group = BLANK.number, BLANK.group
    if encoded:
        number = base64.b64encode(number.encode()).decode()
    parts = _lua(blank.decode())
    parts = parts.replace(number, '" .. number .. "').replace(group, '" .. group .. "')
    assert "number" in parts
    text = COUNT % {
        "triples": ",".join(_lua(t) for t in (triples if encoded else plain)),
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
    """What one run of wrk found. Times are milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    reply_bytes: float
    client_busy: float


class Busy(Protocol):
    """Anything that knows how much processor time it has used."""

    def cpu_seconds(self) -> float:
        """Return the seconds used so far."""


def wrk(
    port: int,
    script: Path,
    seconds: float,
    connections: int,
    cores: Sequence[int] = (),
) -> Load:
    """Return what a run of wrk found; raises when any request went wrong.

    It runs where this process does, unless ``cores`` are named.
    """
    command = ["setpriv", "--pdeathsig", "KILL"]
    if cores:
        command += ["taskset", "-c", ",".join(map(str, cores))]
    command += ["wrk", "--threads", "1"]
    command += ["--connections", str(connections), "--timeout", "10s"]
    command += ["--duration", f"{max(1, round(seconds))}s", "--script", str(script)]
    before = _children_cpu()
    run = subprocess.run(
        [*command, f"http://127.0.0.1:{port}"],
        capture_output=True,
        check=False,
        text=True,
        timeout=seconds + 60,
    )
    line = next((x for x in run.stdout.splitlines() if x.startswith(MARK)), None)
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
        client_busy=(_children_cpu() - before) / took,
    )


def _refuse_errors(figures: dict[str, int]) -> None:
    kinds = ("connect", "read", "write", "status", "timeout")
    wrong = {kind: figures[kind] for kind in kinds if figures[kind]}
    if wrong or not figures["requests"]:
        raise BenchmarkError(f"of {figures['requests']} requests, failed: {wrong}")


def measure(
    server: Busy,
    port: int,
    script: Path,
    seconds: float,
    beside: Sequence[Busy] = (),
    connections: int = CONNECTIONS,
    cores: Sequence[int] = (),
) -> tuple[Load, Sample]:
    """Return a run of wrk, and the same as a sample with the server's share in it.

    Whoever works ``beside`` the server does so on the load's core. The rest is as in
    `wrk`.
    """
    others, before = foreign_seconds(server, *beside), server.cpu_seconds()
    worked = sum(each.cpu_seconds() for each in beside)
    load = wrk(port, script, seconds, connections, cores)
    used = server.cpu_seconds() - before
    worked = sum(each.cpu_seconds() for each in beside) - worked
    sample = Sample(
        value=load.requests / load.seconds,
        p50=load.p50,
        p99=load.p99,
        server_busy=used / load.seconds,
        client_busy=load.client_busy + worked / load.seconds,
        reply_bytes=load.reply_bytes,
        foreign=max(0.0, foreign_seconds(server, *beside) - others) / load.seconds,
    )
    return load, sample


def foreign_seconds(*ours: Busy) -> float:
    """Return the processor time used so far by all that is not ours, on all cores.

    wrk and this process are ours as well.
    """
    user, nice, system = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
    everyone = (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")
    known = sum(server.cpu_seconds() for server in ours)
    return everyone - known - _children_cpu() - time.process_time()


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
