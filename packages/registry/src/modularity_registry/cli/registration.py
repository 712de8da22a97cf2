"""The commands that change something: register, report, unregister, drain, undrain."""

import json
from collections.abc import Mapping
from typing import Any, Final

import click

from modularity_client import Forbidden, ServiceNotFound, calls
from modularity_client.errors import OwnedByAnother
from modularity_client.types.services import ServiceFields
from modularity_registry.cli import completion
from modularity_registry.cli.exit import FAILED, PROGRAM
from modularity_registry.cli.options.service import (
    metadata_option,
    name_option,
    owner_key_option,
    region_option,
    version_option,
    zone_option,
)
from modularity_registry.cli.output import plain, show_json, show_json_line
from modularity_registry.cli.session import Session, complaint, with_session
from modularity_registry.model.service import MODES

REQUIRED: Final = ("id", "capabilities", "location")
HEALTH: Final = ("path", "interval", "timeout")

_service_id = click.argument("service_id", metavar="ID", shell_complete=completion.ids)


@click.command()
@click.option(
    "--file",
    "source",
    type=click.File("rb"),
    metavar="FILE",
    help="Registration as a JSON object; - is standard input. Options win over it.",
)
@click.option("--id", metavar="ID", help="Unique id of the service.")
@name_option
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    metavar="NAME",
    help="Capability that it provides; can be repeated.",
)
@click.option("--location", metavar="URL", help="Address where callers reach it.")
@click.option("--mode", type=click.Choice(MODES), help="How to call it. Default: http.")
@version_option
@metadata_option
@click.option(
    "--weight",
    type=int,
    help="Its share of calls with --strategy weighted. Default: 1.",
)
@click.option(
    "--ttl",
    type=float,
    help="Seconds that it may go without a heartbeat. Default: no lease.",
)
@zone_option
@region_option
@click.option(
    "--priority",
    type=click.IntRange(0, 65_535),
    help="Lower numbers get all calls while they can. Default: 0.",
)
@click.option("--health-path", metavar="PATH", help="Path to check (mode http).")
@click.option("--health-interval", type=float, help="Seconds between two checks.")
@click.option("--health-timeout", type=float, help="Timeout of a check, in seconds.")
@click.option("--only-new", is_flag=True, help="Fail if the id is registered already.")
@owner_key_option
@with_session
def register(session: Session, source: Any, only_new: bool, **options: Any) -> None:
    """Register or replace a service.

    Describe it with options, with a JSON object, or both.
    """
    fields = _merged(_read(source), options)
    missing = [f"--{_option(name)}" for name in REQUIRED if not fields.get(name)]
    if missing:
        raise click.UsageError(
            f"Missing {', '.join(missing)}; add it, or put it into the JSON of --file."
        )
    fields.setdefault("name", fields["id"])
    unknown = fields.keys() - ServiceFields.__annotations__.keys()
    if unknown:
        raise click.UsageError(
            f"{', '.join(map(repr, sorted(unknown)))} is not a field of a"
            f" registration; its fields are {', '.join(ServiceFields.__annotations__)}."
        )
    result, reply = session.reply(calls.put, only_new=only_new, **fields)
    if session.json:
        show_json(reply)
    else:
        verb = "registered" if result.created else "replaced"
        click.echo(f"{verb} {plain(result.service_id)} at revision {result.revision}")
        if result.displaced:
            click.echo(f"Warning: {plain(result.message)}", err=True)


def _option(field: str) -> str:
    return {"capabilities": "capability"}.get(field, field)


def _read(source: Any) -> dict[str, Any]:
    """Return the JSON object in a file; anything else is a usage error (code 2)."""
    if source is None:
        return {}
    try:
        fields = json.loads(source.read())
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{error}", param_hint="--file") from None
    if not isinstance(fields, dict):
        raise click.BadParameter("it is not a JSON object", param_hint="--file")
    return fields


def _merged(fields: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the registration in ``fields``, with the options over it."""
    health = {
        name: value
        for name in HEALTH
        if (value := options[f"health_{name}"]) is not None
    }
    for name, value in options.items():
        if not name.startswith("health_") and value not in (None, ()):
            fields[name] = dict(value) if name == "metadata" else value
    if health:
        given = fields.get("health")
        fields["health"] = {**(given if isinstance(given, dict) else {}), **health}
    return fields


@click.command()
@click.argument(
    "service_ids",
    metavar="ID...",
    nargs=-1,
    required=True,
    shell_complete=completion.ids,
)
@owner_key_option
@with_session
def unregister(
    session: Session, service_ids: tuple[str, ...], owner_key: str | None
) -> None:
    """Unregister one or more services.

    With --json, it prints one reply on each line.
    """
    failed = False
    for service_id in service_ids:
        try:
            result, reply = session.reply(
                calls.unregister, service_id, owner_key=owner_key
            )
        except (ServiceNotFound, OwnedByAnother, Forbidden) as error:
            # The others are unregistered all the same.
            click.echo(f"{PROGRAM}: {complaint(error)}", err=True)
            failed = True
            continue
        if session.json:
            show_json_line(reply or _confirmation(result))
        else:
            click.echo(f"unregistered {plain(result.service_id)}")
    if failed:
        click.get_current_context().exit(FAILED)


def _confirmation(result: Any) -> dict[str, Any]:
    """Return the reply that was lost, but for the revision."""
    return {
        "status": result.status,
        "service_id": result.service_id,
        "revision": result.revision,
        "message": result.message,
    }


@click.command()
@_service_id
@click.option("--reason", default="", help="Reason, shown by info and explain.")
@owner_key_option
@with_session
def drain(
    session: Session, service_id: str, reason: str, owner_key: str | None
) -> None:
    """Take a service out of discovery.

    It stays registered; undrain puts it back.
    """
    _, reply = session.reply(
        calls.drain, service_id, reason=reason, owner_key=owner_key
    )
    if session.json:
        show_json(reply)
    else:
        click.echo(f"{plain(service_id)} gets no new calls; undrain puts it back")


@click.command()
@_service_id
@owner_key_option
@with_session
def undrain(session: Session, service_id: str, owner_key: str | None) -> None:
    """Put a drained service back into discovery."""
    result, reply = session.reply(calls.undrain, service_id, owner_key=owner_key)
    if session.json:
        show_json(reply)
    else:
        click.echo(f"{plain(service_id)} is {plain(result.status)}")


@click.command()
@_service_id
@click.argument("check", metavar="CHECK")
@click.option(
    "--status",
    type=click.Choice(("healthy", "warning", "unhealthy")),
    default="healthy",
    help="What the service says. Default: healthy.",
)
@click.option("--note", default="", metavar="TEXT", help="The reason, for people.")
@owner_key_option
@with_session
def report(session: Session, service_id: str, check: str, **options: Any) -> None:
    """Report a check of kind ttl, as the service."""
    result, reply = session.reply(calls.report_check, service_id, check, **options)
    if session.json:
        show_json(reply)
    else:
        click.echo(
            f"reported {plain(check)} of {plain(service_id)} as {options['status']};"
            f" report again within {result.ttl:g} s"
        )
