"""The line that says that a service has joined, and where to look at it."""

import logging
import sys
from urllib.parse import quote

from modularity_client.http.endpoints import redacted

log = logging.getLogger("modularity_client")


def announce(
    service_id: str, location: str, registry: str, namespace: str = ""
) -> None:
    """Log that a service joined a registry, at level info.

    If the program has set up no logging, the line goes to stderr, so that people who
    start their first module see where it is.
    """
    registry = redacted(registry).rstrip("/")
    within = f" in namespace {namespace}" if namespace else ""
    query = f"?namespace={namespace}" if namespace else ""
    line = (
        f"{service_id}: joined {registry}{within} as {location}; see"
        f" {registry}/{query}#/services/{quote(service_id, safe='')}"
    )
    if log.hasHandlers():
        log.info("%s", line)
    elif not log.disabled and log.level in (logging.NOTSET, logging.INFO):
        print(line, file=sys.stderr, flush=True)
