"""What hostile input meets first, one target each: how an input is made, who reads it, what it may raise.

A reader checks what it read beyond "it did not crash": limits hold, errors are printable, records survive the
journal.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from eth_abi.abi import encode

from node.chain import events
from node.chain.client import RawLog
from node.chain.events import JobAdded, Undecodable, decode
from node.job.modules import MODULES, NEWEST, REPOSITORY, resolve_module
from node.job.offer_document import Gpu, InvalidOffer, OfferDocument, read_offer, signed_text
from node.job.spec import InvalidInputs, JobSpec, parse_inputs
from node.job.terms import PriceList, StandingTerms
from node.job.tunables import TUNABLES
from node.types import Address, BlockHash, BlockNumber, TxHash, Wei
from tests.fuzz.corpus import TEXTS, WORDS, damaged, damaged_json, damaged_text, text

LONGEST_ERROR = 64 * 1024
NAMES = tuple(tunable.name for tunable in TUNABLES)


@dataclass(frozen=True, slots=True)
class Target:
    """``make`` draws an input, ``read`` reads it and may raise ``expected`` only."""

    name: str
    share: int
    make: Callable[[Random], Any]
    read: Callable[[Any], Any]
    expected: tuple[type[Exception], ...] = ()


def address(dice: Random) -> str:
    return "0x" + dice.randbytes(20).hex()


def valid_log(dice: Random) -> tuple[str, bytes]:
    """Return the topic and data of a log as the market emits it."""
    name = f"j{dice.randrange(99)}-abc".encode()
    match dice.randrange(4):
        case 0:
            inputs = [f"{dice.choice(NAMES)}={text(dice)[:80]}" for _ in range(3)]
            return job_added(dice, "sdv-pipeline", inputs)
        case 1:
            return events.DEAL_STATE_CHANGE, encode(["bytes", "uint8"], [name, dice.randrange(11)])
        case 2:
            fields = [name, address(dice), dice.choice(WORDS), dice.randrange(5), dice.randrange(4)]
            return events.PAYMENT, encode(["bytes", "address", "uint256", "uint8", "uint8"], fields)
        case _:
            return events.MEDIATION_REQUESTED, encode(["bytes", "address"], [name, address(dice)])


def job_added(dice: Random, module: str, inputs: list[str]) -> tuple[str, bytes]:
    """Return the log of an offer; texts need not be UTF-8."""
    fields = [
        dice.randrange(2**20),
        address(dice),
        address(dice),
        module.encode(),
        [given.encode("utf-8", "surrogatepass") for given in inputs],
    ]
    return events.JOB_ADDED, encode(["uint256", "address", "address", "bytes", "bytes[]"], fields)


def good_offers() -> list[tuple[str, bytes]]:
    """Return offers that are read as they are, whatever their prompts say."""
    dice = Random(5)
    prompts = [prompt for prompt in TEXTS if prompt.isprintable() and 0 < len(prompt) < 1000]
    good = []
    for prompt in prompts:
        try:
            parse_inputs(NEWEST.canonical, [f"Prompt={prompt}"])
        except InvalidInputs:
            continue
        good.append(job_added(dice, NEWEST.canonical, [f"Prompt={prompt}", f"Seed={dice.randrange(2**64)}"]))
    return good


GOOD_OFFERS = good_offers()
OVERSIZED = [
    job_added(Random(1), "sdv-pipeline", ["Prompt=" + "p" * 100_000]),
    job_added(Random(2), "sdv-pipeline", [f"Key{number}=1" for number in range(10_000)]),
    job_added(Random(3), "m" * 100_000, ["\ud800" * 1000]),
]
VALID_LOGS = [*(valid_log(Random(seed)) for seed in range(300)), *OVERSIZED]
TOPICS = events.MARKET_TOPICS


def hostile_log(dice: Random) -> RawLog:
    topic, data = dice.choice(VALID_LOGS)
    kind = dice.random()
    if kind < 0.1:
        data = dice.randbytes(dice.choice((0, 1, 31, 32, 33, 160, 2000, 40_000)))
    elif kind < 0.95:
        data = damaged(data, dice)
    topics: Sequence[str] = (topic,)
    if dice.random() < 0.1:
        topics = dice.choice(((), (topic, topic), (data[:32].hex(), topic), (dice.choice(TOPICS),)))
    return RawLog(
        Address(address(dice)),
        tuple(topics),
        data,
        BlockNumber(dice.randrange(2**40)),
        BlockHash("0x" + "bb" * 32),
        TxHash("0x" + "cc" * 32),
        dice.randrange(1000),
    )


def read_log(log: RawLog) -> None:
    event = decode(log)
    match event:
        case JobAdded():
            assert len(event.module) <= events.MAX_MODULE_BYTES
            assert len(event.inputs) <= events.MAX_INPUTS
            assert sum(map(len, event.inputs)) <= events.MAX_INPUTS_BYTES
            "".join(event.inputs).encode()
        case Undecodable():
            assert 0 < len(event.problem) < 500
            assert event.problem.isprintable()
        case None:
            assert not log.topics or log.topics[0] not in TOPICS


def hostile_module(dice: Random) -> str:
    known = dice.choice((*MODULES, REPOSITORY))
    return dice.choice((
        f"sdv-pipeline:{known}",
        f"{REPOSITORY}:{known}",
        f"https://{REPOSITORY.upper()}:{known}",
        f"sdv-pipeline:{damaged_text(known, dice)}",
        damaged_text(f"sdv-pipeline:{known}", dice),
        text(dice),
    ))  # fmt: skip


def read_module(name: str) -> None:
    assert resolve_module(name).tag in MODULES


def hostile_inputs(dice: Random) -> tuple[str, list[str]]:
    kind = dice.random()
    if kind < 0.01:
        return "sdv-pipeline:v1.1-lilypad2", [f"Key{n}=1" for n in range(10_000)]
    names = (*NAMES, "prompt", "__class__", text(dice)[:60])
    inputs = [f"{dice.choice(names)}={text(dice)}" for _ in range(dice.randrange(8))]
    if kind < 0.3:
        inputs += [text(dice) for _ in range(dice.randrange(4))]
    elif kind < 0.7:
        inputs = [f"{tunable.name}={tunable.default}" for tunable in TUNABLES if dice.random() < 0.4]
        inputs += [f"{dice.choice(NAMES)}={damaged_text(str(dice.choice(TUNABLES).default), dice)}"]
    module = hostile_module(dice) if kind > 0.9 else "sdv-pipeline:v1.1-lilypad2"
    return module, inputs


def read_inputs(case: tuple[str, list[str]]) -> None:
    refusal: InvalidInputs | None = None
    try:
        spec = parse_inputs(*case)
    except InvalidInputs as error:
        refusal = error
    if refusal is not None:
        assert refusal.problems
        assert str(refusal).isprintable()
        assert len(str(refusal)) < LONGEST_ERROR
        raise refusal
    assert JobSpec.from_json(spec.to_json()) == spec
    spec.prompt.encode()


def document_fields() -> dict[str, Any]:
    """Return a valid offer document as JSON."""
    terms = StandingTerms(
        prices=PriceList(Wei(10**18), Wei(10**18), Wei(10**16), 22, Wei(10**18)),
        agree_timeout_s=600,
        submit_timeout_s=3600,
        judge_timeout_s=86_400,
        mediate_timeout_s=86_400,
        timeout_collateral_wei=Wei(10**18),
        results_collateral_multiple=1,
    )
    mediator, provider = Address("0x" + "c3" * 20), Address("0x" + "a1" * 20)
    document = OfferDocument(
        chain_id=31337,
        controller=provider,
        provider=provider,
        modules=tuple(MODULES)[:2],
        terms=terms,
        mediators=(mediator,),
        max_open_deals=4,
        valid_until=1_700_000_000,
        gpus=(Gpu("H100", 1),),
    )
    found: dict[str, Any] = json.loads(signed_text(document, bytes(65)))
    return found


VALID_DOCUMENT = document_fields()


def hostile_document(dice: Random) -> bytes:
    kind = dice.random()
    if kind < 0.05:
        return dice.choice((b"[", b'{"a":', b"\xff")) * dice.choice((10, 1000, 100_000))
    written = json.dumps(damaged_json(VALID_DOCUMENT, dice))
    if kind < 0.4:
        written = damaged_text(written, dice)
    return written.encode("utf-8", "surrogatepass")


def read_document(data: bytes) -> None:
    refusal: InvalidOffer | None = None
    try:
        read_offer(data)
    except InvalidOffer as error:
        refusal = error
    if refusal is not None:
        assert str(refusal).isprintable()
        raise refusal


TARGETS = (
    Target("log decoder", 30, hostile_log, read_log),
    Target("job inputs", 22, hostile_inputs, read_inputs, (InvalidInputs,)),
    Target("module name", 8, hostile_module, read_module, (InvalidInputs,)),
    Target("offer document", 8, hostile_document, read_document, (InvalidOffer,)),
)
