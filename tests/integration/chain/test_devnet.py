"""A development network that starts, is found again, and always goes away."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from node.chain import anvil
from node.chain.client import Chain
from node.chain.contracts import discover
from node.chain.deploy import market_addresses
from node.chain.devnet import DEPLOYER, ETHER, DevMarket, Devnet, dev_signer
from node.chain.rpc import Rpc
from node.errors import Misconfigured
from node.resources import data_path
from node.types import Address

pytestmark = pytest.mark.integration
SOMEBODY = Address("0x" + "5b" * 20)


def alive(pid: int) -> bool:
    """Whether the process exists and is not a corpse."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_every_fresh_devnet_has_the_same_addresses_and_the_networks_file_names_them():
    async with Devnet() as one, Devnet() as two:
        assert one.url != two.url
        assert one.addresses == two.addresses == market_addresses(dev_signer(DEPLOYER).address)
        assert one.addresses.controller in data_path("config/networks.toml").read_text().lower()


async def test_the_controller_alone_leads_to_every_contract(devnet: DevMarket):
    found = await discover(devnet.chain, Address(devnet.addresses.controller.upper().replace("X", "x")))
    assert found == devnet.addresses


async def test_an_address_without_a_contract_is_named_in_one_sentence(devnet: DevMarket):
    with pytest.raises(Misconfigured, match=f"there is no contract at {SOMEBODY} on chain 31337"):
        await discover(devnet.chain, SOMEBODY)


async def test_a_contract_that_is_no_controller_is_named_in_one_sentence(devnet: DevMarket):
    with pytest.raises(Misconfigured, match="is not a market Controller"):
        await discover(devnet.chain, devnet.addresses.token)


async def test_accounts_can_be_given_gas_and_tokens_in_any_mining_rhythm(devnet: DevMarket):
    await devnet.fund(SOMEBODY, ether_wei=2 * ETHER, token_wei=3 * ETHER)
    await devnet.rpc.call("evm_setAutomine", [False])
    await devnet.fund(SOMEBODY, ether_wei=ETHER, token_wei=ETHER)
    assert await devnet.chain.balance(SOMEBODY) == 3 * ETHER
    assert await devnet.contracts.token_balance(SOMEBODY) == 4 * ETHER


async def test_a_state_directory_keeps_the_chain_between_runs(tmp_path: Path):
    async with Devnet(state_dir=tmp_path / "devnet") as devnet:
        await devnet.fund(SOMEBODY, token_wei=7)
        addresses = devnet.addresses
    async with Devnet(state_dir=tmp_path / "devnet") as devnet:
        assert devnet.addresses == addresses
        assert await devnet.contracts.token_balance(SOMEBODY) == 7


async def test_blocks_come_by_themselves():
    async with Devnet(block_time_s=1) as devnet:
        number = (await devnet.chain.head()).number
        async with asyncio.timeout(20):
            while (await devnet.chain.head()).number == number:
                pass


async def test_a_chain_used_for_something_else_is_left_alone():
    process = anvil.Anvil()
    await process.start()
    market = DevMarket(process.url)
    try:
        deployer = dev_signer(DEPLOYER).address
        await market.rpc.call("eth_sendTransaction", [{"from": deployer, "to": SOMEBODY, "value": "0x1"}])
        with pytest.raises(Misconfigured, match="not this market's"):
            await market.open()
    finally:
        await market.close()
        await process.stop()


async def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"port {port} on 127.0.0.1 cannot be used"):
            await Devnet(port=port).__aenter__()


async def test_a_missing_anvil_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(anvil.platform, "machine", lambda: "z80")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Misconfigured, match="scripts/install"):
        await Devnet().__aenter__()


async def test_an_anvil_on_path_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "anvil").write_text("#!/bin/sh\necho out of order\nexit 3\n")
    (tmp_path / "anvil").chmod(0o755)
    monkeypatch.setattr(anvil.platform, "machine", lambda: "z80")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert anvil.find_anvil() == tmp_path / "anvil"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Misconfigured, match="Anvil ended with status 3: out of order"):
        await Devnet().__aenter__()


async def test_leaving_the_context_ends_anvil_even_after_an_error():
    pids: list[int] = []

    async def fail_inside() -> None:
        devnet = Devnet()
        async with devnet:
            pids.append(devnet.pid)
            assert alive(devnet.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_inside()
    assert not alive(pids[0])


async def test_a_failed_start_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch):
    started: list[int] = []

    async def broken(self: DevMarket) -> None:
        started.append(devnet.pid)
        raise Misconfigured("broken")

    monkeypatch.setattr(DevMarket, "open", broken)
    devnet = Devnet()
    with pytest.raises(Misconfigured, match="broken"):
        await devnet.__aenter__()
    assert not alive(started[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_anvil_dies_with_a_killed_parent():
    script = (
        "import asyncio\n"
        "from node.chain.devnet import Devnet\n"
        "async def main():\n"
        "    devnet = Devnet()\n"
        "    async with devnet:\n"
        "        print(devnet.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        watch = os.pidfd_open(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    import select

    ended, _, _ = select.select([watch], [], [], 20)
    os.close(watch)
    assert ended
    assert not alive(pid)


async def test_a_devnet_of_another_chain_id_says_so():
    async with Devnet(chain_id=424242) as devnet:
        rpc = Rpc(devnet.url)
        assert await Chain(rpc).chain_id() == 424242
        await rpc.close()
        assert devnet.contracts.place.chain_id == 424242
