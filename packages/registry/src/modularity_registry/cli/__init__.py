"""Commands that ask a running registry, by the project's own client, or its audit."""

from typing import Final

import click

from modularity_registry.cli.audit import audit
from modularity_registry.cli.completion import completion
from modularity_registry.cli.doctor.command import doctor
from modularity_registry.cli.lookup import discover, explain, find, info, list_services
from modularity_registry.cli.overview import graph, stats
from modularity_registry.cli.registration import drain, register, undrain, unregister
from modularity_registry.cli.tokens import token
from modularity_registry.cli.watch.command import watch

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
