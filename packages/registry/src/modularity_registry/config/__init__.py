"""Typed settings: flags win over the environment, that over the defaults."""

from modularity_registry.config.load import load, warnings
from modularity_registry.config.options import OPTIONS, Option
from modularity_registry.config.settings import LOOPBACK_HOSTS, OFF, Settings

__all__ = ["LOOPBACK_HOSTS", "OFF", "OPTIONS", "Option", "Settings", "load", "warnings"]
