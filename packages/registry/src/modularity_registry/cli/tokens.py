"""The commands about tokens: create, list, rotate, revoke, whoami.

A token's text goes to standard output, and nothing else does where one is made: so
that ``TOKEN=$(modularity-registry token create ...)`` holds it.
"""

import re
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

from modularity_registry.cli.output import (
    Cell,
    facts,
    moment,
    names,
    plain,
    show,
    show_json,
    show_json_line,
    table,
    take_any_text,
)
from modularity_registry.cli.session import (
    FAILED,
    PROGRAM,
    Asked,
    asks,
    fail,
    json_option,
    url_option,
)
from modularity_registry.errors import TokenConflict, TokenNotFound
from modularity_registry.model.rights import Right

if TYPE_CHECKING:
    from modularity_registry.cli.token_backends import Json, Place

SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def duration(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> float | None:
    """Return a time span such as ``90d`` as seconds; None if there is none."""
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]{1,9})([dhms])", value)
    if found is None:
        raise click.BadParameter(
            f"{plain(value)!r} is no time span; write a number and its unit, such as"
            " 90d, 12h, 30m or 45s"
        )
    return float(int(found[1]) * SECONDS[found[2]])


def _placed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the place where tokens are, by its options."""

    @url_option
    @click.option(
        "--store",
        metavar="URL",
        help="Straight in the registry's store, with no token; it may run meanwhile.",
    )
    @click.option(
        "--file",
        metavar="PATH",
        help="In a file, as for serve --tokens-file; it may run meanwhile.",
    )
    @json_option
    @wraps(command)
    def placed(
        url: str,
        token: str | None,
        token_file: str | None,
        store: str | None,
        file: str | None,
        **rest: Any,
    ) -> None:
        # Imported late: --help needs none of it.
        from modularity_registry.cli.token_backends import Place

        place = Place(url, token, token_file, store, file)
        place.refuse_mixed(click.get_current_context())
        take_any_text()
        command(place, **rest)

    return placed


@click.group()
def token() -> None:
    """Make, list, rotate and revoke tokens: who may do what at a registry.

    For a registry that was started with --auth, as an admin; or by --store or --file
    for whoever can write there, such as when the last admin's token is lost.
    """


@token.command()
@click.argument("name")
@click.option(
    "--right",
    "rights",
    multiple=True,
    required=True,
    type=click.Choice([right.value for right in Right]),
    help="What it allows; may be given several times.",
)
@click.option(
    "--id",
    "ids",
    multiple=True,
    metavar="PATTERN",
    help="Ids it may register, such as 'weather-*'; all if left out. Several times.",
)
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    metavar="PATTERN",
    help="Capabilities it may register, such as 'weather.*'. As --id.",
)
@click.option(
    "--expires",
    callback=duration,
    metavar="TIME",
    help="How long it is good: 90d, 12h, 30m, 45s; for good if left out.",
)
@_placed
def create(
    place: "Place",
    name: str,
    rights: tuple[str, ...],
    ids: tuple[str, ...],
    capabilities: tuple[str, ...],
    expires: float | None,
    as_json: bool,
) -> None:
    """Make a token called NAME and print its text, which is shown this once."""
    wish: Json = {"name": name, "rights": list(dict.fromkeys(rights))}
    if ids:
        wish["ids"] = list(ids)
    if capabilities:
        wish["capabilities"] = list(capabilities)
    if expires is not None:
        wish["expires_in"] = expires
    with place.desk(new=True) as found:
        made = found.create(wish)
    _hand_out(made, as_json, "made")
    if place.file is not None:
        click.echo(
            f"To have it taken: {PROGRAM} serve --auth --tokens-file {place.file}",
            err=True,
        )


@token.command("list")
@_placed
def list_tokens(place: "Place", as_json: bool) -> None:
    """List all tokens, by name: never their texts, which nobody knows."""
    with place.desk() as found:
        listed = found.all()
    if as_json:
        show_json({"tokens": listed, "count": len(listed)})
    elif listed:
        headings = ("NAME", "RIGHTS", "IDS", "CAPABILITIES", "CREATED", "EXPIRES")
        show(table((*headings, "FORMER TEXT UNTIL"), map(_row, listed)))
    else:
        click.echo("There is no token.")


def _row(each: "Json") -> tuple[Cell, ...]:
    return (
        plain(each["name"]),
        names(each["rights"]),
        names(each["ids"]),
        names(each["capabilities"]),
        moment(each["created_at"]),
        moment(each["expires_at"]),
        moment(each["former_until"]),
    )


@token.command()
@click.argument("name")
@click.option(
    "--grace",
    callback=duration,
    default="0s",
    metavar="TIME",
    help="How long the former text is good still, such as 1h; not at all if left out.",
)
@_placed
def rotate(place: "Place", name: str, grace: float, as_json: bool) -> None:
    """Give the token NAME another text and print it. What it owns stays its own."""
    with place.desk() as found:
        made = found.rotate(name, grace)
    _hand_out(made, as_json, "rotated")


@token.command()
@click.argument("names_", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--last-admin",
    is_flag=True,
    help="Even the last that an admin has; with --store or --file only.",
)
@_placed
def revoke(
    place: "Place", names_: tuple[str, ...], last_admin: bool, as_json: bool
) -> None:
    """Make tokens worthless, at once. With --json: one reply a line."""
    if last_admin and not place.offline:
        raise click.UsageError(
            "--last-admin goes with --store or --file: a running registry keeps at"
            " least one token of an admin."
        )
    failed = False
    with place.desk(last_admin=last_admin) as found:
        for name in names_:
            try:
                found.revoke(name)
            except _refusals() as error:
                # The others are revoked all the same.
                click.echo(f"{PROGRAM}: {plain(error.detail)}", err=True)
                failed = True
                continue
            if as_json:
                show_json_line({"status": "revoked", "name": name})
            else:
                click.echo(f"revoked {plain(name)}")
    if failed:
        click.get_current_context().exit(FAILED)


def _refusals() -> tuple[Any, ...]:
    import modularity_client as client

    theirs = (client.TokenNotFound, client.TokenConflict)
    return (TokenNotFound, TokenConflict, *theirs)


@token.command()
@asks
def whoami(asked: Asked) -> None:
    """Say what the token that is shown is good for."""
    from modularity_client import calls

    own = asked.read(calls.own_token)
    if asked.json:
        show_json(own)
    elif own["name"] is None and not own["rights"]:
        fail("no token was shown, and without one nothing may be done here")
    else:
        show(facts(_own(own)))


def _own(own: "Json") -> list[tuple[str, Cell]]:
    nobody = "nobody: this is what anybody may do without a token"
    return [
        ("name", nobody if own["name"] is None else plain(own["name"])),
        ("rights", names(own["rights"])),
        ("ids", names(own["ids"])),
        ("capabilities", names(own["capabilities"])),
        ("expires", moment(own["expires_at"])),
    ]


def _hand_out(made: "Json", as_json: bool, done: str) -> None:
    said = f"Token {plain(made['name'])} {done}: {names(made['rights'])}"
    if made["ids"] != ["*"]:
        said += f"; ids {names(made['ids'])}"
    if made["capabilities"] != ["*"]:
        said += f"; capabilities {names(made['capabilities'])}"
    if made["expires_at"]:
        said += f"; until {moment(made['expires_at'])}"
    if made["former_until"]:
        said += f"; its former text until {moment(made['former_until'])}"
    click.echo(f"{said}. Its text is shown this once:", err=True)
    if as_json:
        show_json(made)
    else:
        click.echo(made["token"])
