"""Load the settings: flags win over the environment, that over the defaults."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from modularity_registry.config.options import OPTIONS
from modularity_registry.config.settings import OFF, Settings
from modularity_registry.errors import BadSetting
from modularity_registry.model.rights import Right


def load(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """Return the settings; ``flags`` by field name, None where not given.

    Raises `BadSetting` with one line that names the setting, its value and what it
    should be. A variable that looks like a misspelled setting is refused as well.
    """
    values: dict[str, Any] = {}
    for option in OPTIONS:
        flag = flags.get(option.field)
        name, text = option.flag, flag
        if text is None:
            name, text = _variable(option.env, environ)
        if text is None:
            continue
        try:
            values[option.field] = option.parse(text)
        except (ValueError, BadSetting) as error:
            detail = error.detail if isinstance(error, BadSetting) else str(error)
            # Nor is that of a mix-up: a URL with an @ may hold a password.
            hidden = option.secret or "@" in text
            setting = name if hidden else f"{name}={text!r}"
            raise BadSetting(f"{setting}: {detail}") from None
    _refuse_typos(environ)
    settings = Settings(**values)
    _refuse_contradictions(settings)
    return settings


FORMER: Mapping[str, str] = {"REGISTRY_ALLOWED_ORIGINS": "ALLOWED_ORIGINS"}
"""Variables that had another name in the first registry; it still counts."""


def warnings(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each setting that is given by a former name."""
    return [
        f"{former} is the former name of {name}; rename it"
        for name, former in FORMER.items()
        if _variable(name, environ)[0] == former
    ]


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str | None]:
    """Return a variable's name and value. An empty one counts as if it were not set."""
    former = FORMER.get(name)
    if former is not None and not environ.get(name) and environ.get(former):
        name = former
    return name, environ.get(name) or None


def _refuse_contradictions(settings: Settings) -> None:
    """Raise `BadSetting` for settings that contradict each other."""
    if settings.workers > 1 and settings.store_kind == "memory":
        raise BadSetting(
            f"--workers {settings.workers} needs a store that processes can share, and"
            " memory:// lives in one process; add for example"
            " --store sqlite:///registry.db"
        )
    if settings.dns_port == settings.port:
        raise BadSetting(
            f"--dns-port {settings.dns_port} is the HTTP port already; choose another"
            " one"
        )
    _refuse_unused_rate_store(settings)
    if settings.audit_file != OFF and settings.audit_file == settings.tokens_file:
        raise BadSetting(
            f"--audit-file {settings.audit_file} is the --tokens-file already; choose"
            " another file for one of them"
        )
    _refuse_half_auth(settings)
    _refuse_half_tls(settings)


def _refuse_unused_rate_store(settings: Settings) -> None:
    # With --auth, calls with bad tokens are.
    counted = settings.auth or {settings.write_rate, settings.read_rate} != {OFF}
    if settings.rate_store != "memory://" and not counted:
        raise BadSetting(
            "--rate-store has no effect, because no calls are counted; add --write-rate"
            " or --read-rate, such as 600/minute, or leave it out"
        )


def _refuse_half_auth(settings: Settings) -> None:
    if not settings.auth:
        for name, is_set in (
            ("--tokens-file", settings.tokens_file != OFF),
            ("--anonymous", bool(settings.anonymous)),
        ):
            if is_set:
                raise BadSetting(
                    f"{name} has no effect without --auth, since everybody can do"
                    f" everything; add --auth, or leave out {name}"
                )
    elif settings.dns_port and Right.READ not in settings.anonymous:
        raise BadSetting(
            f"--dns-port {settings.dns_port} would answer everybody, since DNS has no"
            " tokens, but with --auth callers need the right to read; add --anonymous"
            " read, or leave out --dns-port"
        )


def _refuse_half_tls(settings: Settings) -> None:
    defaults = Settings()
    has_cert, has_key = settings.tls_cert != OFF, settings.tls_key != OFF
    if has_cert and not has_key:
        raise BadSetting(
            f"--tls-cert {settings.tls_cert} needs its private key; add --tls-key, or"
            " leave out --tls-cert for plain HTTP"
        )
    for name, is_set in (
        ("--tls-key", has_key),
        ("--tls-client-ca", settings.tls_client_ca != OFF),
        ("--tls-min-version", settings.tls_min_version != defaults.tls_min_version),
    ):
        if is_set and not has_cert:
            raise BadSetting(
                f"{name} has no effect without --tls-cert: the registry would serve"
                f" plain HTTP; add --tls-cert, or leave out {name}"
            )
    if (
        settings.forwarded_header != defaults.forwarded_header
        and settings.trusted_proxies == OFF
    ):
        raise BadSetting(
            "--forwarded-header has no effect without --trusted-proxies; add it with"
            " the addresses of your proxies, or leave out --forwarded-header"
        )


# What Kubernetes sets in every pod for a Service named "registry".
_SERVICE_LINK = re.compile(r"REGISTRY_(SERVICE_.*|PORT_[0-9]+_(TCP|UDP).*)")


# What the client and the other commands read from the same environment.
_CLIENT_VARIABLES = frozenset(
    {"REGISTRY_URL", "REGISTRY_TOKEN", "REGISTRY_TOKEN_FILE", "REGISTRY_OWNER_KEY"}
)


def _refuse_typos(environ: Mapping[str, str]) -> None:
    names = [option.env for option in OPTIONS]
    for name in sorted(environ.keys() - _CLIENT_VARIABLES):
        if not name.startswith(("REGISTRY_", "HEALTH_CHECK_")) or name in names:
            continue
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.88)
        if close and not _SERVICE_LINK.fullmatch(name):
            raise BadSetting(f"{name} is not a setting; did you mean {close[0]}?")
