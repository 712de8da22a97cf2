"""Answers the most frequent calls on the loop, from the catalog's rendered bytes.

Whatever is unusual about a call leaves it to Flask. The replies are the same to the
last header: a test sends the same requests to both.
"""

from modularity_registry.api.hot_path.front import RegistryFront
from modularity_registry.api.hot_path.namespace_front import front_of

__all__ = ["RegistryFront", "front_of"]
