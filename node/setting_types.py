"""What settings are made of: amounts, addresses, lists and the base of every section.

A value is checked where it is read; the message of a wrong one never repeats what may hold a password.
"""

import re
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from multiaddr import Multiaddr
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from node.addresses import parse_address
from node.types import TOKEN_DECIMALS, Address, Wei

_EXACT = Context(prec=64, traps=[Inexact])
_HOSTS_LISTENED_ON = ("ip4", "ip6")
_HOSTS_TOLD = (*_HOSTS_LISTENED_ON, "dns", "dns4", "dns6")
_MAX_ADDRESS_CHARACTERS = 400
_GPU_NAME = re.compile(r"[0-9]{1,2}|(GPU|MIG)-[0-9A-Za-z/-]{1,80}")
_MAX_SOCKET_BYTES = 107
_RAY_RESOURCE = re.compile(r"([A-Za-z][A-Za-z0-9_.:-]{0,99})=([0-9]{1,6}(?:\.[0-9]{1,4})?)")


@dataclass(frozen=True, slots=True)
class Unit:
    """Marks a setting that is an amount in wei: ``name`` is what people call the whole of 10**18 of them."""

    name: str


def _optional_address(value: object) -> object:
    return "" if value == "" else parse_address(value)


def _tokens(value: object) -> object:
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is not an amount") from error
    if not amount.is_finite() or not 0 <= amount <= 10**9:
        raise ValueError("an amount lies between 0 and 1000000000 tokens")
    try:
        wei = _EXACT.scaleb(amount, TOKEN_DECIMALS)
        return int(_EXACT.to_integral_exact(wei))
    except Inexact:
        raise ValueError(f"an amount has at most {TOKEN_DECIMALS} decimals") from None


def _listed(value: object) -> object:
    # The environment and --set have only text.
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _endpoint(value: object) -> object:
    # The message never repeats the value: paths and user names of endpoints hold API keys.
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in {"http", "https", "ws", "wss"} or not parts.hostname:
        raise ValueError("an RPC endpoint is an address that begins with http://, https://, ws:// or wss://")
    return value


def _signer(value: object) -> object:
    # Not repeated either: a signer's address may hold a password.
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is not None and value == "":
        return value
    if parts is None or not (
        (parts.scheme in {"http", "https"} and parts.hostname) or (parts.scheme == "unix" and parts.path)
    ):
        raise ValueError("a remote signer is an address that begins with http://, https:// or unix:///")
    return value


def _protocols(value: object) -> list[str]:
    """Return the protocols of a multiaddr, none if it is not one."""
    if not isinstance(value, str) or not value.isascii() or len(value) > _MAX_ADDRESS_CHARACTERS:
        return []
    try:
        return [protocol.name for protocol in Multiaddr(value).protocols()]
    except Exception:  # noqa: BLE001 - each protocol's parser fails in its own way
        return []


def _is_transport(names: list[str], hosts: tuple[str, ...]) -> bool:
    return names[:1] in [[host] for host in hosts] and names[1:] in (["tcp"], ["udp", "quic-v1"])


def _listen_address(value: object) -> object:
    if not _is_transport(_protocols(value), _HOSTS_LISTENED_ON):
        raise ValueError(
            f"{str(value)[:100]!r} is no address to listen on: allowed are those like /ip4/0.0.0.0/tcp/4001, "
            "/ip4/0.0.0.0/udp/4001/quic-v1 and /ip6/::/tcp/4001, with a port up to 65535"
        )
    return value


def _peer_address(value: object) -> object:
    names = _protocols(value)
    if not _is_transport(names[:-1] if names[-1:] == ["p2p"] else names, _HOSTS_TOLD):
        raise ValueError(
            f"{str(value)[:100]!r} is no peer address: allowed are those like /ip4/203.0.113.7/tcp/4001 "
            "and /dns/node.example/udp/4001/quic-v1, with a port up to 65535, then /p2p/ and a peer id"
        )
    return value


def _named_peer(value: object) -> object:
    if "/p2p/" not in str(_peer_address(value)):
        raise ValueError(f"{str(value)[:100]!r} does not say which peer: end it with /p2p/ and its peer id")
    return value


def gpu_name(value: object) -> object:
    """Return the UUID or index of a GPU as text. Raises ValueError."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not _GPU_NAME.fullmatch(text):
        raise ValueError(
            f"{str(value)[:100]!r} names no GPU: allowed are an index such as 0 and a UUID such as "
            "GPU-8c1f..., as nvidia-smi -L shows them"
        )
    return text


def socket_path(value: object) -> object:
    """Return the path of a Unix socket. Raises ValueError if the kernel could not take it."""
    if not isinstance(value, str) or not value.startswith("/") or len(value.encode()) > _MAX_SOCKET_BYTES:
        raise ValueError(
            f"{str(value)[:120]!r} is no path of a socket: allowed is an absolute one of at most "
            f"{_MAX_SOCKET_BYTES} bytes"
        )
    return value


def ray_resource(value: object) -> object:
    """Check what a worker asks of its host, a name and an amount. Raises ValueError."""
    found = _RAY_RESOURCE.fullmatch(value) if isinstance(value, str) else None
    if found is None or float(found[2]) == 0 or found[1] in {"CPU", "GPU", "memory", "object_store_memory"}:
        raise ValueError(
            f"{str(value)[:100]!r} is no resource: allowed are those like sdv-1.1=1 and "
            "accelerator_type:H100=0.01, with a name of your own or of Ray's and an amount above 0"
        )
    return value


ConfigAddress = Annotated[Address, BeforeValidator(parse_address)]
OptionalAddress = Annotated[str, BeforeValidator(_optional_address)]
EndpointUrl = Annotated[str, BeforeValidator(_endpoint)]
SignerUrl = Annotated[str, BeforeValidator(_signer)]
GpuName = Annotated[str, BeforeValidator(gpu_name)]
SocketPath = Annotated[str, BeforeValidator(socket_path)]
Tokens = Annotated[Wei, BeforeValidator(_tokens), Unit("tokens")]
GasTokens = Annotated[Wei, BeforeValidator(_tokens), Unit("of the gas token")]
ListenAddress = Annotated[str, BeforeValidator(_listen_address)]
PeerAddress = Annotated[str, BeforeValidator(_peer_address)]
NamedPeer = Annotated[str, BeforeValidator(_named_peer)]
RayResource = Annotated[str, BeforeValidator(ray_resource)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400)]
WholeSeconds = Annotated[int, Field(ge=1, le=365 * 86400)]


Item = TypeVar("Item")
Listed = Annotated[tuple[Item, ...], BeforeValidator(_listed)]
"""A list, or one text with commas."""


class Section(BaseModel):
    """A frozen part of the settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
