"""A market, a policy and transactions as tests of the signing policy need them."""

from dataclasses import replace

from node.chain.calls import MarketAddresses, MarketCalls
from node.chain.policy import Caps, Policy
from node.job.deal import Agreement, AgreementState, Deal, DealMembers, DealPricing, DealTimeout, DealTimeouts
from node.types import Address, DealId, Wei
from tests.fakes.jobs import CONTROLLER, JOB_MANAGER, MEDIATOR, PROVIDER, REQUESTER, TOKEN

MARKET = MarketAddresses(
    controller=CONTROLLER,
    payments=Address("0x" + "f6" * 20),
    storage=Address("0x" + "f7" * 20),
    users=Address("0x" + "f8" * 20),
    mediation=Address("0x" + "f9" * 20),
    job_manager=JOB_MANAGER,
    token=Address("0x" + "fa" * 20),
)
CALLS = MarketCalls(MARKET)
PAYOUT = Address("0x" + "77" * 20)
STRANGER = Address("0x" + "99" * 20)
CHAIN_ID = 31337
GWEI = 10**9
CAPS = Caps(Wei(25 * TOKEN), Wei(100 * TOKEN), Wei(30 * TOKEN), Wei(TOKEN))


def policy(account=PROVIDER, *, payout=PAYOUT, **caps) -> Policy:
    return Policy(CHAIN_ID, account, MARKET, payout, Wei(50 * GWEI), replace(CAPS, **caps))


def deal(
    deal_id="j1-x",
    *,
    creator=REQUESTER,
    provider=PROVIDER,
    price=TOKEN,
    multiple=1,
    collateral=TOKEN,
    fee=TOKEN,
) -> Deal:
    return Deal(
        DealId(deal_id),
        DealMembers(JOB_MANAGER, creator, provider, (MEDIATOR,)),
        DealTimeouts(
            DealTimeout(600, Wei(0)),
            DealTimeout(3600, Wei(collateral)),
            DealTimeout(86_400, Wei(collateral)),
            DealTimeout(86_400, Wei(0)),
        ),
        DealPricing(Wei(price), Wei(price), multiple, Wei(fee)),
    )


def transaction(call, *, nonce=0, gas=900_000, max_fee=2 * GWEI, **changes):
    """Return a call as the transaction manager hands it to a signer."""
    fields = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "to": bytes.fromhex(call.to[2:]),
        "data": call.data,
        "value": call.value_wei,
        "gas": gas,
        "maxFeePerGas": max_fee,
        "maxPriorityFeePerGas": 1,
        "accessList": [],
    }
    return fields | changes


class RecordingSigner:
    """Signs everything it is given, so that a test sees what reached the key."""

    def __init__(self, address=PROVIDER):
        self.address = address
        self.signed = []

    async def sign(self, tx):
        self.signed.append(tx)
        return b"signed"


class StoredDeals:
    """What the market says of deals: terms, and which are over."""

    def __init__(self):
        self.terms = {}
        self.states = {}

    async def get_deal(self, deal_id, at=None):
        return self.terms.get(deal_id)

    async def get_agreement(self, deal_id, at=None):
        return Agreement(self.states.get(deal_id, AgreementState.DEAL_AGREED))
