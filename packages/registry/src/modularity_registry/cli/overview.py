"""The commands about the whole: stats and graph."""

from typing import Any

import click

from modularity_client import calls
from modularity_registry.cli.filter_options import filters, wanted
from modularity_registry.cli.output import show, show_json
from modularity_registry.cli.render import graph_page, stats_page
from modularity_registry.cli.session import Session, with_session


@click.command()
@with_session
def stats(session: Session) -> None:
    """Show the registry's counts and its replicas."""
    answer = session.read(calls.stats)
    if session.json:
        show_json(answer)
    else:
        show(*stats_page(answer))


@click.command()
@filters()
@with_session
def graph(session: Session, **given: Any) -> None:
    """Show which services call which.

    Services report their calls. Filters apply to the services that are called.
    """
    answer = session.read(calls.graph, **wanted(given))
    if session.json:
        show_json(answer)
    elif answer["nodes"]:
        show(*graph_page(answer))
    else:
        click.echo("There is nobody to show.")
