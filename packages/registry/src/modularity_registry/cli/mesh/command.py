"""The group mesh: a sidecar in one command, intentions, the authority."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Final, ParamSpec

import click

from modularity_client import RegistryError, calls
from modularity_client.errors import NotFound
from modularity_client.http.call import Call
from modularity_registry.cli.exit import PROGRAM, fail
from modularity_registry.cli.group import Group
from modularity_registry.cli.mesh import calls as mesh_calls
from modularity_registry.cli.options.service import (
    metadata_option,
    name_option,
    owner_key_option,
    region_option,
    version_option,
    zone_option,
)
from modularity_registry.cli.output import facts, moment, plain, show, show_json, table
from modularity_registry.cli.session import (
    Session,
    complaint,
    connected,
    url_option,
    with_session,
)
from modularity_registry.model.intention import ACTIONS

P = ParamSpec("P")

MAX_PORT: Final = 65_535

NO_MESH: Final = (
    "this registry has no mesh; start it with --integrations envoy,mesh and --xds-port"
)


@click.group(cls=Group)
def mesh() -> None:
    """Run a sidecar, and say which services may call which capabilities."""


@mesh.command()
@click.option("--id", "service_id", metavar="ID", required=True, help="Unique id.")
@click.option(
    "--port",
    type=click.IntRange(1, MAX_PORT),
    required=True,
    help="Port at which the service listens.",
)
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    metavar="NAME",
    help="Capability that it provides; can be repeated. Default: the id.",
)
@click.option("--mtls", is_flag=True, help="Take calls by mutual TLS alone.")
@click.option(
    "--address",
    metavar="ADDRESS",
    help="Address at which others reach this machine. Default: as the registry does.",
)
@click.option(
    "--inbound-port",
    type=click.IntRange(0, MAX_PORT),
    default=0,
    help="Port for calls by mutual TLS. Default: a free one.",
)
@click.option(
    "--outbound-port",
    type=click.IntRange(0, MAX_PORT),
    default=0,
    help="Port at which the service calls others. Default: a free one.",
)
@click.option(
    "--protocol",
    type=click.Choice(("http", "grpc")),
    default="http",
    help="What the service speaks. Default: http.",
)
@click.option(
    "--health-path",
    metavar="PATH",
    default="/_module/health",
    help="Path that the registry checks. Default: /_module/health.",
)
@name_option
@version_option
@metadata_option
@zone_option
@region_option
@owner_key_option
@click.option("--envoy", metavar="PROGRAM", help="Envoy. Default: found by itself.")
@click.option(
    "--xds-port",
    type=click.IntRange(1, MAX_PORT),
    help="The registry's port for xDS. Default: as the registry says.",
)
@url_option
def run(
    url: str, token: str | None, token_file: str | None, port: int, **options: Any
) -> None:
    """Run a sidecar for a service, until Ctrl-C or SIGTERM.

    It starts Envoy and registers the service. The service calls others at the
    sidecar's outbound port, with a capability as the host.
    """
    from modularity_registry.cli.mesh.envoy_process import EnvoyFailed, find_envoy
    from modularity_registry.cli.mesh.run import Sidecar, SidecarFailed

    if sys.platform == "win32":
        fail("mesh run needs Unix; run it in a container, or in WSL")
    logging.basicConfig(format=f"{PROGRAM}: %(message)s", stream=sys.stderr)
    for name in ("modularity_client", "modularity_registry"):
        logging.getLogger(name).setLevel(logging.INFO)
    with connected(url, token, token_file) as registry:
        try:
            envoy = find_envoy(options["envoy"])
            document = registry.ask(mesh_calls.authority()).value
            plan = _plan(registry.settings.urls[0], port, options)
            access = _access(registry, options["xds_port"] or document["xds_port"])
            Sidecar(registry, plan, access, envoy, _joining(options)).run()
        except RegistryError as error:
            fail(_complaint(error))
        except (EnvoyFailed, SidecarFailed) as error:
            fail(str(error))
        except ValueError as error:
            raise click.UsageError(plain(error)) from None


def _plan(url: str, port: int, options: dict[str, Any]) -> Any:
    from modularity_registry.cli.mesh.bootstrap import Plan
    from modularity_registry.cli.mesh.run import own_address, port_or_free

    address = options["address"] or own_address(url)
    inbound = 0
    if options["mtls"]:
        inbound = port_or_free(options["inbound_port"], address, "--inbound-port")
    elif options["inbound_port"]:
        raise ValueError("--inbound-port has no effect without --mtls")
    return Plan(
        options["service_id"],
        options["capabilities"] or (options["service_id"],),
        options["protocol"],
        port,
        address,
        inbound,
        port_or_free(options["outbound_port"], "127.0.0.1", "--outbound-port"),
        options["health_path"],
        options["zone"] or os.environ.get("REGISTRY_ZONE", ""),
        options["region"] or os.environ.get("REGISTRY_REGION", ""),
    )


def _access(registry: Any, xds_port: int) -> Any:
    from modularity_registry.cli.mesh.bootstrap import RegistryAccess

    given = click.get_current_context().meta.get("modularity_registry.tls", {})
    files = (given.get(name) for name in ("ca_file", "client_cert", "client_key"))
    settings = registry.settings
    return RegistryAccess(
        settings.urls,
        xds_port,
        settings.credentials.token,
        *(os.path.abspath(file) if file else None for file in files),
    )


def _joining(options: dict[str, Any]) -> dict[str, Any]:
    joining = {
        name: options[name]
        for name in ("version", "zone", "region", "owner_key")
        if options[name]
    }
    joining["name"] = options["name"] or options["service_id"]
    joining["metadata"] = dict(options["metadata"] or {})
    if options["protocol"] == "http":
        joining["health"] = {"path": options["health_path"]}
    return joining


def _read(
    session: Session, make: Callable[P, Call[Any]], *args: P.args, **kwargs: P.kwargs
) -> Any:
    """Make a call of the mesh; end the program if the registry has none."""
    try:
        return session.read(make, *args, **kwargs)
    except RegistryError as error:
        fail(_complaint(error))


def _complaint(error: RegistryError) -> str:
    if error.code == "intention_not_found":
        return plain(error.detail)
    return NO_MESH if type(error) is NotFound else complaint(error)


def _show(source: str, capability: str, action: str) -> None:
    verb = "may" if action == "allow" else "may not"
    click.echo(f"{plain(source)} {verb} call {plain(capability)}.")


@mesh.group(cls=Group)
def intention() -> None:
    """Say which services may call which capabilities."""


@intention.command("set")
@click.argument("source")
@click.argument("capability")
@click.argument("action", type=click.Choice(ACTIONS))
@with_session
def set_intention(session: Session, source: str, capability: str, action: str) -> None:
    """Let SOURCE, a service's id, call CAPABILITY, or not.

    Both can be a beginning and *, or * alone. Of several intentions, the one with the
    most exact capability counts, then the one with the most exact source.
    """
    reply = _read(session, mesh_calls.set_intention, source, capability, action)
    if session.json:
        show_json(reply)
    else:
        _show(source, capability, action)


@intention.command("rm")
@click.argument("source")
@click.argument("capability")
@with_session
def remove_intention(session: Session, source: str, capability: str) -> None:
    """Remove the intention for SOURCE and CAPABILITY: the others decide."""
    reply = _read(session, mesh_calls.remove_intention, source, capability)
    if session.json:
        show_json(reply)
    else:
        click.echo(
            f"Removed the intention for {plain(source)} and {plain(capability)}."
        )


@intention.command("ls")
@with_session
def list_intentions(session: Session) -> None:
    """List the intentions, the most exact ones first."""
    reply = _read(session, mesh_calls.intentions)
    if session.json:
        show_json(reply)
        return
    names = ("source", "capability", "action")
    rows = [[plain(row[name]) for name in names] for row in reply["intentions"]]
    rows.append(["*", "*", f"{plain(reply['default'])} (the setting)"])
    show(table(("SOURCE", "CAPABILITY", "ACTION"), rows))


@intention.command()
@click.argument("source")
@click.argument("capability")
@with_session
def check(session: Session, source: str, capability: str) -> None:
    """Say whether SOURCE may call CAPABILITY."""
    reply = _read(session, mesh_calls.decision, source, capability)
    if session.json:
        show_json(reply)
    else:
        _show(source, capability, reply["action"])


@mesh.command()
@with_session
def status(session: Session) -> None:
    """Show the authority, and which services are in the mesh."""
    reply = _read(session, mesh_calls.authority)
    members = session.read(calls.services, metadata={"mesh": "mtls"})["services"]
    if session.json:
        show_json({"authority": reply, "services": members})
        return
    rows = [("Trust domain", plain(reply["trust_domain"]))]
    for root in reply["roots"]:
        state = "signs" if root["signs"] else "trusted"
        if root["trusted_until"]:
            state += f" until {moment(root['trusted_until'])}"
        elif not root["signs"]:
            state += f", signs from {moment(root['signs_from'])}"
        rows.append(("Root", state))
    lifetime = f"{reply['certificate_lifetime_seconds']:,.0f} s"
    rows.append(("Certificates", f"valid for {lifetime}"))
    show(facts(rows))
    if members:
        click.echo()
        columns = ("id", "status", "location")
        show(
            table(
                ("ID", "STATUS", "LOCATION"),
                [[plain(each[name]) for name in columns] for each in members],
            )
        )


@mesh.command()
@click.option(
    "--overlap",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long sidecars have to learn of the new root before it signs.",
)
@with_session
def rotate_authority(session: Session, overlap: float | None) -> None:
    """Replace the root certificate, without cutting a connection.

    A new root is trusted at once, and signs after the overlap. The old one is trusted
    until all its certificates have expired.
    """
    reply = _read(session, mesh_calls.rotate_authority, overlap)
    if session.json:
        show_json(reply)
        return
    signs_from = moment(reply["roots"][-1]["signs_from"])
    until = moment(reply["roots"][0]["trusted_until"])
    click.echo(
        f"A new root is trusted now, and signs from {signs_from} on; the old one is"
        f" trusted until {until}."
    )
