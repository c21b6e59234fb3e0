# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Controller
@notice The one entry point of a deal: who may call, from which state, within which time, and who is owed what.
        Keeps no state of its own beyond the addresses of the other contracts, which are fixed once.
@dev A party is whoever calls (`msg.sender`). Up to its deadline a step is allowed, and only after it is the
     timeout of that step allowed, so at any moment exactly one of the two can happen. Each timeout may be called
     by either party, because the money does not depend on who calls.
"""

import MediationRandom
import Payments
import Storage
import deal
import ownable

initializes: ownable
exports: (ownable.owner, ownable.transferOwnership, ownable.renounceOwnership)


_storage: address
_users: address
_payments: address
_mediation: address
_job_creator: address
_pow: address


@deploy
def __init__():
    ownable.__init__()


@external
def initialize(
    _storageAddress: address,
    _usersAddress: address,
    _paymentsAddress: address,
    _mediationAddress: address,
    _jobCreatorAddress: address,
    _powAddress: address,
):
    ownable._initialize_once()
    assert _storageAddress != empty(address), "Storage address must be defined"
    assert _usersAddress != empty(address), "Users address must be defined"
    assert _paymentsAddress != empty(address), "Payments address must be defined"
    assert _mediationAddress != empty(address), "Mediation address must be defined"
    assert _jobCreatorAddress != empty(address), "Job creator address must be defined"
    assert _powAddress != empty(address), "Pow address must be defined"
    self._storage = _storageAddress
    self._users = _usersAddress
    self._payments = _paymentsAddress
    self._mediation = _mediationAddress
    self._job_creator = _jobCreatorAddress
    self._pow = _powAddress


@external
@view
def getStorageAddress() -> address:
    return self._storage


@external
@view
def getUsersAddress() -> address:
    return self._users


@external
@view
def getPaymentsAddress() -> address:
    return self._payments


@external
@view
def getMediationAddress() -> address:
    return self._mediation


@external
@view
def getJobCreatorAddress() -> address:
    return self._job_creator


@external
@view
def getPowAddress() -> address:
    return self._pow


@internal
@pure
def _pay(cost: uint256, payment_collateral: uint256) -> (uint256, uint256):
    """
    @notice What the provider is paid and what goes back to the job creator, together the payment collateral.
    """
    pay: uint256 = min(cost, payment_collateral)
    return pay, payment_collateral - pay


@internal
@view
def _check_party(members: deal.DealMembers, otherwise: String[16]):
    assert msg.sender == members.jobCreator or msg.sender == members.resourceProvider, otherwise


@internal
@view
def _check_timed_out(since: uint256, limit: deal.DealTimeout):
    assert block.timestamp > since + limit.timeout, "Not timed out"


@internal
@view
def _check_in_time(since: uint256, limit: deal.DealTimeout):
    assert block.timestamp <= since + limit.timeout, "Timed out"


@external
@nonreentrant
def agree(
    dealId: String[64],
    members: deal.DealMembers,
    timeouts: deal.DealTimeouts,
    pricing: deal.DealPricing,
) -> deal.Agreement:
    agreement: deal.Agreement = extcall Storage.__at__(self._storage).agree(
        dealId, members, timeouts, pricing, msg.sender
    )
    payments: Payments.__interface__ = Payments.__at__(self._payments)
    if msg.sender == members.resourceProvider:
        extcall payments.agreeResourceProvider(dealId, msg.sender, timeouts.submitResults.collateral)
    else:
        extcall payments.agreeJobCreator(
            dealId, msg.sender, pricing.paymentCollateral, timeouts.judgeResults.collateral
        )
    return agreement


@external
@nonreentrant
def addResult(
    dealId: String[64], resultsId: String[128], dataId: String[128], instructionCount: uint256
):
    store: Storage.__interface__ = Storage.__at__(self._storage)
    agreement: deal.Agreement = staticcall store.getAgreement(dealId)
    assert agreement.state == deal.AGREED, "DealAgreed"
    terms: deal.Deal = staticcall store.getDeal(dealId)
    assert msg.sender == terms.members.resourceProvider, "Only RP"
    self._check_in_time(agreement.dealAgreedAt, terms.timeouts.submitResults)
    extcall store.addResult(dealId, resultsId, dataId, instructionCount)
    extcall Payments.__at__(self._payments).addResult(
        dealId,
        msg.sender,
        staticcall store.getResultsCollateral(dealId),
        terms.timeouts.submitResults.collateral,
    )


@external
@nonreentrant
def acceptResult(dealId: String[64]):
    store: Storage.__interface__ = Storage.__at__(self._storage)
    assert staticcall store.isState(dealId, deal.RESULTS_SUBMITTED), "ResultsSubmitted"
    terms: deal.Deal = staticcall store.getDeal(dealId)
    assert msg.sender == terms.members.jobCreator, "Only JC"
    extcall store.end(dealId, deal.RESULTS_ACCEPTED)
    pay: uint256 = 0
    back: uint256 = 0
    pay, back = self._pay(staticcall store.getJobCost(dealId), terms.pricing.paymentCollateral)
    extcall Payments.__at__(self._payments).acceptResult(
        dealId,
        terms.members.resourceProvider,
        msg.sender,
        pay,
        back,
        staticcall store.getResultsCollateral(dealId),
        terms.timeouts.judgeResults.collateral,
    )


@external
@nonreentrant
def checkResult(dealId: String[64]):
    store: Storage.__interface__ = Storage.__at__(self._storage)
    agreement: deal.Agreement = staticcall store.getAgreement(dealId)
    assert agreement.state == deal.RESULTS_SUBMITTED, "ResultsSubmitted"
    terms: deal.Deal = staticcall store.getDeal(dealId)
    assert msg.sender == terms.members.jobCreator, "Only JC"
    self._check_in_time(agreement.resultsSubmittedAt, terms.timeouts.judgeResults)
    extcall store.checkResult(dealId)
    extcall Payments.__at__(self._payments).checkResult(
        dealId, msg.sender, terms.timeouts.judgeResults.collateral, terms.pricing.mediationFee
    )
    assert extcall MediationRandom.__at__(self._mediation).mediationRequest(
        dealId, terms.members.mediators
    )


@external
@nonreentrant
def mediationAcceptResult(dealId: String[64]):
    assert msg.sender == self._mediation, "Only mediation"
    store: Storage.__interface__ = Storage.__at__(self._storage)
    assert staticcall store.isState(dealId, deal.RESULTS_CHECKED), "ResultsChecked"
    terms: deal.Deal = staticcall store.getDeal(dealId)
    extcall store.end(dealId, deal.MEDIATION_ACCEPTED)
    pay: uint256 = 0
    back: uint256 = 0
    pay, back = self._pay(staticcall store.getJobCost(dealId), terms.pricing.paymentCollateral)
    extcall Payments.__at__(self._payments).mediationAcceptResult(
        dealId,
        terms.members.resourceProvider,
        terms.members.jobCreator,
        staticcall MediationRandom.__at__(msg.sender).getMediator(dealId),
        pay,
        back,
        staticcall store.getResultsCollateral(dealId),
        terms.pricing.mediationFee,
    )


@external
@nonreentrant
def mediationRejectResult(dealId: String[64]):
    assert msg.sender == self._mediation, "Only mediation"
    store: Storage.__interface__ = Storage.__at__(self._storage)
    assert staticcall store.isState(dealId, deal.RESULTS_CHECKED), "ResultsChecked"
    terms: deal.Deal = staticcall store.getDeal(dealId)
    extcall store.end(dealId, deal.MEDIATION_REJECTED)
    extcall Payments.__at__(self._payments).mediationRejectResult(
        dealId,
        terms.members.resourceProvider,
        terms.members.jobCreator,
        staticcall MediationRandom.__at__(msg.sender).getMediator(dealId),
        terms.pricing.paymentCollateral,
        staticcall store.getResultsCollateral(dealId),
        terms.pricing.mediationFee,
    )


@external
@nonreentrant
def timeoutAgree(dealId: String[64]):
    """
    @notice Give whoever agreed everything it locked, because the other side did not agree in time.
    """
    store: Storage.__interface__ = Storage.__at__(self._storage)
    terms: deal.Deal = staticcall store.getDeal(dealId)
    self._check_party(terms.members, "Only JC or RP")
    agreement: deal.Agreement = staticcall store.getAgreement(dealId)
    assert agreement.state == deal.NEGOTIATING, "Not correct state"
    self._check_timed_out(agreement.dealCreatedAt, terms.timeouts.agree)
    extcall store.end(dealId, deal.TIMEOUT_AGREE)
    payments: Payments.__interface__ = Payments.__at__(self._payments)
    if agreement.resourceProviderAgreedAt != 0:
        extcall payments.timeoutAgreeResourceProvider(
            dealId, terms.members.resourceProvider, terms.timeouts.submitResults.collateral
        )
    else:
        extcall payments.timeoutAgreeJobCreator(
            dealId,
            terms.members.jobCreator,
            terms.pricing.paymentCollateral,
            terms.timeouts.judgeResults.collateral,
        )


@external
@nonreentrant
def timeoutSubmitResult(dealId: String[64]):
    """
    @notice The provider stayed silent: the job creator gets its own money back and the provider's collateral.
    """
    store: Storage.__interface__ = Storage.__at__(self._storage)
    terms: deal.Deal = staticcall store.getDeal(dealId)
    self._check_party(terms.members, "Only JC or RP")
    agreement: deal.Agreement = staticcall store.getAgreement(dealId)
    assert agreement.state == deal.AGREED, "Not correct state"
    self._check_timed_out(agreement.dealAgreedAt, terms.timeouts.submitResults)
    extcall store.end(dealId, deal.TIMEOUT_SUBMIT_RESULTS)
    extcall Payments.__at__(self._payments).timeoutSubmitResult(
        dealId,
        terms.members.resourceProvider,
        terms.members.jobCreator,
        terms.pricing.paymentCollateral,
        terms.timeouts.judgeResults.collateral,
        terms.timeouts.submitResults.collateral,
    )


@external
@nonreentrant
def timeoutJudgeResult(dealId: String[64]):
    """
    @notice The job creator stayed silent: the provider is paid, and gets the job creator's timeout collateral.
    """
    store: Storage.__interface__ = Storage.__at__(self._storage)
    terms: deal.Deal = staticcall store.getDeal(dealId)
    self._check_party(terms.members, "Only JC or RP")
    agreement: deal.Agreement = staticcall store.getAgreement(dealId)
    assert agreement.state == deal.RESULTS_SUBMITTED, "Not correct state"
    self._check_timed_out(agreement.resultsSubmittedAt, terms.timeouts.judgeResults)
    extcall store.end(dealId, deal.TIMEOUT_JUDGE_RESULTS)
    pay: uint256 = 0
    back: uint256 = 0
    pay, back = self._pay(staticcall store.getJobCost(dealId), terms.pricing.paymentCollateral)
    extcall Payments.__at__(self._payments).timeoutJudgeResult(
        dealId,
        terms.members.resourceProvider,
        terms.members.jobCreator,
        pay,
        back,
        staticcall store.getResultsCollateral(dealId),
        terms.timeouts.judgeResults.collateral,
    )


@external
@nonreentrant
def timeoutMediateResult(dealId: String[64]):
    """
    @notice The mediator stayed silent: draw the next one, or let the result stand when all had their turn. The
            challenger has to prove its case, but it has not lost it, so it gets the fee back.
    """
    store: Storage.__interface__ = Storage.__at__(self._storage)
    terms: deal.Deal = staticcall store.getDeal(dealId)
    self._check_party(terms.members, "Only RP or JC")
    assert staticcall store.isState(dealId, deal.RESULTS_CHECKED), "Not correct state"
    mediation: MediationRandom.__interface__ = MediationRandom.__at__(self._mediation)
    self._check_timed_out(staticcall mediation.getDrawnAt(dealId), terms.timeouts.mediateResults)
    if extcall mediation.mediationRequest(dealId, terms.members.mediators):
        return
    extcall store.end(dealId, deal.TIMEOUT_MEDIATE_RESULTS)
    pay: uint256 = 0
    back: uint256 = 0
    pay, back = self._pay(staticcall store.getJobCost(dealId), terms.pricing.paymentCollateral)
    extcall Payments.__at__(self._payments).timeoutMediateResult(
        dealId,
        terms.members.resourceProvider,
        terms.members.jobCreator,
        pay,
        back,
        staticcall store.getResultsCollateral(dealId),
        terms.pricing.mediationFee,
    )
