"""Who gets into ZooKeeper: passwords and certificates."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kazoo.security import make_digest_acl  # type: ignore[import-untyped]  # no types

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores import open_store
from modularity_registry.stores.base import delete, put
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.server_url import Host, Server, Tls
from modularity_registry.stores.zookeeper.store import ZookeeperStore
from support.servers.certificates import Authority
from support.servers.stores.zookeeper import HOST, Zookeeper, running

USER, PASSWORD = "registry", "correct horse: battery/staple"

_numbers = itertools.count()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def zookeeper(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Zookeeper]:
    folder = tmp_path_factory.mktemp("zookeeper")
    own = authority.sign("server")
    (folder / "own.pem").write_text(own.cert.read_text() + own.key.read_text())
    settings = {
        "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
        "ssl.keyStore.location": folder / "own.pem",
        "ssl.trustStore.location": authority.ca,
    }
    with running(folder, settings, secure=True) as server:
        yield server


@pytest.fixture
def server(zookeeper: Zookeeper) -> Server:
    prefix = f"entry-{next(_numbers)}"
    return Server((zookeeper.host,), USER, PASSWORD, prefix=prefix)


@pytest.fixture
def secured(server: Server, zookeeper: Zookeeper, authority: Authority) -> Server:
    cert, key = authority.sign(f"client-{next(_numbers)}")
    return replace(
        server,
        hosts=(Host(HOST, zookeeper.secure_port),),
        tls=Tls(str(authority.ca), str(cert), str(key)),
    )


def assert_works(server: Server) -> None:
    store = ZookeeperStore(server)
    recorder = Recorder()
    store.watch(recorder)
    revision = put(store, "services/a", b"1", expected=0)
    recorder.wait_for_revision(put(store, "services/a", b"2", expected=revision))
    assert delete(store, "services/a") is not None
    store.close()


def test_the_right_password_gets_in(server: Server) -> None:
    assert_works(server)
    assert_works(server)


@pytest.mark.parametrize(
    ("user", "password", "says"),
    [
        (USER, "hunter2 is wrong", f"refuses the user '{USER}'"),
        ("somebody", PASSWORD, "refuses the user 'somebody'"),
        ("", "", "refuses a connection without a user"),
    ],
)
def test_others_do_not(server: Server, user: str, password: str, says: str) -> None:
    ZookeeperStore(server).close()
    with pytest.raises(StoreUnavailable) as caught:
        ZookeeperStore(replace(server, user=user, password=password))
    assert says in caught.value.detail
    assert PASSWORD not in caught.value.detail
    assert "hunter2" not in caught.value.detail


def test_everything_belongs_to_the_user(server: Server, zookeeper: Zookeeper) -> None:
    store = ZookeeperStore(server)
    put(store, "services/a", b"1")
    with zookeeper.operator(f"{USER}:{PASSWORD}") as client:
        paths = [f"/{server.prefix}"]
        for path in paths:
            paths += [f"{path}/{name}" for name in client.get_children(path)]
            (acl,) = client.get_acls(path)[0]
            assert (acl.id.scheme, acl.id.id.split(":")[0]) == ("digest", USER)
    assert len(paths) > 30
    store.close()


def test_a_user_who_loses_the_right_is_told(
    server: Server, zookeeper: Zookeeper
) -> None:
    store = ZookeeperStore(server)
    put(store, "services/a", b"1")
    with zookeeper.operator(f"{USER}:{PASSWORD}") as client:
        record = f"/{server.prefix}/{store.epoch}/record"
        stranger = make_digest_acl("somebody", PASSWORD, all=True)
        for bucket in client.get_children(record):
            for name in client.get_children(f"{record}/{bucket}"):
                client.set_acls(f"{record}/{bucket}/{name}", [stranger])
    with pytest.raises(StoreUnavailable, match="refuses the user 'registry'"):
        put(store, "services/a", b"2")
    store.close()


def test_over_tls_it_works(secured: Server) -> None:
    assert_works(secured)


def test_over_tls_many_answers_come_at_once(secured: Server) -> None:
    store = ZookeeperStore(secured)
    values = [bytes([number]) * 9_000 for number in range(200)]
    for number, value in enumerate(values):
        put(store, f"services/{number}", value)
    assert [record.value for record in snapshot_of(store).records] == values
    store.close()


def test_a_url_names_all_of_it(secured: Server) -> None:
    tls = secured.tls
    assert tls is not None
    store = open_store(
        f"zookeeper://{USER}:correct%20horse%3A%20battery%2Fstaple@{secured}"
        f"?prefix={secured.prefix}&tls=true&ca={tls.ca}&cert={tls.cert}&key={tls.key}"
    )
    store.ping()
    store.close()
    ZookeeperStore(secured).close()


def test_another_authority_is_not_trusted(secured: Server, tmp_path: Path) -> None:
    tls = secured.tls
    assert tls is not None
    stranger = Authority(tmp_path)
    with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        ZookeeperStore(replace(secured, tls=replace(tls, ca=str(stranger.ca))), 1.0)


def test_a_certificate_for_another_name_is_not_trusted(secured: Server) -> None:
    # All of 127/8 is this machine, and the certificate is for 127.0.0.1.
    hosts = (Host("127.0.0.2", secured.hosts[0].port),)
    with pytest.raises(StoreUnavailable, match="certificate is not valid"):
        ZookeeperStore(replace(secured, hosts=hosts), 1.0)


def test_without_a_certificate_of_its_own_it_is_refused(secured: Server) -> None:
    tls = secured.tls
    assert tls is not None
    with pytest.raises(StoreUnavailable, match="can't be reached"):
        ZookeeperStore(replace(secured, tls=Tls(tls.ca)), 1.0)


def test_plain_words_to_a_port_of_tls_are_refused(secured: Server) -> None:
    with pytest.raises(StoreUnavailable, match="can't be reached"):
        ZookeeperStore(replace(secured, tls=None), 1.0)


def test_bad_files_are_named(secured: Server, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing of the kind")
    with pytest.raises(StoreUnavailable, match="TLS files"):
        ZookeeperStore(replace(secured, tls=Tls(str(bad))))
