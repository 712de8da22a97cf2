"""The commands about the whole: stats and graph."""

from typing import Any

import click

from modularity_registry.cli.filter_options import filters, wanted
from modularity_registry.cli.output import show, show_json
from modularity_registry.cli.session import Asked, asks


@click.command()
@asks
def stats(asked: Asked) -> None:
    """Show the registry's numbers and its replicas."""
    from modularity_client import calls

    answer = asked.read(calls.stats)
    if asked.json:
        show_json(answer)
    else:
        from modularity_registry.cli.render import stats_page

        show(*stats_page(answer))


@click.command()
@filters()
@asks
def graph(asked: Asked, **given: Any) -> None:
    """Show who calls whom, by what services have reported.

    Filters are for those who are called.
    """
    from modularity_client import calls

    answer = asked.read(calls.graph, **wanted(given))
    if asked.json:
        show_json(answer)
    elif answer["nodes"]:
        from modularity_registry.cli.render import graph_page

        show(*graph_page(answer))
    else:
        click.echo("There is nobody to show.")
