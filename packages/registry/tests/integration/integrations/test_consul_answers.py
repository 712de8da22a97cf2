"""The same calls to a real Consul and to the registry: the answers are the same.

What differs on purpose is in `DIFFERENT`, and in docs/integrations/consul.md.
"""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from modularity_registry.integrations.consul.node import NAME
from support.servers.registry import RegistryProcess
from support.servers.stores import consul
from support.serving import HOST

NODE = "one"
WITHIN = 3.0
"""Seconds that an answer may take to be the same: Consul's agent tells its catalog of
changes in its own time, and checks are made in theirs."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class Step(NamedTuple):
    method: str
    path: str
    body: str | None = None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path} {self.body or ''}".strip()


def put(path: str, body: Any = None) -> Step:
    text = body if isinstance(body, str | None) else json.dumps(body)
    return Step("PUT", f"/v1/{path}", text)


def get(path: str) -> Step:
    return Step("GET", f"/v1/{path}")


def register(**fields: Any) -> Step:
    return put("agent/service/register", fields)


TTL = {"ttl": "60s"}
READ_ALL = [
    get("agent/services"),
    get("agent/checks"),
    get("catalog/services"),
    get("health/state/any"),
]
STEPS = [
    # Nothing is there.
    get("catalog/services"),
    get("catalog/service/none"),
    get("health/service/none"),
    get("health/service/none?passing"),
    get("health/checks/none"),
    get("catalog/datacenters"),
    get("catalog/nodes"),
    get(f"catalog/node/{NODE}"),
    get(f"catalog/node-services/{NODE}"),
    get("catalog/node/none"),
    get(f"health/node/{NODE}"),
    get("health/node/none"),
    get("health/state/any"),
    get("health/state/critical"),
    get("health/state/bogus"),
    get("agent/service/none"),
    get("agent/health/service/name/none"),
    get("agent/health/service/id/none"),
    get("kv/a"),
    get("kv/a?recurse"),
    # Services as clients register them.
    register(
        name="web",
        id="web1",
        address="127.0.0.1",
        port=24000,
        tags=["t1", "T2"],
        meta={"a": "b", "tags": "mine"},
        check=TTL,
        weights={"Passing": 3, "Warning": 1},
    ),
    register(Name="web", ID="web2", Port=24001, Tags=None, Check={"TTL": "60s"}),
    register(name="plain"),
    register(
        name="tagged",
        address="10.0.0.1",
        port=5,
        tagged_addresses={"lan": {"address": "1.2.3.4", "port": 99}},
        enable_tag_override=True,
        weights={"passing": 5},
    ),
    register(name="tagged2", TaggedAddresses={"lan_ipv4": {"Address": "1.2.3.4"}}),
    register(name="six", address="fd00::1", port=5),
    register(
        name="multi",
        port=24002,
        checks=[
            {"ttl": "60s", "status": "passing", "notes": "n"},
            {"ttl": 60_000_000_000, "status": "warning", "name": "My check"},
            {"TTL": "1m0s", "CheckID": "my/own id"},
        ],
    ),
    register(name="both", check={**TTL, "checkid": "x1"}, checks=[TTL]),
    register(name="a b/c", id="id with/slash", port=1, tags=["x y", "é"]),
    register(name="empty", check={}, checks=[], meta={}, connect={}, proxy={}),
    *READ_ALL,
    get("agent/service/web1"),
    get("agent/service/tagged"),
    get("agent/service/tagged2"),
    get("agent/service/six"),
    get("agent/service/id%20with/slash"),
    get("catalog/service/web"),
    get("catalog/service/a%20b%2Fc"),
    get("catalog/service/tagged"),
    get("catalog/service/web?tag=t1"),
    get("catalog/service/web?tag=t1&tag=t2"),
    get("catalog/service/web?tag=t1&tag=t3"),
    get("catalog/service/web?tag=T1&near=_agent"),
    get(f"catalog/node/{NODE}"),
    get("health/service/web"),
    get("health/service/web?passing"),
    get("health/service/web?passing=1&tag=t1&dc=dc1&stale"),
    get("health/service/plain?passing=true"),
    get("health/service/multi"),
    get("health/service/a%20b%2Fc"),
    get("health/checks/multi"),
    get("health/state/warning"),
    get("health/state/passing"),
    get("catalog/services?node-meta=a:b"),
    get("health/service/web?node-meta=a:b"),
    get("agent/health/service/id/web1?format=text"),
    get("agent/health/service/name/web?format=text"),
    get("agent/health/service/name/multi?format=text"),
    # Filters.
    get("health/service/web?filter=Service.ID==web1"),
    get("health/service/web?filter=Service.ID!=web1"),
    get("health/service/web?filter=Service.Tags+contains+t1"),
    get("health/service/web?filter=t1+not+in+Service.Tags"),
    get("health/service/web?filter=Service.Tags+is+empty"),
    get("health/service/web?filter=Service.Meta.a==b"),
    get("health/service/web?filter=Service.Meta.zzz!=b"),
    get("health/service/web?filter=a+in+Service.Meta"),
    get("health/service/web?filter=Service.Meta%5B%22a%22%5D==%60b%60"),
    get("health/service/web?filter=Service.Port==24001"),
    get("health/service/web?filter=Service.Weights.Passing==3"),
    get("health/service/web?filter=Service.EnableTagOverride==0"),
    get("health/service/web?filter=Service.Address+matches+%22^127%22"),
    get("health/service/web?filter=Service.Address+not+matches+%22^127%22"),
    get("health/service/web?filter=Checks.Status==critical"),
    get("health/service/web?filter=Checks.CheckID==serfHealth"),
    get("health/service/web?filter=Checks.Status!=critical"),
    get("health/service/web?filter=not+Service.ID==web1+and+Node.Datacenter==dc1"),
    get(
        "health/service/web?filter=(Service.ID==web1+or+Service.ID==web2)+and+not+not"
        "+Service.Port==24000"
    ),
    get("health/state/any?filter=Status==warning"),
    get("agent/services?filter=Service==web"),
    get("agent/checks?filter=ServiceName==multi"),
    get("catalog/service/web?filter=ServiceMeta.a==b"),
    get("catalog/nodes?filter=Datacenter==dc2"),
    get("health/service/web?filter="),
    get("health/service/web?filter=Foo==1"),
    get("health/service/web?filter=Service.ID=="),
    get("health/service/web?filter=Service.ID==a+and"),
    get("health/service/web?filter=Service.Port==abc"),
    get("health/service/web?filter=Service.Tags==a"),
    get("health/service/web?filter=Service.ID+is+empty"),
    get("agent/services?filter=Bogus==web"),
    # What services say of their checks.
    put("agent/check/pass/service:web1?note=fine"),
    get("health/checks/web"),
    put("agent/check/warn/service%3Aweb1?note=slow"),
    get("health/checks/web"),
    get("agent/health/service/id/web1?format=text"),
    put("agent/check/fail/service:web1"),
    get("health/checks/web"),
    put("agent/check/update/service:web1", {"Status": "passing", "Output": "out"}),
    get("health/service/web?passing=1"),
    put("agent/check/update/my/own%20id", {"Status": "warning", "Output": "slow"}),
    put("agent/check/pass/service:multi:2"),
    get("health/checks/multi"),
    put("agent/check/fail/service:web1"),
    put("agent/check/pass/service:web1"),
    # A check more, and one less.
    put("agent/check/register", {"name": "chk", "ttl": "60s", "serviceid": "web1"}),
    put(
        "agent/check/register",
        {"Name": "z", "ID": "zid", "TTL": "60s", "ServiceID": "web1", "Notes": "hi"},
    ),
    get("health/checks/web"),
    put("agent/check/deregister/chk"),
    put("agent/check/deregister/chk"),
    get("health/checks/web"),
    # Registered again: what is known of its checks stays.
    register(name="web", id="web1", port=24000, tags=["t1", "T2"], check=TTL),
    get("health/checks/web"),
    get("agent/service/web1"),
    put(
        "agent/service/register?replace-existing-checks=true",
        {"name": "web", "id": "web1", "tags": ["t1", "T2"], "check": TTL},
    ),
    get("health/checks/web"),
    # Maintenance.
    put("agent/service/maintenance/web1?enable=true&reason=why"),
    get("health/checks/web"),
    get("health/service/web?passing"),
    get("agent/health/service/id/web1?format=text"),
    put("agent/service/maintenance/web1?enable=true"),
    get("health/checks/web"),
    put("agent/service/maintenance/web1?enable=false"),
    put("agent/service/maintenance/web1?enable=false"),
    put("agent/service/maintenance/web2?enable=true"),
    get("health/checks/web"),
    # Gone.
    put("agent/service/deregister/web2"),
    put("agent/service/deregister/none"),
    put("agent/service/deregister/id%20with/slash"),
    get("catalog/service/web"),
    get("catalog/service/a%20b%2Fc"),
    *READ_ALL,
    # What is wrong.
    register(),
    register(name=""),
    put("agent/service/register", "nonsense"),
    put("agent/service/register"),
    register(name="x", port="80"),
    register(name="x", bogus=1),
    register(name="x", tags="t"),
    register(name="x", meta={"": "x"}),
    register(name="x", meta={"a b": "x"}),
    register(name="x", meta={"a": 1}),
    register(name="x", address="0.0.0.0"),
    register(name="x", weights={"passing": 0, "warning": 0}),
    register(name="x", weights={"passing": 70000, "warning": 0}),
    register(name="x", check={"interval": "10s"}),
    register(name="x", check={"ttl": "10s", "interval": "10s"}),
    register(name="x", check={"tcp": "127.0.0.1:1"}),
    register(name="x", check={"tcp": "127.0.0.1:1", "interval": "xs"}),
    register(name="x", check={"ttl": "abc"}),
    register(name="x", check={"ttl": "1s", "status": "bogus"}),
    register(name="x", check={"args": ["/bin/true"], "interval": "10s"}),
    put("agent/check/pass/none"),
    put("agent/check/update/none", {"Status": "passing"}),
    put("agent/check/update/service:web1", {"Status": "bogus"}),
    put("agent/check/update/service:web1", "x"),
    put("agent/check/register", {"ttl": "10s"}),
    put("agent/check/register", {"name": "z", "ttl": "10s", "serviceid": "none"}),
    put("agent/check/register", {"name": "z", "serviceid": "web1"}),
    put("agent/service/maintenance/web1"),
    put("agent/service/maintenance/web1?enable=maybe"),
    put("agent/service/maintenance/none?enable=true"),
    put("agent/service/deregister/"),
    get("health/service/web?index=abc"),
    get("health/service/web?index=-1"),
    get("health/service/web?wait=1"),
    get("health/service/web?passing=banana"),
    get("health/service/web?stale&consistent"),
    get("health/service/web?dc=other"),
    get("health/service/"),
    get("catalog/service/"),
    get("health/checks/"),
    get("health/state/"),
    Step("POST", "/v1/agent/check/pass/service:web1"),
    Step("POST", "/v1/catalog/services"),
    Step("DELETE", "/v1/status/leader"),
    get("agent/check/pass/service:web1"),
    get("nonexistent"),
    put("catalog/register", {}),
    put("catalog/register", {"node": NODE}),
    put("catalog/register", "x"),
    put("catalog/register"),
    put("catalog/deregister", {}),
    put("catalog/deregister", {"node": NODE, "serviceid": "none"}),
]
"""In their order: each finds what those before it have left."""

DIFFERENT = {
    # The registry answers what is wrong with a filter with 400, as newer Consuls do.
    **{step.name: (500, 400) for step in STEPS if "filter=" in step.path},
    # It runs no programs, whatever is switched on.
    'PUT /v1/agent/service/register {"name": "x", "check": {"args": ["/bin/true"],'
    ' "interval": "10s"}}': (500, 400),
}
"""The status of Consul and that of the registry, where they may differ."""

SAME_TEXT = (
    "Missing",
    "Invalid index",
    "Invalid wait",
    "Invalid value",
    "Invalid Weights",
    "Invalid Service Meta",
    "Invalid service address",
    "Invalid check:",
    "Invalid check status",
    "Cannot specify",
    "No path",
    "No service registered",
    "CheckID",
    "ServiceID",
    "Must provide",
    "unknown service ID",
    "Status for checks",
)
"""How texts begin that are the same to the letter."""


def call(port: int, step: Step) -> Answer:
    path = step.path
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    try:
        connection.request(step.method, path, step.body)
        reply = connection.getresponse()
        text = reply.read()
    finally:
        connection.close()
    headers = {name.lower(): value for name, value in reply.getheaders()}
    try:
        body = json.loads(text)
    except ValueError:
        body = text.decode()
    return Answer(reply.status, headers, body)


HIDDEN = {"CreateIndex", "ModifyIndex", "ContentHash", "Definition"}
SHOWN_HEADERS = ("x-consul-knownleader", "x-consul-lastcontact", "content-type")


def plain(value: Any, key: str = "") -> Any:
    """Return it without what no two registries have in common."""
    if isinstance(value, dict):
        return {
            name: plain(one, name)
            for name, one in value.items()
            if name not in HIDDEN and name != "consul"
        }
    if isinstance(value, list):
        rows = [
            plain(one)
            for one in value
            if not (isinstance(one, dict) and one.get("Service") == "consul")
        ]
        return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
    if key == "Meta" and value is None:
        return {}
    if value in (NODE, NAME):
        return "the node"
    if key == "ID" and isinstance(value, str) and len(value) == 36:
        return "the node's id"
    return value


def shown(answer: Answer) -> Any:
    body = plain(answer.body)
    if isinstance(body, str):
        known = answer.body.startswith(SAME_TEXT)
        body = answer.body.strip() if known else "some text"
    headers = {name: answer.headers.get(name) for name in SHOWN_HEADERS}
    if isinstance(answer.body, str):
        del headers["content-type"]
    headers["index"] = "there" if "x-consul-index" in answer.headers else "missing"
    if answer.status >= 400:
        headers = {}
    return answer.status, headers, body


def same(step: Step, theirs: Answer, ours: Answer) -> bool:
    allowed = DIFFERENT.get(step.name)
    if allowed is not None and (theirs.status, ours.status) == allowed:
        return True
    return bool(shown(theirs) == shown(ours))


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    folder: Path = tmp_path_factory.mktemp("consul")
    agent = consul.Agent(folder, options=("-dev",))
    with consul.running(agent):
        agent.call("DELETE", "/v1/kv/a-test-looks-if-it-is-up")
        registry = RegistryProcess(integrations=("consul",))
        try:
            yield agent.port, registry.port
        finally:
            registry.stop()


def test_a_real_consul_and_the_registry_answer_alike(ports: tuple[int, int]) -> None:
    theirs, ours = ports
    failed = []
    for step in STEPS:
        there = step._replace(path=step.path)
        here = step._replace(path=step.path.replace(f"/{NODE}", f"/{NAME}"))
        deadline = time.monotonic() + WITHIN
        answers = call(theirs, there), call(ours, here)
        while step.method == "GET" and not same(step, *answers):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
            answers = call(theirs, there), call(ours, here)
        if not same(step, *answers):
            failed.append((step.name, shown(answers[0]), shown(answers[1])))

    assert not failed, "\n\n".join(
        f"{name}\n  Consul:   {one}\n  registry: {other}" for name, one, other in failed
    )
    assert len(STEPS) > 150
