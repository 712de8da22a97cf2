"""Which registries a command trusts over TLS, and what it shows of itself."""

import ssl
from collections.abc import Callable
from typing import Any, Final

import click

_PLACE: Final = "modularity_registry.tls"


def tls_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--ca-file``, ``--client-cert`` and ``--client-key`` to a command.

    They are no arguments of the command: `context` knows of them.
    """
    for flag, environment, text in (
        ("--client-key", "REGISTRY_CLIENT_KEY", "Its key, if that is another file."),
        (
            "--client-cert",
            "REGISTRY_CLIENT_CERT",
            "Certificate (PEM) to show to a registry that asks for one.",
        ),
        (
            "--ca-file",
            "REGISTRY_CA_FILE",
            "CA (PEM) that has signed the registry's certificate, in place of the"
            " system's.",
        ),
    ):
        command = click.option(
            flag,
            metavar="FILE",
            envvar=environment,
            expose_value=False,
            callback=_keep,
            help=f"{text} [{environment}]",
        )(command)
    return command


def _keep(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> None:
    if value:
        context.meta.setdefault(_PLACE, {})[parameter.name] = value


def context() -> ssl.SSLContext | None:
    """Return what the options of the command say; None where they say nothing.

    Raises `click.UsageError` for files that can't be used.
    """
    running = click.get_current_context(silent=True)
    given = {} if running is None else running.meta.get(_PLACE, {})
    if not given:
        return None
    made = _trusting(given.get("ca_file"))
    cert, key = given.get("client_cert"), given.get("client_key")
    if key and not cert:
        raise click.UsageError("--client-key goes with --client-cert.")
    if cert:
        try:
            # Without a password to ask for: nobody may be there to type it.
            made.load_cert_chain(cert, key, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise click.BadParameter(
                f"{cert} and its key can't be used ({_reason(error)}); both have to be"
                " PEM, belong together, and the key must not be encrypted",
                param_hint="--client-cert",
            ) from None
    return made


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
