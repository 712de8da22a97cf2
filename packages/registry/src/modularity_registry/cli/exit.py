"""How a command ends when it fails: one line on standard error, and an exit code."""

import sys
from typing import Final, NoReturn

import click

from modularity_registry.model.printable import printable

PROGRAM: Final = "modularity-registry"

FAILED: Final = 1
"""The exit code of a command that did not get, or do, what it was told to."""


def fail(message: str) -> NoReturn:
    """End the program with one line that says what is wrong and what to do."""
    click.echo(f"{PROGRAM}: {printable(message)}", err=True)
    sys.exit(FAILED)
