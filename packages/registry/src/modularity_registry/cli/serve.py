"""The command serve: reads the settings and runs the registry."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from modularity_registry import config
from modularity_registry.cli.exit import fail
from modularity_registry.errors import RegistryError
from modularity_registry.serving.process import leave_on_signals
from modularity_registry.telemetry import logs

log = logging.getLogger(__name__)


def _setting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    defaults = config.Settings()
    for option in reversed(config.OPTIONS):
        default = getattr(defaults, option.field)
        is_list = isinstance(default, tuple | frozenset)
        default_text = ",".join(default) or config.OFF if is_list else default
        text = f"{option.help} [{option.env}; default: {default_text}]"
        if isinstance(default, bool):
            add = click.option(option.flag, is_flag=True, default=None, help=text)
        else:
            add = click.option(option.flag, metavar="VALUE", help=text)
        command = add(command)
    return command


@click.command()
@_setting_options
def serve(**flags: Any) -> None:
    """Run the registry until Ctrl-C or SIGTERM."""
    texts = {name: "true" if value is True else value for name, value in flags.items()}
    try:
        exit_code = _run(config.load(texts, os.environ))
    except RegistryError as error:
        fail(error.detail)
    sys.exit(exit_code)


def _run(settings: config.Settings) -> int:
    # The imports take most of the time until there is something to stop.
    leave_on_signals()
    # Imported late: --help and a bad setting need no web server.
    from modularity_registry.serve import factory, server_options
    from modularity_registry.serving import descriptors
    from modularity_registry.serving.server import serve as serve_http

    logs.configure(settings.log_format, settings.level)
    settings = descriptors.fitted(settings)
    for warning in config.warnings(os.environ):
        log.warning(warning)
    return serve_http(
        factory(settings), settings.host, settings.port, server_options(settings)
    )
