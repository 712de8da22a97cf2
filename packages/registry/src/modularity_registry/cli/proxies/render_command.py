"""The command render: files made from templates, current with the registry."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from modularity_client import AsyncRegistry, RegistryError
from modularity_client.http.transport import AsyncDriver
from modularity_registry.cli.exit import fail
from modularity_registry.cli.proxies import external_command
from modularity_registry.cli.proxies.follower import Follower, read, say
from modularity_registry.cli.proxies.loop import until_signal
from modularity_registry.cli.proxies.output_file import NotWritten, OutputFile
from modularity_registry.cli.proxies.snapshot import Snapshot
from modularity_registry.cli.proxies.template import Template, TemplateFailed
from modularity_registry.cli.session import complaint, opened, url_option

PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds until what failed is tried again; the pause doubles."""


class Commands(NamedTuple):
    """What to run before and after files are replaced; ``seconds`` is for each."""

    check: tuple[str, ...]
    reload: tuple[str, ...]
    seconds: float


def _command(
    _: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...]:
    try:
        return external_command.parse(value) if value is not None else ()
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}", param=parameter) from None


_PATH: Final = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument(
    "templates",
    metavar="TEMPLATE...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=_PATH,
    metavar="FILE",
    help="File to write; one for each template. Without it, print the text and end.",
)
@click.option(
    "--check",
    callback=_command,
    metavar="COMMAND",
    help="Command that looks at a new file; {file} in it is its path.",
)
@click.option(
    "--reload",
    callback=_command,
    metavar="COMMAND",
    help="Command to run after files have changed; it runs without a shell.",
)
@click.option(
    "--debounce",
    type=click.IntRange(0, 600_000),
    default=500,
    show_default=True,
    metavar="MS",
    help="Collect changes for so many milliseconds, and write them at once.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Kill a command that takes longer.",
)
@click.option("--once", is_flag=True, help="Write the files once, and end.")
@url_option
def render(
    url: str,
    token: str | None,
    token_file: str | None,
    templates: tuple[Path, ...],
    outputs: tuple[Path, ...],
    check: tuple[str, ...],
    reload: tuple[str, ...],
    debounce: int,
    timeout: float,
    once: bool,
) -> None:
    """Write configuration files from templates, and keep them current.

    TEMPLATE is a file in Jinja's language that asks for services and providers. The
    file is replaced as a whole, and only if the text is another. While the registry is
    away, or a template or a check fails, it stays as it is.
    """
    if outputs and len(outputs) != len(templates):
        raise click.UsageError(
            f"{len(templates)} templates and {len(outputs)} times --output: give one"
            " file for each template."
        )
    if (check or reload) and not outputs:
        raise click.UsageError("--check and --reload need --output.")
    registry = opened(AsyncRegistry, url, token, token_file)
    commands = Commands(check, reload, timeout)
    parts = [Template(path) for path in templates]
    files = [OutputFile(path) for path in outputs]
    writer = Writer(parts, files, commands)
    if once or not outputs:
        asyncio.run(_write_once(registry, writer, parts if not outputs else ()))
    else:
        asyncio.run(until_signal(_follow(registry, writer, debounce / 1000)))


async def _write_once(
    registry: AsyncRegistry, writer: "Writer", printed: Sequence[Template]
) -> None:
    driver = AsyncDriver(registry.settings)
    try:
        snapshot = await read(driver)
        for template in printed:
            click.echo(template.render(snapshot), nl=False)
        await writer.write(snapshot)
    except RegistryError as error:
        fail(complaint(error))
    except TemplateFailed as error:
        fail(str(error))
    finally:
        await driver.close()
    if writer.fault:
        fail(writer.fault)


async def _follow(registry: AsyncRegistry, writer: "Writer", debounce: float) -> None:
    follower = Follower(registry.settings)
    async with asyncio.TaskGroup() as group:
        group.create_task(follower.run())
        group.create_task(_keep_current(follower, writer, debounce))


async def _keep_current(follower: Follower, writer: "Writer", debounce: float) -> None:
    pause = PAUSE
    while True:
        try:
            async with asyncio.timeout(pause if writer.fault else None):
                await follower.changed.wait()
            pause = PAUSE
        except TimeoutError:
            pause = min(LONGEST_PAUSE, pause * 2)
        await asyncio.sleep(debounce)
        follower.changed.clear()
        if follower.snapshot is not None:
            await writer.write(follower.snapshot.copy())


class Writer:
    """Writes all files, then reloads. ``fault`` is what is still to be done, or empty.

    A fault is said once, until it is another one.
    """

    def __init__(
        self,
        templates: Sequence[Template],
        files: Sequence[OutputFile],
        commands: Commands,
        report: Callable[[str], Any] = say,
    ) -> None:
        self.fault = ""
        self._pairs = list(zip(templates, files, strict=False))
        self._commands = commands
        self._report = report
        self._reload_due = False

    async def write(self, snapshot: Snapshot) -> None:
        """Write what has changed since, and run what did not run well before."""
        faults = [await self._write_one(*pair, snapshot) for pair in self._pairs]
        if self._reload_due and self._commands.reload:
            reason = await external_command.run(
                self._commands.reload, self._commands.seconds
            )
            faults.append(reason or "")
            self._reload_due = reason is not None
        fault = "; ".join(filter(None, faults))
        if fault and fault != self.fault:
            self._report(f"{fault}; trying again")
        self.fault = fault

    async def _write_one(
        self, template: Template, file: OutputFile, snapshot: Snapshot
    ) -> str:
        check, _, seconds = self._commands
        try:
            text = await asyncio.to_thread(template.render, snapshot)
            if await file.replace(text, check, seconds):
                self._report(f"wrote {file.path}, revision {snapshot.revision}")
                self._reload_due = True
        except (TemplateFailed, NotWritten) as error:
            return str(error)
        return ""
