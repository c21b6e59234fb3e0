# pragma version 0.4.3
"""
@title Lilypad
@notice The shapes of a deal where nothing is bounded. The deployed contracts take texts of any length and any
        bytes; Vyper needs a bound, so these are bounded far beyond what this node accepts.
"""

import deal

MAX_TEXT: constant(uint256) = 12288
MAX_MEDIATORS: constant(uint256) = 32


struct DealMembers:
    solver: address
    jobCreator: address
    resourceProvider: address
    mediators: DynArray[address, MAX_MEDIATORS]


struct Deal:
    dealId: String[MAX_TEXT]
    members: DealMembers
    timeouts: deal.DealTimeouts
    pricing: deal.DealPricing


struct Result:
    dealId: String[MAX_TEXT]
    resultsId: String[MAX_TEXT]
    dataId: String[MAX_TEXT]
    instructionCount: uint256


@internal
@pure
def _times(one: uint256, other: uint256) -> uint256:
    """
    @notice Multiply, and overflow as Solidity does: Panic(0x11).
    """
    product: uint256 = unsafe_mul(one, other)
    if one != 0 and product // one != other:
        raw_revert(abi_encode(convert(0x11, uint256), method_id=method_id("Panic(uint256)")))
    return product
