# pragma version 0.4.3
"""
@title Ownable
@notice The deployer's right to wire a contract, once. Nothing here can change a contract that is already
        wired, so owning a market gives no hold on the money in it.
"""

event OwnershipTransferred:
    previousOwner: indexed(address)
    newOwner: indexed(address)


event Initialized:
    version: uint8


owner: public(address)
_initialized: bool


@deploy
def __init__():
    self._transfer_ownership(msg.sender)


@internal
def _transfer_ownership(new_owner: address):
    previous: address = self.owner
    self.owner = new_owner
    log OwnershipTransferred(previousOwner=previous, newOwner=new_owner)


@internal
@view
def _check_owner():
    assert msg.sender == self.owner, "Ownable: caller is not the owner"


@internal
def _initialize_once():
    self._check_owner()
    assert not self._initialized, "Initializable: contract is already initialized"
    self._initialized = True
    log Initialized(version=1)


@external
def transferOwnership(newOwner: address):
    self._check_owner()
    assert newOwner != empty(address), "Ownable: new owner is the zero address"
    self._transfer_ownership(newOwner)


@external
def renounceOwnership():
    self._check_owner()
    self._transfer_ownership(empty(address))
