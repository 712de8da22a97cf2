"""Every command of the command line."""

import inspect
from collections.abc import Iterator

import click

from modularity_registry.cli.main import main
from reference.markdown_text import code, plain, table

_PROGRAM = "modularity-registry"
_PARAGRAPH = "\n\n"


def page() -> str:
    """Return the page of all commands, with their options."""
    context = click.Context(main, info_name=_PROGRAM)
    sections = _PARAGRAPH.join(_sections(main, context))
    return f"""# Commands

Each command's `--help` says the same. [Command line](../docs/cli.md) shows what they
print.

{sections}"""


def _sections(group: click.Group, parent: click.Context) -> Iterator[str]:
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=parent)
        yield _section(command, context)
        if isinstance(command, click.Group):
            yield from _sections(command, context)


def _section(command: click.Command, context: click.Context) -> str:
    """Return a command's heading, usage, help and options."""
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    options = [
        (code(record[0]), plain(record[1]))
        for parameter in command.params
        if (record := parameter.get_help_record(context)) is not None
    ]
    name = context.command_path.removeprefix(_PROGRAM).strip()
    parts = [f"## {name}", f"```text\n{usage}\n```", _help(command)]
    if options:
        parts.append(table(("option", "meaning"), options))
    return _PARAGRAPH.join(parts)


def _help(command: click.Command) -> str:
    """Return a command's help, without click's mark for text that it may not wrap."""
    return inspect.cleandoc(command.help or "").replace("\b\n", "")
