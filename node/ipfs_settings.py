"""The settings below ``[ipfs]``: the embedded node, where else results are kept, what must be read back.

Secrets are files: a token or password never stands in the settings, and is never sent unencrypted to another
machine. What a copy and a read are, see ``node.job.copies``.
"""

import ipaddress
import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from node.setting_types import Listed, ListenAddress, NamedPeer, PeerAddress, Seconds, Section
from node.types import OWN_STORE

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_MULTIADDRESS = re.compile(
    r"/(?:ip4|ip6|dns|dns4|dns6)/(?P<host>[0-9A-Za-z.:_-]{1,253})/tcp/(?P<port>[0-9]{1,5})"
    r"(?:/(?P<scheme>https?))?/?"
)
_PEER_ADDRESS = re.compile(r"(?:/[0-9A-Za-z.:%_-]{1,253}){2,32}")
_MAX_URL_CHARACTERS = 2048
_SMALLEST_QUOTA_GB = 0.001


def _name(value: str) -> str:
    if not _NAME.fullmatch(value) or value == OWN_STORE:
        raise ValueError(
            f"a name has 1 to 32 of a-z, 0-9, '_' and '-', begins with a letter and is not {OWN_STORE!r}"
        )
    return value


def _url(value: str) -> str:
    # Never repeated in the message: a user name or a query may be a secret, and neither belongs here.
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in value or "?" in value or "#" in value or len(value) > _MAX_URL_CHARACTERS:
        raise ValueError(
            "an address here begins with http:// or https:// and has a host, without user, query or fragment"
        )
    return value.rstrip("/")


def _optional_url(value: str) -> str:
    return _url(value) if value else ""


def _api(value: str) -> str:
    if value.startswith("/"):
        found = _MULTIADDRESS.fullmatch(value)
        if found is None or not 0 < int(found["port"]) < 65536:
            raise ValueError("a Kubo API is an address such as /ip4/127.0.0.1/tcp/5001 or http://host:5001")
        host = f"[{found['host']}]" if ":" in found["host"] else found["host"]
        return f"{found['scheme'] or 'http'}://{host}:{found['port']}"
    return _url(value)


def _peer_addresses(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _PEER_ADDRESS.fullmatch(value) or "/p2p/" not in value:
            raise ValueError("an origin is a multiaddress that ends in /p2p/ and a peer id")
    return values


def _somewhere(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if not addresses:
        raise ValueError("it names no address to listen on: name one, or set ipfs.enabled to false")
    return addresses


def _quota(gigabytes: float) -> float:
    if 0 < gigabytes < _SMALLEST_QUOTA_GB:
        raise ValueError(
            f"{gigabytes:g} is too small: allowed are 0 (no bound) and {_SMALLEST_QUOTA_GB:g} or more"
        )
    return gigabytes


def _one_or_more(value: object) -> object:
    # [ipfs.kubo] for one, [[ipfs.kubo]] for several.
    return [value] if isinstance(value, dict) else value


Name = Annotated[str, AfterValidator(_name)]
Url = Annotated[str, AfterValidator(_url)]
OptionalUrl = Annotated[str, AfterValidator(_optional_url)]


def crosses_openly(url: str) -> bool:
    """Whether what is sent to this address leaves the machine unencrypted."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


class KuboSection(Section):
    """A Kubo daemon that stores and pins results. With credentials only where a proxy asks for them."""

    name: Name = "kubo"
    api: Annotated[str, AfterValidator(_api)]
    gateway: OptionalUrl = ""
    token_file: str = ""
    user: Annotated[str, Field(pattern=r"^[^:\x00-\x1f\x7f]{0,256}$")] = ""
    password_file: str = ""
    timeout_s: Seconds = 600.0

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file belong together: set both or none")
        if self.token_file and self.user:
            raise ValueError("set token_file, or user and password_file, not all of them")
        if (self.token_file or self.user) and crosses_openly(self.api):
            raise ValueError("credentials are sent to another machine only over https://: change api")
        return self


class PinningSection(Section):
    """A remote service that pins by the IPFS Pinning Service API; it fetches from the node's own peers."""

    name: Name
    endpoint: Url
    token_file: Annotated[str, Field(min_length=1)]
    gateway: OptionalUrl = ""
    origins: Annotated[Listed[str], Field(max_length=20), AfterValidator(_peer_addresses)] = ()
    timeout_s: Seconds = 600.0

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        if crosses_openly(self.endpoint):
            raise ValueError("the token is sent to another machine only over https://: change endpoint")
        return self


class IpfsSection(Section):
    """How results are published, and for how long they are kept."""

    enabled: bool
    listen: Annotated[Listed[ListenAddress], Field(max_length=16), AfterValidator(_somewhere)]
    announce: Annotated[Listed[PeerAddress], Field(max_length=16)]
    bootstrap: Annotated[Listed[NamedPeer], Field(max_length=64)]
    quota_gb: Annotated[float, Field(ge=0, le=10**6), AfterValidator(_quota)]
    keep_days: Annotated[float, Field(gt=0, le=36_500)]
    copies_required: Annotated[int, Field(ge=1, le=17)]
    read_back: Literal["required", "best_effort"]
    deadline_margin_s: Annotated[int, Field(ge=1, le=7 * 86400)]
    gateways: Annotated[Listed[Url], Field(max_length=8)]
    kubo: Annotated[tuple[KuboSection, ...], BeforeValidator(_one_or_more), Field(max_length=8)]
    pinning: Annotated[tuple[PinningSection, ...], BeforeValidator(_one_or_more), Field(max_length=8)]

    @property
    def quota_bytes(self) -> int | None:
        """What the results of all jobs may take of the disk, None for no bound."""
        return int(self.quota_gb * 10**9) or None

    @model_validator(mode="after")
    def _attainable(self) -> Self:
        names = [*(one.name for one in self.kubo), *(one.name for one in self.pinning)]
        if len(set(names)) != len(names):
            raise ValueError("two of kubo and pinning have one name: give each a name of its own")
        required = self.read_back == "required"
        counted = 1 + len(self.kubo) + sum(bool(one.gateway) or not required for one in self.pinning)
        if self.copies_required > counted:
            unread = "; one of pinning counts only with a gateway to read it back from" if required else ""
            raise ValueError(
                f"copies_required is {self.copies_required}, the node and its targets make {counted}{unread}"
            )
        return self
