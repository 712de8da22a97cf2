"""Every reply has a request id: the one that came, if it is sane, else its own."""

import pytest

from modularity_registry.runtime import Registry
from support.logs import through
from support.registry import registration

# Its caller need not be on the same machine.
REMOTE = registration(location="http://10.0.0.1:9001")


CALLS = [
    ("GET", "/api/services", 200),
    ("GET", "/api/capabilities/greet", 200),
    ("GET", "/api/services/hello-service", 200),
    ("POST", "/api/heartbeat/hello-service", 200),
    ("GET", "/nowhere", 404),
    ("DELETE", "/api/services", 405),
    ("POST", "/api/register", 400),
    ("GET", "/api/services?x=1", 400),
]


@pytest.mark.parametrize("hot", [True, False])
def test_every_reply_has_an_id_of_its_own(registry: Registry, hot: bool) -> None:
    client = through(registry, hot)
    client.post("/api/register", json=REMOTE)
    seen = set()
    for method, path, status in CALLS:
        for given in (None, "", "not one", "x" * 129, "ä"):
            headers = {} if given is None else {"X-Request-ID": given}
            kind = "application/json" if path == "/api/register" else None
            reply = client.open(path, method=method, headers=headers, content_type=kind)
            assert reply.status_code == status
            made = reply.headers.getlist("X-Request-ID")
            assert len(made) == 1
            assert made[0] != given
            seen.add(made[0])
    assert len(seen) == 5 * len(CALLS)


@pytest.mark.parametrize("given", ["a", "A.b_c-9", "x" * 128])
@pytest.mark.parametrize("hot", [True, False])
def test_a_sane_id_comes_back(registry: Registry, hot: bool, given: str) -> None:
    client = through(registry, hot)
    client.post("/api/register", json=REMOTE)
    for method, path, _ in CALLS:
        kind = "application/json" if path == "/api/register" else None
        reply = client.open(
            path, method=method, headers={"X-Request-ID": given}, content_type=kind
        )
        assert reply.headers.getlist("X-Request-ID") == [given]
