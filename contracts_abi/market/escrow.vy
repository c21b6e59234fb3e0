# pragma version 0.4.3
"""
@title Escrow
@notice Tokens in and out, in one ERC-20 that is fixed for good, accounted to the deal that locked them.
@dev A payment that the token refuses (a blocked account, a paused token) is credited to its payee instead of
     stopping everybody else's settlement; `withdraw` pays the credit out later. Little gas cannot force that:
     what is left for writing a credit would have been enough for the transfer many times over.
"""

from ethereum.ercs import IERC20


event Credited:
    payee: indexed(address)
    amount: uint256


_token: address
_slash_recipient: address
_escrow: HashMap[bytes32, uint256]
_credit: HashMap[address, uint256]


@internal
def _initialize(token: address, slash_recipient: address):
    assert token.is_contract, "Token address must be a contract"
    self._token = token
    self._slash_recipient = slash_recipient


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
