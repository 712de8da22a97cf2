"""The catalog as a DNS zone: clients without HTTP find healthy providers.

It reads only the catalog, so it answers while the store can't be reached.
"""

from modularity_registry.dns.senders import Senders
from modularity_registry.dns.server import DnsServer
from modularity_registry.dns.transport import Sockets, listen

__all__ = ["DnsServer", "Senders", "Sockets", "listen"]
