# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Payments
@notice The money of every deal, in one ERC-20 that is fixed for good. What a deal locked is accounted to that
        deal and can only go to that deal's parties, its mediator or, for slashed results collateral, to the
        slash recipient. Only the Controller may call; it says how much goes to whom.
@dev A payment that the token refuses (a blocked account, a paused token) is credited to its payee instead of
     stopping everybody else's settlement; `withdraw` pays the credit out later.
"""

from ethereum.ercs import IERC20

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


event Payment:
    dealId: String[64]
    payee: address
    amount: uint256
    reason: uint8
    direction: uint8


event Credited:
    payee: indexed(address)
    amount: uint256


_token: address
_slash_recipient: address
_escrow: HashMap[bytes32, uint256]
_credit: HashMap[address, uint256]


@deploy
def __init__():
    ownable.__init__()


@external
def initialize(_tokenAddress: address):
    """
    @notice Fix the token, and the caller as the one who receives slashed results collateral.
    """
    ownable._initialize_once()
    assert _tokenAddress.is_contract, "Token address must be a contract"
    self._token = _tokenAddress
    self._slash_recipient = msg.sender


@external
@view
def getTokenAddress() -> address:
    return self._token


@external
@view
def getSlashRecipient() -> address:
    return self._slash_recipient


@external
@view
def getEscrow(dealId: String[64]) -> uint256:
    """
    @notice What this deal has locked here.
    """
    return self._escrow[keccak256(dealId)]


@external
@view
def getCredit(payee: address) -> uint256:
    """
    @notice What `withdraw` would pay to this account.
    """
    return self._credit[payee]


# Moving tokens


@internal
@pure
def _accepted(success: bool, answer: Bytes[32]) -> bool:
    # Some tokens answer nothing when they succeed.
    return success and (len(answer) == 0 or convert(answer, uint256) == 1)


@internal
def _pull(key: bytes32, payer: address, amount: uint256):
    if amount == 0:
        return
    token: address = self._token
    self._escrow[key] += amount
    before: uint256 = staticcall IERC20(token).balanceOf(self)
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        token,
        abi_encode(payer, self, amount, method_id=method_id("transferFrom(address,address,uint256)")),
        max_outsize=32,
        revert_on_failure=False,
    )
    if not self._accepted(success, answer):
        assert staticcall IERC20(token).balanceOf(payer) >= amount, "LilypadPayments: Insufficient balance"
        assert (
            staticcall IERC20(token).allowance(payer, self) >= amount
        ), "LilypadPayments: Insufficient allowance"
        raise "LilypadPayments: Transfer failed"
    # A token that keeps a part for itself would leave a deal without the money to settle.
    received: uint256 = (staticcall IERC20(token).balanceOf(self)) - before
    assert received == amount, "LilypadPayments: Transfer failed"


@internal
def _transfer(payee: address, amount: uint256) -> bool:
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        self._token,
        abi_encode(payee, amount, method_id=method_id("transfer(address,uint256)")),
        max_outsize=32,
        revert_on_failure=False,
    )
    return self._accepted(success, answer)


@internal
def _push(key: bytes32, payee: address, amount: uint256):
    if amount == 0:
        return
    self._escrow[key] -= amount
    if not self._transfer(payee, amount):
        self._credit[payee] += amount
        log Credited(payee=payee, amount=amount)


@external
@nonreentrant
def withdraw(payee: address):
    """
    @notice Pay out what the token refused to deliver before. Anybody may call; only the payee receives.
    """
    amount: uint256 = self._credit[payee]
    assert amount > 0, "LilypadPayments: Nothing to withdraw"
    self._credit[payee] = 0
    assert self._transfer(payee, amount), "LilypadPayments: Transfer failed"


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
    self._pull(keccak256(dealId), resourceProvider, timeoutCollateral)


@external
@nonreentrant
def agreeJobCreator(
    dealId: String[64], jobCreator: address, paymentCollateral: uint256, timeoutCollateral: uint256
):
    controller_ownable._check_controller()
    self._log(dealId, jobCreator, paymentCollateral, deal.PAYMENT_COLLATERAL, deal.PAID_IN)
    self._log(dealId, jobCreator, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.PAID_IN)
    self._pull(keccak256(dealId), jobCreator, paymentCollateral + timeoutCollateral)


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
    self._pull(key, resourceProvider, resultsCollateral)
    self._push(key, resourceProvider, timeoutCollateral)


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
    self._push(key, resourceProvider, pay + resultsCollateral)
    self._push(key, jobCreator, back + timeoutCollateral)


@external
@nonreentrant
def checkResult(
    dealId: String[64], jobCreator: address, timeoutCollateral: uint256, mediationFee: uint256
):
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    self._log(dealId, jobCreator, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.REFUNDED)
    self._log(dealId, jobCreator, mediationFee, deal.MEDIATION_FEE, deal.PAID_IN)
    self._push(key, jobCreator, timeoutCollateral)
    self._pull(key, jobCreator, mediationFee)


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
    self._push(key, resourceProvider, pay + resultsCollateral)
    self._push(key, mediator, mediationFee)
    self._push(key, jobCreator, back)


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
    self._push(key, jobCreator, paymentCollateral)
    self._push(key, mediator, mediationFee)
    self._push(key, self._slash_recipient, resultsCollateral)


@external
@nonreentrant
def timeoutAgreeResourceProvider(
    dealId: String[64], resourceProvider: address, timeoutCollateral: uint256
):
    controller_ownable._check_controller()
    self._log(dealId, resourceProvider, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.REFUNDED)
    self._push(keccak256(dealId), resourceProvider, timeoutCollateral)


@external
@nonreentrant
def timeoutAgreeJobCreator(
    dealId: String[64], jobCreator: address, paymentCollateral: uint256, timeoutCollateral: uint256
):
    controller_ownable._check_controller()
    self._log(dealId, jobCreator, paymentCollateral, deal.PAYMENT_COLLATERAL, deal.REFUNDED)
    self._log(dealId, jobCreator, timeoutCollateral, deal.TIMEOUT_COLLATERAL, deal.REFUNDED)
    self._push(keccak256(dealId), jobCreator, paymentCollateral + timeoutCollateral)


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
    self._push(
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
    self._push(key, resourceProvider, pay + timeoutCollateral + resultsCollateral)
    self._push(key, jobCreator, back)


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
    self._push(key, resourceProvider, pay + resultsCollateral)
    self._push(key, jobCreator, back + mediationFee)
