"""The offer document: a provider's standing terms as signed JSON of at most 4 KiB. Pure.

The provider publishes it under a CID that its record in the ``Users`` contract names; requesters read it,
check it and hire on exactly these terms. Signatures are made and checked in the chain room; the text that is
signed is the document without its ``signature``. Format: lilypad.md 4.9.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from node.errors import NodeError
from node.job.foreign_json import read_exact_json
from node.job.modules import MODULES, REPOSITORY
from node.job.problems import Problem, shown
from node.job.terms import MAX_LOCKED_WEI, PriceList, StandingTerms
from node.types import Address, Wei

VERSION = 1
MAX_BYTES = 4096
MAX_MODULES = 64
MAX_MEDIATORS = 8
MAX_GPUS = 16
MAX_SECONDS = 365 * 86_400
MAX_STEP_WEIGHT = 1000
MAX_COUNT = 1_000_000
MAX_TIME = 2**53
TEMPLATE = "/lilypad_module.json.tmpl"

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,77}")
_SIGNATURE = re.compile(r"0x[0-9a-f]{130}")
_CLASS = re.compile(r"[0-9A-Za-z._-]{1,64}")
_KEYS = (
    "version",
    "chain_id",
    "controller",
    "resource_provider",
    "modules",
    "pricing",
    "timeouts",
    "mediators",
    "max_open_deals",
    "valid_until",
    "contact_url",
    "gpu",
    "determinism_class",
    "signature",
)
_PRICES = ("floor", "per_job", "per_step", "mediation_fee")
_TIMEOUTS = ("agree", "submit_results", "judge_results", "mediate_results")


class InvalidOffer(NodeError):
    """A document is none that can be hired on. ``problems`` holds everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(
            "the offer document is not valid: " + " | ".join(str(problem) for problem in self.problems)
        )


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as its owner names it."""

    name: str
    vram_bytes: int


@dataclass(frozen=True, slots=True)
class OfferDocument:
    """What a provider promises. ``valid_until`` is block time in seconds; ``modules`` are tags we know."""

    chain_id: int
    controller: Address
    provider: Address
    modules: tuple[str, ...]
    terms: StandingTerms
    mediators: tuple[Address, ...]
    max_open_deals: int
    valid_until: int
    contact_url: str = ""
    gpus: tuple[Gpu, ...] = ()
    determinism_class: str = ""

    def serves(self, module: str) -> bool:
        """Whether jobs of this module, in its canonical form, are taken."""
        return module.partition(":")[2] in self.modules


def unsigned_text(document: OfferDocument) -> bytes:
    """Return the canonical text that the provider signs."""
    return _canonical(_to_json(document))


def signed_text(document: OfferDocument, signature: bytes) -> bytes:
    """Return the document to publish. Raises InvalidOffer if a reader would refuse it."""
    text = _canonical(_to_json(document) | {"signature": "0x" + signature.hex()})
    read_offer(text)
    return text


def read_offer(data: bytes) -> tuple[OfferDocument, bytes, bytes]:
    """Return the document, the text that was signed and the signature. Raises InvalidOffer.

    Whether the signature is the provider's, and whether the document is fresh, is still to be checked.
    """
    if len(data) > MAX_BYTES:
        raise InvalidOffer((Problem("offer", f"{len(data)} bytes", "is too long", f"{MAX_BYTES} bytes"),))
    try:
        found = read_exact_json(data)
    except ValueError as error:
        problem = Problem(
            "offer", shown(data[:64].decode("utf-8", "replace")), f"is no JSON ({error})", "JSON"
        )
        raise InvalidOffer((problem,)) from error
    if not isinstance(found, dict):
        raise InvalidOffer((Problem("offer", shown(str(found)[:64]), "is no object", "a JSON object"),))
    reader = _Reader(found)
    document = reader.document()
    signature = reader.signature()
    if reader.problems or document is None:
        raise InvalidOffer(reader.problems)
    del found["signature"]
    return document, _canonical(found), signature


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def _to_json(document: OfferDocument) -> dict[str, Any]:
    terms, prices = document.terms, document.terms.prices
    collateral = str(terms.timeout_collateral_wei)
    return {
        "version": VERSION,
        "chain_id": document.chain_id,
        "controller": document.controller,
        "resource_provider": document.provider,
        "modules": [
            {"repo": f"https://{REPOSITORY}", "commit": MODULES[tag].commit, "path": TEMPLATE, "tag": tag}
            for tag in document.modules
        ],
        "pricing": {
            "floor": str(prices.floor_wei),
            "per_job": str(prices.per_job_wei),
            "per_step": str(prices.per_step_wei),
            "video_step_weight": str(prices.video_step_weight),
            "mediation_fee": str(prices.mediation_fee_wei),
            "results_collateral_multiple": str(terms.results_collateral_multiple),
        },
        "timeouts": {
            "agree": {"timeout": str(terms.agree_timeout_s), "collateral": "0"},
            "submit_results": {"timeout": str(terms.submit_timeout_s), "collateral": collateral},
            "judge_results": {"timeout": str(terms.judge_timeout_s), "collateral": collateral},
            "mediate_results": {"timeout": str(terms.mediate_timeout_s), "collateral": "0"},
        },
        "mediators": list(document.mediators),
        "max_open_deals": document.max_open_deals,
        "valid_until": document.valid_until,
        "contact_url": document.contact_url,
        "gpu": [{"name": gpu.name, "vram": gpu.vram_bytes} for gpu in document.gpus],
        "determinism_class": document.determinism_class,
    }


class _Reader:
    """Reads a stranger's object field by field and keeps every problem it meets."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found
        self.problems: list[Problem] = [
            Problem(shown(key), "", "is not a key of offer documents", ", ".join(_KEYS))
            for key in list(found)[: len(_KEYS) + 1]
            if key not in _KEYS
        ]

    def document(self) -> OfferDocument | None:
        found = self._found
        version = self._whole("version", found.get("version"), 0, MAX_COUNT)
        if version not in {VERSION, -1}:
            self._add("version", version, "is another format", str(VERSION))
        terms = self._terms()
        document = OfferDocument(
            chain_id=self._whole("chain_id", found.get("chain_id"), 1, MAX_TIME),
            controller=self._address("controller", found.get("controller")),
            provider=self._address("resource_provider", found.get("resource_provider")),
            modules=self._modules(),
            terms=terms,
            mediators=self._mediators(),
            max_open_deals=self._whole("max_open_deals", found.get("max_open_deals"), 1, MAX_COUNT),
            valid_until=self._whole("valid_until", found.get("valid_until"), 0, MAX_TIME),
            contact_url=self._text("contact_url", found.get("contact_url"), 256),
            gpus=self._gpus(),
            determinism_class=self._class(),
        )
        return None if self.problems else document

    def signature(self) -> bytes:
        value = self._found.get("signature")
        if not isinstance(value, str) or _SIGNATURE.fullmatch(value) is None:
            self._add("signature", value, "is no signature", "0x and 130 lower-case hex digits")
            return b""
        return bytes.fromhex(value[2:])

    def _terms(self) -> StandingTerms:
        pricing = self._object("pricing", (*_PRICES, "video_step_weight", "results_collateral_multiple"))
        amounts = {
            name: self._decimal(f"pricing.{name}", pricing.get(name), MAX_LOCKED_WEI - 1) for name in _PRICES
        }
        weight = self._decimal("pricing.video_step_weight", pricing.get("video_step_weight"), MAX_STEP_WEIGHT)
        multiple = self._decimal(
            "pricing.results_collateral_multiple", pricing.get("results_collateral_multiple"), MAX_COUNT
        )
        seconds, collateral = self._timeouts()
        return StandingTerms(
            prices=PriceList(
                floor_wei=Wei(amounts["floor"]),
                per_job_wei=Wei(amounts["per_job"]),
                per_step_wei=Wei(amounts["per_step"]),
                video_step_weight=weight,
                mediation_fee_wei=Wei(amounts["mediation_fee"]),
            ),
            agree_timeout_s=seconds["agree"],
            submit_timeout_s=seconds["submit_results"],
            judge_timeout_s=seconds["judge_results"],
            mediate_timeout_s=seconds["mediate_results"],
            timeout_collateral_wei=Wei(collateral["submit_results"]),
            results_collateral_multiple=multiple,
        )

    def _timeouts(self) -> tuple[dict[str, int], dict[str, int]]:
        timeouts = self._object("timeouts", _TIMEOUTS)
        seconds: dict[str, int] = {}
        collateral: dict[str, int] = {}
        for name in _TIMEOUTS:
            entry = self._object(f"timeouts.{name}", ("timeout", "collateral"), timeouts.get(name))
            seconds[name] = self._decimal(f"timeouts.{name}.timeout", entry.get("timeout"), MAX_SECONDS)
            collateral[name] = self._decimal(
                f"timeouts.{name}.collateral", entry.get("collateral"), MAX_LOCKED_WEI - 1
            )
        for name in ("agree", "mediate_results"):
            if collateral[name] > 0:
                self._add(f"timeouts.{name}.collateral", collateral[name], "is not free", "0")
        if collateral["submit_results"] != collateral["judge_results"]:
            # A deployed timeoutAgree refunds one in place of the other: lilypad.md 3.1.
            self._add(
                "timeouts.judge_results.collateral",
                collateral["judge_results"],
                "differs from that of submit_results",
                "the same amount for both",
            )
        return seconds, collateral

    def _modules(self) -> tuple[str, ...]:
        tags: list[str] = []
        for index, entry in enumerate(self._list("modules", MAX_MODULES)):
            name = f"modules[{index}]"
            fields = self._object(name, ("repo", "commit", "path", "tag"), entry)
            if not fields:
                continue
            tag = fields.get("tag")
            known = MODULES.get(tag) if isinstance(tag, str) else None
            # A module this reader does not know is no mistake: it is only none that can be asked for.
            if known is not None and fields.get("commit") == known.commit:
                tags.append(known.tag)
        return tuple(dict.fromkeys(tags))

    def _mediators(self) -> tuple[Address, ...]:
        entries = self._list("mediators", MAX_MEDIATORS)
        mediators = tuple(self._address(f"mediators[{index}]", entry) for index, entry in enumerate(entries))
        if self._found.get("mediators") == []:
            self._add("mediators", "[]", "is empty", f"1 to {MAX_MEDIATORS} addresses")
        if len(set(mediators)) != len(mediators):
            self._add("mediators", entries, "names one twice", "distinct addresses")
        return mediators

    def _gpus(self) -> tuple[Gpu, ...]:
        gpus = []
        for index, entry in enumerate(self._list("gpu", MAX_GPUS)):
            name = f"gpu[{index}]"
            fields = self._object(name, ("name", "vram"), entry)
            gpus.append(
                Gpu(
                    self._text(f"{name}.name", fields.get("name"), 64),
                    self._whole(f"{name}.vram", fields.get("vram"), 0, MAX_TIME),
                )
            )
        return tuple(gpus)

    def _class(self) -> str:
        value = self._found.get("determinism_class")
        if value != "" and (not isinstance(value, str) or _CLASS.fullmatch(value) is None):
            self._add("determinism_class", value, "is no class", "empty, or up to 64 letters and digits")
            return ""
        return str(value)

    def _object(self, name: str, keys: tuple[str, ...], value: Any = ...) -> dict[str, Any]:
        value = self._found.get(name) if value is ... else value
        if not isinstance(value, dict):
            self._add(name, value, "is no object", f"an object with {', '.join(keys)}")
            return {}
        return value

    def _list(self, name: str, limit: int) -> list[Any]:
        value = self._found.get(name)
        if not isinstance(value, list) or len(value) > limit:
            self._add(name, value, "is no list, or too long", f"a list of at most {limit}")
            return []
        return value

    def _text(self, name: str, value: Any, limit: int) -> str:
        if not isinstance(value, str) or len(value) > limit or not value.isprintable():
            self._add(name, value, "is no plain text", f"at most {limit} printable characters")
            return ""
        return value

    def _address(self, name: str, value: Any) -> Address:
        if not isinstance(value, str) or _ADDRESS.fullmatch(value) is None or not value.strip("0x"):
            self._add(name, value, "is no address", "0x and 40 lower-case hex digits, not all 0")
            return Address("")
        return Address(value)

    def _whole(self, name: str, value: Any, low: int, high: int) -> int:
        if type(value) is not int or not low <= value <= high:
            self._add(name, value, "is no whole number in range", f"{low} to {high}")
            return -1
        return value

    def _decimal(self, name: str, value: Any, high: int) -> int:
        if not isinstance(value, str) or _NUMBER.fullmatch(value) is None or int(value) > high:
            self._add(name, value, "is no amount in range", f'"0" to "{high}", as text')
            return -1
        return int(value)

    def _add(self, name: str, value: Any, wrong: str, allowed: str) -> None:
        text = "missing" if value is None else shown(str(value)[:200])
        self.problems.append(Problem(name, text, wrong, allowed))
