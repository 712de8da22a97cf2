"""Uses a generated client against a real registry; prints what it got."""

import sys
from typing import Any

from modularity_registry_client import (
    Client,
)
from modularity_registry_client.api.capabilities import (
    discover,
    pick_provider,
)
from modularity_registry_client.api.services import (
    list_services,
    read_service,
    register,
    unregister,
)
from modularity_registry_client.models import (
    DiscoveryRequest,
    Registration,
    RegistrationMetadata,
    RegistrationMode,
)

client = Client(base_url=sys.argv[1])
metadata = RegistrationMetadata.from_dict({"region": "eu", "cores": 4})
service = Registration(
    id="a",
    name="A",
    capabilities=["greet", "x/y"],
    location="worker 7",
    mode=RegistrationMode.STANDALONE,
    metadata=metadata,
)


def show(*values: Any) -> None:
    print(*values, flush=True)


written = register.sync(client=client, body=service)
show(written.status, written.service_id)
read = read_service.sync("a", client=client)
show(read.name, read.metadata["region"], read.metadata["cores"], read.ttl)
listed = list_services.sync(client=client)
show(listed.count, [each.id for each in listed.services])
show(pick_provider.sync("greet", client=client).id)
matches = discover.sync(client=client, body=DiscoveryRequest(optional=["x/y"]))
show([(each.service.id, each.match_score) for each in matches.matches])
show(unregister.sync("a", client=client).status)
show(read_service.sync("a", client=client).code)
