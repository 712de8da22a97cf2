"""The commands that change something: register, unregister, drain, undrain."""

import json
from collections.abc import Mapping
from typing import Any, Final

import click

from modularity_client import Forbidden, OwnedByAnother, ServiceNotFound, calls
from modularity_client.types.services import ServiceFields
from modularity_registry.cli import completion
from modularity_registry.cli.exit import FAILED, PROGRAM
from modularity_registry.cli.filter_options import key_values
from modularity_registry.cli.output import plain, show_json, show_json_line
from modularity_registry.cli.session import Session, complaint, with_session
from modularity_registry.model.service import MODES

REQUIRED: Final = ("id", "capabilities", "location")
HEALTH: Final = ("path", "interval", "timeout")

_service_id = click.argument("service_id", metavar="ID", shell_complete=completion.ids)
_owner_key = click.option(
    "--owner-key",
    metavar="KEY",
    envvar="REGISTRY_OWNER_KEY",
    help="Whoever has this key owns the service. [REGISTRY_OWNER_KEY]",
)


@click.command()
@click.option(
    "--file",
    "source",
    type=click.File("rb"),
    metavar="FILE",
    help="A registration as a JSON object; - is standard input. Options win over it.",
)
@click.option("--id", metavar="ID", help="How the service is called for good.")
@click.option("--name", help="What people call it; the id if left out.")
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    metavar="NAME",
    help="What it can do; may be given several times.",
)
@click.option("--location", metavar="URL", help="Where callers reach it.")
@click.option("--mode", type=click.Choice(MODES), help="http if left out.")
@click.option("--version", metavar="VERSION", help="1.0.0 if left out.")
@click.option(
    "--metadata",
    multiple=True,
    metavar="KEY=VALUE",
    callback=key_values,
    help="A text in its metadata; may be given several times.",
)
@click.option("--weight", type=int, help="Its share for the strategy weighted; 1.")
@click.option("--ttl", type=float, help="Seconds of its lease; none if left out.")
@click.option("--health-path", metavar="PATH", help="What to check (mode http).")
@click.option("--health-interval", type=float, help="Seconds between two checks.")
@click.option("--health-timeout", type=float, help="Seconds that a check may take.")
@click.option("--only-new", is_flag=True, help="Refuse to replace one with this id.")
@_owner_key
@with_session
def register(session: Session, source: Any, only_new: bool, **given: Any) -> None:
    """Register a service, or replace the one with the same id.

    Describe it with options, with a JSON object, or both.
    """
    fields = _merged(_read(source), given)
    missing = [f"--{_option(name)}" for name in REQUIRED if not fields.get(name)]
    if missing:
        raise click.UsageError(
            f"Missing {', '.join(missing)}; give it, or a file that has it with --file."
        )
    fields.setdefault("name", fields["id"])
    unknown = fields.keys() - ServiceFields.__annotations__.keys()
    if unknown:
        raise click.UsageError(
            f"{', '.join(map(repr, sorted(unknown)))} is no field of a registration;"
            f" known are {', '.join(ServiceFields.__annotations__)}."
        )
    done, reply = session.reply(calls.put, only_new=only_new, **fields)
    if session.json:
        show_json(reply)
    else:
        word = "registered" if done.created else "replaced"
        click.echo(f"{word} {plain(done.service_id)} at revision {done.revision}")


def _option(field: str) -> str:
    return {"capabilities": "capability"}.get(field, field)


def _read(source: Any) -> dict[str, Any]:
    """Return the object in a file; a text that is none is a mistake of the caller."""
    if source is None:
        return {}
    try:
        read = json.loads(source.read())
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{error}", param_hint="--file") from None
    if not isinstance(read, dict):
        raise click.BadParameter("it is not a JSON object", param_hint="--file")
    return read


def _merged(read: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the registration in ``read`` with what the options say over it."""
    health = {
        name: value for name in HEALTH if (value := given[f"health_{name}"]) is not None
    }
    for name, value in given.items():
        if not name.startswith("health_") and value not in (None, ()):
            read[name] = dict(value) if name == "metadata" else value
    if health:
        known = read.get("health")
        read["health"] = {**(known if isinstance(known, dict) else {}), **health}
    return read


@click.command()
@click.argument(
    "service_ids",
    metavar="ID...",
    nargs=-1,
    required=True,
    shell_complete=completion.ids,
)
@_owner_key
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
            done, reply = session.reply(
                calls.unregister, service_id, owner_key=owner_key
            )
        except (ServiceNotFound, OwnedByAnother, Forbidden) as error:
            # The others are unregistered all the same.
            click.echo(f"{PROGRAM}: {complaint(error)}", err=True)
            failed = True
            continue
        if session.json:
            show_json_line(reply or _confirmation(done))
        else:
            click.echo(f"unregistered {plain(done.service_id)}")
    if failed:
        click.get_current_context().exit(FAILED)


def _confirmation(done: Any) -> dict[str, Any]:
    """What the lost reply would have said, but for the revision."""
    return {
        "status": done.status,
        "service_id": done.service_id,
        "revision": done.revision,
        "message": done.message,
    }


@click.command()
@_service_id
@click.option("--reason", default="", help="Why; whoever asks why is told.")
@_owner_key
@with_session
def drain(
    session: Session, service_id: str, reason: str, owner_key: str | None
) -> None:
    """Take a service out of discovery without unregistering it."""
    _, reply = session.reply(
        calls.drain, service_id, reason=reason, owner_key=owner_key
    )
    if session.json:
        show_json(reply)
    else:
        click.echo(f"{plain(service_id)} gets no new calls; undrain puts it back")


@click.command()
@_service_id
@_owner_key
@with_session
def undrain(session: Session, service_id: str, owner_key: str | None) -> None:
    """Put a drained service back into discovery."""
    done, reply = session.reply(calls.undrain, service_id, owner_key=owner_key)
    if session.json:
        show_json(reply)
    else:
        click.echo(f"{plain(service_id)} is {plain(done.status)}")
