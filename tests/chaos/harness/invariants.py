"""I1 to I8 of the reliability programme, judged from the chain and the journal file after a run.

Logs are never asked. The only thing taken from the node's own memory is what another reader gets over its
gateway, because that is what I4 is about.
"""

import asyncio
import contextlib
import sqlite3
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from node.chain.devnet import PROVIDER, dev_key
from node.chain.events import PAYMENT, Payment, decode
from node.errors import NodeError
from node.job.deal import AgreementState, PaymentDirection
from node.job.phase import Phase
from node.job.spec import parse_inputs
from node.journal.codec import decode_event
from node.publisher.fetch_limits import FetchLimits
from node.publisher.fetching.download import fetch
from node.publisher.unixfs import cid_of
from node.types import Cid, DealId
from node.worker.fake import FakeRenderer
from node.worker.fake_faults import MARK
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.spending import (
    OPEN_ROWS,
    Sent,
    mined,
    no_gap,
    nothing_twice,
    one_payload_per_nonce,
    openings,
)
from tests.chaos.harness.standing import MODULE

CATCH_UP_S = 30.0
LOST = frozenset({Phase.FAILED, Phase.UNPAID, Phase.REJECTED})


async def check(
    arena: Arena, provider: Provider, prompts: dict[int, str], *, reorganised: bool = False
) -> Findings:
    """Return everything that is broken, of a run whose jobs have ended.

    The node is started if it is down, because a reader needs it, and killed before the journal is judged.
    ``reorganised``: blocks were dropped at random, which may turn a call and what it rests on round.
    """
    found = Findings()
    alive = provider.node.alive or await provider.start()
    found.check(alive, "I4", "the node does not start again")
    if alive:
        await _caught_up(arena, provider)
        await _readable_and_the_same(arena, provider, prompts, found)
    await provider.kill()
    everything = await mined(arena)
    sent = [item for item in everything if item.sender == provider.address]
    with provider.journal() as journal:
        found.check(
            journal.execute("PRAGMA integrity_check").fetchone() == ("ok",), "I1", "the journal is damaged"
        )
        await _every_deal_ends(arena, journal, sent, found)
        nothing_twice(sent, found, openings(everything, provider.address) if reorganised else None)
        one_payload_per_nonce(journal, sent, found)
        await no_gap(arena, provider, journal, found)
        await _ledger_is_the_chain(arena, provider, journal, found)
    journal.close()
    _nothing_computed_again(provider, found)
    _no_key_anywhere(provider, found)
    found.slowest_start_s = provider.slowest_start_s
    return found


async def _caught_up(arena: Arena, provider: Provider) -> None:
    """Let the node settle its rows and read the last blocks; what it never does is found broken later."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CATCH_UP_S):
            while True:
                with provider.journal() as journal:
                    events = await _payments(arena, journal)
                    (rows,) = journal.execute("SELECT count(*) FROM payments").fetchone()
                    (waiting,) = journal.execute(OPEN_ROWS).fetchone()
                journal.close()
                if rows == len(events) and waiting == 0:
                    return
                await asyncio.sleep(0.03)


async def _payments(arena: Arena, journal: sqlite3.Connection) -> list[Payment]:
    """Return the Payment events of the journal's deals."""
    market = arena.market
    head = await market.chain.head()
    logs = await market.chain.logs(0, head.number, (market.addresses.payments,), (PAYMENT,))
    deals = {deal for (deal,) in journal.execute("SELECT deal_id FROM jobs WHERE deal_id IS NOT NULL")}
    return [event for raw in logs if isinstance(event := decode(raw), Payment) and event.deal_id in deals]


async def _every_deal_ends(
    arena: Arena, journal: sqlite3.Connection, sent: list[Sent], found: Findings
) -> None:
    """I1: submitted, or declared lost with a reason; a deal on chain is a job in the journal."""
    jobs = {
        deal_id: (phase, body)
        for deal_id, phase, body in journal.execute("SELECT deal_id, phase, body FROM jobs")
        if deal_id
    }
    for deal_id in sorted({item.deal_id for item in sent if item.call == "agree" and item.deal_id}):
        found.deals += 1
        agreement = await arena.market.contracts.get_agreement(DealId(deal_id))
        phase, body = jobs.get(deal_id, (None, ""))
        found.check(phase is not None, "I1", f"{deal_id} is on chain and not in the journal")
        if phase is None:
            continue
        found.check(Phase(phase).terminal, "I1", f"{deal_id} rests in {phase}, {agreement.state.name}")
        agreed = agreement.deal_agreed_at > 0
        if agreed and agreement.results_submitted_at == 0:
            declared = phase in LOST and '"reason": null' not in body
            found.check(declared, "I1", f"{deal_id} was agreed, not submitted and is {phase}")
            found.lost += 1
        found.check(
            agreement.state is not AgreementState.DEAL_AGREED or phase in LOST,
            "I1",
            f"{deal_id} still stands in DEAL_AGREED",
        )
    for job_id, phase in journal.execute("SELECT job_id, phase FROM jobs"):
        last = journal.execute(
            "SELECT phase FROM events WHERE job_id = ? ORDER BY seq DESC LIMIT 1", (job_id,)
        ).fetchone()
        found.check(last == (phase,), "I1", f"{job_id} is {phase} but its last event left {last}")
    for kind, body in journal.execute("SELECT kind, body FROM events"):
        decode_event(kind, body)


async def _ledger_is_the_chain(
    arena: Arena, provider: Provider, journal: sqlite3.Connection, found: Findings
) -> None:
    """I6: the rows are the Payment logs of our deals, and their sum is what the wallet gained, to the wei."""
    market = arena.market
    chain = {
        (
            event.ref.tx_hash,
            event.ref.log_index,
            event.deal_id,
            event.payee,
            str(event.amount_wei),
            int(event.reason),
            int(event.direction),
        )
        for event in await _payments(arena, journal)
    }
    query = "SELECT tx_hash, log_index, deal_id, payee, amount_wei, reason, direction FROM payments"
    ledger = set(journal.execute(query))
    found.check(ledger == chain, "I6", f"the ledger differs from the chain: {sorted(ledger ^ chain)[:4]}")
    sign = {PaymentDirection.PAID_IN: -1, PaymentDirection.SLASHED: 0}
    gained = sum(
        int(amount) * sign.get(PaymentDirection(direction), 1)
        for _, _, _, payee, amount, _, direction in ledger
        if payee == provider.address
    )
    grown = await market.contracts.token_balance(provider.address) - arena.tokens_wei
    found.check(grown == gained, "I6", f"the wallet gained {grown} wei, not {gained}")


async def _reported(arena: Arena, journal: sqlite3.Connection) -> dict[DealId, tuple[int, Cid]]:
    """Return the job number and CID of each result that stands on chain, however its job has ended.

    Failures (n = 0) promise no CID to compare.
    """
    reported = {}
    query = "SELECT deal_id, number FROM jobs WHERE deal_id IS NOT NULL"
    for deal_id, number in journal.execute(query).fetchall():
        result = await arena.market.contracts.get_result(DealId(deal_id))
        if result is not None and result.instruction_count > 0:
            reported[DealId(deal_id)] = (number, Cid(result.data_id))
    return reported


def _nothing_computed_again(provider: Provider, found: Findings) -> None:
    """I7: after a stage of a job was durable, no worker computes it again."""
    if not provider.stages.exists():
        return
    durable: set[str] = set()
    for line in provider.stages.read_text().splitlines():
        what, _, stage = line.partition(" ")
        if what == "computed":
            found.check(stage not in durable, "I7", f"{stage} was computed again")
            found.stages += 1
        else:
            durable.add(stage)


async def _readable_and_the_same(
    arena: Arena, provider: Provider, prompts: dict[int, str], found: Findings
) -> None:
    """I4 and I5: another reader gets the reported bytes, and an undisturbed worker makes the same ones."""
    with provider.journal() as journal:
        reported = await _reported(arena, journal)
    journal.close()
    with TemporaryDirectory() as folder:
        for deal_id, (number, cid) in reported.items():
            into = Path(folder) / deal_id
            try:
                await fetch([provider.url], cid, into, FetchLimits(attempts=1))
            except NodeError as error:
                found.check(False, "I4", f"job {number}: {cid} cannot be read: {error}")
                continue
            found.read += 1
            found.check(cid_of(into) == cid, "I4", f"job {number}: other bytes than {cid}")
            expected = undisturbed(prompts[number])
            found.check(cid == expected, "I5", f"job {number}: {cid}, undisturbed {expected}")


@lru_cache(maxsize=1024)
def undisturbed(prompt: str) -> Cid:
    """Return the CID of a prompt's job as rendered in one go."""
    spec = parse_inputs(MODULE, (f"Prompt={prompt}",))
    with TemporaryDirectory() as folder:
        # Faults that happen once have happened.
        (Path(folder) / MARK).touch()
        return cid_of(FakeRenderer("fake:0").render(spec, Path(folder), lambda _: None).directory)


def _secrets() -> tuple[bytes, ...]:
    key = dev_key(PROVIDER)
    return key, key.hex().encode(), key.hex().upper().encode()


def _no_key_anywhere(provider: Provider, found: Findings) -> None:
    """I8: the key is in no file of the run: journal, logs, results, blocks, what each worker was given."""
    found.check(provider.workers.exists(), "I8", "no worker's arguments and environment were written down")
    for path in provider.directory.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found.check(not _holds_secret(content), "I8", f"the key is in {path}")


def _holds_secret(content: bytes) -> bool:
    return any(secret in content for secret in _secrets())
