# pragma version 0.4.3
# pragma evm-version cancun
"""
@title UnreliableToken
@notice An ERC-20 that misbehaves on demand, and can tell receivers that tokens arrived.
"""

GOOD: constant(uint8) = 0
ANSWERS_FALSE: constant(uint8) = 1
REVERTS: constant(uint8) = 2
KEEPS_A_PART: constant(uint8) = 3
ANSWERS_NOTHING: constant(uint8) = 4
TELLS_RECEIVERS: constant(uint8) = 5
ANSWERS_TWO: constant(uint8) = 6

mood: public(uint8)
blocked: public(HashMap[address, bool])
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(supply: uint256):
    self.balanceOf[msg.sender] = supply


@external
def setMood(mood: uint8):
    self.mood = mood


@external
def setBlocked(account: address, blocked: bool):
    self.blocked[account] = blocked


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True


@internal
def _move(sender: address, receiver: address, amount: uint256) -> uint256:
    assert not self.blocked[receiver], "blocked"
    mood: uint8 = self.mood
    assert mood != REVERTS, "bad day"
    if mood == ANSWERS_FALSE:
        return 0
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    if mood == KEEPS_A_PART:
        self.balanceOf[receiver] -= 1
    if mood == TELLS_RECEIVERS:
        told: bool = raw_call(receiver, method_id("tokensReceived()"), revert_on_failure=False)
    return 2 if mood == ANSWERS_TWO else 1


@external
@raw_return
def transfer(to: address, amount: uint256) -> Bytes[32]:
    answer: uint256 = self._move(msg.sender, to, amount)
    if self.mood == ANSWERS_NOTHING:
        return b""
    return abi_encode(answer)


@external
@raw_return
def transferFrom(sender: address, to: address, amount: uint256) -> Bytes[32]:
    self.allowance[sender][msg.sender] -= amount
    answer: uint256 = self._move(sender, to, amount)
    if self.mood == ANSWERS_NOTHING:
        return b""
    return abi_encode(answer)
