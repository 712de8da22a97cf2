"""What becomes of a store when its Consul is killed, emptied or put back."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from modularity_registry.errors import StoreConflict, StoreUnavailable
from modularity_registry.stores.base import Lost, Snapshot, put
from modularity_registry.stores.conformance.base import assert_agrees
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.consul.store import ConsulStore
from modularity_registry.stores.server_url import Server
from support.servers.stores.consul import Agent, running

# What a test waits for a server that says nothing.
TIMEOUT = 2.0


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Agent]:
    """A Consul that the test may kill."""
    with running(Agent(tmp_path)) as agent:
        yield agent


@pytest.fixture
def kept(own: Agent) -> Iterator[ConsulStore]:
    """A store in a Consul that the test may kill."""
    store = ConsulStore(Server((own.host,)), TIMEOUT)
    yield store
    store.close()


def test_a_killed_server_comes_back_with_everything(
    own: Agent, kept: ConsulStore
) -> None:
    recorder = Recorder(60.0)
    kept.watch(recorder)
    first = put(kept, "services/a", b"1")
    epoch = kept.epoch
    own.kill()
    recorder.wait(
        lambda: any(isinstance(event, Lost) for event in recorder.events), "the news"
    )
    with pytest.raises(StoreUnavailable):
        put(kept, "services/a", b"2", expected=first)
    own.start()
    second = put(kept, "services/a", b"3", expected=first)
    recorder.wait_for_revision(second)
    assert second > first
    assert kept.epoch == epoch
    assert_agrees(recorder, kept)


def test_an_emptied_server_has_another_epoch(
    own: Agent, kept: ConsulStore, tmp_path: Path
) -> None:
    recorder = Recorder(60.0)
    kept.watch(recorder)
    revision = put(kept, "services/a", b"1")
    epoch = kept.epoch
    own.kill()
    shutil.rmtree(tmp_path / "data")
    own.start()
    recorder.wait(lambda: _snapshots(recorder) > 1, "a fresh snapshot")
    assert kept.epoch != epoch
    assert recorder.held() == {}
    with pytest.raises(StoreConflict):
        put(kept, "services/a", b"2", expected=revision)
    put(kept, "services/a", b"2", expected=0)
    recorder.wait(lambda: "services/a" in recorder.held(), "the first change")
    assert_agrees(recorder, kept)


def test_a_server_put_back_to_a_backup_has_another_epoch(
    own: Agent, kept: ConsulStore
) -> None:
    recorder = Recorder(60.0)
    kept.watch(recorder)
    put(kept, "services/a", b"1")
    backup = own.call("GET", "/v1/snapshot")
    epoch = kept.epoch
    for value in (b"2", b"3"):
        recorder.wait_for_revision(put(kept, "services/a", value))
    own.call("PUT", "/v1/snapshot", backup)
    recorder.wait(lambda: _snapshots(recorder) > 1, "a fresh snapshot")
    assert kept.epoch != epoch
    assert recorder.held()["services/a"].value == b"1"
    last = put(kept, "services/a", b"4")
    recorder.wait(lambda: recorder.held()["services/a"].revision == last, "the change")
    assert_agrees(recorder, kept)


def _snapshots(recorder: Recorder) -> int:
    return sum(isinstance(event, Snapshot) for event in recorder.events)
