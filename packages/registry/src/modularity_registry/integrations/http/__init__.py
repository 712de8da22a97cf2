"""Other registries' APIs on the registry's own port, answered on the event loop."""

from modularity_registry.integrations.http.application import Application
from modularity_registry.integrations.http.call import Call, Reply
from modularity_registry.integrations.http.front import IntegrationFront
from modularity_registry.integrations.http.route import Pending, Ready, Route

__all__ = [
    "Application",
    "Call",
    "IntegrationFront",
    "Pending",
    "Ready",
    "Reply",
    "Route",
]
