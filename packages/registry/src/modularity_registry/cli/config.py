"""The commands about the settings: check them, show them, begin a file."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from modularity_registry.cli.exit import PROGRAM, REFUSED
from modularity_registry.cli.group import Group
from modularity_registry.cli.options.settings import (
    SettingsCommand,
    Texts,
    load_or_fail,
    setting_options,
    warnings,
)
from modularity_registry.cli.output import Cell, plain, show, show_json, table
from modularity_registry.config import (
    GROUPS,
    OFF,
    Option,
    Settings,
    written,
)

DEFAULT: Final = "default"
"""The source of a setting that nobody has set."""


@click.group(cls=Group)
def config() -> None:
    """Check the settings of serve, show them, or begin a file.

    check and show take the options of serve, and read the same environment and
    configuration file. They start nothing, and open no store.
    """


@config.command(cls=SettingsCommand)
@setting_options
def check(flags: Texts) -> None:
    """Check the settings that serve would have.

    It prints every fault, each on a line. The exit code is then 2.
    """
    settings, sources = load_or_fail(flags, REFUSED)
    for warning in warnings(flags, settings, sources):
        click.echo(f"{PROGRAM}: warning: {plain(warning)}", err=True)
    click.echo("OK")


@config.command("show", cls=SettingsCommand)
@setting_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_settings(flags: Texts, as_json: bool) -> None:
    """Show each setting, and where its value comes from.

    Of a value that may hold a password, only the scheme is shown.
    """
    settings, sources = load_or_fail(flags, REFUSED)
    if as_json:
        show_json({"settings": list(_documents(settings, sources))})
    else:
        show(table(("SETTING", "VALUE", "FROM"), _rows(settings, sources)))


def _rows(settings: Settings, sources: Mapping[str, str]) -> Iterator[tuple[Cell, ...]]:
    for group, options in GROUPS.items():
        yield (group, "bold"), "", ""
        for option in options:
            value = plain(option.shown(getattr(settings, option.field)))
            source = sources.get(option.field, DEFAULT)
            style = "" if option.field in sources else "dim"
            yield f"  {option.field}", (value, style), (plain(source), style)


def _documents(
    settings: Settings, sources: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    for group, options in GROUPS.items():
        for option in options:
            value = getattr(settings, option.field)
            yield {
                "name": option.field,
                "value": option.shown(value) if option.hides(value) else _json(value),
                "from": sources.get(option.field, DEFAULT),
                "group": group,
            }


def _json(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value


@config.command()
def init() -> None:
    """Print a configuration file with every default.

    Each setting is in a comment; remove the # of those that you change.
    """
    click.echo(f"# Settings of {PROGRAM} serve. Check them: {PROGRAM} config check")
    for group, options in GROUPS.items():
        click.echo(f"\n## {group}")
        for option in options:
            click.echo(f"\n# {option.help}\n#{option.field} = {_toml(option)}")


def _toml(option: Option) -> str:
    default = written(option.default)
    if option.several:
        return json.dumps([] if default == OFF else default.split(","))
    return json.dumps(default) if isinstance(option.default, str) else default
