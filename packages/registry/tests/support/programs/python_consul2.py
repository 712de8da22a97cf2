"""What a program does with python-consul2; prints what it has found, as JSON."""

import json
import sys

import consul  # type: ignore[import-untyped]  # it has no types

client = consul.Consul(host="127.0.0.1", port=int(sys.argv[1]))
agent, found = client.agent, {}
agent.service.register(
    "old-web",
    service_id="old-web-1",
    address="127.0.0.1",
    port=8080,
    tags=["blue"],
    check=consul.Check.ttl("30s"),
)
found["new"] = client.health.service("old-web", passing=True)[1]
agent.check.ttl_pass("service:old-web-1")
index, nodes = client.health.service("old-web", passing=True)
found["passing"] = [node["Service"]["ID"] for node in nodes]
found["tags"] = client.catalog.services()[1]["old-web"]
found["unchanged"] = (
    client.health.service("old-web", index=index, wait="1s")[0] == index
)
agent.service.maintenance("old-web-1", "true", "why")
found["drained"] = client.health.service("old-web", passing=True)[1]
agent.service.maintenance("old-web-1", "false")
found["key"] = client.kv.get("none")[1]
agent.service.deregister("old-web-1")
found["gone"] = client.catalog.service("old-web")[1]
print(json.dumps(found))
