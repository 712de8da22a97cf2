"""Names that try to leave their place: in an address, a body, a store's own names."""

import re
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from flask.testing import FlaskClient

from modularity_registry.runtime import Registry
from modularity_registry.stores import memory
from modularity_registry.stores.base import Store, Write, delete, put
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.consul.layout import Layout as ConsulLayout
from modularity_registry.stores.etcd.layout import Layout as EtcdLayout
from modularity_registry.stores.postgresql.layout import Schema
from modularity_registry.stores.redis.layout import LastSeen
from modularity_registry.stores.redis.layout import Layout as RedisLayout
from modularity_registry.stores.server_url import Form, read_server
from modularity_registry.stores.sqlite import store as sqlite
from modularity_registry.stores.zookeeper.layout import Era, key_of
from modularity_registry.stores.zookeeper.layout import Layout as ZookeeperLayout
from support.registry import registration

NAMES = (
    ".",
    "..",
    "../tokens/root",
    "..%2ftokens",
    "%2e%2e%2f",
    "a/../../b",
    "/etc/passwd",
    "//x",
    "a/b",
    "a\\..\\b",
    "a\0b",
    "\0",
    "%00",
    "a\nb",
    "a\r\nDEL x",
    "*",
    "a*",
    "?",
    "[a-z]",
    "{modularity}",
    "$",
    "a$",
    "=a",
    "~",
    "a b",
    "é",
    "\uff41",
    "\u202ea",
    "\uff0e\uff0e\uff0f",
    "\u2215",
    "' OR '1'='1",
    '"; DROP TABLE record; --',
    "{0.__class__}",
    "%s",
    "${x}",
    "a" * 129,
)


@pytest.mark.parametrize("name", NAMES)
def test_name_that_tries_to_leave_its_place_changes_nothing(
    registry: Registry, client: FlaskClient, name: str
) -> None:
    assert client.post("/api/register", json=registration()).status_code == 201
    before = held(registry.store)
    in_path = quote(name, safe="")
    body = registration(name)
    capability = registration("other", capabilities=[name], mode="standalone")
    replies = [
        client.post("/api/register", json=body),
        client.put(f"/api/services/{in_path}", json=body),
        client.put(f"/api/services/{in_path}", json=registration(id=...)),
        client.delete(f"/api/services/{in_path}"),
        client.delete(f"/api/unregister/{in_path}"),
        client.put(f"/api/services/{in_path}/drain"),
        client.post(f"/api/heartbeat/{in_path}"),
        client.get(f"/api/services/{in_path}"),
        client.get(f"/api/capabilities/{in_path}"),
    ]
    if "/" not in name or name.startswith(("/", ".")):  # a capability may hold some
        replies.append(client.post("/api/register", json=capability))
    assert {reply.status_code for reply in replies} <= {400, 404, 405, 308}
    assert held(registry.store) == before


def held(store: Store) -> dict[str, bytes]:
    recorder = Recorder()
    store.watch(recorder).close()
    return {key: each.value for key, each in recorder.held().items()}


# What a store is given as a key, should ever something be wrong above it.
KEYS = ("services/hello", *(f"services/{name}" for name in NAMES), *NAMES)
# Prefixes that are neighbours in every order that there is.
PREFIXES = ("a", "a-b", "a.b", "a_b", "a0", "ab", "A", "modularity")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_etcd_key_stays_within_its_prefix(prefix: str) -> None:
    keys = EtcdLayout(prefix)
    every = keys.read_first()
    for key in KEYS:
        batch = [Write(key, b""), Write(f"{key}-deleted", None)]
        put_, deletion = keys.commit("epoch", batch).success
        name = put_.request_txn.success[0].request_put.key
        assert every.key < name < every.range_end
        assert keys.key(name) == key
        deleted = deletion.request_txn.success[0].request_delete_range
        assert (deleted.key, deleted.range_end) == (name + b"-deleted", b"")
        for other in set(PREFIXES) - {prefix}:
            there = EtcdLayout(other).read_first()
            assert not there.key <= name < there.range_end


@pytest.mark.parametrize("prefix", PREFIXES)
def test_redis_key_is_an_argument_and_never_a_name(prefix: str) -> None:
    keys = RedisLayout(prefix)
    names = (keys.state, keys.record, keys.feed)
    assert all(name.startswith(f"{{{prefix}}}:") for name in names)
    plain = keys.commit(LastSeen("epoch", 0), [Write("x", b"")], full=True)
    for key in KEYS:
        command = keys.commit(LastSeen("epoch", 0), [Write(key, b"")], full=True)
        assert command[:6] == plain[:6] == ["EVAL", plain[1], 3, *names]
        assert command[9] == key


@pytest.mark.parametrize("prefix", PREFIXES)
def test_consul_key_stays_within_its_prefix(prefix: str) -> None:
    names = ConsulLayout(prefix)
    for key in KEYS:
        name = names.record(key)
        assert name.startswith(f"{prefix}/state/records/")
        assert names.key(name) == key
        others = [ConsulLayout(other) for other in PREFIXES if other != prefix]
        assert not any(name.startswith(other.all) for other in others)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_zookeeper_key_is_one_name_below_its_bucket(prefix: str) -> None:
    layout, place = ZookeeperLayout(prefix), Era("0123456789ab", 1, 0)
    for key in KEYS:
        path = layout.record(place, key)
        root, bucket, name = path.rsplit("/", 2)
        assert root == f"/{prefix}/0123456789ab/record"
        assert re.fullmatch("[0-9a-f]{2}", bucket)
        assert re.fullmatch("=[A-Za-z0-9_.~%-]+", name)
        assert key_of(name) == key


@pytest.mark.parametrize("prefix", [*PREFIXES, 'a"; DROP SCHEMA b; --', "pg_catalog"])
def test_postgres_prefix_is_quoted_wherever_it_stands(prefix: str) -> None:
    schema = Schema(prefix)
    name = schema.name.replace('"', '""')
    assert schema.fill("SELECT {schema}.x") == f'SELECT "{name}".x'.encode()
    assert not schema.name.startswith("pg_")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_embedded_store_takes_every_key_as_it_is(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "registry.db"
    store: Store
    store = memory.MemoryStore() if kind == "memory" else sqlite.SqliteStore(str(file))
    taken = {key: b"" for key in KEYS if "\0" not in key}
    for key in taken:
        put(store, key, b"")
    assert held(store) == taken
    for key in taken:
        if "*" in key or ".." in key or "%" in key:
            delete(store, key)
    kept = {key for key in taken if not re.search(r"\*|\.\.|%", key)}
    assert set(held(store)) == kept
    store.close()


BAD_PREFIXES = (
    *("", ".", "..", "../b", "a/b", "/a", "a\\b", "a*", "*", "a?", "[ab]", "{a}", "}a"),
    *("a b", "a\0", "a\n", "é", "\uff41", "a$", "a:b", "a%2fb", "-a", "_a", "a" * 49),
)


@pytest.mark.parametrize("prefix", BAD_PREFIXES)
def test_prefix_that_could_mean_more_than_itself_is_refused(prefix: str) -> None:
    parts = urlsplit(f"etcd://127.0.0.1:2379?prefix={quote(prefix, safe='')}")
    with pytest.raises(ValueError, match="prefix"):
        read_server(parts, Form(2379))
