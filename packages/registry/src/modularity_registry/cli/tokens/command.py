"""The commands about tokens: create, list, rotate, revoke, whoami.

Where a token is created, only its text goes to standard output, so that
``TOKEN=$(modularity-registry token create ...)`` holds it.
"""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import click

import modularity_client as client
from modularity_client import calls
from modularity_registry.cli.exit import FAILED, PROGRAM, fail
from modularity_registry.cli.group import Group
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
    Session,
    json_option,
    url_option,
    with_session,
)
from modularity_registry.cli.tokens.backends import Json, TokenBackendOptions
from modularity_registry.errors import TokenConflict, TokenNotFound
from modularity_registry.model.rights import Right

# From a registry, and from a store or a file.
REFUSALS: Final = (
    client.errors.TokenNotFound,
    client.errors.TokenConflict,
    TokenNotFound,
    TokenConflict,
)

SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def duration(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> float | None:
    """Return a duration such as ``90d`` in seconds; None if there is none."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})([dhms])", value)
    if match is None:
        raise click.BadParameter(
            f"{plain(value)!r} is not a duration; write a number and its unit, such as"
            " 90d, 12h, 30m or 45s"
        )
    return float(int(match[1]) * SECONDS[match[2]])


def _with_backend(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its token backend, by the options for it."""

    @url_option
    @click.option(
        "--store",
        metavar="URL",
        help="Work in the registry's store directly, without a token.",
    )
    @click.option(
        "--file",
        metavar="PATH",
        help="Work in a file for serve --tokens-file.",
    )
    @json_option
    @wraps(command)
    def with_backend(
        url: str,
        token: str | None,
        token_file: str | None,
        store: str | None,
        file: str | None,
        **rest: Any,
    ) -> None:
        options = TokenBackendOptions(url, token, token_file, store, file)
        options.refuse_mixed(click.get_current_context())
        take_any_text()
        command(options, **rest)

    return with_backend


@click.group(cls=Group)
def token() -> None:
    """Create, list, rotate and revoke tokens.

    The registry has to run with --auth, and you need a token with the right admin.
    With --store or --file you need no token, but write access there: use that if the
    last admin's token is lost.
    """


@token.command()
@click.argument("name")
@click.option(
    "--right",
    "rights",
    multiple=True,
    required=True,
    type=click.Choice([right.value for right in Right]),
    help="Right that the token gives; can be repeated.",
)
@click.option(
    "--id",
    "ids",
    multiple=True,
    metavar="PATTERN",
    help="Ids it may register, such as 'weather-*'; can be repeated. Default: all.",
)
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    metavar="PATTERN",
    help="Capabilities it may register, such as 'weather.*'; as --id.",
)
@click.option(
    "--expires",
    callback=duration,
    metavar="TIME",
    help="How long the token is valid: 90d, 12h, 30m, 45s. Default: no end.",
)
@_with_backend
def create(
    options: TokenBackendOptions,
    name: str,
    rights: tuple[str, ...],
    ids: tuple[str, ...],
    capabilities: tuple[str, ...],
    expires: float | None,
    as_json: bool,
) -> None:
    """Create the token NAME and print its text.

    The text is printed only now: the registry keeps no copy of it.
    """
    request: Json = {"name": name, "rights": list(dict.fromkeys(rights))}
    if ids:
        request["ids"] = list(ids)
    if capabilities:
        request["capabilities"] = list(capabilities)
    if expires is not None:
        request["expires_in"] = expires
    with options.open(new=True) as admin:
        token = admin.create(request)
    _print_token(token, as_json, "created")
    if options.file is not None:
        click.echo(
            f"To use the file: {PROGRAM} serve --auth --tokens-file {options.file}",
            err=True,
        )


@token.command("list")
@_with_backend
def list_tokens(options: TokenBackendOptions, as_json: bool) -> None:
    """List all tokens by name, without their texts."""
    with options.open() as admin:
        entries = admin.all()
    if as_json:
        show_json({"tokens": entries, "count": len(entries)})
    elif entries:
        headings = ("NAME", "RIGHTS", "IDS", "CAPABILITIES", "CREATED", "EXPIRES")
        show(table((*headings, "FORMER TEXT UNTIL"), map(_row, entries)))
    else:
        click.echo("No tokens.")


def _row(entry: Json) -> tuple[Cell, ...]:
    return (
        plain(entry["name"]),
        names(entry["rights"]),
        names(entry["ids"]),
        names(entry["capabilities"]),
        moment(entry["created_at"]),
        moment(entry["expires_at"]),
        moment(entry["former_until"]),
    )


@token.command()
@click.argument("name")
@click.option(
    "--grace",
    callback=duration,
    default="0s",
    metavar="TIME",
    help="How long the former text still works, such as 1h. Default: not at all.",
)
@_with_backend
def rotate(
    options: TokenBackendOptions, name: str, grace: float, as_json: bool
) -> None:
    """Give the token NAME a new text and print it.

    The token still owns the services that it registered.
    """
    with options.open() as admin:
        token = admin.rotate(name, grace)
    _print_token(token, as_json, "rotated")


@token.command()
@click.argument("names_", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--last-admin",
    is_flag=True,
    help="Revoke even the last token with the right admin; needs --store or --file.",
)
@_with_backend
def revoke(
    options: TokenBackendOptions,
    names_: tuple[str, ...],
    last_admin: bool,
    as_json: bool,
) -> None:
    """Revoke tokens, at once.

    With --json, it prints one reply on each line.
    """
    if last_admin and not options.offline:
        raise click.UsageError(
            "--last-admin needs --store or --file: a running registry always keeps one"
            " token with the right admin."
        )
    failed = False
    with options.open(last_admin=last_admin) as admin:
        for name in names_:
            try:
                admin.revoke(name)
            except REFUSALS as error:
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


@token.command()
@with_session
def whoami(session: Session) -> None:
    """Show your own token's name, rights and expiry."""
    own = session.read(calls.own_token)
    if session.json:
        show_json(own)
    elif own["name"] is None and not own["rights"]:
        fail("no token was given, and this registry needs one for everything")
    else:
        show(facts(_own(own)))


def _own(own: Json) -> list[tuple[str, Cell]]:
    without = "none: this is what everybody can do without a token"
    return [
        ("name", without if own["name"] is None else plain(own["name"])),
        ("rights", names(own["rights"])),
        ("ids", names(own["ids"])),
        ("capabilities", names(own["capabilities"])),
        ("expires", moment(own["expires_at"])),
    ]


def _print_token(token: Json, as_json: bool, verb: str) -> None:
    summary = f"Token {plain(token['name'])} {verb}: {names(token['rights'])}"
    if token["ids"] != ["*"]:
        summary += f"; ids {names(token['ids'])}"
    if token["capabilities"] != ["*"]:
        summary += f"; capabilities {names(token['capabilities'])}"
    if token["expires_at"]:
        summary += f"; expires {moment(token['expires_at'])}"
    if token["former_until"]:
        summary += f"; the former text works until {moment(token['former_until'])}"
    click.echo(f"{summary}. Save its text, it is not shown again:", err=True)
    if as_json:
        show_json(token)
    else:
        click.echo(token["token"])
