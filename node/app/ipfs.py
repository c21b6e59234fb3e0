"""The embedded IPFS node as the daemon starts it, and what the self-check says of it."""

import asyncio
import errno
import re
import socket
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

import structlog

from node.app.checks import Check, problem
from node.app.control import Arguments, Verb, ask_running_node
from node.config import Config
from node.errors import NodeError, Retryable
from node.journal.database import InUse, take_lock
from node.publisher.blockstore import BlockStore
from node.publisher.cid import parse_cid
from node.publisher.p2p.embedded import EmbeddedNode, PeerSettings
from node.publisher.publish import Publisher
from node.types import Cid

PROVIDE_EVERY_S = 30.0
IPFS_STATUS = "ipfs.status"
"""The control socket's verb for how the embedded node is doing."""

_BIND_PROBLEMS = {
    errno.EADDRINUSE: ("another program listens there", "stop it, or set ipfs.listen"),
    errno.EADDRNOTAVAIL: (
        "this machine has no such address",
        "set ipfs.listen to one it has, or to /ip4/0.0.0.0/..., and ipfs.announce to the one outside",
    ),
    errno.EACCES: (
        "this user may not use that port",
        "set ipfs.listen to ports of 1024 and above, or give the service CAP_NET_BIND_SERVICE",
    ),
    errno.EAFNOSUPPORT: ("this machine has no IPv6", "take the /ip6 addresses out of ipfs.listen"),
}
_ADDRESS = re.compile(r"/(ip4|ip6)/([^/]+)/(tcp|udp)/(\d+)")


def embedded_node(config: Config, store: BlockStore) -> EmbeddedNode | None:
    """Return the node that serves the store to peers, None if the operator has turned it off."""
    section = config.ipfs
    if not section.enabled:
        return None
    settings = PeerSettings(section.listen, section.announce, section.bootstrap)
    return EmbeddedNode(store, config.node.directory / "peer.key", settings)


async def keep_provided(
    peer: EmbeddedNode, publisher: Publisher, *, every_s: float = PROVIDE_EVERY_S
) -> None:
    """Announce in the DHT what is published, for ever; after a restart, all of it again."""
    log = structlog.get_logger()
    restarts, provided = peer.restarts, set[Cid]()
    while True:
        if restarts != peer.restarts:
            restarts, provided = peer.restarts, set()
        try:
            for root in set((await publisher.pins()).values()) - provided:
                if await peer.provide(parse_cid(root)):
                    provided.add(root)
                    log.info("ipfs_provided", cid=root)
        except Retryable as error:
            log.debug("ipfs_provide_later", problem=str(error))
        await asyncio.sleep(every_s)


def ipfs_verbs(peer: EmbeddedNode | None) -> Mapping[str, Verb]:
    """Return what the control socket tells of the embedded node, which may be turned off."""

    async def status(_: Arguments) -> dict[str, Any]:
        return await ipfs_status(peer)

    return {IPFS_STATUS: status}


async def ipfs_status(peer: EmbeddedNode | None) -> dict[str, Any]:
    """Return what is told of the embedded node, which may be turned off."""
    return {"enabled": False} if peer is None else {"enabled": True} | await peer.status()


async def check_ipfs(config: Config) -> Check:
    """Can other IPFS nodes fetch from this one? A node that runs is asked, else the ports are tried."""
    section = config.ipfs
    if not section.enabled:
        return Check(
            "ipfs", "warning", "turned off: results are fetched from the gateway only", "ipfs.enabled"
        )
    try:
        name = await asyncio.to_thread(_peer_id, config)
    except NodeError as error:
        return problem("ipfs", str(error))
    try:
        status = await ask_running_node(config.node.directory, IPFS_STATUS)
    except NodeError as error:
        return Check("ipfs", "warning", f"{name}; the node that runs was not asked: {error}")
    if status is not None:
        return _told_by_the_node(status)
    return _would_listen(config, name) or _reached(config, name)


def _told_by_the_node(status: Mapping[str, Any]) -> Check:
    """Return what a running node's own account of its peer comes to."""
    if not status["enabled"]:
        return Check(
            "ipfs", "warning", "the node that runs was started with ipfs.enabled = false", "start it again"
        )
    name = f"peer {status['peer_id']}" if status["peer_id"] else "no peer id yet"
    if status["problem"] is not None:
        remedy = "what it says; it tries again by itself"
        return problem("ipfs", f"{name} is not running: {status['problem']}", remedy)
    finding = f"{name}, {', '.join(status['addresses'])}, {status.get('peers', 0)} peers"
    if problems := status.get("bootstrap_problems"):
        return Check("ipfs", "warning", f"{finding}; {'; '.join(problems)}", "check ipfs.bootstrap")
    return _loopback_only(finding, status["addresses"]) or Check("ipfs", "ok", finding)


def _would_listen(config: Config, name: str) -> Check | None:
    """Return what keeps a node that is started now from listening."""
    for text in config.ipfs.listen:
        error = _bind_error(text)
        if error is None:
            continue
        if error.errno == errno.EADDRINUSE and _node_runs(config):
            finding = f"{name}; a node is starting or stopping in {config.node.directory}"
            return Check("ipfs", "warning", finding, "ask again in a few seconds")
        finding, remedy = _BIND_PROBLEMS.get(error.errno or 0, (f"{error.strerror}", "set ipfs.listen"))
        return problem("ipfs", f"{name}; cannot listen on {text}: {finding}", remedy)
    return None


def _reached(config: Config, name: str) -> Check:
    told = config.ipfs.announce or config.ipfs.listen
    finding = f"{name}, {', '.join(told)}"
    return _loopback_only(finding, told) or Check("ipfs", "ok", finding)


def _loopback_only(finding: str, addresses: Iterable[str]) -> Check | None:
    if all(_host(text).startswith("127.") or _host(text) == "::1" for text in addresses):
        return Check(
            "ipfs", "warning", f"{finding}: loopback only, no other machine can fetch", "ipfs.listen"
        )
    return None


def _peer_id(config: Config) -> str:
    path = config.node.directory / "peer.key"
    if not path.exists():
        return "peer id made at the first start"
    from node.publisher.p2p.identity import load_or_create, peer_id_of

    return f"peer {peer_id_of(load_or_create(path))}"


def _host(address: str) -> str:
    found = _ADDRESS.match(address)
    return found[2] if found else ""


def _bind_error(address: str) -> OSError | None:
    """Return why a program cannot listen on an address, None if it can."""
    found = _ADDRESS.match(address)
    if found is None:
        return None
    family = socket.AF_INET if found[1] == "ip4" else socket.AF_INET6
    kind = socket.SOCK_STREAM if found[3] == "tcp" else socket.SOCK_DGRAM
    try:
        with closing(socket.socket(family, kind)) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((found[2], int(found[4])))
    except OSError as error:
        return error
    return None


def _node_runs(config: Config) -> bool:
    if not config.node.directory.exists():
        return False
    try:
        with take_lock(config.node.directory):
            return False
    except InUse:
        return True
    except NodeError:
        return False
