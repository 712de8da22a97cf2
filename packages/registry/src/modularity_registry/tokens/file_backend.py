"""Tokens in a file: for one who keeps them beside the registry's other settings."""

import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from filelock import FileLock

from modularity_registry import schema
from modularity_registry.errors import BadSetting, TokenConflict
from modularity_registry.model.rights import Token
from modularity_registry.tokens.verify import Tokens

log = logging.getLogger(__name__)

PERIOD = 0.4
"""Seconds between two looks at the file."""


class _Document(msgspec.Struct, frozen=True):
    tokens: list[Token]


_decode = msgspec.json.Decoder(_Document, strict=True).decode


class FileShelf:
    """Tokens in a JSON file that only its owner can read.

    A token's revision is made of its content: writers that overtake each other find
    out. Methods raise `BadSetting` when the file can't be read or written.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def all(self) -> dict[str, tuple[Token, int]]:
        """Return every token by name; none where there is no file."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._trouble("read", error) from None
        try:
            tokens = _decode(content).tokens
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadSetting(
                f"the tokens file {self._path} can't be understood: {error}; mend it,"
                " or put it aside and make tokens anew"
            ) from None
        return {token.name: (token, _revision(token)) for token in tokens}

    def put(self, token: Token, expected: int) -> None:
        """Write a token over that of ``expected``; raises `TokenConflict`."""
        self._change(token.name, expected, token)

    def delete(self, name: str, expected: int) -> None:
        """Remove the token of ``expected``; raises `TokenConflict`."""
        self._change(name, expected, None)

    def _change(self, name: str, expected: int, token: Token | None) -> None:
        if not self._path.parent.is_dir():
            # A lock would make the folder, and hide that the path is mistyped.
            raise BadSetting(
                f"the tokens file {self._path} can't be written: its folder is not"
                " there; make it, or see --tokens-file"
            )
        try:
            # Left where it is: a lock that is removed can be held twice.
            with FileLock(f"{self._path}.lock", mode=0o600):
                tokens = self.all()
                if tokens.get(name, (None, 0))[1] != expected:
                    raise TokenConflict(
                        f"there is another token {name!r} by now; rotate or revoke it"
                    )
                tokens.pop(name, None)
                kept = [each for each, _ in tokens.values()]
                self._write([*kept, token] if token else kept)
        except OSError as error:
            raise self._trouble("written", error) from None

    def _write(self, tokens: list[Token]) -> None:
        content = msgspec.json.format(schema.encode(_Document(tokens)), indent=2)
        # Made with mode 0600, and whole before it has the name.
        descriptor, made = tempfile.mkstemp(dir=self._path.parent, prefix=".tokens-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(made, self._path)
        except BaseException:
            Path(made).unlink(missing_ok=True)
            raise

    def _trouble(self, done: str, error: OSError) -> BadSetting:
        why = error.strerror or str(error)
        return BadSetting(
            f"the tokens file {self._path} can't be {done}: {why.lower()}; see"
            " --tokens-file"
        )


def _revision(token: Token) -> int:
    digest = hashlib.sha256(schema.encode(token)).digest()
    return int.from_bytes(digest[:7], "big") + 1


class Follower:
    """Follows a file of tokens into `Tokens`, in a thread of its own; itself a shelf.

    A file that can't be read any more changes nothing: those who were in stay in.
    """

    def __init__(self, shelf: FileShelf, tokens: Tokens) -> None:
        self._shelf = shelf
        self._tokens = tokens
        self._fault: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tokens", daemon=True)

    @property
    def fault(self) -> str | None:
        """Why the file can't be followed; None while it can."""
        return self._fault

    def start(self) -> None:
        """Read it, raises `BadSetting` when that can't be; then go on."""
        self._tokens.replace(self._shelf.all())
        self._thread.start()

    def stop(self) -> None:
        """Stop following. Idempotent."""
        self._stop.set()

    def all(self) -> dict[str, tuple[Token, int]]:
        return self._tokens.all()

    def put(self, token: Token, expected: int) -> None:
        with self._writing():
            self._shelf.put(token, expected)

    def delete(self, name: str, expected: int) -> None:
        with self._writing():
            self._shelf.delete(name, expected)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
            self._tokens.replace(self._shelf.all())
        except BadSetting as error:
            raise TokenConflict(error.detail) from None

    def _run(self) -> None:
        while not self._stop.wait(PERIOD):
            try:
                found = self._shelf.all()
            except BadSetting as error:
                if self._fault is None:
                    log.error("%s; the tokens known before stay good", error.detail)
                self._fault = error.detail
                continue
            self._fault = None
            if found != self._tokens.all():
                self._tokens.replace(found)
                log.info("the tokens file has changed: it has %d now", len(found))
