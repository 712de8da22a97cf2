"""A real registry to test against; its settings are the first argument, as JSON."""

import json
import sys

from modularity_registry.config import Settings
from modularity_registry.serve import factory, server_options
from modularity_registry.serving.server import serve


def main(text: str) -> None:
    """Serve until a signal, then end the process."""
    given = json.loads(text)
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


if __name__ == "__main__":
    main(sys.argv[1])
