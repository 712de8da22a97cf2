"""Runs a command that the user gave, without a shell and with a deadline."""

import asyncio
import os
import shlex
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

MOST_OUTPUT: Final = 500
"""So many characters of what a failed command printed last are shown."""

FILE: Final = "{file}"
"""Stands for the path of the file that a command is about."""


def parse(text: str) -> tuple[str, ...]:
    """Return a command line's parts. Raises `ValueError` for one without any."""
    parts = tuple(shlex.split(text))
    if not parts:
        raise ValueError("must name a program")
    return parts


def filled(command: Sequence[str], file: Path) -> tuple[str, ...]:
    """Return the command with the file's path in place of ``{file}``."""
    return tuple(part.replace(FILE, str(file)) for part in command)


async def run(command: Sequence[str], seconds: float) -> str | None:
    """Run a command; return in one line why it failed, None if it did not.

    After ``seconds`` it is killed, with all that it has started. It is, too, when the
    caller is cancelled.
    """
    name = shlex.join(command)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"{name} can't be run: {getattr(error, 'strerror', None) or error}"
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate()
    except TimeoutError:
        return f"{name} took more than {seconds:g} s and was killed"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode == 0:
        return None
    said = " ".join(output.decode(errors="replace").split())[-MOST_OUTPUT:]
    return f"{name} ended with code {process.returncode}" + (said and f": {said}")
