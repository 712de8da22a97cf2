"""The commands that look services up: ls, info, find, explain, discover."""

from typing import Any, Final

import click

from modularity_client import calls
from modularity_registry.cli import completion
from modularity_registry.cli.exit import FAILED, PROGRAM, fail
from modularity_registry.cli.options.filters import (
    filters,
    filters_of,
    prefer_healthy,
)
from modularity_registry.cli.output import (
    Cell,
    names,
    plain,
    show,
    show_json,
    status_cell,
    table,
)
from modularity_registry.cli.render import service_page
from modularity_registry.cli.session import Session, with_session

STRATEGIES: Final = ("round_robin", "random", "weighted", "hash")

_capability = click.argument("capability", shell_complete=completion.capabilities)


@click.command("ls")
@filters()
@with_session
def list_services(session: Session, **options: Any) -> None:
    """List services, sorted by id."""
    chosen = filters_of(options)
    reply = session.read(calls.services, **chosen)
    if session.json:
        show_json(reply)
    elif reply["services"]:
        show(services_table(reply["services"]))
    else:
        click.echo("No service matches." if chosen else "No services registered.")


def services_table(services: list[Any]) -> Any:
    """Return a table with a row for each service, and a reason if any has one."""
    headings = ["ID", "STATUS", "MODE", "VERSION", "LOCATION", "CAPABILITIES"]
    rows = list(map(_row, services))
    if any("status_reason" in service for service in services):
        headings.append("REASON")
        for row, service in zip(rows, services, strict=True):
            row.append(plain(service.get("status_reason", "")))
    return table(headings, rows)


def _row(service: Any) -> list[Cell]:
    return [
        plain(service["id"]),
        status_cell(service["status"]),
        plain(service["mode"]),
        plain(service["version"]),
        plain(service["location"]),
        names(service["capabilities"]),
    ]


_near: Final = click.option(
    "--near",
    metavar="ZONE",
    help="Your zone, or REGION/ZONE: providers there come first. [REGISTRY_ZONE]",
)


@click.command()
@click.argument("service_id", metavar="ID", shell_complete=completion.ids)
@with_session
def info(session: Session, service_id: str) -> None:
    """Show everything about one service.

    Its registration, why it has its status, whom it calls and who calls it.
    """
    service = session.read(calls.service, service_id)
    connections = session.read(calls.connections, service_id)
    if session.json:
        show_json({**service, "connections": connections})
    else:
        show(*service_page(service, connections))


@click.command()
@_capability
@filters("status", "capability")
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    help="How to choose among several. Default: round_robin.",
)
@click.option(
    "--key", help="Key for --strategy hash: the same key gets the same provider."
)
@_near
@prefer_healthy
@click.option(
    "--location", "location_only", is_flag=True, help="Print only the location."
)
@with_session
def find(
    session: Session,
    capability: str,
    strategy: str | None,
    key: str | None,
    near: str | None,
    prefer_healthy: bool,
    location_only: bool,
    **options: Any,
) -> None:
    """Find one provider of CAPABILITY to call."""
    if location_only and session.json:
        raise click.UsageError("--location and --json can't be used together.")
    if key is not None and strategy is None:
        strategy = "hash"
    if (strategy == "hash") != bool(key):
        raise click.UsageError("--strategy hash and --key go together.")
    picking: dict[str, Any] = {"strategy": strategy, "key": key, "near": near}
    picking["prefer_healthy"] = prefer_healthy
    service = session.read(
        calls.capability, capability, **picking, **filters_of(options)
    )
    if session.json:
        show_json(service)
    elif location_only:
        click.echo(plain(service["location"]))
    else:
        show(services_table([service]))


@click.command()
@_capability
@filters("capability")
@prefer_healthy
@with_session
def explain(
    session: Session, capability: str, prefer_healthy: bool, **options: Any
) -> None:
    """Show which providers callers get, and why not.

    It lists every provider of CAPABILITY.
    """
    reply = session.read(
        calls.explain,
        capability,
        prefer_healthy=prefer_healthy,
        **filters_of(options),
    )
    if session.json:
        show_json(reply)
    elif reply["providers"]:
        headings = ["ID", "STATUS", "RETURNED", "WHY NOT"]
        rows = [[*_explained(provider)] for provider in reply["providers"]]
        if "split" in reply:
            headings.insert(1, "GROUP")
            for row, provider in zip(rows, reply["providers"], strict=True):
                row.insert(1, plain(provider["group"] or "-"))
        show(table(headings, rows))
    else:
        click.echo("No service offers it any more.")


def _explained(provider: Any) -> tuple[Cell, ...]:
    reasons = [*provider["reasons"]]
    if "second_opinion" in provider:
        reasons.append(provider["second_opinion"])
    return (
        plain(provider["service_id"]),
        status_cell(provider["status"]),
        ("yes", "green") if provider["returned"] else ("no", "bold red"),
        "; ".join(map(plain, reasons)) or "-",
    )


@click.command()
@click.argument(
    "required",
    metavar="[CAPABILITY]...",
    nargs=-1,
    shell_complete=completion.capabilities,
)
@click.option(
    "--optional",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.capabilities,
    help="Prefer services that provide this as well; can be repeated.",
)
@_near
@filters("status", "capability")
@prefer_healthy
@with_session
def discover(
    session: Session,
    required: tuple[str, ...],
    optional: tuple[str, ...],
    near: str | None,
    prefer_healthy: bool,
    **options: Any,
) -> None:
    """Find services to call with every CAPABILITY.

    Without one, all services match that are healthy or have a warning. The best match
    comes first. The exit code is 1 if there is none.
    """
    reply = session.read(
        calls.discover,
        required,
        optional=optional,
        near=near,
        prefer_healthy=prefer_healthy,
        **filters_of(options),
    )
    matches = reply["matches"]
    if session.json:
        show_json(reply)
    elif matches:
        headings = ("SCORE", "ID", "LOCATION", "REQUIRED", "OPTIONAL")
        show(table(headings, map(_match, matches)))
    elif required:
        fail(
            f"no healthy service that matches provides {names(required)};"
            f" {PROGRAM} explain shows the providers of one of them"
        )
    else:
        fail(f"no healthy service matches; {PROGRAM} ls shows all services")
    if not matches:
        click.get_current_context().exit(FAILED)


def _match(match: Any) -> tuple[Cell, ...]:
    return (
        str(match["match_score"]),
        plain(match["service"]["id"]),
        plain(match["service"]["location"]),
        names(match["provides_required"]),
        names(match["provides_optional"]),
    )
