"""Who gets into Redis, by password or certificate, and what is said at opening."""

import logging
import re
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from modularity_registry.errors import OutcomeUnknown, StoreUnavailable
from modularity_registry.stores import open_store
from modularity_registry.stores.base import Write, put
from modularity_registry.stores.conformance.base import assert_prompt
from modularity_registry.stores.conformance.breakable_proxy import HOST
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.redis.store import RedisStore
from modularity_registry.stores.server_url import Host, Server, Tls
from support.servers.certificates import Authority
from support.servers.stores.redis import RedisServer, TlsProxy, running
from support.serving import free_port

PASSWORD = "of-the-default-user"

# What the store needs; `test_acl` has what the documentation says for each version.
PERMITTED = (
    "+eval +evalsha +multi +exec +ping +select +hmget +hgetall +hvals +hexists"
    " +hset +hsetnx +hdel +xadd +xread +xrevrange +del +config|get"
)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server with a password, and a user who may do what the store needs."""
    folder = tmp_path_factory.mktemp("guarded")
    users = folder / "users.acl"
    users.write_text(
        f"user default on >{PASSWORD} ~* +@all\n"
        f"user registry on >hunter2 ~{{mine}}:* {PERMITTED}\n"
        f"user keeper on >hunter2 ~{{mine}}:* {PERMITTED} -hdel\n"
        "user reader on >hunter2 ~{mine}:* +hmget +eval\n"
        "user disabled off >hunter2 ~* +@all\n"
    )
    with running(folder, "--aclfile", str(users)) as server:
        yield server


@pytest.fixture
def place(guarded: RedisServer) -> Server:
    return guarded.place()


def test_the_right_password_gets_in(place: Server) -> None:
    with closing(RedisStore(replace(place, password=PASSWORD))) as store:
        put(store, "services/a", b"")


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("", "wrong"),
        ("", ""),
        ("registry", "wrong"),
        ("registry", ""),
        ("nobody", "hunter2"),
        ("disabled", "hunter2"),
    ],
)
def test_wrong_credentials_are_refused(place: Server, user: str, password: str) -> None:
    stranger = replace(place, user=user, password=password)
    with pytest.raises(StoreUnavailable, match="refuses the user or the") as caught:
        assert_prompt(lambda: RedisStore(stranger))
    assert "wrong" not in caught.value.detail
    assert "hunter2" not in caught.value.detail


@pytest.mark.parametrize(
    ("user", "prefix"), [("registry", "not-mine"), ("reader", "mine")]
)
def test_a_user_without_rights_is_refused(
    place: Server, user: str, prefix: str
) -> None:
    limited = replace(place, user=user, password="hunter2", prefix=prefix)
    with pytest.raises(StoreUnavailable, match="does not allow"):
        RedisStore(limited)


def test_a_batch_that_stops_half_way_has_an_unknown_outcome(place: Server) -> None:
    mine = replace(place, user="keeper", password="hunter2", prefix="mine")
    with closing(RedisStore(mine)) as store:
        put(store, "services/a", b"")
        with pytest.raises(OutcomeUnknown, match="does not allow"):
            store.commit([Write("services/b", b""), Write("services/a", None)])
        keys = [record.key for record in snapshot_of(store).records]
        assert keys == ["services/a", "services/b"]
        put(store, "services/c", b"")


def test_a_password_where_none_is_set_is_refused(redis_server: RedisServer) -> None:
    with pytest.raises(StoreUnavailable, match="refuses the user or the password"):
        RedisStore(replace(redis_server.place(), password="hunter2"))


def test_a_missing_server_is_reported_promptly() -> None:
    nowhere = Server((Host(HOST, free_port()),))
    with pytest.raises(StoreUnavailable, match="can't be reached"):
        assert_prompt(lambda: RedisStore(nowhere))


def test_a_name_that_is_none_is_told_promptly() -> None:
    nowhere = Server((Host("registry.invalid", 6379),))
    with pytest.raises(StoreUnavailable, match=r"registry\.invalid:6379"):
        assert_prompt(lambda: RedisStore(nowhere), 10.0)


# TLS


class Secured:
    """TLS in front of a server, with and without a certificate of the client's."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self.server = server
        self.authority = Authority(folder)
        self.own = self.authority.sign("server")
        self.client = self.authority.sign("client")

    def proxy(self, mutual: bool = False) -> TlsProxy:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.own.cert, self.own.key)
        if mutual:
            context.load_verify_locations(self.authority.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return TlsProxy(self.server.port, context)


@pytest.fixture(scope="module")
def secured(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Secured:
    return Secured(tmp_path_factory.mktemp("certificates"), redis_server)


def test_tls_with_the_servers_authority(secured: Secured) -> None:
    with closing(secured.proxy()) as proxy:
        url = f"rediss://{HOST}:{proxy.port}/1?ca={secured.authority.ca}"
        with closing(open_store(url)) as store:
            recorder = Recorder()
            watch = store.watch(recorder)
            recorder.wait_for_revision(put(store, "services/a", b"x" * 100_000))
            assert len(snapshot_of(store).records) == 1
            assert_prompt(watch.close)


def test_tls_that_goes_away_comes_back(secured: Secured) -> None:
    with closing(secured.proxy()) as proxy:
        place = replace(
            secured.server.place(proxy.port), tls=Tls(str(secured.authority.ca))
        )
        with closing(RedisStore(place, timeout=1.0)) as store:
            recorder = Recorder()
            store.watch(recorder)
            for number, end in enumerate((proxy.cut, proxy.hold)):
                end()
                _wait_for(recorder, 2 * number + 2)
                proxy.mend()
                _wait_for(recorder, 2 * number + 3)
            proxy.hold()
            assert_prompt(store.close)


def test_an_unknown_authority_is_named(secured: Secured) -> None:
    with closing(secured.proxy()) as proxy:
        place = replace(secured.server.place(proxy.port), tls=Tls())
        with pytest.raises(StoreUnavailable, match="certificate that is not trusted"):
            RedisStore(place)


def test_a_certificate_for_another_name_is_refused(secured: Secured) -> None:
    with closing(secured.proxy()) as proxy:
        # The same address, but not as the certificate writes it.
        elsewhere = (Host("127.1", proxy.port),)
        place = replace(
            secured.server.place(),
            hosts=elsewhere,
            tls=Tls(str(secured.authority.ca)),
        )
        with pytest.raises(StoreUnavailable, match="not trusted: Hostname mismatch"):
            RedisStore(place)


def test_a_client_shows_its_certificate(secured: Secured) -> None:
    client = Tls(
        str(secured.authority.ca), str(secured.client.cert), str(secured.client.key)
    )
    with closing(secured.proxy(mutual=True)) as proxy:
        place = secured.server.place(proxy.port)
        with closing(RedisStore(replace(place, tls=client))) as store:
            put(store, "services/a", b"")
        with pytest.raises(StoreUnavailable):
            RedisStore(replace(place, tls=Tls(str(secured.authority.ca))))


def test_tls_to_a_server_without_it_is_told(redis_server: RedisServer) -> None:
    place = replace(redis_server.place(), tls=Tls())
    with pytest.raises(StoreUnavailable, match=re.escape(str(place))):
        assert_prompt(lambda: RedisStore(place, timeout=1.0))


def test_no_tls_to_a_server_with_it_is_told(secured: Secured) -> None:
    with closing(secured.proxy()) as proxy:
        place = secured.server.place(proxy.port)
        with pytest.raises(StoreUnavailable, match=re.escape(str(place))):
            assert_prompt(lambda: RedisStore(place, timeout=1.0))


# What is said at opening


@pytest.mark.parametrize(
    ("appendonly", "policy", "says"),
    [
        ("no", "noeviction", ["saves nothing"]),
        ("yes", "allkeys-lru", ["deletes records"]),
        ("yes", "noeviction", []),
    ],
)
def test_a_server_that_may_lose_records_is_named(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    appendonly: str,
    policy: str,
    says: list[str],
) -> None:
    options = ["--maxmemory-policy", policy]
    with running(tmp_path, *options, appendonly=appendonly) as server:
        caplog.set_level(logging.WARNING)
        RedisStore(server.place()).close()
    assert len(caplog.messages) == len(says)
    for message, part in zip(caplog.messages, says, strict=True):
        assert part in message


def test_without_access_to_config_nothing_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ["--rename-command", "CONFIG", ""]
    with running(tmp_path, *options, appendonly="no") as server:
        RedisStore(server.place()).close()
    assert caplog.messages == []


def _wait_for(recorder: Recorder, events: int) -> None:
    recorder.wait(lambda: len(recorder.events) >= events, f"event {events}")
