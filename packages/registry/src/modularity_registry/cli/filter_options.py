"""Filters as options: what all lists of the API take, by the same names."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from modularity_registry.cli import completion
from modularity_registry.model.service import MODES, STATUSES


def filters(*without: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds the filters' options to a command, but for ``without``."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, option in reversed(_FILTERS.items()):
            if name not in without:
                command = option(command)
        return command

    return add


def wanted(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters among a command's options as the client takes them."""
    found = {
        name: given[name] for name in _FILTERS if given.get(name) not in (None, ())
    }
    if "metadata" in found:
        found["metadata"] = dict(found["metadata"])
    return found


def key_values(
    _: click.Context, __: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Read ``KEY=VALUE`` options; a key given twice is a mistake."""
    read = [tuple(value.partition("=")[::2]) for value in values]
    for text, (key, _value) in zip(values, read, strict=True):
        if "=" not in text or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE")
    if len({key for key, _value in read}) < len(read):
        raise click.BadParameter("a key is given twice")
    return tuple((key, value) for key, value in read)


_FILTERS: Final = {
    "status": click.option(
        "--status",
        multiple=True,
        type=click.Choice([*STATUSES, "active", "inactive"]),
        help="Only with this status; several are alternatives.",
    ),
    "capability": click.option(
        "--capability",
        multiple=True,
        metavar="NAME",
        shell_complete=completion.capabilities,
        help="Only what provides this; several must all be provided.",
    ),
    "mode": click.option(
        "--mode",
        multiple=True,
        type=click.Choice(MODES),
        help="Only of this mode; several are alternatives.",
    ),
    "name": click.option("--name", metavar="NAME", help="Only with this name."),
    "version": click.option(
        "--version",
        metavar="RANGE",
        help="Only this version, or a range such as '>=1.2,<2'.",
    ),
    "metadata": click.option(
        "--metadata",
        multiple=True,
        metavar="KEY=VALUE",
        callback=key_values,
        help="Only with this in its metadata; several must all be there.",
    ),
}
