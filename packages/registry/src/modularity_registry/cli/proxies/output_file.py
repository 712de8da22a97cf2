"""A file that is replaced as a whole, and only by what is different and good."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from modularity_registry.cli.proxies import external_command
from modularity_registry.cli.proxies.external_command import FILE

NEW_MODE: Final = 0o644
"""The permissions of a file that is new, less what the umask takes away."""


class NotWritten(Exception):
    """The file stays as it was; the text says why."""


class OutputFile:
    """A file that a template is written to. Nobody ever reads half of it."""

    def __init__(self, path: Path) -> None:
        # A link stays one.
        self.path = path.resolve()

    async def replace(
        self, text: str, check: Sequence[str] = (), seconds: float = 30.0
    ) -> bool:
        """Write ``text`` unless it is there already; return whether it was written.

        The command ``check`` looks at it first: at a file next to this one, whose path
        stands for ``{file}``. A command without that looks at the file itself, and what
        it finds bad is taken back. Raises `NotWritten`.
        """
        try:
            before = self._read()
            if before == text.encode():
                return False
            if any(FILE in part for part in check):
                await self._write(text.encode(), check, seconds)
                return True
            await self._write(text.encode())
            if check:
                await self._check_or_take_back(before, check, seconds)
        except OSError as error:
            reason = error.strerror or str(error)
            raise NotWritten(f"{self.path} can't be written: {reason}") from None
        return True

    def _read(self) -> bytes | None:
        with suppress(FileNotFoundError):
            return self.path.read_bytes()
        return None

    async def _write(
        self, content: bytes, check: Sequence[str] = (), seconds: float = 0.0
    ) -> None:
        descriptor, name = tempfile.mkstemp(
            prefix=f".{self.path.name}.", dir=self.path.parent
        )
        file = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(descriptor)
            file.chmod(self._mode())
            if check:
                command = external_command.filled(check, file)
                reason = await external_command.run(command, seconds)
                if reason is not None:
                    raise NotWritten(f"{self.path} stays as it was: {reason}")
            file.replace(self.path)
        finally:
            file.unlink(missing_ok=True)

    def _mode(self) -> int:
        with suppress(FileNotFoundError):
            return self.path.stat().st_mode & 0o777
        umask = os.umask(0)
        os.umask(umask)
        return NEW_MODE & ~umask

    async def _check_or_take_back(
        self, before: bytes | None, check: Sequence[str], seconds: float
    ) -> None:
        good = False
        try:
            reason = await external_command.run(check, seconds)
            good = reason is None
        finally:
            if not good and before is not None:
                await self._write(before)
            elif not good:
                self.path.unlink(missing_ok=True)
        if reason is not None:
            raise NotWritten(f"{self.path} stays as it was: {reason}")
