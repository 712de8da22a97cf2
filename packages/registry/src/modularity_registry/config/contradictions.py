"""Settings that are valid each, but not together."""

import os
from collections.abc import Iterator

from modularity_registry.config.settings import OFF, Settings
from modularity_registry.model.rights import Right
from modularity_registry.stores import file_of


def contradictions(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each setting that another one contradicts."""
    if settings.workers > 1 and not hasattr(os, "fork"):
        yield f"--workers {settings.workers} needs fork, which Windows lacks; use one"
    if settings.workers > 1 and settings.store_kind == "memory":
        yield (
            f"--workers {settings.workers} needs a store that processes can share, and"
            " memory:// lives in one process; add for example"
            " --store sqlite:///registry.db"
        )
    if settings.confirm > 1 and settings.store_kind == "memory":
        yield (
            f"--confirm {settings.confirm} needs a store that replicas can share, and"
            " memory:// lives in one process; add for example --store etcd://host, or"
            " leave out --confirm"
        )
    yield from _snapshot(settings)
    if settings.dns_port == settings.port:
        yield (
            f"--dns-port {settings.dns_port} is the HTTP port already; choose another"
            " one"
        )
    yield from _xds_port(settings)
    yield from _mesh(settings)
    yield from _unused_rate_store(settings)
    if settings.audit_file != OFF and settings.audit_file == settings.tokens_file:
        yield (
            f"--audit-file {settings.audit_file} is the --tokens-file already; choose"
            " another file for one of them"
        )
    yield from _unused_upstream_tokens(settings)
    yield from _half_auth(settings)
    yield from _half_tls(settings)


def _snapshot(settings: Settings) -> Iterator[str]:
    if settings.snapshot == OFF:
        return
    if settings.store_kind == "memory":
        yield (
            f"--snapshot {settings.snapshot} has no effect with memory://, whose"
            " services end with the process; add for example --store"
            " sqlite:///registry.db, or leave out --snapshot"
        )
    for flag, taken in (
        ("--audit-file", settings.audit_file),
        ("--tokens-file", settings.tokens_file),
        ("--store", str(file_of(settings.store) or OFF)),
    ):
        # It would be written over.
        if os.path.realpath(taken) == os.path.realpath(settings.snapshot):
            yield f"--snapshot {taken} is the {flag} already; choose another file"


def _xds_port(settings: Settings) -> Iterator[str]:
    port = settings.xds_port
    if not port:
        return
    if "envoy" not in settings.integrations:
        yield (
            f"--xds-port {port} has no effect without --integrations envoy; add it, or"
            " leave out --xds-port"
        )
    for taken, use in ((settings.port, "HTTP"), (settings.dns_port, "DNS")):
        if port == taken:
            yield f"--xds-port {port} is the {use} port already; choose another one"


def _mesh(settings: Settings) -> Iterator[str]:
    if "mesh" in settings.integrations:
        if "envoy" not in settings.integrations:
            yield (
                "--integrations mesh needs the integration envoy as well; write"
                " --integrations envoy,mesh"
            )
        if not settings.xds_port:
            yield (
                "--integrations mesh needs a port for xDS, at which sidecars learn of"
                " services; add --xds-port, such as 18000"
            )
        return
    defaults = Settings()
    for name in ("default", "trust_domain", "certificate_lifetime", "key_file"):
        field = f"mesh_{name}"
        if getattr(settings, field) != getattr(defaults, field):
            flag = f"--{field.replace('_', '-')}"
            yield (
                f"{flag} has no effect without --integrations envoy,mesh; add it, or"
                f" leave out {flag}"
            )


def _unused_rate_store(settings: Settings) -> Iterator[str]:
    # With --auth, calls with bad tokens are.
    counted = settings.auth or {settings.write_rate, settings.read_rate} != {OFF}
    if settings.rate_store != "memory://" and not counted:
        yield (
            "--rate-store has no effect, because no calls are counted; add --write-rate"
            " or --read-rate, such as 600/minute, or leave it out"
        )


def _unused_upstream_tokens(settings: Settings) -> Iterator[str]:
    names = {text.partition("=")[0] for text in settings.upstream}
    for text in settings.upstream_token_file:
        name = text.partition("=")[0]
        if name not in names:
            yield (
                f"--upstream-token-file {name}=... has no effect, because --upstream"
                f" names no {name}; add --upstream {name}=http://..., or leave it out"
            )


def _half_auth(settings: Settings) -> Iterator[str]:
    if not settings.auth:
        for name, is_set in (
            ("--tokens-file", settings.tokens_file != OFF),
            ("--anonymous", bool(settings.anonymous)),
        ):
            if is_set:
                yield (
                    f"{name} has no effect without --auth, since everybody can do"
                    f" everything; add --auth, or leave out {name}"
                )
    elif settings.dns_port and Right.READ not in settings.anonymous:
        yield (
            f"--dns-port {settings.dns_port} would answer everybody, since DNS has no"
            " tokens, but with --auth callers need the right to read; add --anonymous"
            " read, or leave out --dns-port"
        )


def _half_tls(settings: Settings) -> Iterator[str]:
    defaults = Settings()
    has_cert, has_key = settings.tls_cert != OFF, settings.tls_key != OFF
    if has_cert and not has_key:
        yield (
            f"--tls-cert {settings.tls_cert} needs its private key; add --tls-key, or"
            " leave out --tls-cert for plain HTTP"
        )
    for name, is_set in (
        ("--tls-key", has_key),
        ("--tls-client-ca", settings.tls_client_ca != OFF),
        ("--tls-min-version", settings.tls_min_version != defaults.tls_min_version),
    ):
        if is_set and not has_cert:
            yield (
                f"{name} has no effect without --tls-cert: the registry would serve"
                f" plain HTTP; add --tls-cert, or leave out {name}"
            )
    if (
        settings.forwarded_header != defaults.forwarded_header
        and settings.trusted_proxies == OFF
    ):
        yield (
            "--forwarded-header has no effect without --trusted-proxies; add it with"
            " the addresses of your proxies, or leave out --forwarded-header"
        )
