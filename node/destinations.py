"""Where an address that a stranger published may lead this machine.

On a public market such an address must not reach what only this machine or its network can: the check is made
on the socket's own address, after any name was resolved, so that no name and no redirect gets around it.
Source: the IANA special-purpose address registries, as the standard library knows them.
"""

import errno
import ipaddress
import socket
from enum import StrEnum
from typing import Any

import aiohttp

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".home.arpa")


class Reach(StrEnum):
    """How far strangers' addresses may lead: the public internet, or any host, as on a private market."""

    PUBLIC = "public"
    ANY = "any"

    def objection(self, host: str) -> str | None:
        """Return why a host, a name or an IP address without brackets, is out of reach; None if it may be.

        A name may still turn out to stand for a private address when it is resolved.
        """
        if self is Reach.ANY:
            return None
        name = host.lower().rstrip(".")
        try:
            public = is_public(name)
        except ValueError:
            public = name != "localhost" and not name.endswith(_LOCAL_NAMES)
        return None if public else _told(host)

    def connector(self) -> aiohttp.TCPConnector:
        """Return what opens the connections of a session, to no host out of reach. Sessions close it."""
        return aiohttp.TCPConnector(socket_factory=None if self is Reach.ANY else _public_socket)


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet. Raises ValueError if it is none."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            found = inner
    return found.is_global and not found.is_multicast


def _public_socket(address: Any) -> socket.socket:
    family, kind, protocol, _, target = address
    if not is_public(target[0]):
        raise OSError(errno.EACCES, _told(target[0]))
    return socket.socket(family, kind, protocol)


def _told(host: str) -> str:
    return (
        f"{host} is not on the public internet; on a private market, "
        'requester.private_gateways = "allow" lets providers be there'
    )
