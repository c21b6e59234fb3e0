# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Payments
@notice The money of every deal, in one ERC-20 that is fixed for good. What a deal locked is accounted to that
        deal and can only go to that deal's parties, its mediator or, for slashed results collateral, to the
        slash recipient. Only the Controller may call; it says how much goes to whom.
"""

import controller_ownable
import deal
import escrow
import ownable

initializes: ownable
initializes: controller_ownable[ownable := ownable]
initializes: escrow
exports: (
    ownable.owner,
    ownable.transferOwnership,
    ownable.renounceOwnership,
    controller_ownable.getControllerAddress,
    controller_ownable.setControllerAddress,
    escrow.getTokenAddress,
    escrow.getSlashRecipient,
    escrow.getEscrow,
    escrow.getCredit,
    escrow.withdraw,
)


event Payment:
    dealId: String[64]
    payee: address
    amount: uint256
    reason: uint8
    direction: uint8


@deploy
def __init__():
    ownable.__init__()


@external
def initialize(_tokenAddress: address):
    """
    @notice Fix the token, and the caller as the one who receives slashed results collateral.
    """
    ownable._initialize_once()
    escrow._initialize(_tokenAddress, msg.sender)


@internal
def _log(dealId: String[64], payee: address, amount: uint256, reason: uint8, direction: uint8):
    log Payment(dealId=dealId, payee=payee, amount=amount, reason=reason, direction=direction)


@internal
def _log_job_paid(dealId: String[64], resourceProvider: address, pay: uint256):
    self._log(dealId, resourceProvider, pay, deal.JOB_PAYMENT, deal.PAID_OUT)


@internal
def _log_payment_back(dealId: String[64], jobCreator: address, back: uint256):
    if back > 0:
        self._log(dealId, jobCreator, back, deal.PAYMENT_COLLATERAL, deal.REFUNDED)


# What the Controller asks for, one function for each call of a deal


@external
@nonreentrant
def agreeResourceProvider(dealId: String[64], resourceProvider: address, timeoutCollateral: uint256):
    controller_ownable._check_controller()
    self._log(dealId, resourceProvider, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.PAID_IN)
    escrow._pull(keccak256(dealId), resourceProvider, timeoutCollateral)


@external
@nonreentrant
def agreeJobCreator(
    dealId: String[64], jobCreator: address, paymentCollateral: uint256, timeoutCollateral: uint256
):
    controller_ownable._check_controller()
    self._log(dealId, jobCreator, paymentCollateral, deal.PAYMENT_COLLATERAL, deal.PAID_IN)
    self._log(dealId, jobCreator, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.PAID_IN)
    escrow._pull(keccak256(dealId), jobCreator, paymentCollateral + timeoutCollateral)


@external
@nonreentrant
def addResult(
    dealId: String[64],
    resourceProvider: address,
    resultsCollateral: uint256,
    timeoutCollateral: uint256,
):
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    self._log(dealId, resourceProvider, resultsCollateral, deal.RESULTS_COLLATERAL, deal.PAID_IN)
    self._log(dealId, resourceProvider, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.REFUNDED)
    escrow._pull(key, resourceProvider, resultsCollateral)
    escrow._push(key, resourceProvider, timeoutCollateral)


@external
@nonreentrant
def acceptResult(
    dealId: String[64],
    resourceProvider: address,
    jobCreator: address,
    pay: uint256,
    back: uint256,
    resultsCollateral: uint256,
    timeoutCollateral: uint256,
):
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    self._log_job_paid(dealId, resourceProvider, pay)
    self._log_payment_back(dealId, jobCreator, back)
    self._log(dealId, jobCreator, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.REFUNDED)
    self._log(dealId, resourceProvider, resultsCollateral, deal.RESULTS_COLLATERAL, deal.REFUNDED)
    escrow._push(key, resourceProvider, pay + resultsCollateral)
    escrow._push(key, jobCreator, back + timeoutCollateral)


@external
@nonreentrant
def checkResult(
    dealId: String[64], jobCreator: address, timeoutCollateral: uint256, mediationFee: uint256
):
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    self._log(dealId, jobCreator, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.REFUNDED)
    self._log(dealId, jobCreator, mediationFee, deal.MEDIATION_FEE, deal.PAID_IN)
    escrow._push(key, jobCreator, timeoutCollateral)
    escrow._pull(key, jobCreator, mediationFee)


@external
@nonreentrant
def mediationAcceptResult(
    dealId: String[64],
    resourceProvider: address,
    jobCreator: address,
    mediator: address,
    pay: uint256,
    back: uint256,
    resultsCollateral: uint256,
    mediationFee: uint256,
):
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    self._log_job_paid(dealId, resourceProvider, pay)
    self._log(dealId, mediator, mediationFee, deal.MEDIATION_FEE, deal.PAID_OUT)
    self._log_payment_back(dealId, jobCreator, back)
    self._log(dealId, resourceProvider, resultsCollateral, deal.RESULTS_COLLATERAL, deal.REFUNDED)
    escrow._push(key, resourceProvider, pay + resultsCollateral)
    escrow._push(key, mediator, mediationFee)
    escrow._push(key, jobCreator, back)


@external
@nonreentrant
def mediationRejectResult(
    dealId: String[64],
    resourceProvider: address,
    jobCreator: address,
    mediator: address,
    paymentCollateral: uint256,
    resultsCollateral: uint256,
    mediationFee: uint256,
):
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    self._log(dealId, jobCreator, paymentCollateral, deal.PAYMENT_COLLATERAL, deal.REFUNDED)
    self._log(dealId, mediator, mediationFee, deal.MEDIATION_FEE, deal.PAID_OUT)
    self._log(dealId, resourceProvider, resultsCollateral, deal.RESULTS_COLLATERAL, deal.SLASHED)
    escrow._push(key, jobCreator, paymentCollateral)
    escrow._push(key, mediator, mediationFee)
    escrow._push(key, escrow._slash_recipient, resultsCollateral)


@external
@nonreentrant
def timeoutAgreeResourceProvider(
    dealId: String[64], resourceProvider: address, timeoutCollateral: uint256
):
    controller_ownable._check_controller()
    self._log(dealId, resourceProvider, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.REFUNDED)
    escrow._push(keccak256(dealId), resourceProvider, timeoutCollateral)


@external
@nonreentrant
def timeoutAgreeJobCreator(
    dealId: String[64], jobCreator: address, paymentCollateral: uint256, timeoutCollateral: uint256
):
    controller_ownable._check_controller()
    self._log(dealId, jobCreator, paymentCollateral, deal.PAYMENT_COLLATERAL, deal.REFUNDED)
    self._log(dealId, jobCreator, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.REFUNDED)
    escrow._push(keccak256(dealId), jobCreator, paymentCollateral + timeoutCollateral)


@external
@nonreentrant
def timeoutSubmitResult(
    dealId: String[64],
    resourceProvider: address,
    jobCreator: address,
    paymentCollateral: uint256,
    jobCreatorCollateral: uint256,
    resourceProviderCollateral: uint256,
):
    controller_ownable._check_controller()
    self._log(dealId, jobCreator, paymentCollateral, deal.PAYMENT_COLLATERAL, deal.REFUNDED)
    self._log(dealId, jobCreator, jobCreatorCollateral, deal.TIMEOUT_COLLATERAL, deal.REFUNDED)
    self._log(dealId, resourceProvider, resourceProviderCollateral, deal.TIMEOUT_COLLATERAL, deal.SLASHED)
    self._log(dealId, jobCreator, resourceProviderCollateral, deal.TIMEOUT_COLLATERAL, deal.PAID_OUT)
    escrow._push(
        keccak256(dealId),
        jobCreator,
        paymentCollateral + jobCreatorCollateral + resourceProviderCollateral,
    )


@external
@nonreentrant
def timeoutJudgeResult(
    dealId: String[64],
    resourceProvider: address,
    jobCreator: address,
    pay: uint256,
    back: uint256,
    resultsCollateral: uint256,
    timeoutCollateral: uint256,
):
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    self._log_job_paid(dealId, resourceProvider, pay)
    self._log_payment_back(dealId, jobCreator, back)
    self._log(dealId, jobCreator, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.SLASHED)
    self._log(dealId, resourceProvider, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.PAID_OUT)
    self._log(dealId, resourceProvider, resultsCollateral, deal.RESULTS_COLLATERAL, deal.REFUNDED)
    escrow._push(key, resourceProvider, pay + timeoutCollateral + resultsCollateral)
    escrow._push(key, jobCreator, back)


@external
@nonreentrant
def timeoutMediateResult(
    dealId: String[64],
    resourceProvider: address,
    jobCreator: address,
    pay: uint256,
    back: uint256,
    resultsCollateral: uint256,
    mediationFee: uint256,
):
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    self._log_job_paid(dealId, resourceProvider, pay)
    self._log_payment_back(dealId, jobCreator, back)
    self._log(dealId, jobCreator, mediationFee, deal.MEDIATION_FEE, deal.REFUNDED)
    self._log(dealId, resourceProvider, resultsCollateral, deal.RESULTS_COLLATERAL, deal.REFUNDED)
    escrow._push(key, resourceProvider, pay + resultsCollateral)
    escrow._push(key, jobCreator, back + mediationFee)
