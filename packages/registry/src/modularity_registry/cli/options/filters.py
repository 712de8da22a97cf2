"""The options that filter services, named as in the API."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from modularity_registry.cli import completion
from modularity_registry.model.service import MODES, STATUSES


def filters(*without: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds the filters' options, but for ``without``."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, option in reversed(_FILTERS.items()):
            if name not in without:
                command = option(command)
        return command

    return add


def filters_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters among a command's options as the client takes them."""
    chosen = {
        name: options[name] for name in _FILTERS if options.get(name) not in (None, ())
    }
    if "metadata" in chosen:
        chosen["metadata"] = dict(chosen["metadata"])
    return chosen


def key_values(
    _: click.Context, __: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Read ``KEY=VALUE`` options; a repeated key is a usage error."""
    entries = [tuple(value.partition("=")[::2]) for value in values]
    for text, (key, _value) in zip(values, entries, strict=True):
        if "=" not in text or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE")
    if len({key for key, _value in entries}) < len(entries):
        raise click.BadParameter("a key is given twice")
    return tuple((key, value) for key, value in entries)


prefer_healthy: Final = click.option(
    "--prefer-healthy/--no-prefer-healthy",
    default=True,
    help="Whether providers with a warning come after all healthy ones. Default: yes.",
)

_FILTERS: Final = {
    "status": click.option(
        "--status",
        multiple=True,
        type=click.Choice([*STATUSES, "active", "inactive"]),
        help="Only services with this status; repeat for alternatives.",
    ),
    "capability": click.option(
        "--capability",
        multiple=True,
        metavar="NAME",
        shell_complete=completion.capabilities,
        help="Only services that provide this; repeat to require several.",
    ),
    "mode": click.option(
        "--mode",
        multiple=True,
        type=click.Choice(MODES),
        help="Only services of this mode; repeat for alternatives.",
    ),
    "name": click.option(
        "--name", metavar="NAME", help="Only services with this name."
    ),
    "version": click.option(
        "--version",
        metavar="RANGE",
        help="Only services of this version, or of a range such as '>=1.2,<2'.",
    ),
    "zone": click.option("--zone", metavar="ZONE", help="Only services in this zone."),
    "region": click.option(
        "--region", metavar="REGION", help="Only services in this region."
    ),
    "verified": click.option(
        "--verified/--unverified",
        default=None,
        help="Only services that passed their module check, or only the others.",
    ),
    "metadata": click.option(
        "--metadata",
        multiple=True,
        metavar="KEY=VALUE",
        callback=key_values,
        help="Only services with this metadata; repeat to require several.",
    ),
}
