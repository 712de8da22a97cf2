"""A consumer of a capability, with the client's `Resolver`.

``python consumer.py REGISTRY CAPABILITY`` reads commands on stdin and writes replies on
stdout, one JSON object a line. It ends when stdin does.
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
    """A resolver, when its callback ran, and how its calls went."""

    def __init__(self, registry: str, capability: str) -> None:
        # Imported at run time, so mypy does not need the client.
        client: Any = importlib.import_module("modularity_client")
        self._capability = capability
        self._called_at: dict[str, float] = {}
        self._resolver: Any = client.Resolver(client.Registry(registry), capability)
        self._resolver.on_change(self._on_change, capability)
        self._resolver.resolve(capability)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._callers: list[threading.Thread] = []
        self._answers: Counter[str] = Counter()
        self._errors: list[str] = []
        self._slowest = 0.0

    def resolve(self, command: dict[str, Any]) -> dict[str, Any]:
        """Time the picking of a provider; return each repeat's microseconds a pick."""
        resolve, name, loops = (
            self._resolver.resolve,
            self._capability,
            command["loops"],
        )
        timer = timeit.Timer(
            "resolve(name)", globals={"resolve": resolve, "name": name}
        )
        timer.timeit(loops)
        seconds = timer.repeat(command["repeats"], loops)
        picked = {resolve(name).id for _ in range(200)}
        return {
            "us": [total / loops * 1e6 for total in seconds],
            "picked": sorted(picked),
        }

    def callbacks(self, _command: dict[str, Any]) -> dict[str, Any]:
        """Return when the callback first had each provider (seconds, monotonic)."""
        return dict(self._called_at)

    def call(self, command: dict[str, Any]) -> dict[str, Any]:
        """Start to invoke the capability, ``rate`` times a second in all."""
        interval = CALLERS / command["rate"]
        for n in range(CALLERS):
            first = time.monotonic() + interval * n / CALLERS
            thread = threading.Thread(target=self._calls, args=(first, interval))
            thread.start()
            self._callers.append(thread)
        return {}

    def tally(self, _command: dict[str, Any]) -> dict[str, Any]:
        """Return how the calls went so far."""
        with self._lock:
            return {
                "by": dict(self._answers),
                "failed": len(self._errors),
                "errors": self._errors[:3],
                "slowest": self._slowest,
            }

    def end(self, command: dict[str, Any]) -> dict[str, Any]:
        """Stop calling; return the tally of all calls."""
        self._stop.set()
        for thread in self._callers:
            thread.join()
        return self.tally(command)

    def _on_change(self, _capability: str, providers: Sequence[Any]) -> None:
        now = time.monotonic()
        for provider in providers:
            self._called_at.setdefault(provider.id, now)

    def _calls(self, due: float, interval: float) -> None:
        number = 0
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due, number = due + interval, number + 1
            began = time.monotonic()
            try:
                result = self._resolver.invoke(self._capability, {"number": number})
                if result["params"] != {"number": number}:
                    raise ValueError(f"another call's answer: {result}")
                provider, failure = str(result["by"]), ""
            except Exception as error:
                provider, failure = "", f"{type(error).__name__}: {error}"
            seconds = time.monotonic() - began
            with self._lock:
                self._slowest = max(self._slowest, seconds)
                if failure:
                    self._errors.append(failure)
                else:
                    self._answers[provider] += 1


def main() -> None:
    """Run commands until there are no more."""
    consumer = Consumer(sys.argv[1], sys.argv[2])
    commands = {
        "resolve": consumer.resolve,
        "callbacks": consumer.callbacks,
        "call": consumer.call,
        "tally": consumer.tally,
        "end": consumer.end,
    }
    print("{}", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(commands[command["do"]](command)), flush=True)


if __name__ == "__main__":
    main()
