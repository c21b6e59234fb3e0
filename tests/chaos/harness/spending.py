"""I2 and I3: what the provider's key signed, and what of it was mined."""

import asyncio
import itertools
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import Any, cast

from node.chain import interface
from node.chain.fees import Fees
from node.chain.payload import Payload, payload_hash, read_signed
from node.types import Address, Wei
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.findings import Findings

CALLS = {
    function.selector: function.name
    for function in (
        interface.AGREE,
        interface.ADD_RESULT,
        interface.TIMEOUT_AGREE,
        interface.TIMEOUT_SUBMIT_RESULT,
        interface.TIMEOUT_JUDGE_RESULT,
        interface.TIMEOUT_MEDIATE_RESULT,
    )
}
"""The calls of a deal, all of which begin with its id."""

ONCE = frozenset({interface.AGREE.name, interface.ADD_RESULT.name})
"""Mined once for a deal, a reverted one included."""

SUCCEED_ONCE = frozenset({interface.TIMEOUT_AGREE.name, interface.TIMEOUT_JUDGE_RESULT.name})
"""Succeed once for a deal; one that reverted may be tried again.

``timeoutMediateResult`` is not among them: it succeeds once for each mediator that is drawn.
"""

MOST_TRIES = 3

BUMP_PERCENT = 110
OPEN_ROWS = "SELECT count(*) FROM transactions WHERE status = 'open' AND intent_id NOT LIKE 'announce:%'"
"""An announcement may begin at any moment, also at that of the last kill."""

_NO_FEES = Fees(Wei(0), Wei(0))


@dataclass(frozen=True)
class Sent:
    """A mined transaction. ``block`` and ``index`` are its place; ``ok`` is False when it reverted.

    ``call`` and ``deal_id`` are None for what is no call of a deal.
    """

    sender: Address
    nonce: int
    hash: str
    block: int
    index: int
    ok: bool
    call: str | None
    deal_id: str | None

    @property
    def place(self) -> tuple[int, int]:
        return self.block, self.index


async def mined(arena: Arena) -> list[Sent]:
    """Return every mined transaction of everybody, oldest first."""
    rpc = arena.market.rpc
    head = await arena.market.chain.head()
    sent = []
    for number in range(head.number + 1):
        block = await _block(arena, number)
        if not block["transactions"]:
            continue
        receipts = await rpc.call("eth_getBlockReceipts", [hex(number)])
        ok = {receipt["transactionHash"]: int(receipt["status"], 16) == 1 for receipt in receipts}
        for index, transaction in enumerate(block["transactions"]):
            data = bytes.fromhex(transaction["input"][2:])
            call = CALLS.get(data[:4])
            sent.append(
                Sent(
                    sender=transaction["from"],
                    nonce=int(transaction["nonce"], 16),
                    hash=transaction["hash"],
                    block=number,
                    index=index,
                    ok=ok[transaction["hash"]],
                    call=call,
                    deal_id=_text(data) if call else None,
                )
            )
    return sent


async def _block(arena: Arena, number: int) -> dict[str, Any]:
    # Under load Anvil once had no answer for a block that was there.
    for _ in range(20):
        block = await arena.market.rpc.call("eth_getBlockByNumber", [hex(number), True])
        if block is not None:
            return cast("dict[str, Any]", block)
        await asyncio.sleep(0.1)
    raise AssertionError(f"Anvil does not give block {number}, which is below its head")


async def sent_by(arena: Arena, account: Address) -> list[Sent]:
    """Return every mined transaction of an account, oldest first."""
    return [item for item in await mined(arena) if item.sender == account]


def _text(data: bytes) -> str:
    offset = 4 + int.from_bytes(data[4:36])
    length = int.from_bytes(data[offset : offset + 32])
    return data[offset + 32 : offset + 32 + length].decode()


Openings = dict[tuple[str, str], tuple[int, int]]
"""For a call and a deal, the place on chain from which the call can succeed."""


def openings(everything: list[Sent], provider: Address) -> Openings:
    """Return from where a result can be added, and from where a hire can be agreed to.

    A result waits for the second ``agree`` that succeeded; that of a provider who is hired, for the first.
    """
    agreed: dict[str, list[Sent]] = defaultdict(list)
    for item in everything:
        if item.call == interface.AGREE.name and item.ok and item.deal_id is not None:
            agreed[item.deal_id].append(item)
    found = {}
    for deal_id, items in agreed.items():
        if items[0].sender != provider:
            found[interface.AGREE.name, deal_id] = items[0].place
        if len(items) > 1:
            found[interface.ADD_RESULT.name, deal_id] = items[1].place
    return found


def nothing_twice(sent: list[Sent], found: Findings, opened: Openings | None = None) -> None:
    """I2: at most one agree and one addResult mined for a deal, reverted ones counted.

    ``opened`` is given for a chain that was reorganised. There one of them may besides have been put before
    what it rests on: it reverts, is counted, and is sent again. A second reorganisation can then let the
    first attempt succeed, and the next one reverts behind it: that costs its gas and is counted.
    """
    calls: dict[tuple[str, str], list[Sent]] = defaultdict(list)
    for item in sent:
        if item.call is not None and item.deal_id is not None:
            calls[item.call, item.deal_id].append(item)
    for (call, deal_id), items in calls.items():
        opening = (opened or {}).get((call, deal_id))
        if opening is not None:
            late = [item for item in items if item.ok or item.place > opening]
            found.early[call] += len(items) - len(late)
            if len(late) == 2 and late[0].ok and not late[1].ok and late[0].nonce < late[1].nonce:
                found.again[call] += 1
                del late[1]
            text = f"{call} of {deal_id} was mined {len(late)} times from where it could succeed"
            found.check(len(late) == 1 and late[0].ok, "I2", text)
        elif call in ONCE:
            found.check(len(items) == 1, "I2", f"{call} of {deal_id} was mined {len(items)} times")
        elif call in SUCCEED_ONCE:
            succeeded = sum(item.ok for item in items)
            text = f"{call} of {deal_id} succeeded {succeeded} times in {len(items)}"
            found.check(succeeded <= 1 and len(items) <= MOST_TRIES, "I2", text)


def one_payload_per_nonce(journal: sqlite3.Connection, sent: list[Sent], found: Findings) -> None:
    """I3: a nonce belongs to one intent; its payloads are the same call with at least 10 % more each."""
    payloads: dict[str, list[Payload]] = defaultdict(list)
    intents: dict[str, str] = {}
    query = "SELECT intent_id, tx_hash, raw, max_fee_wei, tip_wei FROM attempts ORDER BY intent_id, ordinal"
    for intent_id, tx_hash, raw, max_fee, tip in journal.execute(query):
        payload = read_signed(raw)
        payloads[intent_id].append(payload)
        intents[tx_hash] = intent_id
        written = (tx_hash, int(max_fee), int(tip))
        signed = (payload_hash(raw), payload.fees.max_fee_wei, payload.fees.tip_wei)
        found.check(written == signed, "I3", f"{intent_id} has signed bytes of {signed} under {written}")
    nonces: Counter[int] = Counter()
    query = "SELECT intent_id, nonce, recipient, data, value_wei FROM transactions"
    for intent_id, nonce, recipient, data, value in journal.execute(query):
        if not (tried := payloads[intent_id]):
            continue
        nonces[nonce] += 1
        alike = {replace(payload, fees=_NO_FEES) for payload in tried}
        found.check(len(alike) == 1, "I3", f"{intent_id} was signed as {len(alike)} different transactions")
        asked = (nonce, recipient, data, int(value))
        for payload in tried:
            signed_call = (payload.nonce, payload.to, payload.data, payload.value_wei)
            found.check(signed_call == asked, "I3", f"{intent_id} was signed otherwise than written")
        for payload, following in itertools.pairwise(tried):
            found.check(_dearer(following.fees, payload.fees), "I3", f"{intent_id}: less than 10 % more")
            found.replacements += 1
    for nonce, count in nonces.items():
        found.check(count == 1, "I3", f"nonce {nonce} was signed for {count} intents")
    for item in sent:
        known = item.hash in intents or item.call is None
        found.check(known, "I3", f"{item.call} {item.hash} was mined and is not in the journal")
        found.transactions += 1


def _dearer(later: Fees, earlier: Fees) -> bool:
    pairs = ((later.max_fee_wei, earlier.max_fee_wei), (later.tip_wei, earlier.tip_wei))
    return all(new * 100 >= old * BUMP_PERCENT for new, old in pairs)


async def no_gap(arena: Arena, provider: Provider, journal: sqlite3.Connection, found: Findings) -> None:
    """I3: nothing is signed for a nonce above one that nothing will ever use."""
    (highest,) = journal.execute(
        "SELECT max(nonce) FROM transactions WHERE intent_id IN (SELECT intent_id FROM attempts)"
    ).fetchone()
    count = await arena.market.chain.nonce(provider.address)
    found.check(highest is None or highest < count, "I3", f"nonce {highest} waits above {count}")
    (open_rows,) = journal.execute(OPEN_ROWS).fetchone()
    found.check(open_rows == 0, "I3", f"{open_rows} transactions have no outcome")
