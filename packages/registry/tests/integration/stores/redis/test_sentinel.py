"""Redis servers whose primary is found by asking Sentinels."""

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores import open_store
from modularity_registry.stores.base import Snapshot, Store, put
from modularity_registry.stores.conformance.breakable_proxy import HOST
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.redis.store import RedisStore
from modularity_registry.stores.server_url import Host
from support.registry import eventually
from support.servers.stores.sentinel import NAME, PASSWORD, Group, watched
from support.serving import free_port


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    with watched(tmp_path) as group:
        yield group


def test_writes_and_changes_go_on_with_the_new_primary(group: Group) -> None:
    with closing(RedisStore(group.place, timeout=2.0)) as store:
        recorder = Recorder()
        store.watch(recorder)
        first = put(store, "services/a", b"1")
        group.fail_over()
        eventually(lambda: _writes(store))
        last = put(store, "services/a", b"2")
        assert last > first
        recorder.wait_for_revision(last)
        assert recorder.held()["services/a"].value == b"2"


def test_a_primary_that_died_is_left(group: Group) -> None:
    with closing(RedisStore(group.place, timeout=2.0)) as store:
        recorder = Recorder()
        store.watch(recorder)
        first = put(store, "services/a", b"1")
        other = group.other()
        group.primary().kill()
        eventually(lambda: _writes(store))
        last = put(store, "services/a", b"2")
        assert last > first
        recorder.wait_for_revision(last)
        assert sum(isinstance(event, Snapshot) for event in recorder.events) == 2
        assert group.primary() is other


def test_without_a_sentinel_the_connection_that_is_there_goes_on(group: Group) -> None:
    with closing(RedisStore(group.place)) as store:
        group.stop_sentinel()
        put(store, "services/a", b"1")
        with pytest.raises(StoreUnavailable, match="no Sentinel at"):
            RedisStore(group.place)


def test_a_sentinel_that_is_away_is_passed_over(group: Group) -> None:
    place = group.place
    away = Host(HOST, free_port())
    RedisStore(replace(place, hosts=(away, *place.hosts))).close()


def test_a_name_that_nobody_knows_is_an_error_that_says_so(group: Group) -> None:
    with pytest.raises(StoreUnavailable, match="knows a primary called other"):
        RedisStore(replace(group.place, primary="other"))


def test_servers_and_sentinels_with_a_password_are_named_by_url(tmp_path: Path) -> None:
    with watched(tmp_path, PASSWORD) as group:
        url = f"redis+sentinel://:{quote(PASSWORD)}@{HOST}:{group.port}/{NAME}/3"
        with closing(open_store(url)) as store:
            put(store, "services/a", b"1")
        spaces = group.call(group.primary(), "INFO", "keyspace")
        assert list(spaces) == ["db3"]
        wrong = url.replace(quote(PASSWORD), "wrong")
        with pytest.raises(StoreUnavailable, match="another password") as caught:
            open_store(wrong)
        assert "wrong" not in caught.value.detail


def test_a_password_of_redis_alone_is_not_one_of_its_sentinels(group: Group) -> None:
    for server in group.servers:
        group.call(server, "CONFIG", "SET", "masterauth", PASSWORD)
        group.call(server, "CONFIG", "SET", "requirepass", PASSWORD)
    RedisStore(replace(group.place, password=PASSWORD)).close()


def _writes(store: Store) -> bool:
    with suppress(StoreUnavailable):
        put(store, "services/trial", b"")
        return True
    return False
