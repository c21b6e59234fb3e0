from dataclasses import replace

import pytest

from node.admission.disk import DiskRoom
from node.admission.estimate import Estimate
from node.admission.pricing import standing_terms
from node.admission.rules import Facts, verdict
from node.job.terms import price_wei
from tests.fakes.jobs import MEDIATOR, POSTED_AT, PROVIDER, REQUESTER, TOKEN, make_config, make_spec

LIMITS = make_config().admission

GOOD = Facts(
    chain_time=POSTED_AT + 5,
    posted_at=POSTED_AT,
    sender=REQUESTER,
    requester=REQUESTER,
    provider=PROVIDER,
    price_wei=TOKEN,
    timeout_collateral_wei=TOKEN,
    results_collateral_wei=TOKEN,
    requester_tokens_wei=2 * TOKEN,
    our_tokens_wei=5 * TOKEN,
    our_allowance_wei=5 * TOKEN,
    our_gas_wei=10**18,
    gas_price_wei=10**9,
    committed_wei=0,
    pulls_wei=0,
    open_deals=0,
    open_proposals_of_requester=0,
    mediators=(MEDIATOR,),
    worker_problem=None,
    paused=False,
    jobs_ahead=0,
    estimate=Estimate(60.0, 66.0, measured=True),
    submit_timeout_s=3600,
    disk=DiskRoom(10**12),
)


def test_a_good_offer_is_admitted():
    assert verdict(GOOD, LIMITS) is None


def test_where_collateral_comes_from_the_balance_no_allowance_is_asked_for():
    assert verdict(replace(GOOD, our_allowance_wei=None), LIMITS) is None


@pytest.mark.parametrize(
    ("changes", "rule", "final", "told"),
    [
        ({"chain_time": POSTED_AT + 601}, "fresh", True, "601 s"),
        ({"sender": MEDIATOR}, "authentic", True, "somebody else"),
        ({"sender": None}, "authentic", False, "does not know the transaction"),
        ({"requester": PROVIDER, "sender": PROVIDER}, "authentic", True, "own account"),
        ({"mediators": ()}, "judged", True, "market.mediators"),
        ({"mediators": (REQUESTER, PROVIDER)}, "judged", True, "market.mediators"),
        (
            {"requester_tokens_wei": 2 * TOKEN - 1},
            "solvent_requester",
            True,
            ".999999999999999999 tokens, needs 2",
        ),
        (
            {"our_tokens_wei": TOKEN // 2},
            "solvent_provider",
            False,
            "0.5 tokens and needs 1: fund",
        ),
        ({"committed_wei": 5 * TOKEN}, "solvent_provider", False, "fund the wallet"),
        (
            {"our_allowance_wei": 0},
            "solvent_provider",
            False,
            "0 tokens and needs 2: sdv-node wallet approve",
        ),
        ({"our_allowance_wei": 2 * TOKEN - 1}, "solvent_provider", False, "wallet approve"),
        ({"pulls_wei": 4 * TOKEN}, "solvent_provider", False, "wallet approve"),
        ({"token_paused": True}, "movable", False, "paused by its owner"),
        ({"price_wei": 2**128, "requester_tokens_wei": 2**200}, "bounded", True, "lower pricing"),
        ({"results_collateral_wei": 2**128, "our_tokens_wei": 2**200}, "bounded", True, "lower pricing"),
        (
            {"our_gas_wei": 10**9},
            "gas",
            False,
            "0.000000001 of the gas token left and 0.0039 needed",
        ),
        ({"worker_problem": "the worker is loading"}, "capacity", False, "loading"),
        ({"paused": True}, "capacity", False, "draining"),
        ({"open_deals": 4}, "capacity", False, "4 deals"),
        ({"open_proposals_of_requester": 2}, "capacity", False, "2 unanswered"),
        ({"disk": DiskRoom(10**9)}, "disk", False, "1 GB free and 5 are needed: free some"),
        ({"disk": DiskRoom(10**10), "job_bytes": 6 * 10**9}, "disk", False, "10 GB free and 12 are needed"),
        (
            {"disk": DiskRoom(10**10), "job_bytes": 3 * 10**9, "jobs_ahead": 2},
            "disk",
            False,
            "10 GB free and 12 are needed",
        ),
        ({"disk": DiskRoom(10**12, 100), "job_bytes": 10**7}, "disk", False, "100 more files (inodes)"),
        ({"store_problem": "the quota is used up"}, "disk", False, "the quota is used up"),
        ({"ahead_s": (60.0,) * 50}, "deadline", False, "50 jobs on 1 workers come before it, 3000 s"),
        (
            {"estimate": Estimate(2400.0, 2521.0, measured=True)},
            "deadline",
            True,
            "may take 2521 s, expected are 2400 s (measured here); 2520 s are allowed, 0.7 of the deadline",
        ),
        (
            {"estimate": Estimate(2521.0, 2521.0, measured=False)},
            "deadline",
            False,
            "admission.initial_job_s, nothing is measured yet",
        ),
    ],
)
def test_each_rule_refuses_with_its_reason(changes, rule, final, told):
    refusal = verdict(replace(GOOD, **changes), LIMITS)
    assert (refusal.rule, refusal.final) == (rule, final)
    assert told in refusal.reason


def test_a_final_reason_goes_before_one_that_may_pass():
    facts = replace(GOOD, worker_problem="the worker is loading", sender=MEDIATOR)
    assert verdict(facts, LIMITS).rule == "authentic"


def test_limits_are_inclusive():
    assert verdict(replace(GOOD, chain_time=POSTED_AT + 600), LIMITS) is None
    assert verdict(replace(GOOD, estimate=Estimate(2000.0, 2520.0, measured=True)), LIMITS) is None
    assert verdict(replace(GOOD, ahead_s=(2454.0,)), LIMITS) is None
    assert verdict(replace(GOOD, open_deals=3), LIMITS) is None


def test_several_workers_share_the_jobs_before_a_new_one():
    busy = replace(GOOD, ahead_s=(1500.0, 1500.0, 1500.0, 1500.0))
    assert verdict(replace(busy, slots=1), LIMITS).rule == "deadline"
    assert verdict(replace(busy, slots=4), LIMITS) is None


def test_the_price_grows_with_the_work_and_never_falls_below_the_floor():
    def prices(**pricing):
        config = make_config(pricing=pricing)
        return standing_terms(config.pricing, config.deal).prices

    assert price_wei(make_spec(), prices(floor="3", per_job="0", per_step="0")) == 3 * TOKEN
    by_step = prices(floor="0", per_job="1", per_step="0.01")
    spec = make_spec("Prompt=a", "Steps=10", "VideoSteps=5", "Batching=4")
    assert price_wei(spec, by_step) == (TOKEN + (10 + 22 * 5) * TOKEN // 100) * 4


def test_bids_that_nobody_answers_are_capped_in_number_and_in_gas():
    many = verdict(replace(GOOD, open_proposals=LIMITS.max_open_proposals), LIMITS)
    assert many is not None
    assert (many.rule, many.final) == ("bids", False)
    dear = verdict(replace(GOOD, bid_gas=LIMITS.max_bid_gas_per_hour), LIMITS)
    assert dear is not None
    assert "max_bid_gas_per_hour" in dear.reason
    uncapped = LIMITS.model_copy(update={"max_bid_gas_per_hour": 0})
    assert verdict(replace(GOOD, bid_gas=10**9), uncapped) is None


def test_strangers_get_no_results_collateral_where_silence_has_no_remedy():
    config = make_config(deal={"results_collateral_multiple": 2})
    assert standing_terms(config.pricing, config.deal).results_collateral_multiple == 2
    sound = standing_terms(config.pricing, config.deal, silence_has_remedy=False)
    assert sound.results_collateral_multiple == 0
