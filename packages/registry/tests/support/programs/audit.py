"""A process that writes an audit; what to write is the first argument, as JSON."""

import json
import resource
import sys
from pathlib import Path

from modularity_registry.audit import AuditFile


def main(
    path: str,
    who: str,
    count: int,
    most: int = 10**9,
    kept: int = 1,
    limit: int | None = None,
) -> None:
    """Write ``count`` lines; print the numbers of those that could not be.

    ``limit`` (bytes) is the size that a file may have for the first half of them: as
    on a full disk, a write ends in the middle there.
    """
    file = AuditFile(Path(path), most, kept)
    failed = []
    for number in range(count):
        if limit is not None:
            now = limit if number < count // 2 else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (now, resource.RLIM_INFINITY))
        act = {"event": "test", "who": who, "number": number, "text": "x" * 200}
        try:
            file.append(json.dumps(act).encode() + b"\n")
        except OSError:
            failed.append(number)
    print(json.dumps(failed))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
