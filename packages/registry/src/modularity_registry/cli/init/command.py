"""The command init: writes a module that runs, joins a registry and can be called."""

import json
import shlex
import sys
from pathlib import Path
from typing import Final

import click

from modularity_registry.cli.exit import fail
from modularity_registry.cli.init.module_file import REQUIREMENTS, NewModule
from modularity_registry.errors import InvalidRequest
from modularity_registry.schema.request_models import RegistrationBody
from modularity_registry.schema.validate import validated

IMPORTED: Final = {*sys.stdlib_module_names, "fastapi", "flask", "modularity_client"}
"""What the module imports: a file of that name would be imported in its place."""


@click.command()
@click.argument("path", metavar="[PATH]", default=".", type=click.Path(path_type=Path))
@click.option(
    "--framework",
    type=click.Choice(tuple(REQUIREMENTS)),
    default="fastapi",
    show_default=True,
    help="What serves it; plain is Python's own HTTP server.",
)
@click.option("--id", "module_id", default="greeter", show_default=True, metavar="ID")
@click.option("--capability", default="greet", show_default=True, metavar="NAME")
@click.option("--port", type=click.IntRange(1, 65_535), default=9001, show_default=True)
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def init(
    path: Path, framework: str, module_id: str, capability: str, port: int, force: bool
) -> None:
    """Write a module to begin with.

    PATH is a file that ends with .py, or a folder for module.py; by default, this
    folder.
    """
    module = NewModule(module_id, capability, port, framework)
    _check(module)
    target = path if path.suffix == ".py" else path / "module.py"
    if target.stem in IMPORTED:
        fail(f"{target.name} would hide the Python package {target.stem}; rename it")
    _write(target, module.text(), force)
    _print_next_steps(target, module)


def _check(module: NewModule) -> None:
    """Raise `click.UsageError` (code 2) for what the registry would refuse."""
    try:
        validated(
            RegistrationBody,
            {
                "id": module.id,
                "name": module.name,
                "capabilities": [module.capability],
                "location": module.location,
                "mode": "http",
                "metadata": {},
            },
        )
    except InvalidRequest as error:
        first = error.errors[0]
        option = "--capability" if first.field.startswith("capab") else "--id"
        raise click.BadParameter(first.message, param_hint=option) from None


def _write(target: Path, text: str, force: bool) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        if target.exists() and not force:
            fail(f"{target} exists; choose another path, or overwrite it with --force")
        fail(f"can't write {target}: {error.strerror}")


def _print_next_steps(target: Path, module: NewModule) -> None:
    run = f"python {shlex.quote(str(target))}"
    port = module.port + 1 if module.port < 65_535 else module.port - 1
    call = json.dumps({"capability": module.capability, "params": {"name": "Ada"}})
    click.echo(f"Wrote {target}: {module.id} provides {module.capability}.\n")
    for label, command in (
        ("Install", f"pip install '{REQUIREMENTS[module.framework]}'"),
        ("Run", run),
        (
            "Call",
            f"curl {module.location}/_module/invoke"
            f" -H 'Content-Type: application/json' -d '{call}'",
        ),
        ("Another", f"MODULE_ID={module.id}-2 PORT={port} {run}"),
    ):
        click.echo(f"{label + ':':<9} {command}")
