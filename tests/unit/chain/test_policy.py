"""The signing policy, rule by rule: what is allowed, and what every refusal names."""

from dataclasses import replace

import pytest

from node.chain.client import Call
from node.chain.policy import Breach, Spent, check_caps, read_transaction
from node.errors import Misconfigured
from node.job.deal import ServiceType
from node.types import Wei
from tests.fakes.jobs import PROVIDER, REQUESTER, TOKEN, make_config
from tests.fakes.signing import CALLS, MARKET, PAYOUT, STRANGER, deal, policy, transaction

ALLOWED = {
    "agree": CALLS.agree(deal()),
    "result": CALLS.add_result("j1-x", "", "bafy", 1),
    "failure": CALLS.add_result("j1-x", "", "bafy", 0),
    "accept": CALLS.accept_result("j1-x"),
    "check": CALLS.check_result("j1-x"),
    "timeout_agree": CALLS.timeout_agree("j1-x"),
    "timeout_submit": CALLS.timeout_submit_result("j1-x"),
    "timeout_judge": CALLS.timeout_judge_result("j1-x"),
    "timeout_mediate": CALLS.timeout_mediate_result("j1-x"),
    "run_job": CALLS.run_job("sdv-pipeline:v1.1-lilypad2", ["Prompt=a fox"], PROVIDER),
    "approve": CALLS.approve(MARKET.payments, Wei(100 * TOKEN)),
    "take_permission_back": CALLS.approve(MARKET.payments, Wei(0)),
    "credit": CALLS.withdraw(PROVIDER),
    "update_user": CALLS.update_user("", "http://x", (ServiceType.RESOURCE_PROVIDER,)),
    "list": CALLS.add_user_to_list(ServiceType.RESOURCE_PROVIDER),
    "unlist": CALLS.remove_user_from_list(ServiceType.RESOURCE_PROVIDER),
    "tokens_out": CALLS.transfer(PAYOUT, Wei(5000 * TOKEN)),
    "nonce_filler": Call(PROVIDER, b"", "fill"),
    "gas_out": Call(PAYOUT, b"", "transfer", Wei(3 * TOKEN)),
}


def refusal(tx, rules=None) -> Breach:
    with pytest.raises(Breach) as caught:
        read_transaction(rules or policy(), tx)
    return caught.value


@pytest.mark.parametrize("call", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_the_node_has_a_use_for_is_allowed(call):
    wanted = read_transaction(policy(), transaction(call))
    check_caps(policy(), wanted, Spent())


@pytest.mark.parametrize(
    "call", [CALLS.mediation_accept_result("j1-x"), CALLS.mediation_reject_result("j1-x")]
)
def test_rulings_are_signed_by_a_mediator_alone_and_at_the_mediation_contract_alone(call):
    judge = replace(policy(), mediates=True)
    assert not read_transaction(judge, transaction(call)).begins
    assert refusal(transaction(call)).rule == "contract"
    wrong = Call(MARKET.controller, call.data, call.what)
    assert refusal(transaction(wrong), judge).rule == "selector"
    other = Call(MARKET.mediation, ALLOWED["accept"].data, "accept")
    assert refusal(transaction(other), judge).rule == "selector"


FORBIDDEN = {
    "another contract": ("contract", Call(STRANGER, ALLOWED["agree"].data, "agree")),
    "the storage": ("contract", Call(MARKET.storage, ALLOWED["agree"].data, "agree")),
    "the mediation": ("contract", CALLS.mediation_accept_result("j1-x")),
    "payEscrow": ("selector", Call(MARKET.token, bytes.fromhex("5407e93c") + bytes(32), "payEscrow")),
    "transferFrom": ("selector", Call(MARKET.token, bytes.fromhex("23b872dd") + bytes(96), "transferFrom")),
    "submitResults": ("selector", Call(MARKET.job_manager, bytes.fromhex("6c0f1f58") + bytes(96), "submit")),
    "agree at the token": ("selector", Call(MARKET.token, ALLOWED["agree"].data, "agree")),
    "half a selector": ("selector", Call(MARKET.token, b"\x09\x5e", "approve")),
    "another spender": ("spender", CALLS.approve(STRANGER, Wei(1))),
    "the job manager as spender": ("spender", CALLS.approve(MARKET.job_manager, Wei(1))),
    "a larger allowance": ("max_per_hour", CALLS.approve(MARKET.payments, Wei(100 * TOKEN + 1))),
    "tokens to a stranger": ("payout", CALLS.transfer(STRANGER, Wei(1))),
    "gas to a stranger": ("payout", Call(STRANGER, b"", "transfer", Wei(1))),
    "a transfer of nothing": ("payout", Call(PAYOUT, b"", "transfer", Wei(0))),
    "a call with value": ("value", Call(MARKET.controller, ALLOWED["agree"].data, "agree", Wei(1))),
    "a payout with data": ("value", Call(PAYOUT, b"\x01", "transfer", Wei(1))),
    "a job for another payer": ("payee", CALLS.run_job("m", [], REQUESTER)),
    "credit of another": ("payee", CALLS.withdraw(REQUESTER)),
    "a deal of others": ("parties", CALLS.agree(deal(provider=STRANGER))),
    "a deal with itself": ("parties", CALLS.agree(deal(creator=PROVIDER))),
    "a result of two": ("count", CALLS.add_result("j1-x", "", "bafy", 2)),
    "cut arguments": ("arguments", Call(MARKET.token, ALLOWED["approve"].data[:-1], "approve")),
    "arguments and more": ("arguments", Call(MARKET.token, ALLOWED["approve"].data + bytes(32), "approve")),
    "text that is none": (
        "arguments",
        Call(MARKET.controller, ALLOWED["accept"].data.replace(b"j1-x", b"\xff\xfe\xfd\xfc"), "acceptResult"),
    ),
}


@pytest.mark.parametrize(("rule", "call"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_everything_else_is_refused_by_the_rule_that_forbids_it(rule, call):
    assert refusal(transaction(call)).rule == rule


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("chain", {"chainId": 1}),
        ("transaction", {"type": 1}),
        ("transaction", {"accessList": [{"address": STRANGER, "storageKeys": []}]}),
        ("transaction", {"blobVersionedHashes": [bytes(32)]}),
        ("gas", {"gas": 30_000_001}),
        ("gas", {"gas": 0}),
        ("fee", {"maxFeePerGas": 50 * 10**9 + 1}),
        ("fee", {"maxPriorityFeePerGas": 3 * 10**9}),
        ("fee", {"maxPriorityFeePerGas": -1}),
    ],
)
def test_a_transaction_of_another_make_is_refused(rule, changes):
    assert refusal(transaction(ALLOWED["agree"]) | changes).rule == rule


def test_without_a_payout_address_nothing_leaves_the_wallet():
    for call in (ALLOWED["tokens_out"], ALLOWED["gas_out"]):
        assert refusal(transaction(call), policy(payout=None)).rule == "payout"


@pytest.mark.parametrize("address", [MARKET.token, MARKET.payments, PROVIDER])
def test_a_payout_address_at_which_money_would_be_lost_is_a_wrong_setting(address):
    with pytest.raises(Misconfigured, match="payout_address"):
        policy(payout=address)


def test_a_provider_commits_both_collaterals_and_a_requester_payment_collateral_and_fee():
    terms = deal(price=3 * TOKEN, multiple=2, collateral=TOKEN, fee=5 * TOKEN)
    as_provider = read_transaction(policy(PROVIDER), transaction(CALLS.agree(terms)))
    as_requester = read_transaction(policy(REQUESTER), transaction(CALLS.agree(terms)))
    assert (as_provider.counterparty, as_provider.tokens_wei) == (REQUESTER, 7 * TOKEN)
    assert (as_requester.counterparty, as_requester.tokens_wei) == (PROVIDER, 9 * TOKEN)


@pytest.mark.parametrize(
    ("rule", "terms", "spent", "named"),
    [
        ("max_per_deal", deal(price=25 * TOKEN), Spent(), ("26", "25")),
        ("max_per_hour", deal(), Spent(hour_wei=Wei(99 * TOKEN)), ("2", "99", "100")),
        (
            "max_per_counterparty",
            deal(),
            Spent(counterparty_wei=Wei(29 * TOKEN)),
            ("2", "29", "30", REQUESTER),
        ),
        ("max_gas_per_hour", deal(), Spent(hour_gas_wei=Wei(TOKEN)), ("0.0018", "1")),
        ("max_per_deal", deal(price=2**255, multiple=2**255), Spent(), ("25",)),
    ],
)
def test_a_refusal_by_a_cap_names_rule_amount_and_cap(rule, terms, spent, named):
    wanted = read_transaction(policy(), transaction(CALLS.agree(terms)))
    with pytest.raises(Breach) as caught:
        check_caps(policy(), wanted, spent)
    assert caught.value.rule == rule
    assert rule in str(caught.value)
    assert all(word in str(caught.value) for word in named)


def test_exactly_the_cap_is_allowed():
    wanted = read_transaction(policy(), transaction(CALLS.agree(deal())))
    check_caps(policy(), wanted, Spent(Wei(98 * TOKEN), Wei(0), Wei(28 * TOKEN)))


def test_what_ends_a_deal_may_use_the_gas_cap_once_more():
    spent = Spent(hour_gas_wei=Wei(TOKEN))
    ending = read_transaction(policy(), transaction(ALLOWED["timeout_judge"]))
    check_caps(policy(), ending, spent)
    with pytest.raises(Breach, match="the cap is 2"):
        check_caps(policy(), ending, Spent(hour_gas_wei=Wei(2 * TOKEN)))


def test_the_shipped_caps_let_default_settings_work():
    config = make_config()
    caps = config.policy
    price = max(config.pricing.floor, config.pricing.per_job)
    collateral = config.deal.timeout_collateral
    multiple = config.deal.results_collateral_multiple
    offered = read_transaction(
        policy(), transaction(CALLS.agree(deal(price=price, multiple=multiple, collateral=collateral)))
    )
    assert offered.tokens_wei <= caps.max_per_deal
    assert config.admission.max_open_deals * offered.tokens_wei <= caps.max_per_counterparty
    assert 100 * offered.tokens_wei <= caps.max_per_hour
    dearest = deal(price=config.requester.max_price, collateral=collateral)
    taken = read_transaction(policy(REQUESTER), transaction(CALLS.agree(dearest)))
    assert taken.tokens_wei <= caps.max_per_deal
