"""A module that looks for others, with the client's `Resolver`.

``python consumer.py REGISTRY CAPABILITY``. It takes orders on stdin and answers on
stdout, a line of JSON each, and ends when stdin does.
"""

import importlib
import json
import sys
import threading
import time
import timeit
from collections import Counter
from collections.abc import Sequence
from typing import Any

CALLERS = 16


class Consumer:
    """A resolver, and what has come of it."""

    def __init__(self, registry: str, capability: str) -> None:
        # Named at run time: this is run without the client as well, to say so.
        client: Any = importlib.import_module("modularity_client")
        self._capability = capability
        self._heard: dict[str, float] = {}
        self._resolver: Any = client.Resolver(client.Registry(registry), capability)
        self._resolver.on_change(self._changed, capability)
        self._resolver.resolve(capability)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._callers: list[threading.Thread] = []
        self._by: Counter[str] = Counter()
        self._faults: list[str] = []
        self._slowest = 0.0

    def resolve(self, order: dict[str, Any]) -> dict[str, Any]:
        """Time the picking of a provider; return microseconds a pick, once a repeat."""
        resolve, name, loops = self._resolver.resolve, self._capability, order["loops"]
        timer = timeit.Timer(
            "resolve(name)", globals={"resolve": resolve, "name": name}
        )
        timer.timeit(loops)
        took = timer.repeat(order["repeats"], loops)
        picked = {resolve(name).id for _ in range(200)}
        return {"us": [each / loops * 1e6 for each in took], "picked": sorted(picked)}

    def heard(self, _order: dict[str, Any]) -> dict[str, Any]:
        """Return when each provider was heard of first (seconds, monotonic)."""
        return dict(self._heard)

    def call(self, order: dict[str, Any]) -> dict[str, Any]:
        """Begin to invoke the capability, ``rate`` times a second in all."""
        every = CALLERS / order["rate"]
        for n in range(CALLERS):
            first = time.monotonic() + every * n / CALLERS
            thread = threading.Thread(target=self._calls, args=(first, every))
            thread.start()
            self._callers.append(thread)
        return {}

    def tally(self, _order: dict[str, Any]) -> dict[str, Any]:
        """Return how the calls so far went."""
        with self._lock:
            return {
                "by": dict(self._by),
                "failed": len(self._faults),
                "faults": self._faults[:3],
                "slowest": self._slowest,
            }

    def end(self, order: dict[str, Any]) -> dict[str, Any]:
        """Call no more; return the tally of all calls."""
        self._stop.set()
        for thread in self._callers:
            thread.join()
        return self.tally(order)

    def _changed(self, _capability: str, providers: Sequence[Any]) -> None:
        now = time.monotonic()
        for provider in providers:
            self._heard.setdefault(provider.id, now)

    def _calls(self, due: float, every: float) -> None:
        number = 0
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due, number = due + every, number + 1
            began = time.monotonic()
            try:
                result = self._resolver.invoke(self._capability, {"number": number})
                if result["params"] != {"number": number}:
                    raise ValueError(f"another call's answer: {result}")
                by, fault = str(result["by"]), ""
            except Exception as error:
                by, fault = "", f"{type(error).__name__}: {error}"
            took = time.monotonic() - began
            with self._lock:
                self._slowest = max(self._slowest, took)
                if fault:
                    self._faults.append(fault)
                else:
                    self._by[by] += 1


def main() -> None:
    """Carry out orders until there are no more."""
    consumer = Consumer(sys.argv[1], sys.argv[2])
    orders = {
        "resolve": consumer.resolve,
        "heard": consumer.heard,
        "call": consumer.call,
        "tally": consumer.tally,
        "end": consumer.end,
    }
    print("{}", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(orders[order["do"]](order)), flush=True)


if __name__ == "__main__":
    main()
