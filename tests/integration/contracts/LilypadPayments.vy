# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title LilypadPayments
@notice Every movement of a deal: one call of the token's pooled escrow and one event, whatever the amount.
@dev The two timeouts at the end carry plural names; the Controller asks for the singular ones, which do not
     exist. That is the deployed contracts' defect, kept here.
"""

import controller_ownable
import deal
import lilypad
import ownable

initializes: ownable
initializes: controller_ownable[ownable := ownable]
exports: (ownable.owner, controller_ownable.getControllerAddress, controller_ownable.setControllerAddress)


interface Token:
    def balanceOf(holder: address) -> uint256: view
    def payEscrow(amount: uint256) -> bool: nonpayable
    def refundEscrow(to: address, amount: uint256) -> bool: nonpayable
    def payJob(sender: address, to: address, amount: uint256) -> bool: nonpayable
    def slashEscrow(slashed: address, amount: uint256) -> bool: nonpayable


event Payment:
    dealId: String[lilypad.MAX_TEXT]
    payee: address
    amount: uint256
    reason: uint8
    direction: uint8


_token: Token


@deploy
def __init__():
    ownable.__init__()


@external
def initialize(_tokenAddress: address):
    ownable._initialize_once()
    self._token = Token(_tokenAddress)


@external
@view
def getTokenAddress() -> address:
    return self._token.address


@internal
def _pay_in(dealId: String[lilypad.MAX_TEXT], amount: uint256, reason: uint8):
    balance: uint256 = staticcall self._token.balanceOf(tx.origin)
    assert balance >= amount, "LilypadPayments: Insufficient balance"
    assert extcall self._token.payEscrow(amount)
    log Payment(
        dealId=dealId, payee=tx.origin, amount=amount, reason=reason, direction=deal.PAID_IN
    )


@internal
def _refund(dealId: String[lilypad.MAX_TEXT], payee: address, amount: uint256, reason: uint8):
    assert extcall self._token.refundEscrow(payee, amount)
    log Payment(dealId=dealId, payee=payee, amount=amount, reason=reason, direction=deal.REFUNDED)


@internal
def _pay_out(
    dealId: String[lilypad.MAX_TEXT], payer: address, payee: address, amount: uint256, reason: uint8
):
    assert extcall self._token.payJob(payer, payee, amount)
    log Payment(dealId=dealId, payee=payee, amount=amount, reason=reason, direction=deal.PAID_OUT)


@internal
def _slash(dealId: String[lilypad.MAX_TEXT], slashed: address, amount: uint256, reason: uint8):
    assert extcall self._token.slashEscrow(slashed, amount)
    log Payment(dealId=dealId, payee=slashed, amount=amount, reason=reason, direction=deal.SLASHED)


@internal
def _refund_rest(dealId: String[lilypad.MAX_TEXT], jobCreator: address, back: uint256):
    if back > 0:
        self._refund(dealId, jobCreator, back, deal.PAYMENT_COLLATERAL)


@external
def agreeResourceProvider(dealId: String[lilypad.MAX_TEXT], timeoutCollateral: uint256):
    controller_ownable._check_controller()
    self._pay_in(dealId, timeoutCollateral, deal.TIMEOUT_COLLATERAL)


@external
def agreeJobCreator(
    dealId: String[lilypad.MAX_TEXT], paymentCollateral: uint256, timeoutCollateral: uint256
):
    controller_ownable._check_controller()
    self._pay_in(dealId, paymentCollateral, deal.PAYMENT_COLLATERAL)
    self._pay_in(dealId, timeoutCollateral, deal.TIMEOUT_COLLATERAL)


@external
def addResult(
    dealId: String[lilypad.MAX_TEXT],
    resourceProvider: address,
    resultsCollateral: uint256,
    timeoutCollateral: uint256,
):
    controller_ownable._check_controller()
    self._pay_in(dealId, resultsCollateral, deal.RESULTS_COLLATERAL)
    self._refund(dealId, resourceProvider, timeoutCollateral, deal.TIMEOUT_COLLATERAL)


@external
def acceptResult(
    dealId: String[lilypad.MAX_TEXT],
    resourceProvider: address,
    jobCreator: address,
    pay: uint256,
    back: uint256,
    resultsCollateral: uint256,
    timeoutCollateral: uint256,
):
    controller_ownable._check_controller()
    self._pay_out(dealId, jobCreator, resourceProvider, pay, deal.JOB_PAYMENT)
    self._refund_rest(dealId, jobCreator, back)
    self._refund(dealId, jobCreator, timeoutCollateral, deal.TIMEOUT_COLLATERAL)
    self._refund(dealId, resourceProvider, resultsCollateral, deal.RESULTS_COLLATERAL)


@external
def checkResult(
    dealId: String[lilypad.MAX_TEXT],
    jobCreator: address,
    timeoutCollateral: uint256,
    mediationFee: uint256,
):
    controller_ownable._check_controller()
    self._refund(dealId, jobCreator, timeoutCollateral, deal.TIMEOUT_COLLATERAL)
    self._pay_in(dealId, mediationFee, deal.MEDIATION_FEE)


@external
def mediationAcceptResult(
    dealId: String[lilypad.MAX_TEXT],
    resourceProvider: address,
    jobCreator: address,
    mediator: address,
    pay: uint256,
    back: uint256,
    resultsCollateral: uint256,
    mediationFee: uint256,
):
    controller_ownable._check_controller()
    self._pay_out(dealId, jobCreator, resourceProvider, pay, deal.JOB_PAYMENT)
    self._pay_out(dealId, jobCreator, mediator, mediationFee, deal.MEDIATION_FEE)
    self._refund_rest(dealId, jobCreator, back)
    self._refund(dealId, resourceProvider, resultsCollateral, deal.RESULTS_COLLATERAL)


@external
def mediationRejectResult(
    dealId: String[lilypad.MAX_TEXT],
    resourceProvider: address,
    jobCreator: address,
    mediator: address,
    paymentCollateral: uint256,
    resultsCollateral: uint256,
    mediationFee: uint256,
):
    controller_ownable._check_controller()
    self._refund(dealId, jobCreator, paymentCollateral, deal.PAYMENT_COLLATERAL)
    self._pay_out(dealId, jobCreator, mediator, mediationFee, deal.MEDIATION_FEE)
    self._slash(dealId, resourceProvider, resultsCollateral, deal.RESULTS_COLLATERAL)


@external
def timeoutAgreeResourceProvider(
    dealId: String[lilypad.MAX_TEXT], resourceProvider: address, timeoutCollateral: uint256
):
    controller_ownable._check_controller()
    assert tx.origin == resourceProvider, "LilypadPayments: Can only be called by the RP"
    self._refund(dealId, resourceProvider, timeoutCollateral, deal.TIMEOUT_COLLATERAL)


@external
def timeoutAgreeJobCreator(
    dealId: String[lilypad.MAX_TEXT],
    jobCreator: address,
    paymentCollateral: uint256,
    timeoutCollateral: uint256,
):
    controller_ownable._check_controller()
    assert tx.origin == jobCreator, "LilypadPayments: Can only be called by the JC"
    self._refund(dealId, jobCreator, paymentCollateral, deal.PAYMENT_COLLATERAL)
    self._refund(dealId, jobCreator, timeoutCollateral, deal.TIMEOUT_COLLATERAL)


@external
def timeoutMediateResult(
    dealId: String[lilypad.MAX_TEXT],
    resourceProvider: address,
    jobCreator: address,
    paymentCollateral: uint256,
    resultsCollateral: uint256,
    mediationFee: uint256,
):
    controller_ownable._check_controller()
    self._refund(dealId, resourceProvider, resultsCollateral, deal.RESULTS_COLLATERAL)
    self._refund(dealId, jobCreator, paymentCollateral, deal.PAYMENT_COLLATERAL)
    self._refund(dealId, jobCreator, mediationFee, deal.MEDIATION_FEE)


@external
def timeoutSubmitResults(
    dealId: String[lilypad.MAX_TEXT],
    resourceProvider: address,
    jobCreator: address,
    paymentCollateral: uint256,
    timeoutCollateral: uint256,
):
    controller_ownable._check_controller()
    self._refund(dealId, jobCreator, paymentCollateral, deal.PAYMENT_COLLATERAL)
    self._slash(dealId, resourceProvider, timeoutCollateral, deal.TIMEOUT_COLLATERAL)


@external
def timeoutJudgeResults(
    dealId: String[lilypad.MAX_TEXT],
    resourceProvider: address,
    jobCreator: address,
    resultsCollateral: uint256,
    timeoutCollateral: uint256,
):
    controller_ownable._check_controller()
    self._refund(dealId, resourceProvider, resultsCollateral, deal.RESULTS_COLLATERAL)
    self._slash(dealId, jobCreator, timeoutCollateral, deal.TIMEOUT_COLLATERAL)
