"""The checks of doctor about tokens: their rights, and where they are sent."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import modularity_client as client
from modularity_client.http import credentials
from modularity_client.tokens import Token
from modularity_registry.cli.doctor.findings import Finding
from modularity_registry.cli.exit import PROGRAM
from modularity_registry.cli.output import count, moment, names, plain
from modularity_registry.cli.session import TOKEN_HINT, connected
from modularity_registry.clock import rfc3339
from modularity_registry.network.listen_address import on_loopback

SOON: Final = timedelta(days=7)
"""A token that expires within this gets a note."""

ASK_AN_ADMIN: Final = (
    f"an admin can create another: {PROGRAM} token create; {TOKEN_HINT}"
)


def find_token(token: str | None, token_file: str | None) -> tuple[str, list[Finding]]:
    """Return the token to send, empty for none, and what is wrong with its source."""
    try:
        return credentials.find_credentials(token, token_file).token, []
    except ValueError as error:
        advice = "correct it; the checks below run without a token"
        return "", [Finding("problem", "token", plain(error), advice)]


def unencrypted(urls: Iterable[str], token: str) -> Iterator[Finding]:
    """Yield the URLs to which the token would be sent unencrypted."""
    for url in urls if token else ():
        if urlsplit(url).scheme == "http" and not is_loopback(url):
            yield Finding(
                "problem",
                url,
                "your token is sent there unencrypted, where others can read it",
                "use https://, with serve --tls-cert or a proxy that has a"
                " certificate; then rotate the token",
            )


def is_loopback(url: str) -> bool:
    """Return whether calls to the URL stay within this machine."""
    return on_loopback(urlsplit(url).hostname or "")


def admission(url: str, token: str, warned: bool, patience: float) -> Iterator[Finding]:
    """Yield what a registry reports about the token, or about having none.

    ``warned``: its health has a warning about where it listens already.
    """
    with connected(url, token, timeout=patience) as registry:
        try:
            own = registry.own_token()
        except client.Unauthorized as error:
            yield Finding("problem", url, plain(error.detail), ASK_AN_ADMIN)
        except client.errors.TokenNotFound:
            yield from of_open(url, bool(token), warned)
        except client.RegistryError:
            return  # an old one without tokens, or one that has just stopped
        else:
            yield from of_own(url, own, datetime.now(UTC))


def of_open(url: str, token: bool, warned: bool) -> Iterator[Finding]:
    """Yield what is wrong with a registry without tokens; arguments as `admission`."""
    if not is_loopback(url) and not warned:
        yield Finding(
            "problem",
            url,
            "it is open: everybody who can reach it can change and remove services",
            f"start it with --auth and create tokens ({PROGRAM} token create), or let"
            " only trusted machines reach it",
        )
    if token:
        message = "it runs without --auth, and ignores your token"
        yield Finding("note", url, message, "start it with --auth to use tokens")


def of_own(url: str, own: Token, now: datetime) -> Iterator[Finding]:
    """Yield what a token, or none, allows at ``now``."""
    if own.name is None:
        if "read" in own.rights:
            message = f"no token given; everybody has the rights {names(own.rights)}"
            yield Finding("ok", url, message)
        else:
            message = "it needs a token for every call, and none was given"
            yield Finding("problem", url, message, TOKEN_HINT)
        return
    about = f"token {plain(own.name)}"
    if "read" in own.rights:
        yield Finding("ok", about, f"it has the rights {names(own.rights)}")
    else:
        yield Finding(
            "problem",
            about,
            f"it has the rights {names(own.rights)}, but not read: it can't look"
            " anything up",
            ASK_AN_ADMIN,
        )
    if own.expires_at is not None and own.expires_at - now < SOON:
        days = (own.expires_at - now).days
        yield Finding(
            "note",
            about,
            f"it expires in {count(days, 'day') if days else 'less than a day'}, at"
            f" {moment(rfc3339(own.expires_at))}",
            "have an admin create another in time; rotating it does not extend it",
        )
