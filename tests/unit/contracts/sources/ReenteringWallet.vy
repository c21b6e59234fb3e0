# pragma version 0.4.3
# pragma evm-version cancun
"""
@title ReenteringWallet
@notice A party that is a contract: it forwards calls, and whenever tokens arrive it tries another call first.
"""

target: address
attempt: Bytes[1024]
attempts: public(uint256)
successes: public(uint256)


@external
def forward(to: address, data: Bytes[2048]):
    raw_call(to, data)


@external
def prepare(target: address, attempt: Bytes[1024]):
    self.target = target
    self.attempt = attempt


@external
def tokensReceived():
    if self.target == empty(address):
        return
    self.attempts += 1
    if raw_call(self.target, self.attempt, revert_on_failure=False):
        self.successes += 1


@external
def submitResults(id: uint256, dealId: String[64], dataId: String[128]):
    self.attempts = id
