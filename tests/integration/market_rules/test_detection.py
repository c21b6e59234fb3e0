"""Which rules a market follows is found out by simulating calls, whatever its address or name."""

from dataclasses import replace

import pytest

from node.chain.devnet import DEPLOYER, dev_signer
from node.chain.interface import Function
from node.chain.rules import POOLED_RULES, SOUND_RULES, detect_rules
from node.errors import Misconfigured

pytestmark = pytest.mark.integration
EXPECTED = {"ours": SOUND_RULES, "lilypad": POOLED_RULES}


async def test_the_rules_of_each_deployment_are_found_by_simulated_calls_that_leave_no_trace(
    devnet, deployment
):
    before = await devnet.chain.head()
    assert await detect_rules(devnet.chain, devnet.addresses) == EXPECTED[deployment.name]
    assert await devnet.chain.head() == before


@pytest.mark.parametrize("deployment", ["lilypad"], indirect=True)
async def test_a_paused_token_does_not_hide_the_rules(devnet):
    pause = Function("pause").encode()
    request = {"from": dev_signer(DEPLOYER).address, "to": devnet.addresses.token, "data": "0x" + pause.hex()}
    await devnet.rpc.call("eth_sendTransaction", [request])
    assert await detect_rules(devnet.chain, devnet.addresses) == POOLED_RULES


FOREIGN_PARTS = {"ours": ("payments", "mediation", "controller"), "lilypad": ("token", "controller")}


async def test_a_market_that_fits_neither_set_of_rules_is_refused_in_words(devnet, deployment):
    for part in FOREIGN_PARTS[deployment.name]:
        mixed = replace(devnet.addresses, **{part: devnet.addresses.users})
        with pytest.raises(Misconfigured, match=r"rules that this node does not know .*check the controller"):
            await detect_rules(devnet.chain, mixed)
