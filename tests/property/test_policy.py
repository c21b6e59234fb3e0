"""No call outside the allow-list is ever signed, whatever is asked; the list is written down here again."""

import asyncio
from collections import Counter

from eth_abi.abi import decode
from eth_utils.crypto import keccak
from hypothesis import event, given, settings
from hypothesis import strategies as st

from node.chain.client import Call
from node.chain.policy import Breach
from node.chain.policy_signer import PolicySigner
from node.job.deal import ServiceType
from node.types import Wei
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import PROVIDER, REQUESTER, TOKEN
from tests.fakes.signing import (
    CALLS,
    CAPS,
    CHAIN_ID,
    MARKET,
    PAYOUT,
    STRANGER,
    RecordingSigner,
    StoredDeals,
    deal,
    policy,
    transaction,
)

AGREE = (
    "agree(string,(address,address,address,address[]),((uint256,uint256),(uint256,uint256),"
    "(uint256,uint256),(uint256,uint256)),(uint256,uint256,uint256,uint256))"
)
ALLOWED = {
    MARKET.controller: (
        AGREE,
        "addResult(string,string,string,uint256)",
        "acceptResult(string)",
        "checkResult(string)",
        "timeoutAgree(string)",
        "timeoutSubmitResult(string)",
        "timeoutJudgeResult(string)",
        "timeoutMediateResult(string)",
    ),
    MARKET.job_manager: ("runJob(string,string[],address)",),
    MARKET.users: (
        "updateUser(string,string,uint8[])",
        "addUserToList(uint8)",
        "removeUserFromList(uint8)",
    ),
    MARKET.payments: ("withdraw(address)",),
    MARKET.token: ("approve(address,uint256)", "transfer(address,uint256)"),
}
PAIRS = {
    (contract, keccak(text=signature)[:4]): signature
    for contract, signatures in ALLOWED.items()
    for signature in signatures
}

addresses = st.one_of(
    st.sampled_from([PROVIDER, REQUESTER, PAYOUT, MARKET.payments]),
    st.sampled_from([STRANGER, *(getattr(MARKET, name) for name in MARKET.__slots__)]),
    st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
)
amounts = st.one_of(
    st.integers(0, 12).map(lambda whole: whole * TOKEN),
    st.sampled_from([25 * TOKEN, 25 * TOKEN + 1, 100 * TOKEN, 100 * TOKEN + 1, 2**255, 2**256 - 1]),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
services = st.sampled_from(list(ServiceType))
parties = st.sampled_from([(REQUESTER, PROVIDER)] * 3 + [(PROVIDER, REQUESTER), (STRANGER, PROVIDER)])
agreements = st.builds(
    lambda name, both, price, multiple, collateral: CALLS.agree(
        deal(name, creator=both[0], provider=both[1], price=price, multiple=multiple, collateral=collateral)
    ),
    texts,
    st.one_of(parties, st.tuples(addresses, addresses)),
    amounts,
    st.integers(0, 2),
    amounts,
)
calls = st.one_of(
    agreements,
    agreements,
    st.builds(lambda to, amount: Call(to, b"", "transfer", Wei(amount)), addresses, amounts),
    st.builds(CALLS.add_result, texts, texts, texts, st.integers(0, 3)),
    st.builds(lambda of, name: of(name), st.sampled_from([
        CALLS.accept_result, CALLS.check_result, CALLS.timeout_agree, CALLS.timeout_submit_result,
        CALLS.timeout_judge_result, CALLS.timeout_mediate_result, CALLS.mediation_accept_result,
    ]), texts),
    st.builds(CALLS.approve, addresses, amounts),
    st.builds(CALLS.transfer, addresses, amounts),
    st.builds(CALLS.withdraw, addresses),
    st.builds(CALLS.run_job, texts, st.lists(texts, max_size=3), addresses),
    st.builds(CALLS.update_user, texts, texts, st.lists(services, max_size=3)),
    st.builds(CALLS.add_user_to_list, services),
)  # fmt: skip


@st.composite
def transactions(draw):
    """A call of ours, then perhaps sent elsewhere, cut, changed, or carrying value."""
    call = draw(calls)
    data, to = call.data, call.to
    change = draw(st.sampled_from(["none"] * 8 + ["elsewhere", "selector", "flip", "cut", "grow", "noise"]))
    if change == "elsewhere":
        to = draw(addresses)
    elif change == "selector":
        data = draw(st.one_of(st.sampled_from([pair[1] for pair in PAIRS]), st.binary(max_size=4))) + data[4:]
    elif change == "flip" and data:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
    elif change == "cut":
        data = data[: draw(st.integers(0, len(data)))]
    elif change == "grow":
        data += draw(st.binary(min_size=1, max_size=64))
    elif change == "noise":
        data = draw(st.binary(max_size=200))
    tx = transaction(call, nonce=draw(st.integers(0, 3)))
    tx |= {"to": bytes.fromhex(to[2:]), "data": data}
    tx["value"] = draw(st.sampled_from([call.value_wei] * 8 + [0, 1, TOKEN]))
    tx["chainId"] = draw(st.sampled_from([CHAIN_ID] * 20 + [1]))
    return tx


class Forgetful:
    """A memory of the spending that is kept in this process."""

    def __init__(self):
        self.entries = {}

    async def latest(self):
        return 0.0

    async def deal(self, account, deal_id):
        found = (entry for entry in self.entries.values() if entry.deal_id == deal_id and entry.counterparty)
        return next(found, None)

    async def signed_for(self, account, since, counterparty):
        return list(self.entries.values())

    async def remember(self, account, data, entry):
        self.entries[entry.nonce] = entry

    async def over(self, account, deal_ids):
        assert not deal_ids


def check_allowed(tx):
    """Fail unless the transaction is one of the list, with the arguments it may have."""
    to, data = "0x" + tx["to"].hex(), tx["data"]
    assert tx["chainId"] == CHAIN_ID
    if not data:
        if tx["value"] == 0:
            assert to == PROVIDER
            return "the filling of an unused nonce"
        assert to == PAYOUT
        return "a payout of gas money"
    assert tx["value"] == 0
    signature = PAIRS[to, data[:4]]
    name = signature.partition("(")[0]
    match name:
        case "approve":
            spender, amount = decode(["address", "uint256"], data[4:])
            assert spender == MARKET.payments
            assert amount <= CAPS.per_hour_wei
        case "transfer":
            assert decode(["address", "uint256"], data[4:])[0] == PAYOUT
        case "withdraw":
            assert decode(["address"], data[4:])[0] == PROVIDER
        case "runJob":
            assert decode(["string", "string[]", "address"], data[4:])[2] == PROVIDER
        case "addResult":
            assert decode(["string", "string", "string", "uint256"], data[4:])[3] <= 1
    return name


def locked_by(tx):
    """Return (deal, counterparty, tokens) of an agree, read in another way than the policy reads it."""
    words = [int.from_bytes(tx["data"][4 + at : 36 + at]) for at in range(0, len(tx["data"]) - 4, 32)]
    name_at, members_at = words[0] // 32, words[1] // 32
    name = tx["data"][4 + 32 * (name_at + 1) :][: words[name_at]]
    creator, provider = (f"0x{words[members_at + index]:040x}" for index in (1, 2))
    timeouts, prices = words[2:10], words[10:14]
    if provider == PROVIDER:
        return name, creator, timeouts[3] + prices[2] * prices[0]
    return name, provider, prices[1] + timeouts[5] + prices[3]


@settings(max_examples=400, deadline=None)
@given(st.lists(transactions(), min_size=1, max_size=12))
def test_only_what_is_on_the_list_is_ever_signed_and_never_beyond_the_caps(asked):
    key = RecordingSigner()
    signer = PolicySigner(key, policy(), memory=Forgetful(), deals=StoredDeals(), clock=FakeClock())

    async def ask():
        for tx in asked:
            try:
                await signer.sign(tx)
            except Breach as breach:
                event(f"refused: {breach.rule}")

    asyncio.run(ask())
    by_nonce, by_party = {}, Counter()
    for tx in key.signed:
        event(f"signed: {check_allowed(tx)}")
        if (tx["data"][:4], "0x" + tx["to"].hex()) == (CALLS.agree(deal()).data[:4], MARKET.controller):
            by_nonce[tx["nonce"]] = locked_by(tx)
        else:
            by_nonce.pop(tx["nonce"], None)
    by_deal = {name: (party, amount) for name, party, amount in by_nonce.values()}
    assert all(amount <= CAPS.per_deal_wei for _, amount in by_deal.values())
    assert sum(amount for _, amount in by_deal.values()) <= CAPS.per_hour_wei
    for party, amount in by_deal.values():
        by_party[party] += amount
    assert all(amount <= CAPS.per_counterparty_wei for amount in by_party.values())
