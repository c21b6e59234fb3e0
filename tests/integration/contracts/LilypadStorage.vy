# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title LilypadStorage
@notice The terms of every deal as they were sent, how far it has come and what was delivered. It judges neither
        mediators, nor numbers, nor deadlines.
"""

import controller_ownable
import deal
import lilypad
import ownable

initializes: ownable
initializes: controller_ownable[ownable := ownable]
exports: (ownable.owner, controller_ownable.getControllerAddress, controller_ownable.setControllerAddress)


event DealStateChange:
    dealId: String[lilypad.MAX_TEXT]
    state: uint8


_deals: HashMap[bytes32, lilypad.Deal]
_agreements: HashMap[bytes32, deal.Agreement]
_results: HashMap[bytes32, lilypad.Result]


@deploy
def __init__():
    ownable.__init__()


@external
def initialize():
    ownable._initialize_once()


@external
@view
def getDeal(dealId: String[lilypad.MAX_TEXT]) -> lilypad.Deal:
    return self._deals[keccak256(dealId)]


@external
@view
def getAgreement(dealId: String[lilypad.MAX_TEXT]) -> deal.Agreement:
    return self._agreements[keccak256(dealId)]


@external
@view
def getResult(dealId: String[lilypad.MAX_TEXT]) -> lilypad.Result:
    return self._results[keccak256(dealId)]


@external
@view
def hasDeal(dealId: String[lilypad.MAX_TEXT]) -> bool:
    return len(self._deals[keccak256(dealId)].dealId) > 0


@external
@view
def isState(dealId: String[lilypad.MAX_TEXT], state: uint8) -> bool:
    return self._agreements[keccak256(dealId)].state == state


@internal
@view
def _job_cost(key: bytes32) -> uint256:
    return lilypad._times(
        self._deals[key].pricing.instructionPrice, self._results[key].instructionCount
    )


@external
@view
def getJobCost(dealId: String[lilypad.MAX_TEXT]) -> uint256:
    return self._job_cost(keccak256(dealId))


@external
@view
def getResultsCollateral(dealId: String[lilypad.MAX_TEXT]) -> uint256:
    key: bytes32 = keccak256(dealId)
    return lilypad._times(
        self._deals[key].pricing.resultsCollateralMultiple, self._job_cost(key)
    )


# Writing


@internal
@pure
def _check_terms(members: lilypad.DealMembers, timeouts: deal.DealTimeouts):
    assert members.resourceProvider != empty(address), "RP missing"
    assert members.jobCreator != empty(address), "JC missing"
    assert members.solver != empty(address), "Solver missing"
    assert len(members.mediators) > 0, "Mediators <= 0"
    assert members.resourceProvider != members.jobCreator, "RP / JC same"
    assert timeouts.agree.collateral == 0, "Agree deposit must be 0"
    assert timeouts.mediateResults.collateral == 0, "Mediate deposit must be 0"


@internal
@view
def _check_same_members(key: bytes32, members: lilypad.DealMembers):
    assert self._deals[key].members.resourceProvider == members.resourceProvider, "RP"
    assert self._deals[key].members.jobCreator == members.jobCreator, "JC"
    assert self._deals[key].members.solver == members.solver, "Solver"
    assert len(self._deals[key].members.mediators) == len(members.mediators), "Mediators"
    position: uint256 = 0
    for mediator: address in members.mediators:
        assert self._deals[key].members.mediators[position] == mediator, "Mediator"
        position += 1


@internal
@pure
def _check_same_timeout(stored: deal.DealTimeout, sent: deal.DealTimeout):
    assert stored.timeout == sent.timeout, "Timeout"
    assert stored.collateral == sent.collateral, "Collateral"


@internal
@view
def _check_same_numbers(key: bytes32, timeouts: deal.DealTimeouts, pricing: deal.DealPricing):
    stored: deal.DealTimeouts = self._deals[key].timeouts
    self._check_same_timeout(stored.agree, timeouts.agree)
    self._check_same_timeout(stored.submitResults, timeouts.submitResults)
    self._check_same_timeout(stored.judgeResults, timeouts.judgeResults)
    self._check_same_timeout(stored.mediateResults, timeouts.mediateResults)
    prices: deal.DealPricing = self._deals[key].pricing
    assert prices.instructionPrice == pricing.instructionPrice, "Price"
    assert prices.paymentCollateral == pricing.paymentCollateral, "Payment"
    assert prices.resultsCollateralMultiple == pricing.resultsCollateralMultiple, "Results"
    assert prices.mediationFee == pricing.mediationFee, "Mediation"


@internal
def _change_state(dealId: String[lilypad.MAX_TEXT], key: bytes32, state: uint8):
    self._agreements[key].state = state
    log DealStateChange(dealId=dealId, state=state)


@external
def agree(
    dealId: String[lilypad.MAX_TEXT],
    members: lilypad.DealMembers,
    timeouts: deal.DealTimeouts,
    pricing: deal.DealPricing,
) -> deal.Agreement:
    """
    @notice Write the terms or compare them with those written, and note that `tx.origin` agreed. However late.
    """
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    assert self._agreements[key].state == deal.NEGOTIATING, "DealNegotiating"
    self._check_terms(members, timeouts)
    if self._agreements[key].dealCreatedAt == 0:
        self._deals[key] = lilypad.Deal(
            dealId=dealId, members=members, timeouts=timeouts, pricing=pricing
        )
        self._agreements[key].dealCreatedAt = block.timestamp
    else:
        self._check_same_members(key, members)
        self._check_same_numbers(key, timeouts, pricing)
    is_provider: bool = tx.origin == members.resourceProvider
    assert is_provider or tx.origin == members.jobCreator, "Only RP / JC"
    assert len(dealId) > 0, "Deal does not exist"
    if is_provider:
        assert self._agreements[key].resourceProviderAgreedAt == 0, "RP has already agreed"
        self._agreements[key].resourceProviderAgreedAt = block.timestamp
    else:
        assert self._agreements[key].jobCreatorAgreedAt == 0, "JC has already agreed"
        self._agreements[key].jobCreatorAgreedAt = block.timestamp
    agreement: deal.Agreement = self._agreements[key]
    if agreement.resourceProviderAgreedAt != 0 and agreement.jobCreatorAgreedAt != 0:
        self._agreements[key].dealAgreedAt = block.timestamp
        self._change_state(dealId, key, deal.AGREED)
    return self._agreements[key]


@external
def addResult(
    dealId: String[lilypad.MAX_TEXT],
    resultsId: String[lilypad.MAX_TEXT],
    dataId: String[lilypad.MAX_TEXT],
    instructionCount: uint256,
):
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    self._results[key] = lilypad.Result(
        dealId=dealId, resultsId=resultsId, dataId=dataId, instructionCount=instructionCount
    )
    self._agreements[key].resultsSubmittedAt = block.timestamp
    self._change_state(dealId, key, deal.RESULTS_SUBMITTED)


@external
def reach(dealId: String[lilypad.MAX_TEXT], state: uint8):
    """
    @notice Note that the deal was checked, or that it ended.
    """
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    if state == deal.RESULTS_ACCEPTED:
        self._agreements[key].resultsAcceptedAt = block.timestamp
    elif state == deal.RESULTS_CHECKED:
        self._agreements[key].resultsCheckedAt = block.timestamp
    elif state == deal.MEDIATION_ACCEPTED:
        self._agreements[key].mediationAcceptedAt = block.timestamp
    elif state == deal.MEDIATION_REJECTED:
        self._agreements[key].mediationRejectedAt = block.timestamp
    elif state == deal.TIMEOUT_AGREE:
        self._agreements[key].timeoutAgreeAt = block.timestamp
    elif state == deal.TIMEOUT_MEDIATE_RESULTS:
        self._agreements[key].timeoutMediateResultsAt = block.timestamp
    self._change_state(dealId, key, state)
