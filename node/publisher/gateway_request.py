"""What a client asks of the gateway: representation, scope, byte range, and whether it has it already.

Pure functions over header and query text. Source: the IPFS trustless gateway specification, RFC 9110.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from node.errors import NodeError
from node.publisher.car import MEDIA_TYPE as CAR_TYPE
from node.publisher.dag import Scope

RAW_TYPE = "application/vnd.ipld.raw"
MAX_PATH_CHARACTERS = 4096
_CAR_FORMS = {"version": ("1",), "order": ("dfs", "unk"), "dups": ("n", "y")}
_FOREIGN = ("application/vnd.ipld.", "application/vnd.ipfs.", "application/x-tar")
_ENTITY_BYTES = re.compile(r"(-?[0-9]{1,18}):(\*|-?[0-9]{1,18})", re.ASCII)
_QUALITY = re.compile(r"[01](?:\.[0-9]{0,3})?", re.ASCII)
_RANGE = re.compile(r"(?i:bytes)=([0-9]{0,18})-([0-9]{0,18})")


class Representation(StrEnum):
    """The file or page itself, its one block, or a CAR of blocks."""

    CONTENT = "content"
    RAW = "raw"
    CAR = "car"


_FORMATS = {"raw": Representation.RAW, "car": Representation.CAR}
_KINDS = {RAW_TYPE: Representation.RAW, CAR_TYPE: Representation.CAR}


@dataclass(frozen=True, slots=True)
class EntityBytes:
    """``entity-bytes=first:last``; negative numbers count from the end, ``last`` None is the end."""

    first: int
    last: int | None

    def within(self, size_bytes: int) -> tuple[int, int]:
        """Return the first and the last byte meant of a file; the last is before the first if there is none.

        Raises BadRequest (400) for a range that lies outside of the file.
        """
        first = max(0, size_bytes + self.first) if self.first < 0 else self.first
        last = size_bytes - 1 if self.last is None else self.last
        last = size_bytes + last if last < 0 and self.last is not None else last
        if first >= size_bytes > 0 or (last < 0 and size_bytes > 0):
            raise BadRequest(400, f"entity-bytes lies outside the {size_bytes} bytes of this file")
        return first, min(last, size_bytes - 1)

    def __str__(self) -> str:
        return f"{self.first}:{'*' if self.last is None else self.last}"


@dataclass(frozen=True, slots=True)
class Asked:
    """The representation wanted, and for a CAR how much of the DAG and whether blocks are sent again.

    ``negotiated``: the Accept header alone, or against the query, says so.
    """

    representation: Representation
    scope: Scope = Scope.ALL
    entity_bytes: EntityBytes | None = None
    dups: bool = False
    negotiated: bool = False


class BadRequest(NodeError):
    """The request cannot be answered as it was put. ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def asked(query: Mapping[str, str], accept: str) -> Asked:
    """Return what the query and the Accept header ask for; the query wins. Raises BadRequest (400 or 406)."""
    ranges = _media_ranges(accept)
    accepted = next((_KINDS[kind] for kind, _ in ranges if kind in _KINDS), Representation.CONTENT)
    representation = _representation(query, accepted, ranges)
    negotiated = accepted is not Representation.CONTENT and query.get("format") != accepted
    if representation is not Representation.CAR:
        return Asked(representation, negotiated=negotiated)
    offers = [parameters for kind, parameters in ranges if kind == CAR_TYPE]
    dups = _car_form(query, offers)
    scope = query.get("dag-scope", Scope.ALL.value)
    if scope not in set(Scope):
        raise BadRequest(400, f"dag-scope {scope[:20]!r} is unknown: allowed are block, entity and all")
    span = _entity_bytes(query.get("entity-bytes"))
    return Asked(representation, Scope.ENTITY if span else Scope(scope), span, dups, negotiated)


def _car_form(query: Mapping[str, str], offers: Sequence[Mapping[str, str]]) -> bool:
    """Return whether a CAR is to hold blocks again where they are linked again. Raises BadRequest (406)."""
    named = {name: query[f"car-{name}"] for name in ("version", "order", "dups") if f"car-{name}" in query}
    refused = ""
    for offer in offers or ({},):
        form = {**offer, **named}
        problem = next(
            (
                f"CAR {name} {form[name][:20]!r}"
                for name, allowed in _CAR_FORMS.items()
                if form.get(name, allowed[0]) not in allowed
            ),
            None,
        )
        if problem is None:
            return form.get("dups") == "y"
        refused = refused or problem
    raise BadRequest(
        406, f"{refused} is not offered: allowed are version=1, order=dfs or unk, and dups=y or n"
    )


def _entity_bytes(text: str | None) -> EntityBytes | None:
    if text is None:
        return None
    match = _ENTITY_BYTES.fullmatch(text)
    if match is None:
        raise BadRequest(
            400, f"entity-bytes {text[:40]!r} is none: expected first:last, such as 0:*, 0:1023 or -1024:*"
        )
    first, last = match.groups()
    return EntityBytes(int(first), None if last == "*" else int(last))


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
    if match is None or match.groups() == ("", ""):
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


def _representation(
    query: Mapping[str, str], accepted: Representation, ranges: Sequence[tuple[str, Mapping[str, str]]]
) -> Representation:
    named = query.get("format")
    if named is not None:
        if named not in _FORMATS:
            raise BadRequest(400, f"format {named[:40]!r} is not offered: allowed are raw and car")
        return _FORMATS[named]
    foreign = [kind for kind, _ in ranges if kind.startswith(_FOREIGN)]
    if ranges and accepted is Representation.CONTENT and len(foreign) == len(ranges):
        told = ", ".join(foreign)[:200]
        raise BadRequest(406, f"none of {told} is offered: allowed are {RAW_TYPE} and {CAR_TYPE}")
    return accepted


def _media_ranges(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Return the media types of an Accept header with their parameters, the preferred ones first."""
    found: list[tuple[float, str, dict[str, str]]] = []
    for item in accept.split(","):
        kind, *rest = (part.strip() for part in item.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
        quality = _quality(parameters.pop("q", "1"))
        if kind and quality > 0:
            found.append((quality, kind.lower(), parameters))
    found.sort(key=lambda one: -one[0])
    return [(kind, parameters) for _, kind, parameters in found]


def _quality(text: str) -> float:
    match = _QUALITY.fullmatch(text)
    return float(text) if match else 1.0
