"""How a command ends when it fails: one line on standard error, and an exit code."""

import sys
from typing import Final, NoReturn

import click

from modularity_registry.model.printable import printable

PROGRAM: Final = "modularity-registry"

FAILED: Final = 1
"""The exit code of a command that did not get, or do, what it was told to."""


REFUSED: Final = 2
"""The exit code of a command that was told something that makes no sense."""


def fail(*messages: str, code: int = FAILED) -> NoReturn:
    """End the program with a line for each thing that is wrong and what to do."""
    for message in messages:
        click.echo(f"{PROGRAM}: {printable(message)}", err=True)
    sys.exit(code)
