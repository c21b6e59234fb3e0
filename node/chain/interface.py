"""The functions of the market contracts that this node calls, as signatures; selectors follow from them.

The same on our contracts and on Lilypad's deployed ones, except where a line says otherwise. Knows no
addresses: ``calls`` and ``contracts`` pair these with the contract that has them.
"""

from typing import Any

from eth_abi.abi import encode

from node.chain import abi

_MEMBERS = "(address,address,address,address[])"
_TIMEOUTS = "((uint256,uint256),(uint256,uint256),(uint256,uint256),(uint256,uint256))"
_PRICING = "(uint256,uint256,uint256,uint256)"


class Function:
    """One function: encodes calls of it."""

    __slots__ = ("name", "selector", "signature", "types")

    def __init__(self, name: str, *types: str) -> None:
        self.name = name
        self.types = types
        self.signature = f"{name}({','.join(types)})"
        self.selector = abi.selector(self.signature)

    def encode(self, *arguments: Any) -> bytes:
        """Return the call's data."""
        return self.selector + encode(self.types, arguments)

    def __repr__(self) -> str:
        return f"Function({self.signature})"


# Controller
AGREE = Function("agree", "string", _MEMBERS, _TIMEOUTS, _PRICING)
ADD_RESULT = Function("addResult", "string", "string", "string", "uint256")
ACCEPT_RESULT = Function("acceptResult", "string")
CHECK_RESULT = Function("checkResult", "string")
TIMEOUT_AGREE = Function("timeoutAgree", "string")
TIMEOUT_SUBMIT_RESULT = Function("timeoutSubmitResult", "string")
TIMEOUT_JUDGE_RESULT = Function("timeoutJudgeResult", "string")
TIMEOUT_MEDIATE_RESULT = Function("timeoutMediateResult", "string")
GET_STORAGE = Function("getStorageAddress")
GET_USERS = Function("getUsersAddress")
GET_PAYMENTS = Function("getPaymentsAddress")
GET_MEDIATION = Function("getMediationAddress")
GET_JOB_CREATOR = Function("getJobCreatorAddress")

# Storage
GET_DEAL = Function("getDeal", "string")
GET_AGREEMENT = Function("getAgreement", "string")
GET_RESULT = Function("getResult", "string")

# Payments; all but the first exist only on our contracts, and the two timeouts obey the Controller alone
GET_TOKEN = Function("getTokenAddress")
GET_ESCROW = Function("getEscrow", "string")
GET_CREDIT = Function("getCredit", "address")
WITHDRAW = Function("withdraw", "address")
PAYMENTS_TIMEOUT_SUBMIT_RESULT = Function(
    "timeoutSubmitResult", "string", "address", "address", *("uint256",) * 3
)
PAYMENTS_TIMEOUT_JUDGE_RESULT = Function(
    "timeoutJudgeResult", "string", "address", "address", *("uint256",) * 4
)

# Token; escrow and pause exist only on Lilypad's
BALANCE_OF = Function("balanceOf", "address")
ALLOWANCE = Function("allowance", "address", "address")
SYMBOL = Function("symbol")
APPROVE = Function("approve", "address", "uint256")
TRANSFER = Function("transfer", "address", "uint256")

ESCROW_BALANCE_OF = Function("escrowBalanceOf", "address")
PAUSED = Function("paused")

# MediationRandom; when a mediator was drawn is known only to ours
GET_MEDIATOR = Function("getMediator", "string")
GET_DRAWN_AT = Function("getDrawnAt", "string")
MEDIATION_ACCEPT_RESULT = Function("mediationAcceptResult", "string")
MEDIATION_REJECT_RESULT = Function("mediationRejectResult", "string")

# Users
GET_USER = Function("getUser", "address")
SHOW_USERS_IN_LIST = Function("showUsersInList", "uint8")
UPDATE_USER = Function("updateUser", "string", "string", "uint8[]")
ADD_USER_TO_LIST = Function("addUserToList", "uint8")
REMOVE_USER_FROM_LIST = Function("removeUserFromList", "uint8")

# OnChainJobCreator
RUN_JOB = Function("runJob", "string", "string[]", "address")
GET_REQUIRED_DEPOSIT = Function("getRequiredDeposit")
