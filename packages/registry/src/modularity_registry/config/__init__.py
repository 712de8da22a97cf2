"""Typed settings: flags win over the environment, that over the defaults."""

from modularity_registry.config.load import load, warnings
from modularity_registry.config.option import Option, written
from modularity_registry.config.options import GROUPS, OPTIONS
from modularity_registry.config.settings import LOOPBACK_HOSTS, OFF, Settings

__all__ = [
    "GROUPS",
    "LOOPBACK_HOSTS",
    "OFF",
    "OPTIONS",
    "Option",
    "Settings",
    "load",
    "warnings",
    "written",
]
