"""Tokens in a JSON file, kept beside the registry's other settings."""

import asyncio
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from filelock import FileLock

from modularity_registry import schema, tasks
from modularity_registry.errors import BadSetting, TokenConflict
from modularity_registry.model.rights import Token
from modularity_registry.tasks import run_on
from modularity_registry.tokens.verify import TokenView

log = logging.getLogger(__name__)

PERIOD = 0.4
"""Seconds between two reads of the file."""


class _Document(msgspec.Struct, frozen=True):
    tokens: list[Token]


_decode = msgspec.json.Decoder(_Document, strict=True).decode


class FileTokenBackend:
    """Tokens in a JSON file that only its owner can read.

    A token's revision is a hash of its content, so a writer that was overtaken gets
    a `TokenConflict`. Methods raise `BadSetting` if the file can't be read or written.
    """

    def __init__(self, path: str, namespace: str = "") -> None:
        """Return the tokens of a namespace in the file; "" is the default one."""
        self._path = Path(path)
        self._namespace = namespace

    def all(self) -> dict[str, tuple[Token, int]]:
        """Return every token by name; none if the file doesn't exist."""
        return of_namespace(self.everywhere(), self._namespace)

    def within(self, namespace: str) -> "FileTokenBackend":
        """Return the tokens of another namespace in the same file."""
        return FileTokenBackend(str(self._path), namespace)

    def everywhere(self) -> list[Token]:
        """Return the tokens of all namespaces; none if the file doesn't exist."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._error("read", error) from None
        try:
            return _decode(content).tokens
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadSetting(
                f"the tokens file {self._path} is not valid: {error}; repair it, or"
                " move it away and create new tokens"
            ) from None

    def put(self, token: Token, expected: int) -> None:
        """Replace the token of revision ``expected``; raises `TokenConflict`."""
        self._change(token.name, expected, token)

    def delete(self, name: str, expected: int) -> None:
        """Remove the token of revision ``expected``; raises `TokenConflict`."""
        self._change(name, expected, None)

    def _change(self, name: str, expected: int, token: Token | None) -> None:
        if not self._path.parent.is_dir():
            # FileLock would create the folder, and hide that the path is mistyped.
            raise BadSetting(
                f"the tokens file {self._path} can't be written: its folder does not"
                " exist; create it, or see --tokens-file"
            )
        try:
            # The lock file stays: a lock that is removed can be held twice.
            with FileLock(f"{self._path}.lock", mode=0o600):
                everywhere = self.everywhere()
                tokens = of_namespace(everywhere, self._namespace)
                if tokens.get(name, (None, 0))[1] != expected:
                    raise TokenConflict(
                        f"another token {name!r} was written meanwhile; rotate or"
                        " revoke it"
                    )
                place = self._namespace, name
                others = [t for t in everywhere if (t.namespace, t.name) != place]
                if token is not None:
                    others.append(
                        msgspec.structs.replace(token, namespace=self._namespace)
                    )
                self._write(others)
        except OSError as error:
            raise self._error("written", error) from None

    def _write(self, tokens: list[Token]) -> None:
        content = msgspec.json.format(schema.encode(_Document(tokens)), indent=2)
        # Created with mode 0600, and complete before it gets the name.
        descriptor, temporary = tempfile.mkstemp(
            dir=self._path.parent, prefix=".tokens-"
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _error(self, action: str, error: OSError) -> BadSetting:
        reason = error.strerror or str(error)
        return BadSetting(
            f"the tokens file {self._path} can't be {action}: {reason.lower()}; see"
            " --tokens-file"
        )


def of_namespace(tokens: list[Token], name: str) -> dict[str, tuple[Token, int]]:
    """Return those of a namespace, with their revisions, by name."""
    return {
        token.name: (token, _revision(token))
        for token in tokens
        if token.namespace == name
    }


def _revision(token: Token) -> int:
    digest = hashlib.sha256(schema.encode(token)).digest()
    return int.from_bytes(digest[:7], "big") + 1


class TokenFileWatcher:
    """Reads a file of tokens into a `TokenView` whenever it changes; itself a backend.

    A task of the event loop; as a backend for other threads, or before the start. While
    the file can't be read, the tokens that were read last stay valid.
    """

    def __init__(self, backend: FileTokenBackend, tokens: TokenView) -> None:
        self._backend = backend
        self._tokens = tokens
        self._views = [tokens]
        self._fault: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reading = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def fault(self) -> str | None:
        """Why the file can't be read; None while it can."""
        return self._fault

    def within(self, tokens: TokenView) -> "NamespaceTokenFile":
        """Read the tokens of ``tokens``' namespace as well; return their backend.

        Before the start only.
        """
        self._views.append(tokens)
        return NamespaceTokenFile(self, self._backend.within(tokens.namespace), tokens)

    async def start(self) -> None:
        """Read the file, then watch it; raises `BadSetting` if it can't be read."""
        self._loop = asyncio.get_running_loop()
        self._take(await asyncio.to_thread(self._backend.everywhere))
        self._task = tasks.start("tokens", self._watch())

    async def stop(self) -> None:
        """Stop watching. Idempotent."""
        await tasks.cancel(self._task)

    def all(self) -> dict[str, tuple[Token, int]]:
        return self._tokens.all()

    def put(self, token: Token, expected: int) -> None:
        with self.writing():
            self._backend.put(token, expected)

    def delete(self, name: str, expected: int) -> None:
        with self.writing():
            self._backend.delete(name, expected)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Read the file again after what is done to it; raises `TokenConflict`."""
        try:
            yield
            if self._loop is None:
                self._take(self._backend.everywhere())
            else:
                run_on(self._loop, self._read())
        except BadSetting as error:
            raise TokenConflict(error.detail) from None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            try:
                changed = await self._read()
            except BadSetting as error:
                if self._fault is None:
                    log.error("%s; the tokens read before stay valid", error.detail)
                self._fault = error.detail
                continue
            self._fault = None
            if changed:
                total = sum(len(tokens.all()) for tokens in self._views)
                log.info("the tokens file changed; it now has %d tokens", total)

    async def _read(self) -> bool:
        """Take the tokens from the file; return whether they are others."""
        # One read at a time: an older one must not replace what a newer one has found.
        async with self._reading:
            return self._take(await asyncio.to_thread(self._backend.everywhere))

    def _take(self, everywhere: list[Token]) -> bool:
        """Give each namespace its tokens; return whether any are others."""
        any_changed = False
        for view in self._views:
            tokens = of_namespace(everywhere, view.namespace)
            if tokens != view.all():
                view.replace(tokens)
                any_changed = True
        return any_changed


class NamespaceTokenFile:
    """The tokens of a namespace in a file that is watched for all of them."""

    def __init__(
        self, watcher: TokenFileWatcher, backend: FileTokenBackend, tokens: TokenView
    ) -> None:
        self._watcher = watcher
        self._backend = backend
        self._tokens = tokens

    def all(self) -> dict[str, tuple[Token, int]]:
        return self._tokens.all()

    def put(self, token: Token, expected: int) -> None:
        with self._watcher.writing():
            self._backend.put(token, expected)

    def delete(self, name: str, expected: int) -> None:
        with self._watcher.writing():
            self._backend.delete(name, expected)
