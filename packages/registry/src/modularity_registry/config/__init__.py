"""Typed settings: flags win over the environment, that over a file and the defaults."""

from modularity_registry.config.load import (
    CONFIG_ENV,
    config_file,
    find,
    load,
    load_with_sources,
    warnings,
)
from modularity_registry.config.option import Option, written
from modularity_registry.config.options import GROUPS, OPTIONS
from modularity_registry.config.settings import (
    DEFAULT_NAMESPACE,
    INTEGRATIONS,
    LOOPBACK_HOSTS,
    OFF,
    Settings,
)

__all__ = [
    "CONFIG_ENV",
    "DEFAULT_NAMESPACE",
    "GROUPS",
    "INTEGRATIONS",
    "LOOPBACK_HOSTS",
    "OFF",
    "OPTIONS",
    "Option",
    "Settings",
    "config_file",
    "find",
    "load",
    "load_with_sources",
    "warnings",
    "written",
]
