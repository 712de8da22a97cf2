"""Opens a store and times its first snapshot, with the registry's own code.

``python first_view.py`` runs on the core of the registry. It reads commands on stdin
and writes replies on stdout, one JSON object a line. It ends when stdin does.
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
    """Return the seconds from opening a store to its snapshot, and the sizes of it."""
    snapshots: list[Snapshot] = []
    arrived = threading.Event()

    def send(event: Event) -> None:
        if isinstance(event, Snapshot):
            snapshots.append(event)
            arrived.set()

    began = time.perf_counter()
    store = open_store(url)
    watch = store.watch(send)
    arrived.wait(LIMIT)
    seconds = time.perf_counter() - began
    watch.close()
    store.close()
    if not snapshots:
        return {"error": f"no snapshot within {LIMIT:g} s"}
    records = snapshots[0].records
    return {
        "seconds": seconds,
        "records": sum(record.key.startswith("services/") for record in records),
        "bytes": sum(len(record.value) for record in records),
    }


def main() -> None:
    """Run commands until there are no more."""
    for line in sys.stdin:
        try:
            reply = view(json.loads(line)["url"])
        except StoreError as error:
            reply = {"error": error.detail}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
