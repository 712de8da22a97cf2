"""The catalog as a DNS zone: who knows no HTTP still finds healthy providers.

Reads the catalog and nothing else, so answers go on while the store is away.
"""

from modularity_registry.dns.server import DnsServer
from modularity_registry.dns.transport import Sockets, listen

__all__ = ["DnsServer", "Sockets", "listen"]
