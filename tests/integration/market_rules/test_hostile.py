"""Checks 7, 9 and 12 with a real node: hostile texts, judges that are none, a wallet that is too empty."""

import asyncio

import pytest
from eth_abi.abi import encode

from node.chain import interface
from node.chain.client import Call
from node.chain.events import JOB_ADDED
from node.job.deal import ZERO_ADDRESS, Deal
from node.requester.outcome import RunState
from node.types import Wei
from tests.integration.market_rules.bench import JC, JUDGE, OWNER, RP, TOKEN
from tests.integration.market_rules.stage import MODULE

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

NOTHING = Wei(0)
LONG = b"p" * 10_240
HOSTILE = {
    b"\xff\xfe\xed\xa0\x80": "UTF-8",
    b"a\x1b[2J\x00b": "control characters",
    LONG: "longer than",
}
"""Texts of strangers, and by which words the node tells why it passes over a job that holds one."""
LONGEST_OF_OURS = {"input": 2048, "deal id": 64}
"""Bytes that the types of our contracts take."""


def job(stage, text: bytes) -> Call:
    """Return a job with this input, as any contract call can have it."""
    data = encode(["bytes", "bytes[]", "address"], [MODULE.encode(), [text], JC])
    return Call(stage.contracts.addresses.job_manager, interface.RUN_JOB.selector + data, "runJob")


def strangers_deal(stage, provider) -> Deal:
    """Return a deal of a stranger that costs it nothing."""
    free = dict.fromkeys(("payment_collateral", "judge_collateral", "submit_collateral"), NOTHING)
    return stage.bench.deal(1, job_creator=JUDGE, provider=provider, mediators=(JC,), **free)


async def test_jobs_of_any_bytes_are_passed_over_by_number_and_the_next_job_is_paid(stage):
    bounded = stage.contracts.rules.terms_are_checked
    await stage.start()
    chain, posted_in = stage.place.market.chain, []
    for text in HOSTILE:
        posted = b"Prompt=" + text
        if bounded and text is LONG:
            longest = LONGEST_OF_OURS["input"]
            for length in (len(posted), longest + 1):
                await stage.bench.refused(JC, job(stage, posted[:length]))
            posted = posted[:longest]
        assert await stage.bench.send(JC, job(stage, posted)) in ([("undecodable", "JobAdded")], [("job", 3)])
        posted_in.append((await chain.head()).number)
    await stage.post("Prompt=an honest fox")
    honest = f"j{len(HOSTILE) + 1}"
    deal = await stage.proposed(honest)
    await stage.bench.send(JC, stage.contracts.agree(deal))
    await stage.reached("SUBMITTED", job=honest)
    status = await stage.status()
    skipped = {entry["job_number"]: entry["reason"] for entry in status["skipped"]}
    if bounded:
        # The longest that the contract takes is a prompt as any other.
        await stage.reached("PROPOSED", job="j3")
    expected = dict(enumerate(HOSTILE.values(), start=1))
    assert set(skipped) == ({1, 2} if bounded else {1, 2, 3})
    for number, reason in skipped.items():
        assert expected[number] in reason
    assert status["chain"]["cursor"] >= max(posted_in)
    await stage.bench.send(JC, stage.contracts.accept_result(deal.deal_id))
    await stage.reached("PAID", job=honest)


async def test_deals_under_ids_of_any_bytes_are_read_past_and_the_next_job_is_paid(stage):
    bounded = stage.contracts.rules.terms_are_checked
    await stage.start(market={"matching": "both"})
    for text in HOSTILE:
        # One deal that names this node, and one that others agree to, so that its state changes too.
        for mark, parties in ((b"", (JUDGE,)), (b"!", (JUDGE, OWNER))):
            deal = strangers_deal(stage, RP if len(parties) == 1 else OWNER)
            deal_id = text + mark
            if bounded and text is LONG:
                longest = LONGEST_OF_OURS["deal id"]
                for length in (len(deal_id), longest + 1):
                    await stage.bench.refused(JUDGE, stage.under_id(deal, deal_id[:length]))
                deal_id = deal_id[: longest - len(mark)] + mark
            told = []
            for party in parties:
                told += await stage.bench.send(party, stage.under_id(deal, deal_id))
            if not (bounded and text is LONG):
                assert {kind for kind, *_ in told} == {"undecodable"}
                assert "Payment" in {event for _, event in told}
                assert ("undecodable", "DealStateChange") in told or len(parties) == 1
    hostile_until = (await stage.place.market.chain.head()).number
    await stage.post("Prompt=an honest fox")
    deal = await stage.agreed()
    await stage.reached("SUBMITTED")
    await stage.bench.send(JC, stage.contracts.accept_result(deal.deal_id))
    await stage.reached("PAID")
    assert (await stage.status())["chain"]["cursor"] >= hostile_until
    assert [entry["job_id"] for entry in (await stage.get("/api/v1/jobs"))["jobs"]] == ["j1"]


NO_JUDGES = ((RP,), (JC,), (ZERO_ADDRESS,), (JUDGE, JUDGE))


async def test_proposals_judged_by_a_party_or_by_nobody_we_know_are_not_taken(stage):
    unknown = (OWNER,)
    # Our contracts refuse all but the unknown judge themselves.
    proposed = (unknown,) if stage.contracts.rules.terms_are_checked else (unknown, *NO_JUDGES)

    async def propose() -> None:
        job_manager = [stage.contracts.addresses.job_manager]
        chain = stage.place.market.chain
        while not await chain.logs(0, (await chain.head()).number, job_manager, [JOB_ADDED]):
            await asyncio.sleep(0.01)
        for mediators in proposed:
            deal = stage.bench.deal(1, mediators=mediators, judge_s=86_400, payment_collateral=Wei(TOKEN))
            await stage.bench.send(RP, stage.contracts.agree(deal))

    async with stage.requester(wait_for_proposals_s=1.5) as party:
        outcome, _ = await asyncio.gather(party.request(MODULE, ("Prompt=a fox",)), propose())
    assert outcome.state is RunState.NO_PROPOSAL
    assert f"none of the {len(proposed)} proposals" in outcome.reason
    assert "mediator" in outcome.reason


async def test_a_node_whose_only_judges_are_the_parties_takes_nothing(stage):
    await stage.start(market={"mediators": [RP, JC]})
    await stage.post()
    job = await stage.reached("REFUSED")
    assert "market.mediators" in job["reason"]
    assert await stage.sent() == []


@pytest.mark.parametrize("lacking", ["timeout collateral", "results collateral", "gas"])
async def test_a_wallet_that_is_too_empty_bids_for_nothing_and_says_so(stage, lacking):
    keep = {"timeout collateral": TOKEN - 1, "results collateral": 3 * TOKEN}.get(lacking)
    if keep is None:
        # Too little at any price of gas: the chain keeps that of the blocks that were rolled back.
        await stage.place.market.rpc.call("anvil_setBalance", [RP, hex(10**6)])
    else:
        owned = await stage.contracts.token_balance(RP)
        await stage.bench.send(RP, stage.contracts.transfer(OWNER, Wei(owned - keep)))
    multiples = {"results_collateral_multiple": 5, "results_collateral_multiple_unknown": 5}
    await stage.start(deal=multiples)
    assert (await stage.status())["accepting"] is False
    await stage.told("too little gas money" if keep is None else "too few payment tokens")
    await stage.post()
    waits = "of the gas token left" if keep is None else "tokens and needs"
    job = await stage.reached("SEEN", reason=waits)
    assert "fund the wallet" in job["reason"]
    assert await stage.sent() == []
