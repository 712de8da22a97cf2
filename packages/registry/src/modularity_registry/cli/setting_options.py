"""The options for the settings, under their headings."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final

import click

from modularity_registry import config

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
    """Give a command the texts of all settings' flags.

    Other options of the command are its keyword arguments.
    """

    @wraps(command)
    def with_flags(**given: Any) -> None:
        flags = {name: given.pop(name) for name in _GROUP_OF}
        texts = {k: "true" if v is True else v for k, v in flags.items()}
        command(texts, **given)

    decorated: Callable[..., None] = with_flags
    for option in reversed(config.OPTIONS):
        default = config.written(option.default)
        text = f"{option.help} [{option.env}; default: {default}]"
        if isinstance(option.default, bool):
            add = click.option(option.flag, is_flag=True, default=None, help=text)
        else:
            add = click.option(option.flag, metavar="VALUE", help=text)
        decorated = add(decorated)
    return decorated
