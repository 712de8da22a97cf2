"""Commands that ask a running registry, by the project's own client, or its audit."""

from typing import Final

import click

from modularity_registry.console.audit import audit
from modularity_registry.console.changing import drain, register, undrain, unregister
from modularity_registry.console.completing import completion
from modularity_registry.console.doctor import doctor
from modularity_registry.console.overview import graph, stats
from modularity_registry.console.reading import (
    discover,
    explain,
    find,
    info,
    list_services,
)
from modularity_registry.console.tokens import token
from modularity_registry.console.watching import watch

__all__ = ["COMMANDS"]

COMMANDS: Final[tuple[click.Command, ...]] = (
    audit,
    completion,
    discover,
    doctor,
    drain,
    explain,
    find,
    graph,
    info,
    list_services,
    register,
    stats,
    token,
    undrain,
    unregister,
    watch,
)
"""All of them; the command line adds each under its own name."""
