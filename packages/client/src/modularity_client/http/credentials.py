"""The token of the calls: a fixed one, or one from a file, which may change."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

TOKEN, TOKEN_FILE = "REGISTRY_TOKEN", "REGISTRY_TOKEN_FILE"

LONGEST = 8_192
"""Characters of the longest token; most servers limit a header to that."""

# Any text that a header can hold without blanks. RFC 6750 allows less, but a
# gateway may use other tokens.
_TEXT = re.compile(rf"[\x21-\x7e]{{1,{LONGEST}}}")


class Credentials:
    """A token, or none. Thread-safe.

    A token file is read once, and again when the token is refused, so that you can
    rotate a token while programs run.
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
        """Where the token comes from, for people."""
        return "the token" if self._file is None else f"the token in {self._file}"

    def headers(self) -> dict[str, str]:
        """Return the headers of a call with this token."""
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def changed_since(self, refused: Mapping[str, str]) -> bool:
        """Return whether the token is another than in these headers.

        Reads the file again. If that fails, the token stays as it is: the file may be
        half written.
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
    """Return the token in a file, without the blanks around it.

    Raises `ValueError`, whose message does not contain the file's content.
    """
    try:
        with file.open("rb") as content:
            data = content.read(LONGEST + 3)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"the token file {file} can't be read: {reason}") from None
    text = data.decode("ascii", "replace").strip()
    if not _TEXT.fullmatch(text):
        raise ValueError(f"the token file {file} does not contain exactly one token")
    return text


def find_credentials(
    token: str | None = None,
    file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Credentials:
    """Return the token of the arguments, else of the environment, else none.

    An empty token is none. Raises `ValueError` for both a token and a file, and for an
    invalid token or file.
    """
    where = "token and token_file"
    if token is None and file is None:
        token, file = environ.get(TOKEN) or None, environ.get(TOKEN_FILE) or None
        where = f"{TOKEN} and {TOKEN_FILE}"
    if token is not None and file is not None:
        raise ValueError(f"{where} are both set; set only one of them")
    return Credentials(token, file)


def _checked(token: str) -> str:
    text = token.strip()
    if text and not _TEXT.fullmatch(text):
        raise ValueError("the token contains blanks or other invalid characters")
    return text
