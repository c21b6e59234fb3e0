"""Balances of many accounts through code that is executed and never deployed, on a real EVM."""

import pytest

from node.chain.balances import ACCOUNTS_PER_CALL, token_balances
from node.chain.devnet import MEDIATOR, PROVIDER, dev_signer
from node.types import Address

pytestmark = pytest.mark.integration


def account(mark: int) -> Address:
    return Address(f"0x{mark:040x}")


async def test_many_balances_in_one_call_are_the_balances_asked_for_one_by_one(devnet, contracts):
    sender = dev_signer(MEDIATOR)
    await devnet.fund(sender.address, token_wei=10**21)
    owned = {account(mark): await contracts.token_balance(account(mark)) for mark in (1, 2)}
    many = [sender.address, *(account(mark) for mark in range(1, 2 * ACCOUNTS_PER_CALL + 9))]
    found = await contracts.token_balances(many)
    assert list(found) == many
    assert found[sender.address] == await contracts.token_balance(sender.address) >= 10**21
    assert {address: found[address] for address in owned} == owned


async def test_what_is_no_token_owns_nothing(chain):
    nothing = dev_signer(PROVIDER).address
    assert await token_balances(chain, nothing, [account(7)]) == {account(7): 0}


async def test_a_token_that_answers_with_the_byte_no_creation_may_return_is_read(devnet, chain):
    hostile = account(0xBAD)
    # PUSH1 0xef PUSH1 0 MSTORE8 PUSH1 32 PUSH1 0 RETURN
    await devnet.rpc.call("anvil_setCode", [hostile, "0x60ef60005360206000f3"])
    assert await token_balances(chain, hostile, [account(7)]) == {account(7): 0xEF << 248}
