"""SRV lookups over DNS, with dnsperf."""

import re
import subprocess
from functools import partial

import dns.message
import dns.query

from benchmarks.harness import workload
from benchmarks.harness.comparison import Measure, take_turns
from benchmarks.harness.http import send_all
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import (
    CpuMeter,
    Fleet,
    Server,
    children_cpu_seconds,
    free_port,
)
from benchmarks.harness.results import BenchmarkError, Check, Row, Sample
from benchmarks.harness.systems import HEALTHY, nginx, program_path, start_registry
from benchmarks.harness.workload import PER_CAPABILITY

CAPABILITIES = 100
# Datagrams may be lost, also on one machine: the kernel drops what it has no room for.
MOST_LOST = 0.001
LABELS = ("NOERROR", "Queries lost", r"Run time \(s\)")


def srv(plan: Plan) -> Row:
    """The SRV records of a capability, over UDP."""
    measures: dict[str, Measure] = {}
    count = CAPABILITIES * PER_CAPABILITY
    names = [f"{name}.capability.modularity" for name in workload.capabilities(count)]
    with plan.fleet() as fleet:
        queries = fleet.folder / "queries"
        queries.write_text("".join(f"{name} SRV\n" for name in names))
        # As many addresses as providers: one host and port would be one record.
        target = nginx(fleet, f"location / {{ {HEALTHY} }}", PER_CAPABILITY)
        for version in plan.versions():
            port = free_port()
            server = start_registry(version, fleet, options=("--dns-port", str(port)))
            checked = (count, target.port, PER_CAPABILITY)
            send_all(server.port, workload.checked_services(*checked))
            measures[f"SRV{version.mark}"] = partial(
                _sample, plan, fleet, server, port, str(queries), names
            )
        series = take_turns(plan.repeats, measures, "queries/s")
    check = Check("queries a second", series[0].values, 15_000, "more", "/s")
    title = f"SRV records of a capability with {PER_CAPABILITY} providers"
    return Row("dns", title, tuple(series), (check,))


def _sample(
    plan: Plan, fleet: Fleet, server: Server, port: int, queries: str, names: list[str]
) -> Sample:
    """Return one repeat of dnsperf; no query may be answered with an error."""
    command = ["setpriv", "--pdeathsig", "KILL", program_path("dnsperf", "dnsperf")]
    command += ["-s", "127.0.0.1", "-p", str(port), "-d", queries, "-e", "-l"]
    command.append(str(plan.warmup + plan.seconds))
    with fleet.pausing_others(server):
        _verify(port, names)
        meter, before = CpuMeter(server), children_cpu_seconds()
        output = subprocess.run(
            command, capture_output=True, check=False, text=True, timeout=60
        ).stdout
        (used,), foreign = meter.used(), meter.foreign_share()
        _verify(port, names)
    good, lost, seconds = (_figure(output, label) for label in LABELS)
    sent = _figure(output, "Queries sent")
    if not sent or good + lost != sent or lost > MOST_LOST * sent:
        raise BenchmarkError(f"dnsperf: {good} good replies, {lost} lost: {output}")
    return Sample(
        value=good / seconds,
        server_busy=used / seconds,
        client_busy=(children_cpu_seconds() - before) / seconds,
        foreign=foreign,
    )


def _figure(output: str, label: str) -> float:
    match = re.search(rf"{label}:? +([0-9.]+)", output)
    return float(match[1]) if match else 0.0


def _verify(port: int, names: list[str]) -> None:
    """Raise unless each name has as many SRV records as providers."""
    for name in names:
        query = dns.message.make_query(name, "SRV", payload=4096)
        answer = dns.query.udp(query, "127.0.0.1", timeout=5, port=port).answer
        if [len(records) for records in answer] != [PER_CAPABILITY]:
            raise BenchmarkError(f"{name} has {answer}")
