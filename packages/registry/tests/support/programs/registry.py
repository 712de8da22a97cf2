"""A real registry to test against; its settings are the first argument, as JSON."""

import json
import sys

from modularity_registry.config import Settings
from modularity_registry.serve import factory, server_options
from modularity_registry.serving.server import serve

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    keep_alive = given.pop("keep_alive", 15.0)
    settings = Settings(**given)
    sys.exit(
        serve(
            factory(settings, keep_alive),
            settings.host,
            settings.port,
            server_options(settings),
        )
    )
