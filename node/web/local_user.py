"""Whose process is at the other end of a loopback connection, as the kernel says it.

Facts: proc_pid_net(5) (/proc/self/net/tcp: addresses in hexadecimal, words in the machine's byte order; uid
and inode of the socket). A row without an inode is a socket that its process has closed: the kernel gives it
uid 0, which says nothing.
"""

import ipaddress
import os
import struct
from pathlib import Path
from typing import Final

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Endpoint = tuple[str, int]
_TABLES: Final = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_OVERFLOW: Final = Path("/proc/sys/kernel/overflowuid")
_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9


def plain_address(host: str) -> IPAddress | None:
    """Return an IP address, that of IPv4 where it is mapped into IPv6; None if it is none."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_own_process(peer: Endpoint, own: Endpoint) -> bool:
    """Whether the loopback socket ``peer``, connected to our ``own``, was opened by the user we run as."""
    uid = os.geteuid()
    # Users that this namespace has no number for are all shown with this one.
    return socket_owner(peer, own) == uid != _overflow_uid()


def socket_owner(peer: Endpoint, own: Endpoint) -> int | None:
    """Return the user id of an open socket of this machine, None if there is none between these ends."""
    for table in _TABLES:
        try:
            text = table.read_text("ascii")
        except OSError:
            continue
        if (owner := find_owner(text, peer, own)) is not None:
            return owner
    return None


def find_owner(table: str, peer: Endpoint, own: Endpoint) -> int | None:
    """Return the uid of the open socket that connects ``peer`` to ``own`` in a table of the kernel."""
    ends = _written(peer), _written(own)
    for line in table.splitlines()[1:]:
        fields = line.split()
        if (
            len(fields) > _INODE
            and fields[_LOCAL] in ends[0]
            and fields[_REMOTE] in ends[1]
            and fields[_INODE] != "0"
        ):
            return int(fields[_UID])
    return None


def _written(end: Endpoint) -> frozenset[str]:
    """Return how the kernel writes an address and port; one of IPv4 stands in either table."""
    address = plain_address(end[0])
    if address is None:
        return frozenset()
    forms = {address.packed}
    if isinstance(address, ipaddress.IPv4Address):
        forms.add(b"\0" * 10 + b"\xff\xff" + address.packed)
    return frozenset(f"{_hexadecimal(packed)}:{end[1]:04X}" for packed in forms)


def _hexadecimal(packed: bytes) -> str:
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words)


def _overflow_uid() -> int:
    try:
        return int(_OVERFLOW.read_text("ascii"))
    except (OSError, ValueError):
        return 65534
