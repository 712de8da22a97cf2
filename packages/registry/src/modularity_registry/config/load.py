"""Flags over environment over defaults; a bad value stops the start."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from modularity_registry.config.options import OPTIONS
from modularity_registry.config.settings import LOOPBACK_HOSTS, OFF, Settings
from modularity_registry.errors import BadSetting
from modularity_registry.model.rights import Right


def load(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """Return the settings; ``flags`` by field name, None where not given.

    Raises `BadSetting` with one line that names the setting, its value and what it
    should be. A variable that is one slip away from a setting is refused as well.
    """
    values: dict[str, Any] = {}
    for option in OPTIONS:
        flag = flags.get(option.field)
        name, given = (
            (option.flag, flag)
            if flag is not None
            else (option.env, environ.get(option.env))
        )
        if given is None:
            continue
        try:
            values[option.field] = option.parse(given)
        except (ValueError, BadSetting) as error:
            detail = error.detail if isinstance(error, BadSetting) else str(error)
            # A URL with an @ may hold a password, which belongs in no log.
            shown = name if "@" in given else f"{name}={given!r}"
            raise BadSetting(f"{shown}: {detail}") from None
    _refuse_slips(environ)
    settings = Settings(**values)
    _refuse_contradictions(settings)
    return settings


def _refuse_contradictions(settings: Settings) -> None:
    """Raise `BadSetting` for settings that can't hold together."""
    if settings.debug and settings.host not in LOOPBACK_HOSTS:
        raise BadSetting(
            f"--debug shows internals, so it is for loopback only, not for"
            f" {settings.host!r}; leave out --debug or use --host 127.0.0.1"
        )
    if settings.workers > 1 and settings.store_kind == "memory":
        raise BadSetting(
            f"--workers {settings.workers} needs a store that processes can share, and"
            " memory:// is within one; add for example --store sqlite:///registry.db"
        )
    if settings.dns_port == settings.port:
        raise BadSetting(
            f"--dns-port {settings.dns_port} is the port for HTTP as well, and both use"
            " TCP; choose another one for --dns-port"
        )
    _refuse_nothing_counted(settings)
    if settings.audit_file != OFF and settings.audit_file == settings.tokens_file:
        raise BadSetting(
            f"--audit-file {settings.audit_file} holds the tokens already, by"
            " --tokens-file; name another file for one of them"
        )
    _refuse_half_closed(settings)
    _refuse_half_encrypted(settings)


def _refuse_nothing_counted(settings: Settings) -> None:
    # With --auth, calls with bad tokens are.
    counted = settings.auth or {settings.write_rate, settings.read_rate} != {OFF}
    if settings.rate_store != "memory://" and not counted:
        raise BadSetting(
            "--rate-store says where calls are counted, but there is nothing to count;"
            " add --write-rate or --read-rate, such as 600/minute, or leave it out"
        )


def _refuse_half_closed(settings: Settings) -> None:
    if not settings.auth:
        for name, given in (
            ("--tokens-file", settings.tokens_file != OFF),
            ("--anonymous", bool(settings.anonymous)),
        ):
            if given:
                raise BadSetting(
                    f"{name} says who may do what, but without --auth everybody may do"
                    f" everything; add --auth or leave out {name}"
                )
    elif settings.dns_port and Right.READ not in settings.anonymous:
        raise BadSetting(
            f"--dns-port {settings.dns_port} would answer everybody, since DNS carries"
            " no tokens, and with --auth only those with the right to read may know;"
            " add --anonymous read or leave out --dns-port"
        )


def _refuse_half_encrypted(settings: Settings) -> None:
    defaults = Settings()
    has_cert, has_key = settings.tls_cert != OFF, settings.tls_key != OFF
    if has_cert and not has_key:
        raise BadSetting(
            f"--tls-cert {settings.tls_cert} needs its private key; add --tls-key, or"
            " leave out --tls-cert for plain HTTP"
        )
    for name, given in (
        ("--tls-key", has_key),
        ("--tls-client-ca", settings.tls_client_ca != OFF),
        ("--tls-min-version", settings.tls_min_version != defaults.tls_min_version),
    ):
        if given and not has_cert:
            raise BadSetting(
                f"{name} is about TLS, and without --tls-cert there is none: all would"
                f" go in clear; add --tls-cert, or leave out {name}"
            )
    if (
        settings.forwarded_header != defaults.forwarded_header
        and settings.trusted_proxies == OFF
    ):
        raise BadSetting(
            "--forwarded-header says what trusted proxies write, and none is trusted;"
            " add --trusted-proxies with their addresses, or leave it out"
        )


# What Kubernetes sets in every pod for a Service named "registry".
_SERVICE_LINK = re.compile(r"REGISTRY_(SERVICE_.*|PORT_[0-9]+_(TCP|UDP).*)")


# What callers take from the same environment: the client and the other commands.
_OF_CALLERS = frozenset(
    {"REGISTRY_URL", "REGISTRY_TOKEN", "REGISTRY_TOKEN_FILE", "REGISTRY_OWNER_KEY"}
)


def _refuse_slips(environ: Mapping[str, str]) -> None:
    known = [option.env for option in OPTIONS]
    for name in sorted(environ.keys() - _OF_CALLERS):
        if not name.startswith(("REGISTRY_", "HEALTH_CHECK_")) or name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.88)
        if near and not _SERVICE_LINK.fullmatch(name):
            raise BadSetting(f"{name} is not a setting; did you mean {near[0]}?")
