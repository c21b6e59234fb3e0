# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Storage
@notice The terms of every deal, how far it has come and what was delivered. Owns no money and decides nothing
        about who may act when: that is the Controller's part, and only the Controller may write here.
"""

import controller_ownable
import deal
import ownable
import terms

initializes: ownable
initializes: controller_ownable[ownable := ownable]
initializes: terms
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
    return terms._price(key) * count


@external
@view
def getDeal(dealId: String[64]) -> deal.Deal:
    return terms._deal(keccak256(dealId), dealId)


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
    return terms._exists(keccak256(dealId))


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
    return self._job_cost(key) * terms._multiple(key)


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
def _list(party: address, dealId: String[64]):
    count: uint256 = self._party_deal_count[party]
    self._party_deals[party][count] = dealId
    self._party_deal_count[party] = unsafe_add(count, 1)


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
    terms._check_members(members)
    terms._check_numbers(timeouts, pricing)
    if progress == 0:
        assert len(dealId) > 0, "Deal does not exist"
        terms._write(key, members, timeouts, pricing)
        self._list(members.jobCreator, dealId)
        self._list(members.resourceProvider, dealId)
    else:
        terms._check_same(key, members, timeouts, pricing)

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
