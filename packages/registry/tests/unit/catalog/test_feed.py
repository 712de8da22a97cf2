"""The feed on its loop: what other threads send, in which order, in which slices."""

import asyncio
import threading
from collections.abc import Callable
from typing import Final

import pytest

from modularity_registry import config, runtime
from modularity_registry.catalog import documents
from modularity_registry.catalog import feed as feed_module
from modularity_registry.errors import StoreCorrupt
from modularity_registry.model.service import Registration, Service
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Change, Record, Send, Snapshot, Watch, Write
from modularity_registry.stores.memory import MemoryStore
from support.registry import (
    LOOP,
    ManualClock,
    deliver,
    loaded_registry,
    put_record,
    unload,
)

NOW = ManualClock().now()


def document(service_id: str, version: str = "1", capability: str = "x") -> bytes:
    said = Registration(service_id, "N", (capability,), "here", "standalone", version)
    return documents.encode(Service(said, NOW, NOW))


def change(
    service_id: str, revision: int, last: bool = True, version: str = "1"
) -> Change:
    key = documents.key_of(service_id)
    return Change(key, document(service_id, version), revision, last)


class RemoteStore(MemoryStore):
    """Sends from a thread of its own, as a store elsewhere does."""

    embedded: Final = False  # type: ignore[misc]  # a test's own

    def __init__(self) -> None:
        super().__init__()
        self.send: Send | None = None

    def watch(self, send: Send) -> Watch:  # type: ignore[override]
        self.send = send
        return super().watch(send)

    def deliver(self, *changes: Change) -> None:
        def run() -> None:
            assert self.send is not None
            for each in changes:
                self.send(each)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()


def remote() -> tuple[Registry, RemoteStore]:
    store = RemoteStore()
    registry = runtime.build(config.Settings(), ManualClock(), store=store)
    LOOP.call(registry.feed.start())
    return registry, store


class Listener:
    def __init__(self, note: Callable[[object], None]) -> None:
        self._note = note

    def changed(self, change: object) -> None:
        self._note(change)

    def reloaded(self, changes: object, revision: int) -> None:
        self._note(revision)

    def advanced(self, revision: int) -> None:
        self._note(revision)


def test_what_another_thread_sends_arrives_in_order() -> None:
    registry, store = remote()
    seen: list[object] = []
    registry.feed.listen(Listener(seen.append))
    store.deliver(*(change("a", revision) for revision in range(1, 501)))
    LOOP.call(registry.feed.wait(500))
    assert [getattr(each, "revision", None) for each in seen] == [*range(1, 501)]
    unload(registry)


def test_much_of_it_leaves_the_loop_turns_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "SLICE", 0.0)
    registry, _ = remote()
    seen: list[int] = []

    async def watch_turns() -> None:
        loading = Snapshot(
            tuple(
                Record(documents.key_of(f"s{number}"), document(f"s{number}"), number)
                for number in range(1, 51)
            ),
            50,
        )
        # Not awaited first: the thread may end only after all is loaded.
        send = asyncio.to_thread(registry.feed._receive, loading)
        sending = asyncio.create_task(send)
        while registry.catalog.revision < 50:
            seen.append(len(registry.catalog))
            await asyncio.sleep(0)
        await sending

    LOOP.call(watch_turns())
    assert len(set(seen)) > 10, "others had their turns while it loaded"
    assert len(registry.catalog) == 50
    unload(registry)


def test_a_write_of_this_process_finds_all_that_was_sent_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "SLICE", 0.0)
    registry = loaded_registry()

    async def write() -> None:
        sent = [change("a", revision) for revision in range(1, 21)]
        for each in sent:
            await asyncio.to_thread(registry.feed._receive, each)
        registry.feed._receive(change("b", 21))
        assert registry.catalog.revision == 21
        assert registry.catalog.require("a").revision == 20

    registry.call(write())
    unload(registry)


def test_a_shared_revision_is_reached_with_its_last_change(registry: Registry) -> None:
    seen: list[object] = []
    registry.feed.listen(Listener(seen.append))
    deliver(registry, change("a", 5, last=False))
    deliver(registry, change("b", 5, last=False))
    assert (registry.catalog.revision, len(registry.catalog)) == (0, 2)
    assert not LOOP.call(registry.feed.reaches(5, 0.0))
    deliver(registry, Change("replicas/r", b"{}", 5))
    assert registry.catalog.revision == 5
    assert [getattr(each, "last", each) for each in seen] == [False, False, 5]


def test_each_change_of_a_shared_revision_shows_in_its_capability(
    registry: Registry,
) -> None:
    for name in ("a", "b"):
        deliver(registry, change(name, 5, last=name == "b"))
        capability = registry.catalog.capability("x")
        assert capability is not None
        ids = [entry.id for entry in capability.providers().entries]
        assert ids[-1] == name


def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the documents that are decoded from now on."""
    decoded: list[str] = []
    real = documents.decode

    def decode(key: str, value: bytes) -> Service:
        decoded.append(key)
        return real(key, value)

    monkeypatch.setattr("modularity_registry.catalog.feed.documents.decode", decode)
    return decoded


def test_a_document_of_its_own_is_not_decoded_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = decodings(monkeypatch)
    said = Registration("a", "N", ("x",), "here", "standalone")
    registry.call(registry.commands.register(said, True))
    assert decoded == []
    put_record(registry.store, "services/a", document("a", "another"))
    assert "services/a" in decoded


def test_who_has_not_changed_is_not_read_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        put_record(registry.store, documents.key_of(name), document(name))
    decoded = decodings(monkeypatch)
    # As after the store was wiped: the same revision, another document.
    records = (
        Record("services/a", document("a"), 1),
        Record("services/b", document("b", "other"), 2),
    )
    deliver(registry, Snapshot(records, 2))
    assert "services/a" not in decoded
    assert registry.catalog.require("b").service.registration.version == "other"


def test_a_load_that_fails_says_so_and_takes_nothing_more(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.catalog, "load", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        deliver(registry, Snapshot((Record("services/a", document("a"), 1),), 1))
    assert "ZeroDivisionError" in str(registry.feed.interruption)
    deliver(registry, change("b", 2))
    assert len(registry.catalog) == 0


def test_a_corrupt_store_elsewhere_stops_the_start() -> None:
    store = RemoteStore()
    store.commit([Write("services/a", b"junk")])
    registry = runtime.build(config.Settings(), ManualClock(), store=store)
    with pytest.raises(StoreCorrupt, match="services/a"):
        LOOP.call(registry.feed.start())
    assert registry.feed.interruption is not None
