# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title OnChainJobCreator
@notice Where jobs are announced. Announcing a job moves no money and binds nobody: a deal does. The controller
        here is an account that sets the required deposit and reports results back to client contracts.
@dev The job itself is only in the event; the contract remembers who asked for it, to report back to.
"""

from ethereum.ercs import IERC20

import ownable

initializes: ownable
exports: (ownable.owner, ownable.transferOwnership, ownable.renounceOwnership)


interface JobClient:
    def submitResults(id: uint256, dealId: String[64], dataId: String[128]): nonpayable


MAX_INPUTS: constant(uint256) = 32


event JobAdded:
    id: uint256
    calling_contract: address
    payee: address
    module: String[128]
    inputs: DynArray[String[2048], MAX_INPUTS]


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
    assert _tokenAddress != empty(address), "Token address must be defined"
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
    """
    @notice Name the account that reports results. It can be replaced, because it holds no deal's money.
    """
    ownable._check_owner()
    assert _controllerAddress != empty(address), "ControllerOwnable: Controller address must be defined"
    self._controller = _controllerAddress


@internal
@view
def _check_controller():
    controller: address = self._controller
    if msg.sender != controller:
        assert controller != empty(address), "ControllerOwnable: Controller address must be defined"
        raise "ControllerOwnable: Only the controller can call this method"


@external
def setRequiredDeposit(cost: uint256):
    self._check_controller()
    assert cost > 0, "Min deposit"
    self._required_deposit = cost


@external
def runJob(
    module: String[128], inputs: DynArray[String[2048], MAX_INPUTS], payee: address
) -> uint256:
    required: uint256 = self._required_deposit
    if required > 0:
        assert (
            staticcall IERC20(self._token).allowance(payee, self._controller) >= required
        ), "Token allowance not enough"
    id: uint256 = self.nextJobID + 1
    self.nextJobID = id
    self._calling_contracts[id] = msg.sender
    log JobAdded(id=id, calling_contract=msg.sender, payee=payee, module=module, inputs=inputs)
    return id


@external
def submitResults(id: uint256, dealId: String[64], dataId: String[128]):
    """
    @notice Hand a result to the contract that asked for the job. This runs foreign code: send it from an account
            that is no party to any deal.
    """
    self._check_controller()
    client: address = self._calling_contracts[id]
    assert client != empty(address), "Job not found"
    extcall JobClient(client).submitResults(id, dealId, dataId)
