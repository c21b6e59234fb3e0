# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title LilypadController
@notice The one entry point of a deal. A party is whoever sent the transaction (`tx.origin`), a deadline is only
        the moment from which a timeout may be called, and collateral sits in the token's pooled escrow.
"""

import LilypadMediationRandom
import LilypadPayments
import LilypadStorage
import deal
import lilypad
import ownable

initializes: ownable
exports: ownable.owner


# What the Controller calls and the deployed Payments contract does not have.
interface MissingPayments:
    def timeoutSubmitResult(
        dealId: String[lilypad.MAX_TEXT],
        resourceProvider: address,
        jobCreator: address,
        paymentCollateral: uint256,
        timeoutCollateral: uint256,
    ): nonpayable

    def timeoutJudgeResult(
        dealId: String[lilypad.MAX_TEXT],
        resourceProvider: address,
        jobCreator: address,
        resultsCollateral: uint256,
        timeoutCollateral: uint256,
    ): nonpayable


_storage: LilypadStorage.__interface__
_payments: LilypadPayments.__interface__
_mediation: LilypadMediationRandom.__interface__
_users: address
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
    self._storage = LilypadStorage.__at__(_storageAddress)
    self._payments = LilypadPayments.__at__(_paymentsAddress)
    self._mediation = LilypadMediationRandom.__at__(_mediationAddress)
    self._users = _usersAddress
    self._job_creator = _jobCreatorAddress
    self._pow = _powAddress


@external
@view
def getStorageAddress() -> address:
    return self._storage.address


@external
@view
def getUsersAddress() -> address:
    return self._users


@external
@view
def getPaymentsAddress() -> address:
    return self._payments.address


@external
@view
def getMediationAddress() -> address:
    return self._mediation.address


@external
@view
def getJobCreatorAddress() -> address:
    return self._job_creator


@external
@view
def getPowAddress() -> address:
    return self._pow


@internal
@view
def _check_state(dealId: String[lilypad.MAX_TEXT], state: uint8, otherwise: String[32]):
    assert staticcall self._storage.isState(dealId, state), otherwise


@internal
@view
def _pay_and_rest(dealId: String[lilypad.MAX_TEXT], collateral: uint256) -> (uint256, uint256):
    pay: uint256 = min(staticcall self._storage.getJobCost(dealId), collateral)
    return pay, collateral - pay


@external
def agree(
    dealId: String[lilypad.MAX_TEXT],
    members: lilypad.DealMembers,
    timeouts: deal.DealTimeouts,
    pricing: deal.DealPricing,
) -> deal.Agreement:
    agreement: deal.Agreement = extcall self._storage.agree(dealId, members, timeouts, pricing)
    if tx.origin == members.resourceProvider:
        extcall self._payments.agreeResourceProvider(dealId, timeouts.submitResults.collateral)
    else:
        extcall self._payments.agreeJobCreator(
            dealId, pricing.paymentCollateral, timeouts.judgeResults.collateral
        )
    return agreement


@external
def addResult(
    dealId: String[lilypad.MAX_TEXT],
    resultsId: String[lilypad.MAX_TEXT],
    dataId: String[lilypad.MAX_TEXT],
    instructionCount: uint256,
):
    self._check_state(dealId, deal.AGREED, "DealAgreed")
    terms: lilypad.Deal = staticcall self._storage.getDeal(dealId)
    assert tx.origin == terms.members.resourceProvider, "Only RP"
    extcall self._storage.addResult(dealId, resultsId, dataId, instructionCount)
    extcall self._payments.addResult(
        dealId,
        tx.origin,
        staticcall self._storage.getResultsCollateral(dealId),
        terms.timeouts.submitResults.collateral,
    )


@external
def acceptResult(dealId: String[lilypad.MAX_TEXT]):
    self._check_state(dealId, deal.RESULTS_SUBMITTED, "ResultsSubmitted")
    terms: lilypad.Deal = staticcall self._storage.getDeal(dealId)
    assert tx.origin == terms.members.jobCreator, "Only JC"
    extcall self._storage.reach(dealId, deal.RESULTS_ACCEPTED)
    pay: uint256 = 0
    rest: uint256 = 0
    pay, rest = self._pay_and_rest(dealId, terms.pricing.paymentCollateral)
    extcall self._payments.acceptResult(
        dealId,
        terms.members.resourceProvider,
        terms.members.jobCreator,
        pay,
        rest,
        staticcall self._storage.getResultsCollateral(dealId),
        terms.timeouts.judgeResults.collateral,
    )


@external
def checkResult(dealId: String[lilypad.MAX_TEXT]):
    self._check_state(dealId, deal.RESULTS_SUBMITTED, "ResultsSubmitted")
    terms: lilypad.Deal = staticcall self._storage.getDeal(dealId)
    assert tx.origin == terms.members.jobCreator, "Only JC"
    extcall self._storage.reach(dealId, deal.RESULTS_CHECKED)
    extcall self._payments.checkResult(
        dealId, tx.origin, terms.timeouts.judgeResults.collateral, terms.pricing.mediationFee
    )
    extcall self._mediation.mediationRequest(dealId, terms.members.mediators)


@external
def mediationAcceptResult(dealId: String[lilypad.MAX_TEXT]):
    assert msg.sender == self._mediation.address, "Only mediation"
    self._check_state(dealId, deal.RESULTS_CHECKED, "ResultsChecked")
    terms: lilypad.Deal = staticcall self._storage.getDeal(dealId)
    extcall self._storage.reach(dealId, deal.MEDIATION_ACCEPTED)
    pay: uint256 = 0
    rest: uint256 = 0
    pay, rest = self._pay_and_rest(dealId, terms.pricing.paymentCollateral)
    extcall self._payments.mediationAcceptResult(
        dealId,
        terms.members.resourceProvider,
        terms.members.jobCreator,
        tx.origin,
        pay,
        rest,
        staticcall self._storage.getResultsCollateral(dealId),
        terms.pricing.mediationFee,
    )


@external
def mediationRejectResult(dealId: String[lilypad.MAX_TEXT]):
    assert msg.sender == self._mediation.address, "Only mediation"
    self._check_state(dealId, deal.RESULTS_CHECKED, "ResultsChecked")
    terms: lilypad.Deal = staticcall self._storage.getDeal(dealId)
    extcall self._storage.reach(dealId, deal.MEDIATION_REJECTED)
    extcall self._payments.mediationRejectResult(
        dealId,
        terms.members.resourceProvider,
        terms.members.jobCreator,
        tx.origin,
        terms.pricing.paymentCollateral,
        staticcall self._storage.getResultsCollateral(dealId),
        terms.pricing.mediationFee,
    )


@internal
@view
def _check_timed_out(since: uint256, limit: uint256):
    assert block.timestamp > since + limit, "Not timed out"


@external
def timeoutAgree(dealId: String[lilypad.MAX_TEXT]):
    """
    @notice Give the side that agreed its collateral back; to the job creator the *provider's* amount, out of
            whatever the job creator has in escrow.
    """
    terms: lilypad.Deal = staticcall self._storage.getDeal(dealId)
    is_creator: bool = tx.origin == terms.members.jobCreator
    assert is_creator or tx.origin == terms.members.resourceProvider, "Only JC or RP"
    agreement: deal.Agreement = staticcall self._storage.getAgreement(dealId)
    assert agreement.state == deal.NEGOTIATING, "Not correct state"
    self._check_timed_out(agreement.dealCreatedAt, terms.timeouts.agree.timeout)
    extcall self._storage.reach(dealId, deal.TIMEOUT_AGREE)
    if agreement.resourceProviderAgreedAt != 0:
        extcall self._payments.timeoutAgreeResourceProvider(
            dealId, terms.members.resourceProvider, terms.timeouts.submitResults.collateral
        )
    else:
        extcall self._payments.timeoutAgreeJobCreator(
            dealId,
            terms.members.jobCreator,
            terms.pricing.paymentCollateral,
            terms.timeouts.submitResults.collateral,
        )


@external
def timeoutSubmitResult(dealId: String[lilypad.MAX_TEXT]):
    """
    @notice Passes its checks and then always reverts, because Payments has no function of that name.
    """
    terms: lilypad.Deal = staticcall self._storage.getDeal(dealId)
    assert tx.origin == terms.members.jobCreator, "Only JC"
    agreement: deal.Agreement = staticcall self._storage.getAgreement(dealId)
    assert agreement.state == deal.AGREED, "Not correct state"
    self._check_timed_out(agreement.dealAgreedAt, terms.timeouts.submitResults.timeout)
    extcall MissingPayments(self._payments.address).timeoutSubmitResult(
        dealId,
        terms.members.resourceProvider,
        terms.members.jobCreator,
        terms.pricing.paymentCollateral,
        terms.timeouts.submitResults.collateral,
    )


@external
def timeoutJudgeResult(dealId: String[lilypad.MAX_TEXT]):
    """
    @notice Passes its checks and then always reverts, because Payments has no function of that name.
    """
    terms: lilypad.Deal = staticcall self._storage.getDeal(dealId)
    assert tx.origin == terms.members.resourceProvider, "Only RP"
    agreement: deal.Agreement = staticcall self._storage.getAgreement(dealId)
    assert agreement.state == deal.RESULTS_SUBMITTED, "Not correct state"
    self._check_timed_out(agreement.resultsSubmittedAt, terms.timeouts.judgeResults.timeout)
    extcall MissingPayments(self._payments.address).timeoutJudgeResult(
        dealId,
        terms.members.resourceProvider,
        terms.members.jobCreator,
        staticcall self._storage.getResultsCollateral(dealId),
        terms.timeouts.judgeResults.collateral,
    )


@external
def timeoutMediateResult(dealId: String[lilypad.MAX_TEXT]):
    """
    @notice Undo the deal. The time counts from the result on, by the job creator's own deadline.
    """
    terms: lilypad.Deal = staticcall self._storage.getDeal(dealId)
    is_creator: bool = tx.origin == terms.members.jobCreator
    assert is_creator or tx.origin == terms.members.resourceProvider, "Only RP or JC"
    agreement: deal.Agreement = staticcall self._storage.getAgreement(dealId)
    assert agreement.state == deal.RESULTS_CHECKED, "Not correct state"
    self._check_timed_out(agreement.resultsSubmittedAt, terms.timeouts.judgeResults.timeout)
    extcall self._storage.reach(dealId, deal.TIMEOUT_MEDIATE_RESULTS)
    extcall self._payments.timeoutMediateResult(
        dealId,
        terms.members.resourceProvider,
        terms.members.jobCreator,
        terms.pricing.paymentCollateral,
        staticcall self._storage.getResultsCollateral(dealId),
        terms.pricing.mediationFee,
    )
