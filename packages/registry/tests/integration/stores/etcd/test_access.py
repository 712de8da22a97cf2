"""Who gets into etcd: passwords, tokens and certificates."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from pyetcd import etcdrpc as rpc  # type: ignore[import-untyped]  # has no stubs

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores import open_store
from modularity_registry.stores.base import delete, put
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.etcd.store import EtcdStore
from modularity_registry.stores.server_url import Server, Tls
from support.servers.certificates import Authority
from support.servers.stores.etcd import Cluster, Operator, running

USER, PASSWORD = "registry", "correct horse battery staple"
# What etcd takes longest for is to look at a password, on purpose.
CHEAP = ("--bcrypt-cost", "4")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("locked"), options=CHEAP) as cluster:
        with Operator(cluster.hosts[0]) as operator:
            operator.require_passwords(USER, PASSWORD, "ours")
        yield cluster


@pytest.fixture
def server(locked: Cluster) -> Server:
    return Server(locked.hosts, USER, PASSWORD, prefix="ours")


def test_the_right_password_gets_in(server: Server) -> None:
    store = EtcdStore(server)
    recorder = Recorder()
    store.watch(recorder)
    recorder.wait_for_revision(put(store, "services/a", b"1"))
    delete(store, "services/a")
    store.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"password": "hunter2 is wrong"}, "refuses the user or the password"),
        ({"user": "nobody"}, "refuses the user or the password"),
        ({"user": "", "password": ""}, "needs a user and a password"),
        ({"prefix": "theirs"}, "does not let this user"),
        ({"prefix": "our"}, "does not let this user"),
    ],
)
def test_others_are_told_why_not(
    server: Server, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(StoreUnavailable, match=says) as caught:
        EtcdStore(replace(server, **change))
    assert PASSWORD not in caught.value.detail
    assert "hunter2" not in caught.value.detail


def test_a_user_who_may_only_read_writes_nothing(
    server: Server, locked: Cluster
) -> None:
    EtcdStore(replace(server)).close()
    with Operator(locked.hosts[0]) as operator:
        operator.add_user("reader", PASSWORD, server.prefix, rpc.Permission.READ)
    store = EtcdStore(replace(server, user="reader"))
    for expected in (None, 0):
        with pytest.raises(StoreUnavailable, match="does not let this user"):
            put(store, "services/read-only", b"1", expected)
    assert "services/read-only" not in {r.key for r in snapshot_of(store).records}
    store.close()


def test_a_token_that_has_gone_stale_is_replaced(
    server: Server, locked: Cluster
) -> None:
    store = EtcdStore(server)
    recorder = Recorder()
    store.watch(recorder)
    calls: list[Callable[[], object]] = [
        lambda: put(store, "services/a", b"1"),
        store.ping,
        lambda: store.watch(Recorder()).close(),
    ]
    with Operator(locked.hosts[0]) as operator:
        for number, call in enumerate(calls):
            operator.change_password(USER, PASSWORD)
            call()
            operator.add_role(f"another-{number}")
            call()
    recorder.wait_for_revision(put(store, "services/a", b"2"))
    store.close()


def test_a_password_that_is_not_needed_is_no_obstacle(tmp_path: Path) -> None:
    with running(tmp_path) as cluster:
        store = EtcdStore(Server(cluster.hosts, USER, PASSWORD))
        put(store, "services/a", b"1")
        # Needed only now: the store authenticates without being opened again.
        with Operator(cluster.hosts[0]) as operator:
            operator.require_passwords(USER, PASSWORD, "modularity")
        put(store, "services/a", b"2")
        assert [record.value for record in snapshot_of(store).records] == [b"2"]
        store.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secured(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    own, client = authority.sign("server"), authority.sign("client")
    options = (
        *("--cert-file", str(own.cert), "--key-file", str(own.key)),
        *("--client-cert-auth", "--trusted-ca-file", str(authority.ca)),
    )
    assert client.cert.is_file()
    with running(tmp_path_factory.mktemp("secured"), options=options) as cluster:
        yield cluster


def test_a_trusted_certificate_gets_in(authority: Authority, secured: Cluster) -> None:
    host = secured.hosts[0]
    files = f"ca={authority.ca}&cert={authority.folder}/client.pem"
    store = open_store(
        f"etcd://{host}?tls=true&{files}&key={authority.folder}/client.key"
    )
    recorder = Recorder()
    store.watch(recorder)
    recorder.wait_for_revision(put(store, "services/a", b"1"))
    store.ping()
    store.close()


def test_without_ca_the_machines_authorities_are_trusted(
    authority: Authority, secured: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = Tls(
        cert=f"{authority.folder}/client.pem", key=f"{authority.folder}/client.key"
    )
    server = Server(secured.hosts, prefix="system", tls=tls)
    with pytest.raises(StoreUnavailable, match="not trusted"):
        EtcdStore(server)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    EtcdStore(server).close()


@pytest.mark.parametrize("tls", ["no certificate", "no tls"])
def test_without_a_certificate_nobody_gets_in(
    authority: Authority, secured: Cluster, tls: str
) -> None:
    given = Tls(ca=str(authority.ca)) if tls == "no certificate" else None
    with pytest.raises(StoreUnavailable, match="tls=") as caught:
        EtcdStore(Server(secured.hosts, tls=given))
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_a_file_that_is_no_longer_there_is_named(secured: Cluster) -> None:
    with pytest.raises(StoreUnavailable, match=r"/gone\.pem can't be read"):
        EtcdStore(Server(secured.hosts, tls=Tls(ca="/gone.pem")))
