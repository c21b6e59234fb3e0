"""Offers that no honest requester posts reach the node by the job manager's own address."""

import asyncio

import pytest
from eth_abi.abi import encode

from node.chain import events
from node.chain.devnet import MEDIATOR, dev_signer
from node.requester.outcome import RunState
from tests.chaos.conftest import MODULE

pytestmark = [pytest.mark.chaos, pytest.mark.integration]

# Emits the log it is called with, first word as topic: a job manager without any limits.
ECHO = "0x" + "6020360380602060003760003590" + "6000a100"
STRANGER = dev_signer(MEDIATOR).address
NAME = MODULE.encode()

HOSTILE = {
    "invalid UTF-8": (901, NAME, [b"Prompt=\xff\xfe\xed\xa0\x80"]),
    "a 10 KiB prompt": (902, NAME, [b"Prompt=" + b"p" * 10_240]),
    "100 inputs": (903, NAME, [b"Steps=50"] * 100),
    "control characters": (904, NAME, [b"Prompt=a\x1b[2J\x00"]),
    "duplicate keys": (905, NAME, [b"Steps=5", b"Steps=6"]),
    "another module": (906, b"cowsay:v0.0.4", [b"Message=moo"]),
    "an unknown key": (907, NAME, [b"Prmpt=a fox"]),
}


def job_added(number, module, inputs):
    data = encode(
        ["uint256", "address", "address", "bytes", "bytes[]"], [number, STRANGER, STRANGER, module, inputs]
    )
    return events.JOB_ADDED + data.hex()


async def test_each_hostile_offer_is_skipped_with_a_reason_and_the_next_job_is_paid(make_world):
    async with make_world("fake:20") as world:
        rpc = world.box.market.rpc
        manager = world.box.market.addresses.job_manager
        honest_code = await rpc.call("eth_getCode", [manager, "latest"])
        await rpc.call("anvil_setCode", [manager, ECHO])
        for offer in HOSTILE.values():
            request = {"from": STRANGER, "to": manager, "data": job_added(*offer), "gas": hex(20_000_000)}
            await rpc.call("eth_sendTransaction", [request])
        # Anvil answers before it mines: the code must not change under an offer that is still to be mined.
        while await world.box.market.chain.nonce(STRANGER) < len(HOSTILE):
            await asyncio.sleep(0.02)
        await rpc.call("anvil_setCode", [manager, honest_code])

        await world.start()
        async with world.requester() as party, asyncio.timeout(60):
            outcome = await party.request(MODULE, ("Prompt=an honest fox",))
        assert outcome.state is RunState.PAID

        status = await world.get("/api/v1/status")
        reasons = {skipped["job_number"]: skipped["reason"] for skipped in status["skipped"]}
        assert set(reasons) == {number for number, _, _ in HOSTILE.values()}
        assert all(reasons.values())
        assert "Steps" in reasons[905]
        assert "Prmpt" in reasons[907]
        jobs = (await world.get("/api/v1/jobs"))["jobs"]
        assert [job["job_id"] for job in jobs] == ["j1"]
