"""Opens a store and takes its first view, by the registry's own code.

A program of its own, on the core where the registry would be. It takes orders on stdin
and answers on stdout, a line of JSON each, and ends when stdin does.
"""

import json
import sys
import threading
import time

from modularity_registry.errors import StoreError
from modularity_registry.stores import open_store
from modularity_registry.stores.base import Event, Snapshot

LIMIT = 120.0


def view(url: str) -> dict[str, object]:
    """Return the seconds from opening a store to its snapshot, and what is in it."""
    found: list[Snapshot] = []
    there = threading.Event()

    def send(event: Event) -> None:
        if isinstance(event, Snapshot) and not found:
            found.append(event)
            there.set()

    began = time.perf_counter()
    store = open_store(url)
    watch = store.watch(send)
    there.wait(LIMIT)
    took = time.perf_counter() - began
    watch.close()
    store.close()
    if not found:
        return {"error": f"no snapshot within {LIMIT:g} s"}
    records = found[0].records
    return {
        "seconds": took,
        "records": sum(record.key.startswith("services/") for record in records),
        "bytes": sum(len(record.value) for record in records),
    }


def main() -> int:
    """Return 0 when stdin ended."""
    for line in sys.stdin:
        try:
            found = view(json.loads(line)["url"])
        except StoreError as error:
            found = {"error": error.detail}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
