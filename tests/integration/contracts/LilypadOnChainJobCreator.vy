# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title LilypadOnChainJobCreator
@notice Where jobs are announced, by anybody, for any payee with an allowance, in texts of any bytes.
"""

from ethereum.ercs import IERC20

import lilypad
import ownable

initializes: ownable
exports: ownable.owner


MAX_INPUTS: constant(uint256) = 16


interface JobClient:
    def submitResults(id: uint256, dealId: String[lilypad.MAX_TEXT], dataId: String[lilypad.MAX_TEXT]): nonpayable


event JobAdded:
    id: uint256
    calling_contract: address
    payee: address
    module: String[lilypad.MAX_TEXT]
    inputs: DynArray[String[lilypad.MAX_TEXT], MAX_INPUTS]


nextJobID: public(uint256)
_token: address
_controller: address
_required_deposit: uint256
_calling_contracts: HashMap[uint256, address]


@deploy
def __init__():
    ownable.__init__()


@external
def initialize(_tokenAddress: address):
    ownable._initialize_once()
    self._token = _tokenAddress


@external
@view
def getTokenAddress() -> address:
    return self._token


@external
@view
def getControllerAddress() -> address:
    return self._controller


@external
@view
def getRequiredDeposit() -> uint256:
    return self._required_deposit


@external
def setControllerAddress(_controllerAddress: address):
    ownable._check_owner()
    self._controller = _controllerAddress


@internal
@view
def _check_controller():
    assert tx.origin == self._controller, "ControllerOwnable: Only the controller can call this method"


@external
def setRequiredDeposit(cost: uint256):
    self._check_controller()
    assert cost > 0, "Min deposit"
    self._required_deposit = cost


@external
def runJob(
    module: String[lilypad.MAX_TEXT],
    inputs: DynArray[String[lilypad.MAX_TEXT], MAX_INPUTS],
    payee: address,
) -> uint256:
    allowed: uint256 = staticcall IERC20(self._token).allowance(payee, self._controller)
    assert allowed >= self._required_deposit, "Token allowance not enough"
    self.nextJobID += 1
    id: uint256 = self.nextJobID
    self._calling_contracts[id] = msg.sender
    log JobAdded(id=id, calling_contract=msg.sender, payee=payee, module=module, inputs=inputs)
    return id


@external
def submitResults(id: uint256, dealId: String[lilypad.MAX_TEXT], dataId: String[lilypad.MAX_TEXT]):
    self._check_controller()
    client: address = self._calling_contracts[id]
    assert client != empty(address), "Job not found"
    extcall JobClient(client).submitResults(id, dealId, dataId)
