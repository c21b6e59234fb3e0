# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title LilypadToken
@notice An ERC-20 that holds one pooled escrow for each address, and that its owner can pause. Anybody may lock
        its own tokens (`tx.origin`'s); only the Payments contract can move what is locked.
"""

from ethereum.ercs import IERC20

import controller_ownable
import ownable

initializes: ownable
initializes: controller_ownable[ownable := ownable]
exports: (ownable.owner, ownable.transferOwnership, controller_ownable.setControllerAddress)


event Paused:
    account: address


event Unpaused:
    account: address


name: public(String[32])
symbol: public(String[32])
decimals: public(constant(uint8)) = 18
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
escrowBalanceOf: public(HashMap[address, uint256])
paused: public(bool)


@deploy
def __init__(_name: String[32], _symbol: String[32], _supply: uint256):
    ownable.__init__()
    self.name = _name
    self.symbol = _symbol
    self.totalSupply = _supply
    self.balanceOf[msg.sender] = _supply
    log IERC20.Transfer(sender=empty(address), receiver=msg.sender, value=_supply)


@external
def pause():
    ownable._check_owner()
    self.paused = True
    log Paused(account=msg.sender)


@external
def unpause():
    ownable._check_owner()
    self.paused = False
    log Unpaused(account=msg.sender)


@internal
def _transfer(sender: address, receiver: address, amount: uint256):
    assert receiver != empty(address), "ERC20: transfer to the zero address"
    assert not self.paused, "ERC20Pausable: token transfer while paused"
    assert self.balanceOf[sender] >= amount, "ERC20: transfer amount exceeds balance"
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    log IERC20.Transfer(sender=sender, receiver=receiver, value=amount)


@external
def transfer(to: address, amount: uint256) -> bool:
    self._transfer(msg.sender, to, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log IERC20.Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@external
def transferFrom(sender: address, to: address, amount: uint256) -> bool:
    assert self.allowance[sender][msg.sender] >= amount, "ERC20: insufficient allowance"
    self.allowance[sender][msg.sender] -= amount
    self._transfer(sender, to, amount)
    return True


@external
def payEscrow(amount: uint256) -> bool:
    """
    @notice Lock tokens of whoever sent the transaction, whichever contract calls.
    """
    self._transfer(tx.origin, self, amount)
    self.escrowBalanceOf[tx.origin] += amount
    return True


@internal
def _release(owner: address, to: address, amount: uint256):
    controller_ownable._check_controller()
    assert self.escrowBalanceOf[owner] >= amount, "LilypadToken: not enough funds in escrow"
    self.escrowBalanceOf[owner] -= amount
    self._transfer(self, to, amount)


@external
def refundEscrow(to: address, amount: uint256) -> bool:
    self._release(to, to, amount)
    return True


@external
def payJob(sender: address, to: address, amount: uint256) -> bool:
    self._release(sender, to, amount)
    return True


@external
def slashEscrow(slashed: address, amount: uint256) -> bool:
    self._release(slashed, ownable.owner, amount)
    return True
