"""The settings, with their defaults."""

from dataclasses import dataclass, field

from modularity_registry.model.intention import Action
from modularity_registry.model.rights import Right
from modularity_registry.model.service import CheckPlan

OFF = "off"
"""The value for no address or no file."""

DEFAULT_NAMESPACE = "default"
"""The name of the namespace of calls that name none."""

INTEGRATIONS = ("consul", "envoy", "eureka", "mesh", "traefik")
"""What the setting `integrations` may name: the packages of `integrations`."""

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. Times are seconds. URLs may hold passwords: `repr` has none."""

    host: str = "127.0.0.1"
    port: int = 5000
    workers: int = 1
    store: str = field(default="memory://", repr=False)
    snapshot: str = OFF
    namespace: tuple[str, ...] = ()
    allowed_networks: str = "loopback,private"
    health_check_interval: float = 5.0
    health_check_timeout: float = 5.0
    health_check_fall: int = 3
    health_check_rise: int = 1
    confirm: int = 1
    zone: str = OFF
    region: str = OFF
    zone_threshold: float = 0.7
    auth: bool = False
    tokens_file: str = OFF
    anonymous: frozenset[Right] = frozenset()
    allowed_origins: tuple[str, ...] = (
        "http://localhost:3000",
        "http://localhost:8080",
        "http://127.0.0.1:3000",
    )
    tls_cert: str = OFF
    tls_key: str = OFF
    tls_client_ca: str = OFF
    tls_min_version: str = "1.2"
    trusted_proxies: str = OFF
    forwarded_header: str = "forwarded"
    write_rate: str = OFF
    read_rate: str = OFF
    rate_store: str = field(default="memory://", repr=False)
    max_connections: int = 4096
    max_watchers: int = 6000
    max_watchers_per_client: int = 0
    max_services: int = 1_000_000
    max_services_per_token: int = 0
    max_megabytes: int = 0
    max_megabytes_per_token: int = 0
    upstream: tuple[str, ...] = ()
    upstream_token_file: tuple[str, ...] = ()
    integrations: tuple[str, ...] = ()
    xds_port: int = 0
    mesh_default: Action = "deny"
    mesh_trust_domain: str = "modularity"
    mesh_certificate_lifetime: float = 86_400.0
    mesh_key_file: str = OFF
    dns_port: int = 0
    dns_domain: str = "modularity"
    dns_ttl: int = 5
    dns_trusted_networks: str = "loopback"
    dns_rate: str = "1000/second"
    debug: bool = False
    log_format: str = "human"
    log_level: str = "info"
    otel_endpoint: str = field(default=OFF, repr=False)
    audit_file: str = OFF
    audit_megabytes: int = 100
    audit_files: int = 10

    @property
    def check_defaults(self) -> CheckPlan:
        """The check of a service whose registration does not say otherwise."""
        return CheckPlan(self.health_check_interval, self.health_check_timeout)

    @property
    def level(self) -> str:
        """The lowest level that is logged; `debug` counts as well."""
        return "debug" if self.debug else self.log_level

    @property
    def store_kind(self) -> str:
        """The store's kind alone: its URL may hold a password."""
        return self.store.partition(":")[0]
