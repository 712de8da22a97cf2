"""URLs of stores that have a server."""

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from modularity_registry.errors import BadSetting
from modularity_registry.stores import check_store_url, open_store
from modularity_registry.stores.server_url import Form, Host, Server, Tls, read_server

ONE = Form(5432, database=r"[^/]{1,63}")
SEVERAL = Form(2379, several=True)
SECRET = "hunter2"


def read(url: str, form: Form = SEVERAL) -> Server:
    return read_server(urlsplit(url), form)


def test_what_is_left_out_has_a_default() -> None:
    assert read("etcd://box") == Server((Host("box", 2379),), prefix="modularity")


def test_everything_can_be_said() -> None:
    assert read(
        "postgresql://u%40x:p%3Aa%2Fb@db.example:6000/reg%20istry?prefix=team-a", ONE
    ) == Server(
        (Host("db.example", 6000),),
        user="u@x",
        password="p:a/b",
        database="reg istry",
        prefix="team-a",
    )


def test_several_hosts_and_addresses() -> None:
    server = read("etcd://a:1,[::1]:2,10.0.0.1,[fe80::1]")
    assert [str(host) for host in server.hosts] == [
        "a:1",
        "[::1]:2",
        "10.0.0.1:2379",
        "[fe80::1]:2379",
    ]
    assert str(server) == "a:1,[::1]:2,10.0.0.1:2379,[fe80::1]:2379"


def test_tls_files_are_looked_for(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    for file in files.values():
        file.touch()
    options = "&".join(f"{name}={file}" for name, file in files.items())
    assert read(f"etcd://a?tls=true&{options}").tls == Tls(
        *(str(files[name]) for name in ("ca", "cert", "key"))
    )
    assert read("etcd://a?tls=true").tls == Tls()
    assert read("rediss://a", Form(6379, tls=True)).tls == Tls()


def test_sentinels_are_asked_for_a_primary_by_its_name() -> None:
    form = Form(26_379, database=r"\d*", several=True, sentinels=True)
    server = read("redis+sentinel://:p@a,b:5/my.primary-1/3", form)
    hosts = Host("a", 26_379), Host("b", 5)
    assert server == Server(hosts, password="p", database="3", primary="my.primary-1")
    assert read("redis+sentinel://a/name", form).database == ""


def test_a_password_is_not_shown() -> None:
    server = read(f"etcd://u:{SECRET}@a")
    assert server.password == SECRET
    assert SECRET not in repr(server) + str(server)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("etcd://", "needs a host"),
        ("etcd://a,", "needs a host"),
        ("etcd://a b", "needs a host"),
        ("etcd://::1", "needs a host"),
        ("etcd://a:0", "a port from 1 to 65535"),
        ("etcd://a:65536", "a port from 1 to 65535"),
        ("etcd://a:x", "needs a host"),
        ("etcd://a/registry", "?prefix=name"),
        ("etcd://a#b", "%23"),
        ("etcd://a?prefix=", "a prefix of 1 to 48"),
        ("etcd://a?prefix=a/b", "a prefix of 1 to 48"),
        ("etcd://a?prefix=..", "a prefix of 1 to 48"),
        (f"etcd://a?prefix={'x' * 49}", "a prefix of 1 to 48"),
        ("etcd://a?prefix=a&prefix=b", "each option once"),
        ("etcd://a?colour=red", "an option that does not exist; use prefix"),
        ("postgresql://a/b?password=c", "takes no password as an option"),
        ("consul://a?token=c", "takes no token as an option, but before the host"),
        ("etcd://a?prefix", "?name=value"),
        ("etcd://a?tls=yes", "tls=true or tls=false"),
        ("etcd://a?ca=/x", "only with tls=true"),
        ("etcd://a?tls=true&ca=/no/such/file", "the file of ca"),
        ("etcd://a?tls=true&cert=/x", "cert and key together"),
        ("rediss://a?tls=false", "always uses TLS"),
        ("redis://a/x", "names no valid database"),
        ("redis://a,b", "accepts one host"),
        ("redis+sentinel://a,b", "needs the name of the primary"),
        ("redis+sentinel://a/a%20b", "needs the name of the primary"),
        ("redis+sentinel://a/name/x", "names no valid database"),
        ("rediss+sentinel://a/name?tls=false", "always uses TLS"),
        ("postgresql://a", "names no valid database"),
        ("postgresql://a/b/c", "names no valid database"),
        ("etcd://u%ff:p@a", "not UTF-8"),
        ("etcd://u%0a:p@a", "control characters"),
    ],
)
def test_other_urls_are_bad_settings(url: str, says: str) -> None:
    with pytest.raises(BadSetting) as caught:
        check_store_url(url)
    assert says in caught.value.detail
    assert "; write " in caught.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "etcd://u:{}\u2100@a",
        "etcd://u:{}@",
        "etcd://u:{}@a/x",
        "redis://:{}@a?x=1",
        "consul://{}@a:0",
        "consul://a?token={}",
        "postgresql://a/b?password={}",
        "redis://a?{}=x",
        "redis://a?x={}",
        "redis://:{}",
        "redis:{}",
        "{}",
        "{}:x",
        "{}-x://a",
        "etcd://a/{}",
        "etcd://a#{}",
        "etcd://a?prefix={}%20",
    ],
)
def test_no_message_repeats_a_password(url: str) -> None:
    with pytest.raises(BadSetting) as caught:
        check_store_url(url.format(SECRET))
    assert SECRET not in caught.value.detail


@pytest.fixture
def stores_as_before() -> Iterator[None]:
    """Afterwards the stores' modules are those that were loaded before."""
    prefix = "modularity_registry.stores."
    loaded = {
        name: sys.modules[name] for name in sys.modules if name.startswith(prefix)
    }
    yield
    for name in [name for name in sys.modules if name.startswith(prefix)]:
        del sys.modules[name]
    sys.modules.update(loaded)
    for name, module in loaded.items():
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, module)


@pytest.mark.usefixtures("stores_as_before")
@pytest.mark.parametrize(
    ("url", "driver", "extra"),
    [
        ("postgresql://127.0.0.1:1/x", "psycopg", "postgresql"),
        ("redis://127.0.0.1:1", "redis", "redis"),
        ("rediss://127.0.0.1:1", "redis", "redis"),
        ("etcd://127.0.0.1:1", "pyetcd", "etcd"),
        ("zookeeper://127.0.0.1:1", "kazoo", "zookeeper"),
        ("consul://127.0.0.1:1", "consul", "consul"),
    ],
)
def test_a_driver_that_is_missing_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, url: str, driver: str, extra: str
) -> None:
    for name in list(sys.modules):
        if name == driver or name.startswith(
            (f"{driver}.", "modularity_registry.stores.")
        ):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(BadSetting) as caught:
        open_store(url)
    assert driver in caught.value.detail
    assert f'pip install "modularity-registry[{extra}]"' in caught.value.detail
