"""The command serve: reads the settings and runs the registry."""

import logging
import sys

import click

from modularity_registry import config
from modularity_registry.cli.exit import fail
from modularity_registry.cli.options.settings import (
    SettingsCommand,
    Texts,
    load_or_fail,
    setting_options,
    warnings,
)
from modularity_registry.errors import RegistryError
from modularity_registry.serving.process import leave_on_signals
from modularity_registry.telemetry import logs

log = logging.getLogger(__name__)


@click.command(cls=SettingsCommand)
@setting_options
def serve(flags: Texts) -> None:
    """Run the registry until Ctrl-C or SIGTERM."""
    settings, sources = load_or_fail(flags)
    try:
        exit_code = _run(settings, warnings(flags, settings, sources))
    except RegistryError as error:
        fail(error.detail)
    sys.exit(exit_code)


def _run(settings: config.Settings, warned: list[str]) -> int:
    # The imports take most of the time until there is something to stop.
    leave_on_signals()
    # Imported late: --help and a bad setting need no web server.
    from modularity_registry.serve import factory, server_options
    from modularity_registry.serving import descriptors
    from modularity_registry.serving.server import serve as serve_http

    logs.configure(settings.log_format, settings.level)
    settings = descriptors.fitted(settings)
    for warning in warned:
        log.warning(warning)
    return serve_http(
        factory(settings), settings.host, settings.port, server_options(settings)
    )
