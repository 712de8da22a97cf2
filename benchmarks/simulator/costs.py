"""What things cost on one machine: measured by `calibrate`, kept in costs.json."""

import json
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("costs.json")

CALIBRATE = "`python -m benchmarks.simulator --calibrate`"


def _cost(unit: str, text: str, source: str = CALIBRATE) -> Any:
    return field(metadata={"unit": unit, "text": text, "source": source})


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of a core, and bytes; the metadata say what each is and where from."""

    check: float = _cost("s", "a health check over HTTP, all told")
    pick: float = _cost("s", "comparing a service's owner with one other replica")
    look: float = _cost("s", "a service in a new division, beside that")
    load: float = _cost("s", "a service that is read when the store is opened")
    apply: float = _cost("s", "a change of a service that the store has sent")
    record: float = _cost("s", "the record of another replica")
    heartbeat: float = _cost("s", "a heartbeat in the record of another replica")
    register: float = _cost("s", "a registration, in the replica that is called")
    delivery: float = _cost("s", "an event that is written to one stream")
    document: float = _cost(
        "bytes", "a service in the store, with the reason of a fault"
    )
    record_size: float = _cost("bytes", "a replica's record without heartbeats")
    event: float = _cost("bytes", "a change of status in a stream")
    service: float = _cost("bytes", "a service in a replica's memory")
    base: float = _cost(
        "bytes", "a replica without services", "[Sizing](operating.md#sizing)"
    )
    stream: float = _cost(
        "bytes", "an open stream", "`python -m benchmarks --only watch`"
    )
    batch: float = _cost("s", "a round trip to the store, with its sync to the disk")
    write: float = _cost("s", "each write of a batch of 64, by one writer")

    def division(self, replicas: int) -> float:
        """Return the seconds that a service takes in a new division."""
        return self.look + self.pick * compared(replicas)


def compared(replicas: int) -> float:
    """Return with how many others a replica compares itself to know its services.

    For each until one of them comes before it: the harmonic number, on average.
    """
    return sum(1 / n for n in range(1, replicas + 1)) if replicas > 1 else 0.0


def read(path: Path = FILE) -> tuple[Costs, dict[str, str]]:
    """Return the costs that were measured last, and on which machine."""
    data = json.loads(path.read_text())
    return Costs(**data["costs"]), data["machine"]


def write(costs: Costs, machine: dict[str, str], path: Path = FILE) -> None:
    """Keep them for the runs to come."""
    data = {"machine": machine, "costs": asdict(costs)}
    path.write_text(json.dumps(data, indent=2) + "\n")


def rows(costs: Costs) -> list[tuple[str, str, str]]:
    """Return each cost for people: what it is, how much, and where it comes from."""
    return [
        (one.metadata["text"], _amount(one, costs), one.metadata["source"])
        for one in fields(costs)
    ]


def _amount(one: "Field[Any]", costs: Costs) -> str:
    value = getattr(costs, one.name)
    if one.metadata["unit"] == "bytes":
        return f"{value / 1e6:.0f} MB" if value >= 1e6 else f"{value:,.0f} bytes"
    return f"{value * 1e3:.2f} ms" if value >= 1e-4 else f"{value * 1e6:.2f} µs"
