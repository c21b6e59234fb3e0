# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title MediationRandom
@notice Draws the mediator of a checked deal, and the next one when a mediator stays silent. The drawn mediator,
        and nobody else, rules by calling here. Owns no money and no terms.
@dev A block gives no secret: whoever sends the drawing transaction can choose when to send it. Both parties
     must therefore trust every mediator of the list they agree to.
"""

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


interface Controller:
    def mediationAcceptResult(dealId: String[64]): nonpayable
    def mediationRejectResult(dealId: String[64]): nonpayable


event MediationRequested:
    dealId: String[64]
    mediator: address


# One word for each deal: the mediator in the low 160 bits, then a bit for each place of the list that has been
# drawn, then the time of the last draw.
DRAWN: constant(uint256) = 160
DRAWN_AT: constant(uint256) = 176

_draws: HashMap[bytes32, uint256]


@deploy
def __init__():
    ownable.__init__()


@external
def initialize():
    ownable._initialize_once()


@internal
@view
def _mediator(dealId: String[64]) -> address:
    return convert(self._draws[keccak256(dealId)] & (2**160 - 1), address)


@external
@view
def getMediator(dealId: String[64]) -> address:
    return self._mediator(dealId)


@external
@view
def getDrawnAt(dealId: String[64]) -> uint256:
    """
    @notice The block time of the last draw, from which the mediator's time counts; 0 before the first.
    """
    return self._draws[keccak256(dealId)] >> DRAWN_AT


@external
def mediationRequest(
    dealId: String[64], mediators: DynArray[address, deal.MAX_MEDIATORS]
) -> bool:
    """
    @notice Draw one of the mediators who have not been drawn yet. False when the list is used up.
    """
    controller_ownable._check_controller()
    key: bytes32 = keccak256(dealId)
    drawn: uint256 = (self._draws[key] >> DRAWN) & (2**deal.MAX_MEDIATORS - 1)
    left: uint256 = len(mediators)
    for i: uint256 in range(len(mediators), bound=deal.MAX_MEDIATORS):
        left -= (drawn >> i) & 1
    if left == 0:
        return False

    seed: bytes32 = keccak256(
        concat(
            convert(block.timestamp, bytes32),
            block.prevrandao,
            blockhash(block.number - 1),
            key,
            convert(drawn, bytes32),
        )
    )
    skip: uint256 = convert(seed, uint256) % left
    chosen: address = empty(address)
    for i: uint256 in range(len(mediators), bound=deal.MAX_MEDIATORS):
        if (drawn >> i) & 1 == 0:
            if skip == 0:
                chosen = mediators[i]
                drawn |= 1 << i
                break
            skip -= 1
    self._draws[key] = (
        (block.timestamp << DRAWN_AT) | (drawn << DRAWN) | convert(chosen, uint256)
    )
    log MediationRequested(dealId=dealId, mediator=chosen)
    return True


@internal
@view
def _check_mediator(dealId: String[64]):
    mediator: address = self._mediator(dealId)
    assert mediator != empty(address), "mediator cannot be 0x0"
    assert mediator == msg.sender, "msg.sender must be the mediator"


@external
def mediationAcceptResult(dealId: String[64]):
    self._check_mediator(dealId)
    extcall Controller(controller_ownable._controller).mediationAcceptResult(dealId)


@external
def mediationRejectResult(dealId: String[64]):
    self._check_mediator(dealId)
    extcall Controller(controller_ownable._controller).mediationRejectResult(dealId)
