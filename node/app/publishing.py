"""Builds the places of results from the settings, and the rule for when a CID may be reported."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from node.chain.keystore import Password, read_password
from node.clock import Clock
from node.errors import Misconfigured
from node.ipfs_settings import IpfsSection, KuboSection, PinningSection
from node.job.copies import CopyPolicy
from node.publisher.publish import Publisher
from node.publisher.targets.pinning_service import Peer, PinningServiceTarget
from node.publisher.targets.readback import GatewayReader
from node.publisher.targets.several import Place, Several
from node.types import OWN_STORE, Cid, JobId

GATEWAY_TIMEOUT_S = 600.0
FAILURE_WAIT_S = 10.0
"""How long a failure waits for its reason to be read back: the deal's time is short by then."""


def copy_policy(settings: IpfsSection) -> CopyPolicy:
    """Return what must be there before a CID is reported."""
    required = settings.read_back == "required"
    elsewhere = bool(
        settings.kubo or settings.gateways or any(service.gateway for service in settings.pinning)
    )
    return CopyPolicy(
        copies=settings.copies_required,
        reads=2 if required and elsewhere else 1,
        unread_count=not required,
    )


def places(settings: IpfsSection, own_url: str, peer: Peer | None, clock: Clock) -> list[Place]:
    """Return the node's own store, which is read over ``own_url``, then every target and gateway.

    Raises Misconfigured for a file of a secret that is missing or open to others.
    """
    own = Place(OWN_STORE, "store", None, GatewayReader(own_url), GATEWAY_TIMEOUT_S, kept=True)
    return [own, *(make() for _, make in places_elsewhere(settings, peer, clock))]


def places_elsewhere(
    settings: IpfsSection, peer: Peer | None, clock: Clock
) -> list[tuple[str, Callable[[], Place]]]:
    """Return every target and gateway by kind and name, and what makes it, which raises as ``places``."""
    return [
        *((f"kubo {one.name}", partial(_kubo, one)) for one in settings.kubo),
        *((f"pinning {one.name}", partial(_pinning, one, peer, clock)) for one in settings.pinning),
        *(("gateway", partial(_gateway, url)) for url in settings.gateways),
    ]


class FailurePublisher:
    """Publishes the reason of a failed job, so that a failure is told even when nothing can be read back."""

    def __init__(self, publisher: Publisher, several: Several) -> None:
        self._publisher = publisher
        self._several = several

    async def publish(self, job_id: JobId, directory: Path) -> Cid:
        """Store a directory, have it copied like a result, return its CID. Raises as ``Publisher``."""
        cid = await self._publisher.publish(job_id, directory)
        await self._several.spread(job_id, cid, CopyPolicy().is_bearable, within_s=FAILURE_WAIT_S)
        self._several.leave(job_id, cid)
        return cid


def _kubo(settings: KuboSection) -> Place:
    # Imported where it is used: most nodes have no Kubo, and its client takes a while to load.
    from node.publisher.targets.kubo import KuboReader, KuboTarget
    from node.publisher.targets.kubo_rpc import KuboRpc

    basic = token = None
    if settings.user:
        basic = settings.user, secret_line(settings.password_file, f"{settings.name}'s password file")
    if settings.token_file:
        token = secret_line(settings.token_file, f"{settings.name}'s token file")
    rpc = KuboRpc(settings.api, token=token, basic=basic)
    reader = GatewayReader(settings.gateway) if settings.gateway else KuboReader(rpc)
    return Place(settings.name, "kubo", KuboTarget(settings.name, rpc), reader, settings.timeout_s)


def _pinning(settings: PinningSection, peer: Peer | None, clock: Clock) -> Place:
    target = PinningServiceTarget(
        settings.name,
        settings.endpoint,
        secret_line(settings.token_file, f"{settings.name}'s token file"),
        origins=settings.origins,
        peer=peer,
        clock=clock,
    )
    reader = GatewayReader(settings.gateway) if settings.gateway else None
    return Place(settings.name, "pinning", target, reader, settings.timeout_s)


def _gateway(url: str) -> Place:
    return Place(url, "gateway", None, GatewayReader(url), GATEWAY_TIMEOUT_S)


def secret_line(path: str, name: str) -> Password:
    """Return the one line of a file that others cannot read, a systemd credential for one.

    Raises Misconfigured for any other file.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    file = Path(path).expanduser()
    from_systemd = credentials is not None and file.parent == Path(credentials)
    secret = read_password(file, name=name, service_credential=from_systemd)
    text = secret.reveal()
    if not text or not text.isascii() or not text.isprintable():
        raise Misconfigured(f"{name} {file} must hold one line of printable ASCII: a token or a password")
    return secret
