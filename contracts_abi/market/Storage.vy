# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Storage
@notice The terms of every deal, how far it has come and what was delivered. Owns no money and decides nothing
        about who may act when: that is the Controller's part, and only the Controller may write here.
@dev Terms are packed, because writing them is most of what a deal costs.
"""

import controller_ownable
import deal
import ownable

initializes: ownable
initializes: controller_ownable[ownable := ownable]
exports: (
    ownable.owner,
    ownable.transferOwnership,
    ownable.renounceOwnership,
    controller_ownable.getControllerAddress,
    controller_ownable.setControllerAddress,
)


event DealStateChange:
    dealId: String[64]
    state: uint8


# Amounts are 128 bits, seconds 64 bits, the high half first. The collaterals of agree and mediateResults have
# no place because they are always 0.
struct Terms:
    solver: address
    jobCreator: address
    resourceProvider: address
    mediators: DynArray[address, deal.MAX_MEDIATORS]
    timeouts: uint256
    submit_and_judge_collateral: uint256
    price_and_payment_collateral: uint256
    multiple_and_fee: uint256


struct Delivery:
    instruction_count: uint256
    data_id: String[128]
    results_id: String[128]


LISTED_DEALS: constant(uint256) = 128

# A deal's progress is one word: the state in the low byte, then five times of 48 bits each. When a deal was
# created and agreed are the earlier and the later of the two agreements, and its last time belongs to
# whatever final state it reached.
RP_AGREED: constant(uint256) = 8
JC_AGREED: constant(uint256) = 56
SUBMITTED: constant(uint256) = 104
CHECKED: constant(uint256) = 152
ENDED: constant(uint256) = 200

_terms: HashMap[bytes32, Terms]
_progress: HashMap[bytes32, uint256]
_deliveries: HashMap[bytes32, Delivery]
_party_deals: HashMap[address, HashMap[uint256, String[64]]]
_party_deal_count: HashMap[address, uint256]


@deploy
def __init__():
    ownable.__init__()


@external
def initialize():
    ownable._initialize_once()


# Reading


@internal
@pure
def _high(word: uint256) -> uint256:
    return word >> 128


@internal
@pure
def _low(word: uint256) -> uint256:
    return word & deal.MAX_AMOUNT


@internal
@pure
def _pack(high: uint256, low: uint256) -> uint256:
    return (high << 128) | low


@internal
@pure
def _pack_timeouts(timeouts: deal.DealTimeouts) -> uint256:
    return (
        (timeouts.agree.timeout << 192)
        | (timeouts.submitResults.timeout << 128)
        | (timeouts.judgeResults.timeout << 64)
        | timeouts.mediateResults.timeout
    )


@internal
@pure
def _time(progress: uint256, at: uint256) -> uint256:
    return (progress >> at) & (2**48 - 1)


@internal
@pure
def _agreement(progress: uint256) -> deal.Agreement:
    state: uint8 = convert(progress & 255, uint8)
    rp: uint256 = self._time(progress, RP_AGREED)
    jc: uint256 = self._time(progress, JC_AGREED)
    ended: uint256 = self._time(progress, ENDED)
    agreement: deal.Agreement = empty(deal.Agreement)
    agreement.state = state
    agreement.resourceProviderAgreedAt = rp
    agreement.jobCreatorAgreedAt = jc
    if rp != 0 and jc != 0:
        agreement.dealCreatedAt = min(rp, jc)
        agreement.dealAgreedAt = max(rp, jc)
    else:
        agreement.dealCreatedAt = max(rp, jc)
    agreement.resultsSubmittedAt = self._time(progress, SUBMITTED)
    agreement.resultsCheckedAt = self._time(progress, CHECKED)
    if state == deal.RESULTS_ACCEPTED:
        agreement.resultsAcceptedAt = ended
    elif state == deal.MEDIATION_ACCEPTED:
        agreement.mediationAcceptedAt = ended
    elif state == deal.MEDIATION_REJECTED:
        agreement.mediationRejectedAt = ended
    elif state == deal.TIMEOUT_AGREE:
        agreement.timeoutAgreeAt = ended
    elif state == deal.TIMEOUT_SUBMIT_RESULTS:
        agreement.timeoutSubmitResultsAt = ended
    elif state == deal.TIMEOUT_JUDGE_RESULTS:
        agreement.timeoutJudgeResultsAt = ended
    elif state == deal.TIMEOUT_MEDIATE_RESULTS:
        agreement.timeoutMediateResultsAt = ended
    return agreement


@internal
@view
def _job_cost(key: bytes32) -> uint256:
    count: uint256 = self._deliveries[key].instruction_count
    return self._high(self._terms[key].price_and_payment_collateral) * count


@external
@view
def getDeal(dealId: String[64]) -> deal.Deal:
    key: bytes32 = keccak256(dealId)
    found: deal.Deal = empty(deal.Deal)
    solver: address = self._terms[key].solver
    if solver == empty(address):
        return found
    found.dealId = dealId
    found.members = deal.DealMembers(
        solver=solver,
        jobCreator=self._terms[key].jobCreator,
        resourceProvider=self._terms[key].resourceProvider,
        mediators=self._terms[key].mediators,
    )
    seconds: uint256 = self._terms[key].timeouts
    collaterals: uint256 = self._terms[key].submit_and_judge_collateral
    found.timeouts = deal.DealTimeouts(
        agree=deal.DealTimeout(timeout=seconds >> 192, collateral=0),
        submitResults=deal.DealTimeout(
            timeout=(seconds >> 128) & deal.MAX_COUNT, collateral=self._high(collaterals)
        ),
        judgeResults=deal.DealTimeout(
            timeout=(seconds >> 64) & deal.MAX_COUNT, collateral=self._low(collaterals)
        ),
        mediateResults=deal.DealTimeout(timeout=seconds & deal.MAX_COUNT, collateral=0),
    )
    prices: uint256 = self._terms[key].price_and_payment_collateral
    checks: uint256 = self._terms[key].multiple_and_fee
    found.pricing = deal.DealPricing(
        instructionPrice=self._high(prices),
        paymentCollateral=self._low(prices),
        resultsCollateralMultiple=self._high(checks),
        mediationFee=self._low(checks),
    )
    return found


@external
@view
def getAgreement(dealId: String[64]) -> deal.Agreement:
    return self._agreement(self._progress[keccak256(dealId)])


@external
@view
def getResult(dealId: String[64]) -> deal.Result:
    key: bytes32 = keccak256(dealId)
    result: deal.Result = empty(deal.Result)
    if self._time(self._progress[key], SUBMITTED) != 0:
        result.dealId = dealId
        result.resultsId = self._deliveries[key].results_id
        result.dataId = self._deliveries[key].data_id
        result.instructionCount = self._deliveries[key].instruction_count
    return result


@external
@view
def hasDeal(dealId: String[64]) -> bool:
    return self._terms[keccak256(dealId)].solver != empty(address)


@external
@view
def isState(dealId: String[64], state: uint8) -> bool:
    return convert(self._progress[keccak256(dealId)] & 255, uint8) == state


@external
@view
def getJobCost(dealId: String[64]) -> uint256:
    return self._job_cost(keccak256(dealId))


@external
@view
def getResultsCollateral(dealId: String[64]) -> uint256:
    key: bytes32 = keccak256(dealId)
    return self._job_cost(key) * self._high(self._terms[key].multiple_and_fee)


@external
@view
def getDealsForParty(party: address) -> DynArray[String[64], LISTED_DEALS]:
    """
    @notice The newest deals that name this address, oldest first. Strangers can add to this list.
    """
    listed: DynArray[String[64], LISTED_DEALS] = []
    count: uint256 = self._party_deal_count[party]
    first: uint256 = 0
    if count > LISTED_DEALS:
        first = count - LISTED_DEALS
    for i: uint256 in range(first, count, bound=LISTED_DEALS):
        listed.append(self._party_deals[party][i])
    return listed


# Writing


@internal
@pure
def _check_members(members: deal.DealMembers):
    assert members.resourceProvider != empty(address), "RP missing"
    assert members.jobCreator != empty(address), "JC missing"
    assert members.solver != empty(address), "Solver missing"
    assert len(members.mediators) > 0, "Mediators <= 0"
    assert members.resourceProvider != members.jobCreator, "RP / JC same"
    position: uint256 = 0
    for mediator: address in members.mediators:
        assert mediator != empty(address), "Mediator missing"
        assert mediator != members.resourceProvider, "Mediator is RP"
        assert mediator != members.jobCreator, "Mediator is JC"
        for i: uint256 in range(position, bound=deal.MAX_MEDIATORS):
            assert members.mediators[i] != mediator, "Mediator twice"
        position = unsafe_add(position, 1)


@internal
@pure
def _check_numbers(timeouts: deal.DealTimeouts, pricing: deal.DealPricing):
    assert timeouts.agree.collateral == 0, "Agree deposit must be 0"
    assert timeouts.mediateResults.collateral == 0, "Mediate deposit must be 0"
    assert (
        max(
            max(timeouts.agree.timeout, timeouts.submitResults.timeout),
            max(timeouts.judgeResults.timeout, timeouts.mediateResults.timeout),
        )
        <= deal.MAX_TIMEOUT
    ), "Timeout too long"
    assert (
        max(
            max(timeouts.submitResults.collateral, timeouts.judgeResults.collateral),
            max(max(pricing.instructionPrice, pricing.paymentCollateral), pricing.mediationFee),
        )
        <= deal.MAX_AMOUNT
    ), "Amount too large"
    assert pricing.resultsCollateralMultiple <= deal.MAX_COUNT, "Multiple too large"


@internal
def _list(party: address, dealId: String[64]):
    count: uint256 = self._party_deal_count[party]
    self._party_deals[party][count] = dealId
    self._party_deal_count[party] = unsafe_add(count, 1)


@internal
def _create(
    key: bytes32,
    dealId: String[64],
    members: deal.DealMembers,
    timeouts: deal.DealTimeouts,
    pricing: deal.DealPricing,
):
    assert len(dealId) > 0, "Deal does not exist"
    self._terms[key].solver = members.solver
    self._terms[key].jobCreator = members.jobCreator
    self._terms[key].resourceProvider = members.resourceProvider
    self._terms[key].mediators = members.mediators
    self._terms[key].timeouts = self._pack_timeouts(timeouts)
    self._terms[key].submit_and_judge_collateral = self._pack(
        timeouts.submitResults.collateral, timeouts.judgeResults.collateral
    )
    self._terms[key].price_and_payment_collateral = self._pack(
        pricing.instructionPrice, pricing.paymentCollateral
    )
    self._terms[key].multiple_and_fee = self._pack(
        pricing.resultsCollateralMultiple, pricing.mediationFee
    )
    self._list(members.jobCreator, dealId)
    self._list(members.resourceProvider, dealId)


@internal
@view
def _check_same(
    key: bytes32,
    members: deal.DealMembers,
    timeouts: deal.DealTimeouts,
    pricing: deal.DealPricing,
):
    assert self._terms[key].resourceProvider == members.resourceProvider, "RP"
    assert self._terms[key].jobCreator == members.jobCreator, "JC"
    assert self._terms[key].solver == members.solver, "Solver"
    assert len(self._terms[key].mediators) == len(members.mediators), "Mediators"
    position: uint256 = 0
    for mediator: address in members.mediators:
        assert self._terms[key].mediators[position] == mediator, "Mediator"
        position = unsafe_add(position, 1)
    assert self._terms[key].timeouts == self._pack_timeouts(timeouts), "Timeout"
    assert (
        self._terms[key].submit_and_judge_collateral
        == self._pack(timeouts.submitResults.collateral, timeouts.judgeResults.collateral)
    ), "Collateral"
    prices: uint256 = self._terms[key].price_and_payment_collateral
    assert self._high(prices) == pricing.instructionPrice, "Price"
    assert self._low(prices) == pricing.paymentCollateral, "Payment"
    checks: uint256 = self._terms[key].multiple_and_fee
    assert self._high(checks) == pricing.resultsCollateralMultiple, "Results"
    assert self._low(checks) == pricing.mediationFee, "Mediation"


@external
def agree(
    dealId: String[64],
    members: deal.DealMembers,
    timeouts: deal.DealTimeouts,
    pricing: deal.DealPricing,
    party: address,
) -> deal.Agreement:
    """
    @notice Write the terms, or compare them with those written, and note that this party agreed to them.
    """
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    progress: uint256 = self._progress[key]
    assert convert(progress & 255, uint8) == deal.NEGOTIATING, "DealNegotiating"
    self._check_members(members)
    self._check_numbers(timeouts, pricing)
    if progress == 0:
        self._create(key, dealId, members, timeouts, pricing)
    else:
        self._check_same(key, members, timeouts, pricing)

    mine: uint256 = 0
    if party == members.resourceProvider:
        assert self._time(progress, RP_AGREED) == 0, "RP has already agreed"
        mine = RP_AGREED
    else:
        assert party == members.jobCreator, "Only RP / JC"
        assert self._time(progress, JC_AGREED) == 0, "JC has already agreed"
        mine = JC_AGREED
    if progress != 0:
        created: uint256 = max(self._time(progress, RP_AGREED), self._time(progress, JC_AGREED))
        assert block.timestamp <= created + timeouts.agree.timeout, "Timed out"
        progress |= convert(deal.AGREED, uint256)
        log DealStateChange(dealId=dealId, state=deal.AGREED)
    progress |= block.timestamp << mine
    self._progress[key] = progress
    return self._agreement(progress)


@internal
def _advance(dealId: String[64], key: bytes32, state: uint8, at: uint256):
    # Each of the five times is written once, from 0, and the state is the low byte.
    progress: uint256 = (self._progress[key] >> 8) << 8
    self._progress[key] = progress | convert(state, uint256) | (block.timestamp << at)
    log DealStateChange(dealId=dealId, state=state)


@external
def addResult(
    dealId: String[64], resultsId: String[128], dataId: String[128], instructionCount: uint256
):
    controller_ownable._check_controller()
    assert instructionCount <= deal.MAX_COUNT, "Instruction count too large"
    key: bytes32 = keccak256(dealId)
    self._deliveries[key].instruction_count = instructionCount
    if len(dataId) > 0:
        self._deliveries[key].data_id = dataId
    if len(resultsId) > 0:
        self._deliveries[key].results_id = resultsId
    self._advance(dealId, key, deal.RESULTS_SUBMITTED, SUBMITTED)


@external
def checkResult(dealId: String[64]):
    controller_ownable._check_controller()
    self._advance(dealId, keccak256(dealId), deal.RESULTS_CHECKED, CHECKED)


@external
def end(dealId: String[64], state: uint8):
    """
    @notice Put a deal into one of its final states.
    """
    controller_ownable._check_controller()
    self._advance(dealId, keccak256(dealId), state, ENDED)
