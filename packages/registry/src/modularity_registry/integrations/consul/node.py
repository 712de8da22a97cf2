"""The one node that all services are on, and what Consul's agent says of itself."""

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from modularity_registry.config import Settings
from modularity_registry.network.listen_address import authority, is_unspecified

DATACENTER: Final = "dc1"
NAME: Final = "modularity-registry"
ID: Final = str(uuid5(NAMESPACE_URL, "urn:modularity-registry:consul-node"))
"""The same on every replica, for all time: clients make keys of it."""

VERSION: Final = "1.8.7"
"""The version of Consul whose answers these are."""


@dataclass(frozen=True, slots=True)
class Node:
    """The node; ``address`` is this replica's, as other machines reach it."""

    address: str
    port: int

    @classmethod
    def of(cls, settings: Settings) -> "Node":
        """Return the node of a registry with these settings."""
        return cls(_address(settings.host), settings.port)

    @property
    def leader(self) -> str:
        """What stands for the address of the leader of Consul's servers."""
        return authority(self.address, self.port)

    @property
    def row(self) -> dict[str, Any]:
        """The node as the catalog shows it."""
        return {
            "ID": ID,
            "Node": NAME,
            "Address": self.address,
            "Datacenter": DATACENTER,
            "TaggedAddresses": self.tagged,
            "Meta": {"consul-network-segment": ""},
            "CreateIndex": 1,
            "ModifyIndex": 1,
        }

    @property
    def tagged(self) -> dict[str, str]:
        """The node's addresses by their tags."""
        names = ["lan", "wan"]
        try:
            version = ip_address(self.address).version
            names += [f"lan_ipv{version}", f"wan_ipv{version}"]
        except ValueError:
            pass  # a name
        return dict.fromkeys(sorted(names), self.address)

    @property
    def check(self) -> dict[str, Any]:
        """The check of the node itself: while it answers, it passes."""
        return {
            "Node": NAME,
            "CheckID": "serfHealth",
            "Name": "Serf Health Status",
            "Status": "passing",
            "Notes": "",
            "Output": "Agent alive and reachable",
            "ServiceID": "",
            "ServiceName": "",
            "ServiceTags": [],
            "Type": "",
            "Definition": {},
            "CreateIndex": 1,
            "ModifyIndex": 1,
        }

    @property
    def member(self) -> dict[str, Any]:
        """The node as a member of Consul's cluster."""
        return {
            "Name": NAME,
            "Addr": self.address,
            "Port": self.port,
            "Tags": {
                "build": f"{VERSION}:",
                "dc": DATACENTER,
                "id": ID,
                "port": str(self.port),
                "role": "consul",
                "segment": "",
            },
            "Status": 1,
            "ProtocolMin": 1,
            "ProtocolMax": 5,
            "ProtocolCur": 2,
            "DelegateMin": 2,
            "DelegateMax": 5,
            "DelegateCur": 4,
        }

    @property
    def agent(self) -> dict[str, Any]:
        """What the agent says of itself."""
        return {
            "Config": {
                "Datacenter": DATACENTER,
                "NodeName": NAME,
                "NodeID": ID,
                "Revision": "",
                "Server": True,
                "Version": VERSION,
            },
            "DebugConfig": {"Datacenter": DATACENTER, "NodeName": NAME, "NodeID": ID},
            "Coord": None,
            "Member": self.member,
            "Stats": {},
            "Meta": {"consul-network-segment": ""},
        }


def _address(host: str) -> str:
    if not is_unspecified(host):
        return "127.0.0.1" if host == "localhost" else host
    try:
        return str(ip_address(socket.gethostbyname(socket.gethostname())))
    except OSError:
        return socket.gethostname()
