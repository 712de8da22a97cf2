"""Which token is shown: one that is given, or that of a file, which may change."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

TOKEN, TOKEN_FILE = "REGISTRY_TOKEN", "REGISTRY_TOKEN_FILE"

LONGEST = 8_192
"""So many characters at most are a token: a whole header takes hardly more."""

# What a header can hold in one piece: RFC 6750 allows less, but a gateway's own kind
# of token may be anything.
_TEXT = re.compile(rf"[\x21-\x7e]{{1,{LONGEST}}}")


class Credentials:
    """A token to show, or none.

    That of a file is read once and kept. When it is refused, the file is read again:
    so a token can be rotated under a program that runs. Serves all threads.
    """

    def __init__(
        self, token: str | None = None, file: str | os.PathLike[str] | None = None
    ) -> None:
        self._file = None if file is None else Path(file)
        self._token = read_token(self._file) if self._file else _checked(token or "")

    @property
    def token(self) -> str:
        """The token's text; empty for none."""
        return self._token

    @property
    def source(self) -> str:
        """Where the token is from, for people."""
        return "the token" if self._file is None else f"the token in {self._file}"

    def headers(self) -> dict[str, str]:
        """Return the headers of a call by whoever has this token."""
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def changed_since(self, refused: Mapping[str, str]) -> bool:
        """Say whether there is another token by now than in these headers.

        Reads the file again. One that can't be read is no news: its writer may be at
        it.
        """
        if self._file is not None and self.headers() == refused:
            try:
                self._token = read_token(self._file)
            except ValueError:
                return False
        return self.headers() != refused

    def __repr__(self) -> str:
        return f"<Credentials: {self.source if self._token else 'none'}>"


def read_token(file: Path) -> str:
    """Return the token in a file, which holds nothing else but blanks around it.

    Raises `ValueError`, whose message does not repeat what the file holds.
    """
    try:
        with file.open("rb") as content:
            read = content.read(LONGEST + 3)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ValueError(f"the token file {file} can't be read: {why}") from None
    text = read.decode("ascii", "replace").strip()
    if not _TEXT.fullmatch(text):
        raise ValueError(
            f"the token file {file} does not hold one token, and nothing but that"
        )
    return text


def find_credentials(
    token: str | None = None,
    file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Credentials:
    """Return the token that is given, else that of the environment, else none.

    An empty token is none. Raises `ValueError` when both a token and a file are named,
    or when either is none that could be sent.
    """
    where = "token and token_file"
    if token is None and file is None:
        token, file = environ.get(TOKEN) or None, environ.get(TOKEN_FILE) or None
        where = f"{TOKEN} and {TOKEN_FILE}"
    if token is not None and file is not None:
        raise ValueError(f"{where} are two ways to name one: give only one of them")
    return Credentials(token, file)


def _checked(token: str) -> str:
    text = token.strip()
    if text and not _TEXT.fullmatch(text):
        raise ValueError(
            "the token has blanks or other characters in it that no token has"
        )
    return text
