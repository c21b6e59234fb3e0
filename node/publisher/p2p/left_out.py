"""Parts of libp2p that this node neither needs nor wants, and that every host would load.

Discovery by mDNS would announce the node to its local network, and AutoTLS would register certificates for it
with a service on the internet: both are off. With the HTTP clients and the mDNS stack that they bring along
they are some 10 MB of the daemon's memory, which libp2p has no switch to save.
"""

import sys

from node.stand_ins import refusing, stand_in

LEFT_OUT = {
    "libp2p.discovery.mdns.mdns": ("MDNSDiscovery", "create_mdns_discovery"),
    "libp2p.security.tls.autotls.acme": ("ACMEClient", "compute_b36_peer_id"),
    "libp2p.security.tls.autotls.broker": ("BrokerClient",),
}
"""Modules, each with what ``libp2p.host.basic_host`` takes from it."""
_WHY = "this node uses neither mDNS nor AutoTLS of libp2p"


def leave_out() -> None:
    """Have libp2p find stand-ins there. Takes effect in a process that has not loaded libp2p yet."""
    for module, names in LEFT_OUT.items():
        refused = {name: refusing(f"{module}.{name}", _WHY) for name in names}
        sys.modules.setdefault(module, stand_in(module, **refused))
