"""The commands about the whole registry: namespaces, stats and graph."""

from typing import Any

import click

from modularity_client import calls
from modularity_registry.cli.options.filters import filters, filters_of
from modularity_registry.cli.output import plain, show, show_json, table
from modularity_registry.cli.render import graph_page, stats_page
from modularity_registry.cli.session import Session, with_session


@click.command()
@with_session
def namespaces(session: Session) -> None:
    """List the namespaces that you may read.

    The default one comes first. --namespace chooses the one that a command works in.
    """
    reply = session.read(calls.namespaces)
    if session.json:
        show_json(reply)
    else:
        rows = (
            (plain(each["name"]), f"{each['services']:,}", f"{each['capabilities']:,}")
            for each in reply["namespaces"]
        )
        show(table(("NAME", "SERVICES", "CAPABILITIES"), rows))


@click.command()
@with_session
def stats(session: Session) -> None:
    """Show the registry's counts and its replicas."""
    reply = session.read(calls.stats)
    if session.json:
        show_json(reply)
    else:
        show(*stats_page(reply))


@click.command()
@filters()
@with_session
def graph(session: Session, **options: Any) -> None:
    """Show which services call which.

    Services report their calls. Filters apply to the services that are called.
    """
    reply = session.read(calls.graph, **filters_of(options))
    if session.json:
        show_json(reply)
    elif reply["nodes"]:
        show(*graph_page(reply))
    else:
        click.echo(
            "No service matches." if filters_of(options) else "No services registered."
        )
