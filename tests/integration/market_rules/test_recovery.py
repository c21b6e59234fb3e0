"""Checks 8, 10, 11 and 13 with a real node on both deployments, at small size; chaos tests do it in bulk."""

import pytest

from node.chain.events import DEAL_STATE_CHANGE, JOB_ADDED
from tests.chaos.harness.kills import Boundary, kill_at
from tests.faults.rpc import FaultProxy
from tests.integration.market_rules.bench import JC, JUDGE, OWNER, RP
from tests.integration.market_rules.holding import Hold

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
KILLS = [
    *(("before", state) for state in ("evaluated", "agree-sent", "deal-agreed", "published", "result-sent")),
    *(
        ("after", state)
        for state in (
            "evaluated",
            "agree-signed",
            "agree-mined",
            "deal-agreed",
            "exec-started",
            "frames-done",
            "published",
            "result-sent",
            "final",
            "failure-signed",
            "withdrawal-sent",
        )
    ),
]
OUTAGES = ("SEEN", "PROPOSING", "PROPOSED", "AGREED", "RENDERING", "PUBLISHING", "SUBMITTING", "SUBMITTED")


@pytest.mark.parametrize(("side", "state"), KILLS)
async def test_a_kill_in_the_middle_of_a_state_costs_nothing_and_sends_nothing_twice(place, side, state):
    found = await kill_at(place, Boundary(state, side), seed=1)
    assert not found.broken
    assert (found.deals, found.lost) == (1, 0)


@pytest.mark.parametrize("phase", OUTAGES)
async def test_an_endpoint_that_goes_away_in_a_state_is_waited_for(stage, phase, tmp_path):
    hold, accept = Hold(tmp_path, phase), stage.contracts.accept_result
    async with FaultProxy(stage.place.market.url, seed=1) as proxy:
        await stage.start(hold.hook, chain={"rpc_urls": [proxy.url]})
        await stage.post()
        before_the_match = phase in OUTAGES[:3]
        if not before_the_match:
            deal = await stage.agreed()
        await hold.reached()
        await proxy.stop()
        hold.let_go()
        # The other side goes on while this node sees nothing.
        if phase == "PROPOSED":
            deal = await stage.agreed()
        if phase == "SUBMITTED":
            await stage.bench.send(JC, accept(deal.deal_id))
        await stage.told("chain does not answer")
        await proxy.start()
        if before_the_match and phase != "PROPOSED":
            deal = await stage.agreed()
        if phase != "SUBMITTED":
            await stage.reached("SUBMITTED")
            await stage.bench.send(JC, accept(deal.deal_id))
        await stage.reached("PAID")
    assert await stage.mined() == [("agree", True), ("addResult", True)]


async def test_a_squatted_id_is_left_to_its_squatter_and_the_next_salt_is_agreed(stage):
    await stage.start()
    expected = stage.standing()
    squat = stage.bench.deal(
        1, job_creator=JUDGE, mediators=(OWNER,), payment_collateral=0, judge_collateral=0
    )
    await stage.bench.send(JUDGE, stage.under_id(squat, expected.deal_id.encode()))
    await stage.post()
    deal = await stage.agreed()
    assert deal.deal_id != expected.deal_id
    await stage.reached("SUBMITTED")
    assert (await stage.contracts.get_deal(expected.deal_id)).members.job_creator == JUDGE


async def test_an_agreement_dropped_by_a_reorganisation_stops_the_job_until_it_is_made_again(stage):
    await stage.start(worker={"profile": "fake:600"})
    await stage.post()
    deal = await stage.agreed()
    await stage.reached("RENDERING")
    await stage.drop_blocks_from(DEAL_STATE_CHANGE)
    await stage.reached("PROPOSED", after="BlocksDropped")
    assert await stage.sent() == ["agree"]
    await stage.bench.send(JC, stage.contracts.agree(deal))
    await stage.reached("SUBMITTED")
    await stage.bench.send(JC, stage.contracts.accept_result(deal.deal_id))
    await stage.reached("PAID")
    assert await stage.sent() == ["agree", "addResult"]


async def test_a_job_whose_announcement_is_dropped_is_never_executed(stage):
    await stage.start()
    # A log that is skipped is a block the journal knows, to which it can go back.
    await stage.bench.send(JC, stage.contracts.run_job("cowsay:v0.0.1", ("Message=moo",), JC))
    await stage.post()
    deal = await stage.proposed("j2")
    await stage.drop_blocks_from(JOB_ADDED)
    # The proposal itself is mined again: it was signed already.
    await stage.reached("PROPOSED", job="j2", after="BlocksDropped")
    await stage.allow()
    await stage.bench.send(JC, stage.contracts.agree(deal))
    job = await stage.reached("FAILED", job="j2")
    assert "RenderStarted" not in {step["event"] for step in job["timeline"]}
    result = await stage.contracts.get_result(deal.deal_id)
    assert result is not None
    assert result.instruction_count == 0


async def test_a_withdrawal_that_loses_its_race_is_mined_in_vain_and_the_deal_is_served(stage):
    rpc = stage.place.market.rpc
    await stage.start()
    await stage.post()
    deal = await stage.proposed()
    await rpc.call("evm_setAutomine", [False])
    try:
        await stage.place.pass_time(601)
        await stage.reached("WITHDRAWING")
        await stage.pending_from(RP)
        agree = stage.contracts.agree(deal)
        request = {
            "from": JC,
            "to": agree.to,
            "data": "0x" + agree.data.hex(),
            "gas": hex(3_000_000),
            "maxFeePerGas": hex(500 * 10**9),
            "maxPriorityFeePerGas": hex(400 * 10**9),
        }
        await rpc.call("eth_sendTransaction", [request])
        await stage.place.market.mine()
    finally:
        await rpc.call("evm_setAutomine", [True])
    if stage.contracts.rules.deadlines_bind:
        # The other side paid more and came first all the same, and too late.
        await stage.reached("LAPSED")
        assert await stage.mined(JC) == [("agree", False)]
        assert await stage.mined() == [("agree", True), ("timeoutAgree", True)]
        return
    await stage.reached("SUBMITTED")
    assert await stage.mined(JC) == [("agree", True)]
    assert await stage.mined() == [("agree", True), ("timeoutAgree", False), ("addResult", True)]


async def test_another_transaction_of_the_same_key_delays_nothing(stage):
    await stage.start()
    await stage.post()
    await stage.proposed()
    await stage.place.market.rpc.call("eth_sendTransaction", [{"from": RP, "to": OWNER, "value": hex(1)}])
    deal = await stage.agreed()
    await stage.reached("SUBMITTED")
    await stage.bench.send(JC, stage.contracts.accept_result(deal.deal_id))
    await stage.reached("PAID")
