"""What a client asks of the gateway: representation, scope, byte range, and whether it has it already.

Pure functions over header and query text. Source: the IPFS trustless gateway specification, RFC 9110.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from node.errors import NodeError
from node.publisher.car import MEDIA_TYPE as CAR_TYPE
from node.publisher.dag import Scope

RAW_TYPE = "application/vnd.ipld.raw"
MAX_PATH_CHARACTERS = 4096
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Representation(StrEnum):
    """The file or page itself, its one block, or a CAR of blocks."""

    CONTENT = "content"
    RAW = "raw"
    CAR = "car"


@dataclass(frozen=True, slots=True)
class Asked:
    """The representation wanted, and for a CAR how much of the DAG."""

    representation: Representation
    scope: Scope = Scope.ALL


class BadRequest(NodeError):
    """The request cannot be answered as it was put. ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def asked(query: Mapping[str, str], accept: str) -> Asked:
    """Return what the query and the Accept header ask for; the query wins. Raises BadRequest (400 or 406)."""
    representation, parameters = _representation(query, accept)
    if representation is not Representation.CAR:
        return Asked(representation)
    version = query.get("car-version", parameters.get("version", "1"))
    if version != "1":
        raise BadRequest(406, f"CAR version {version[:20]!r} is not offered: allowed is 1")
    if "entity-bytes" in query:
        raise BadRequest(400, "entity-bytes is not offered: ask for the file with a Range header")
    scope = query.get("dag-scope", Scope.ALL.value)
    if scope not in set(Scope):
        raise BadRequest(400, f"dag-scope {scope[:20]!r} is unknown: allowed are block, entity and all")
    return Asked(representation, Scope(scope))


def path_names(path: str) -> tuple[str, ...]:
    """Return the names in the path below a CID. Raises BadRequest (400)."""
    if len(path) > MAX_PATH_CHARACTERS:
        raise BadRequest(400, f"the path has {len(path)} characters: allowed are {MAX_PATH_CHARACTERS}")
    names = tuple(name for name in path.split("/") if name)
    if any(name in {".", ".."} for name in names):
        raise BadRequest(400, "a path names entries: '.' and '..' are not among them")
    return names


def byte_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Return (first byte, length) of a single range, None to send everything. Raises BadRequest (416).

    What is malformed or asks for several ranges is ignored, as RFC 9110 allows.
    """
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    first_text, last_text = match.groups()
    if not first_text:
        length = min(int(last_text), size_bytes)
        first = size_bytes - length
    else:
        first = int(first_text)
        last = int(last_text) if last_text else max(first, size_bytes - 1)
        if last < first:
            return None
        length = min(last, size_bytes - 1) - first + 1
    if length <= 0:
        raise BadRequest(416, f"the range lies outside the {size_bytes} bytes of this file")
    return first, length


def names_etag(header: str | None, etag: str) -> bool:
    """Return whether an If-None-Match or If-Range header names this entity tag."""
    if header is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


def _representation(query: Mapping[str, str], accept: str) -> tuple[Representation, Mapping[str, str]]:
    ranges = list(_media_ranges(accept))
    car_parameters = next((parameters for kind, parameters in ranges if kind == CAR_TYPE), {})
    match query.get("format"):
        case None:
            pass
        case "raw":
            return Representation.RAW, {}
        case "car":
            return Representation.CAR, car_parameters
        case other:
            raise BadRequest(400, f"format {other[:40]!r} is not offered: allowed are raw and car")
    for kind, parameters in ranges:
        if kind == RAW_TYPE:
            return Representation.RAW, {}
        if kind == CAR_TYPE:
            return Representation.CAR, parameters
    if ranges and all(
        kind.startswith(("application/vnd.ipld.", "application/vnd.ipfs.")) for kind, _ in ranges
    ):
        raise BadRequest(406, f"none of {accept[:200]!r} is offered: allowed are {RAW_TYPE} and {CAR_TYPE}")
    return Representation.CONTENT, {}


def _media_ranges(accept: str) -> Iterator[tuple[str, dict[str, str]]]:
    for item in accept.split(","):
        kind, *rest = (part.strip() for part in item.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
        if kind and parameters.get("q") not in {"0", "0.0"}:
            yield kind.lower(), parameters
