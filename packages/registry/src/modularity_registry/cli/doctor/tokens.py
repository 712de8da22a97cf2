"""What a doctor finds about tokens: what they are good for, and where they go."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import modularity_client as client
from modularity_client import Token
from modularity_client.http import credentials
from modularity_registry.cli.doctor.findings import Finding
from modularity_registry.cli.exit import PROGRAM
from modularity_registry.cli.output import count, moment, names, plain
from modularity_registry.cli.session import TOKEN_HINT, connected
from modularity_registry.clock import rfc3339
from modularity_registry.network.listen_address import on_loopback

SOON: Final = timedelta(days=7)
"""A token that expires within this is worth a word."""

ASK_AN_ADMIN: Final = f"an admin can make another: {PROGRAM} token create; {TOKEN_HINT}"


def shown(token: str | None, token_file: str | None) -> tuple[str, list[Finding]]:
    """Return the token to show, empty for none, and what is wrong with its source."""
    try:
        return credentials.find(token, token_file).token, []
    except ValueError as error:
        advice = "correct it; what follows is what is seen without a token"
        return "", [Finding("problem", "token", plain(error), advice)]


def lines(urls: Iterable[str], token: str) -> Iterator[Finding]:
    """Yield the URLs to which the token would go for everybody on the way to read."""
    for url in urls if token else ():
        if urlsplit(url).scheme == "http" and not is_loopback(url):
            yield Finding(
                "problem",
                url,
                "the token goes there unencrypted: whoever sees it on the way has it",
                "ask by https://, from serve --tls-cert or a proxy that has a"
                " certificate; then rotate the token",
            )


def is_loopback(url: str) -> bool:
    """Say whether what goes to the URL stays within this machine."""
    return on_loopback(urlsplit(url).hostname or "")


def admission(url: str, token: str, warned: bool, patience: float) -> Iterator[Finding]:
    """Yield what a registry that answers says of the token, or of having none.

    ``warned``: it has said itself what is dangerous about where it listens.
    """
    with connected(url, token, timeout=patience) as asked:
        try:
            own = asked.own_token()
        except client.Unauthorized as error:
            yield Finding("problem", url, plain(error.detail), ASK_AN_ADMIN)
        except client.TokenNotFound:
            yield from of_open(url, bool(token), warned)
        except client.RegistryError:
            return  # one from before there were tokens, or one that has just gone
        else:
            yield from of_own(url, own, datetime.now(UTC))


def of_open(url: str, token: bool, warned: bool) -> Iterator[Finding]:
    """Yield what it means that a registry has no tokens; the rest as `admission`."""
    if not is_loopback(url) and not warned:
        yield Finding(
            "problem",
            url,
            "it is open: whoever reaches it may change and remove everything",
            f"start it with --auth and make tokens ({PROGRAM} token create), or let"
            " only trusted machines reach it",
        )
    if token:
        said = "it has no tokens, and does not look at the one that is shown"
        yield Finding("note", url, said, "serve --auth has it look at them")


def of_own(url: str, own: Token, now: datetime) -> Iterator[Finding]:
    """Yield what the registry says that a token, or none, is good for at ``now``."""
    if own.name is None:
        if "read" in own.rights:
            said = f"anybody may {names(own.rights)} without a token; none was shown"
            yield Finding("ok", url, said)
        else:
            said = "it takes nothing without a token, and none was shown"
            yield Finding("problem", url, said, TOKEN_HINT)
        return
    about = f"token {plain(own.name)}"
    if "read" in own.rights:
        yield Finding("ok", about, f"it has the rights {names(own.rights)}")
    else:
        yield Finding(
            "problem",
            about,
            f"it has the rights {names(own.rights)}, but not read: nothing can be"
            " found with it",
            ASK_AN_ADMIN,
        )
    if own.expires_at is not None and own.expires_at - now < SOON:
        days = (own.expires_at - now).days
        yield Finding(
            "note",
            about,
            f"it expires in {count(days, 'day') if days else 'less than a day'}, at"
            f" {moment(rfc3339(own.expires_at))}",
            "have an admin make another in time; rotating one does not prolong it",
        )
