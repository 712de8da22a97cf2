"""The options for the settings, which ``serve`` and ``config`` share."""

import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from modularity_registry import config
from modularity_registry.cli.exit import FAILED, fail
from modularity_registry.errors import BadSetting
from modularity_registry.serving import file_warnings

Texts = Mapping[str, str | None]
"""The texts of flags by the names of settings; None where one is not given."""

_GROUP_OF: Final = {
    option.field: heading
    for heading, options in config.GROUPS.items()
    for option in options
}


class SettingsCommand(click.Command):
    """A command whose help lists the settings under their headings."""

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                group = _GROUP_OF.get(parameter.name or "", "Options")
                sections.setdefault(group, []).append(record)
        for group, records in sections.items():
            with formatter.section(group):
                formatter.write_dl(records)


def setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the texts of all settings' flags, and of ``--config``.

    Other options of the command are its keyword arguments.
    """
    names = {"config", *_GROUP_OF}

    @wraps(command)
    def with_flags(**given: Any) -> None:
        flags = {name: given.pop(name) for name in names}
        texts = {k: "true" if v is True else v for k, v in flags.items()}
        command(texts, **given)

    decorated: Callable[..., None] = click.option(
        "--config",
        metavar="FILE",
        type=click.Path(),
        help=f"Configuration file (TOML), or off. [{config.CONFIG_ENV}]",
    )(with_flags)
    for option in reversed(config.OPTIONS):
        default = config.written(option.default)
        text = f"{option.help} [{option.env}; default: {default}]"
        if isinstance(option.default, bool):
            add = click.option(option.flag, is_flag=True, default=None, help=text)
        else:
            add = click.option(option.flag, metavar="VALUE", help=text)
        decorated = add(decorated)
    return decorated


def load_or_fail(
    flags: Texts, exit_code: int = FAILED
) -> tuple[config.Settings, Mapping[str, str]]:
    """Return the settings and their sources; end the program if any is wrong."""
    try:
        return config.load_with_sources(flags, os.environ)
    except BadSetting as error:
        fail(*error.detail.split("\n"), code=exit_code)


def warnings(
    flags: Texts, settings: config.Settings, sources: Mapping[str, str]
) -> list[str]:
    """Return a sentence for each former name, and for a file that shows a password."""
    path = config.config_file(flags, os.environ)
    with_password = path and any(
        sources.get(option.field, "").startswith(path)
        and option.hides(getattr(settings, option.field))
        for option in config.OPTIONS
    )
    files = {"configuration file": Path(path)} if path and with_password else {}
    return [*config.warnings(os.environ), *file_warnings.warnings(files)]
