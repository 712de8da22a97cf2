"""A group of commands whose help has the whole first sentence of each."""

import click

_LONGEST = 1_000


class Group(click.Group):
    """Unlike click's own, it folds a summary that is too long, and never cuts it."""

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, self.commands[name].get_short_help_str(_LONGEST))
                    for name in self.list_commands(ctx)
                ]
            )
