"""The targets by name: each module has ``check``, which raises for a broken promise."""

from collections.abc import Callable
from importlib import import_module
from typing import Final

TARGETS: Final = {
    "protocol": "an HTTP connection: any cut of the bytes gives the same replies",
    "addresses": "locations and networks: nothing reaches what the policy forbids",
    "dns": "DNS over UDP and TCP: replies can be read and are as long as allowed",
    "events": "the client's event streams: any cut of the bytes gives the same events",
    "patterns": "patterns: Python, Rust and JavaScript read them alike",
    "registrations": "registrations: the quick decoder agrees with the models",
}
"""What each is about."""


def load(name: str) -> Callable[[bytes], None]:
    """Return the ``check`` of a target."""
    check: Callable[[bytes], None] = import_module(f"fuzzing.targets.{name}").check
    return check
