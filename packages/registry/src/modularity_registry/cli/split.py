"""The command split: sets, shows and ends the split of a capability's calls."""

import re
from typing import Any, Final

import click

import modularity_client as client
from modularity_client import calls
from modularity_registry.cli import completion
from modularity_registry.cli.exit import fail
from modularity_registry.cli.output import Cell, plain, show, show_json, table
from modularity_registry.cli.session import Session, with_session

MOST: Final = 20
"""How many providers of a group are named; the rest is counted."""


@click.command()
@click.argument("capability", required=False, shell_complete=completion.capabilities)
@click.argument("groups", metavar="[GROUP=WEIGHT]...", nargs=-1)
@click.option("--clear", is_flag=True, help="End the split.")
@with_session
def split(
    session: Session, capability: str | None, groups: tuple[str, ...], clear: bool
) -> None:
    """Split the calls of CAPABILITY among its providers.

    With v1=90 v2=10, version 1 gets 90 % of the calls and version 2 the others. A GROUP
    is a value of metadata.tag, or a version or its first parts. Without groups it shows
    the split, and who is in which group; without CAPABILITY, all splits.
    """
    if clear and (groups or not capability):
        raise click.UsageError("--clear needs CAPABILITY, and no groups.")
    if capability is None:
        _show_all(session)
    elif clear:
        _end(session, capability)
    elif groups:
        _set(session, capability, groups)
    else:
        _show(session, capability)


def _set(session: Session, capability: str, groups: tuple[str, ...]) -> None:
    weights: dict[str, int] = {}
    for text in groups:
        match = re.fullmatch(r"(.+)=([0-9]{1,9})", text)
        if match is None:
            raise click.UsageError(
                f"{plain(text)!r} is not GROUP=WEIGHT; write a name and a whole number,"
                " such as v1=90."
            )
        if match[1] in weights:
            raise click.UsageError(f"{plain(match[1])!r} is given twice.")
        weights[match[1]] = int(match[2])
    reply = session.read(calls.set_split, capability, weights)
    if session.json:
        show_json(reply)
    else:
        click.echo(f"Split {plain(capability)}: {_weights(reply['split'])}.")


def _end(session: Session, capability: str) -> None:
    _, reply = session.reply(calls.end_split, capability)
    if session.json:
        show_json(reply or {"status": "ended", "capability": capability})
    else:
        click.echo(f"The calls of {plain(capability)} are no longer split.")


def _show(session: Session, capability: str) -> None:
    try:
        weights = session.read(calls.split, capability)
    except client.errors.SplitNotFound as error:
        fail(error.detail)
    if session.json:
        show_json(weights)
        return
    try:
        providers = session.read(calls.explain, capability)["providers"]
    except client.CapabilityNotFound:
        providers = []
    members: dict[str | None, list[Any]] = {}
    for provider in providers:
        members.setdefault(provider.get("group"), []).append(provider)
    total = sum(weights.values())
    rows = [
        _row(plain(name), f"{weight / total:.1%}", members.get(name, []))
        for name, weight in weights.items()
    ]
    if None in members:
        rows.append(_row("-", "-", members[None]))
    show(table(("GROUP", "SHARE", "GET CALLS", "PROVIDERS"), rows))


def _row(name: str, share: str, providers: list[Any]) -> list[Cell]:
    returned = sum(provider["returned"] for provider in providers)
    ids = ", ".join(plain(provider["service_id"]) for provider in providers[:MOST])
    if len(providers) > MOST:
        ids += f", and {len(providers) - MOST:,} more"
    return [name, share, f"{returned:,} of {len(providers):,}", ids or "-"]


def _show_all(session: Session) -> None:
    reply = session.read(calls.splits)
    if session.json:
        show_json(reply)
    elif reply["splits"]:
        rows = [
            [plain(row["capability"]), _weights(row["split"])]
            for row in reply["splits"]
        ]
        show(table(("CAPABILITY", "SPLIT"), rows))
    else:
        click.echo("No calls are split.")


def _weights(weights: dict[str, int]) -> str:
    return ", ".join(f"{plain(name)} {weight:,}" for name, weight in weights.items())
