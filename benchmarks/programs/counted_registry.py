"""A registry that counts what it holds: ``python counted_registry.py OPTIONS``.

It is `modularity-registry serve`. At each SIGUSR2 it writes JSON to the file that
``SOAK_COUNTS`` names: ``objects`` that the garbage collector knows, those that it has
frozen included, ``tasks`` of the event loop, and ``blocks`` of Python's allocator. At
SIGUSR1 it first collects all garbage: ``waiting`` objects that the next search would
have found, and ``lost`` ones, which none would, since they had been frozen before they
became garbage; ``searches`` is how often everything that was not frozen was looked
through until then. That is for the end, as it stops everything.
"""

import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path

from modularity_registry.cli.serve import serve


def _count(number: int, _frame: object) -> None:
    counts: dict[str, int] = {}
    if number == signal.SIGUSR1:
        counts["searches"] = gc.get_stats()[2]["collections"]
        counts["waiting"] = gc.collect()
        gc.unfreeze()
        counts["lost"] = gc.collect()
    counts["objects"] = len(gc.get_objects()) + gc.get_freeze_count()
    counts["tasks"] = len(asyncio.all_tasks())
    counts["blocks"] = sys.getallocatedblocks()
    path = Path(os.environ["SOAK_COUNTS"])
    # The reader waits for the file, and then finds all of it.
    written = path.with_suffix(".new")
    written.write_text(json.dumps(counts))
    written.rename(path)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, _count)
    signal.signal(signal.SIGUSR1, _count)
    serve()
