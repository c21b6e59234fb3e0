"""T17 on a running node: it never signs outside its policy, says why, and leaves no gap in its nonces."""

import asyncio

import pytest

from node.chain.devnet import PROVIDER, REQUESTER, dev_key, dev_signer
from node.requester.outcome import RunState
from node.types import Wei
from tests.chaos.conftest import MODULE
from tests.fakes.remote_signer import DENIED, StubSigner

pytestmark = [pytest.mark.chaos, pytest.mark.integration]
SENDER = dev_signer(REQUESTER).address
OURS = dev_signer(PROVIDER).address
TOKEN = 10**18
PAYOUT = "0x" + "77" * 20


def set_up(world, **changes):
    """Change settings in the node's file, which has each section once; names are ``section__key``."""
    text = world.config_file.read_text()
    for name, value in changes.items():
        section, _, key = name.partition("__")
        kept = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(f"{key} = "))
        text = kept.replace(f"[{section}]\n", f'[{section}]\n{key} = "{value}"\n')
    world.config_file.write_text(text)


async def offer(world):
    market = world.box.market
    call = market.contracts.run_job(MODULE, ("Prompt=a fox",), SENDER)
    request = {"from": SENDER, "to": call.to, "data": "0x" + call.data.hex(), "gas": hex(3_000_000)}
    await market.rpc.call("eth_sendTransaction", [request])


async def nonces_used(world):
    """Return how many transactions of ours were mined; the node's own announcement is one or two of them."""
    return await world.box.market.chain.nonce(OURS)


async def stop(world):
    world.process.terminate()
    assert await world.death() == 0


async def test_a_deal_above_the_cap_is_refused_with_its_reason_and_the_next_one_within_it_is_made(make_world):
    async with make_world("fake:20") as world, asyncio.timeout(180):
        set_up(world, policy__max_per_deal="1")
        await world.start()
        await offer(world)
        job = await world.reached("j1", "REFUSED")
        assert all(word in job["reason"] for word in ("max_per_deal", "can take 2 tokens", "the cap is 1"))
        assert await world.sent_by(OURS) == []
        await stop(world)
        set_up(world, policy__max_per_deal="2")
        await world.start()
        await offer(world)
        await world.reached("j2", "PROPOSED")
        assert [name for name, _ in await world.sent_by(OURS)] == ["agree"]


async def test_a_remote_signers_refusal_and_absence_end_or_hold_the_job_and_leave_no_gap(make_world):
    stub = StubSigner(dev_key(PROVIDER), "clef")
    async with make_world("fake:20") as world, stub.over_http() as url, asyncio.timeout(180):
        set_up(
            world,
            wallet__remote_signer=url.replace("http://", "http://node:secret4711@"),
            wallet__address=OURS,
        )
        (world.directory / "node" / "keystore.json").unlink()
        stub.refusal = DENIED
        await world.start()
        await offer(world)
        job = await world.reached("j1", "REFUSED")
        assert "request denied" in job["reason"]
        # Away: the job waits, with its nonce kept, until somebody answers.
        stub.refusal, stub.status, stub.body = None, 503, b"away"
        asked = len(stub.asked)
        await offer(world)
        while len(stub.asked) < asked + 2:
            await asyncio.sleep(0.02)
        before = await nonces_used(world)
        stub.status, stub.body = 200, None
        await world.reached("j2", "PROPOSED")
        assert [name for name, _ in await world.sent_by(OURS)] == ["agree"]
        assert await nonces_used(world) > before
        assert "secret4711" not in world.log_file.read_text()
        assert "signer_waits" in world.log_file.read_text()


async def test_a_node_reads_on_while_its_signer_takes_thirty_seconds_and_the_deal_is_paid(make_world):
    stub = StubSigner(dev_key(PROVIDER))
    async with make_world("fake:20") as world, stub.over_http() as url, asyncio.timeout(180):
        set_up(world, wallet__remote_signer=url, wallet__address=OURS)
        await world.start()
        while ((await world.get("/api/v1/status") or {}).get("offer") or {}).get("state") != "published":
            await asyncio.sleep(0.05)
        asked = len(stub.asked)
        stub.go_on.clear()
        async with world.requester() as party:
            paying = asyncio.create_task(party.request(MODULE, ("Prompt=a fox",)))
            while len(stub.asked) == asked:
                await asyncio.sleep(0.02)
            rpc = world.box.market.rpc
            for _ in range(30):
                await rpc.call("evm_increaseTime", [1])
                await world.box.market.mine()
            # The price has risen by the time the signature comes.
            await rpc.call("anvil_setNextBlockBaseFeePerGas", [hex(5 * 10**9)])
            head = (await world.box.market.chain.head()).number
            while (await world.get("/api/v1/status"))["chain"]["cursor"] < head:
                await asyncio.sleep(0.02)
            assert (await world.get("/api/v1/jobs/j1"))["phase"] == "PROPOSING"
            assert len(stub.asked) == asked + 1
            stub.go_on.set()
            outcome = await paying
        assert outcome.state is RunState.PAID
        assert [name for name, _ in await world.sent_by(OURS)] == ["agree", "addResult"]
        late, *after = (int(request["params"][0]["nonce"], 16) for request in stub.asked[asked:])
        assert late in after, "what came too late for the price is replaced under its own nonce"
        assert set(after) == {late, late + 1}


async def test_a_signer_that_signs_something_else_stops_the_node_before_anything_is_sent(make_world):
    stub = StubSigner(dev_key(PROVIDER))
    stub.alter = lambda tx: tx | {"to": bytes.fromhex(PAYOUT[2:]), "data": b"", "value": TOKEN}
    async with make_world("fake:20") as world, stub.over_http() as url, asyncio.timeout(180):
        set_up(world, wallet__remote_signer=url, wallet__address=OURS)
        await world.start()
        await offer(world)
        assert await world.death() == 4
        assert await nonces_used(world) == 1  # the approval that the sandbox made
        assert "another transaction than the one it was given" in world.log_file.read_text()


async def test_a_running_node_withdraws_only_what_its_deals_do_not_need(make_world):
    from node.app.control import CommandFailed, ask_running_node

    async with make_world("fake:20") as world, asyncio.timeout(180):
        set_up(world, wallet__payout_address=PAYOUT)
        market, home = world.box.market, world.directory / "node"
        await world.start()
        await offer(world)
        await world.reached("j1", "PROPOSED")
        held = await market.contracts.token_balance(OURS)
        order = {"amount_wei": str(held)}
        with pytest.raises(CommandFailed, match="open deals may still need 1 of") as refused:
            await ask_running_node(home, "wallet.withdraw", order)
        assert refused.value.exit_code == 4
        done = await ask_running_node(home, "wallet.withdraw", {"amount_wei": "all"})
        assert done["amount_wei"] == str(held - TOKEN)
        assert await market.contracts.token_balance(PAYOUT) == held - TOKEN
        await ask_running_node(home, "wallet.withdraw", {"amount_wei": "all", "force": True})
        assert await market.contracts.token_balance(OURS) == 0
        await ask_running_node(home, "wallet.approve", {"amount_wei": str(Wei(7 * TOKEN))})
        assert await market.contracts.token_allowance(OURS, market.addresses.payments) == 7 * TOKEN
