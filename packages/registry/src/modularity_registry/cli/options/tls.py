"""The options for TLS: which registries a command trusts, its own certificate."""

import ssl
from collections.abc import Callable
from typing import Any, Final

import click

from modularity_registry.cli.options.connection import connection_option

_META_KEY: Final = "modularity_registry.tls"


def tls_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--ca-file``, ``--client-cert`` and ``--client-key`` to a command.

    They are not arguments of the command: `context` reads them.
    """
    for flag in ("--client-key", "--client-cert", "--ca-file"):
        command = connection_option(
            flag,
            envvar=f"REGISTRY_{flag[2:].replace('-', '_').upper()}",
            expose_value=False,
            callback=_keep,
        )(command)
    return command


def _keep(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> None:
    if value:
        context.meta.setdefault(_META_KEY, {})[parameter.name] = value


def context() -> ssl.SSLContext | None:
    """Return the context for the command's options; None if none is given.

    Raises `click.UsageError` for files that can't be used.
    """
    command = click.get_current_context(silent=True)
    options = {} if command is None else command.meta.get(_META_KEY, {})
    if not options:
        return None
    tls = _trusting(options.get("ca_file"))
    cert, key = options.get("client_cert"), options.get("client_key")
    if key and not cert:
        raise click.UsageError("--client-key needs --client-cert.")
    if cert:
        try:
            # An encrypted key fails, instead of prompting for its password.
            tls.load_cert_chain(cert, key, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise click.BadParameter(
                f"{cert} and its key can't be used ({_reason(error)}); both have to be"
                " PEM and belong together, and the key must not be encrypted",
                param_hint="--client-cert",
            ) from None
    return tls


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise click.BadParameter(
            f"{ca_file} can't be used ({_reason(error)}); it has to be a CA's"
            " certificate in PEM",
            param_hint="--ca-file",
        ) from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return str(reason or error).lower().replace("_", " ")
