# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title LilypadMediationRandom
@notice Draws one mediator by the block's time, once. It looks neither at who the mediators are nor for another
        one when the drawn one stays silent.
"""

import controller_ownable
import lilypad
import ownable

initializes: ownable
initializes: controller_ownable[ownable := ownable]
exports: (ownable.owner, controller_ownable.getControllerAddress, controller_ownable.setControllerAddress)


interface Controller:
    def mediationAcceptResult(dealId: String[lilypad.MAX_TEXT]): nonpayable
    def mediationRejectResult(dealId: String[lilypad.MAX_TEXT]): nonpayable


event MediationRequested:
    dealId: String[lilypad.MAX_TEXT]
    mediator: address


_mediators: HashMap[bytes32, address]


@deploy
def __init__():
    ownable.__init__()


@external
def initialize():
    ownable._initialize_once()


@external
@view
def getMediator(dealId: String[lilypad.MAX_TEXT]) -> address:
    return self._mediators[keccak256(dealId)]


@external
def mediationRequest(
    dealId: String[lilypad.MAX_TEXT], mediators: DynArray[address, lilypad.MAX_MEDIATORS]
):
    controller_ownable._check_controller()
    seed: uint256 = convert(keccak256(concat(convert(block.timestamp, bytes32), convert(dealId, Bytes[lilypad.MAX_TEXT]))), uint256)
    mediator: address = mediators[seed % len(mediators)]
    assert mediator != empty(address), "mediator cannot be 0x0"
    self._mediators[keccak256(dealId)] = mediator
    log MediationRequested(dealId=dealId, mediator=mediator)


@internal
@view
def _check_mediator(dealId: String[lilypad.MAX_TEXT]):
    mediator: address = self._mediators[keccak256(dealId)]
    assert mediator != empty(address), "mediator cannot be 0x0"
    assert mediator == tx.origin, "tx.origin must be the mediator"


@external
def mediationAcceptResult(dealId: String[lilypad.MAX_TEXT]):
    self._check_mediator(dealId)
    extcall Controller(controller_ownable._controller).mediationAcceptResult(dealId)


@external
def mediationRejectResult(dealId: String[lilypad.MAX_TEXT]):
    self._check_mediator(dealId)
    extcall Controller(controller_ownable._controller).mediationRejectResult(dealId)
