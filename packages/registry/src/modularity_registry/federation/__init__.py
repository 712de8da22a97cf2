"""Other registries that answer for what nobody healthy here provides.

They are only read: none of their services enters the catalog, the store, an event, DNS
or a list. Loops are impossible: an upstream is asked for its list of providers and for
its events alone, and neither ever holds what it has from an upstream of its own. Calls
to it say so as well, with `LOCAL_ONLY`.
"""

from modularity_registry.federation.local_only import LOCAL_ONLY
from modularity_registry.federation.upstreams import Elsewhere, Upstreams, check

__all__ = ["LOCAL_ONLY", "Elsewhere", "Upstreams", "check"]
