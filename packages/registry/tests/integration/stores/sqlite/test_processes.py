"""Several processes on one SQLite file: each goes on when another ends."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from integration.stores.sqlite.support import child
from modularity_registry.stores.base import Change, Record, put
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.sqlite.store import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


WRITING_PROGRAM = """
import os, sys
from modularity_registry.stores.base import delete, put
from modularity_registry.stores.sqlite.store import SqliteStore
store = SqliteStore(sys.argv[1])
store.watch(lambda event: None)
number = 0
while True:
    key = f"services/{os.getpid()}-{number % 80}"
    revision = put(store, key, key.encode() * 20)
    if number % 3 == 2:
        delete(store, key)
    os.write(1, f"{key} {revision}\\n".encode())
    number += 1
"""


def test_a_process_that_is_killed_disturbs_no_other(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        recorder = Recorder()
        store.watch(recorder)
        with child(WRITING_PROGRAM, path) as staying, ThreadPoolExecutor(1) as pool:
            assert staying.stdout is not None
            pool.submit(staying.stdout.read)  # or it would have to stop writing
            for _ in range(3):
                acknowledged = killed_in_mid_write(path)
                last = put(store, "services/mine", b"")
                assert last > max(acknowledged.values())
                assert staying.poll() is None
                for key, revision in acknowledged.items():
                    value = key.encode() * 20
                    assert Change(key, value, revision) in recorder.changes
            staying.kill()
        last = put(store, "services/mine", b"")
        revisions = [change.revision for change in recorder.changes]
        assert revisions == list(range(1, last + 1))
        assert len(recorder.events) == 1 + last
        held = recorder.held()
    with closing(SqliteStore(path)) as store:
        assert {r.key: r for r in snapshot_of(store).records} == held


def killed_in_mid_write(path: Path) -> dict[str, int]:
    """Return the latest of what a process acknowledged until it was killed."""
    with child(WRITING_PROGRAM, path) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(150)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.readlines()
    whole = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return {key: int(revision) for key, revision in whole}


COUNTING_PROGRAM = """
import sys
from modularity_registry.errors import StoreConflict
from modularity_registry.stores.base import put
from modularity_registry.stores.sqlite.store import SqliteStore
from modularity_registry.stores.conformance.contract import snapshot_of
store = SqliteStore(sys.argv[1])
print(store.epoch, flush=True)
sys.stdin.readline()
done = 0
while done < 100:
    held = {record.key: record for record in snapshot_of(store).records}
    count = held.get("services/count")
    try:
        value = int(count.value) if count else 0
        put(store, "services/count", b"%d" % (value + 1), getattr(count, "revision", 0))
        done += 1
    except StoreConflict:
        pass
store.close()
"""


def test_several_make_one_file_and_count_together(path: Path) -> None:
    with ExitStack() as stack:
        counting = [
            stack.enter_context(child(COUNTING_PROGRAM, path)) for _ in range(3)
        ]
        epochs = set()
        for process in counting:
            assert process.stdout is not None
            epochs.add(process.stdout.readline())
        assert len(epochs) == 1
        for process in counting:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        for process in counting:
            assert process.wait(60) == 0
    with closing(SqliteStore(path)) as store:
        [count] = snapshot_of(store).records
    assert count == Record("services/count", b"300", 300)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "registry.db",
        "registry.db.identity",
        "registry.db.lock",
    ]


def test_two_busy_processes_both_get_on(path: Path) -> None:
    with child(WRITING_PROGRAM, path) as busy, closing(SqliteStore(path)) as store:
        assert busy.stdout is not None
        busy.stdout.readline()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(busy.stdout.read)
            for number in range(40):
                begun = time.monotonic()
                put(store, "services/a", b"%d" % number)
                assert time.monotonic() - begun < 5
            busy.kill()
