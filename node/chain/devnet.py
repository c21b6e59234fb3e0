"""A private market on this machine: Anvil with the contracts deployed and accounts that can be given money.

For ``devnet up``, the demo and the tests. Its accounts and keys are the published ones of every development
chain: money on any real network must never be sent to them.
"""

from pathlib import Path
from types import TracebackType

from node.chain.anvil import Anvil
from node.chain.calls import MarketAddresses
from node.chain.client import Chain, JsonRpc
from node.chain.contracts import MarketContracts
from node.chain.deploy import Artefacts, deploy_market
from node.chain.hexadecimal import tx_hash
from node.chain.rpc import Rpc
from node.chain.rules import detect_rules
from node.chain.signer import LocalSigner
from node.errors import Fatal, Misconfigured
from node.types import Address, Wei

DEV_CHAIN_ID = 31337
ETHER = 10**18
OUR_MARKET = Artefacts()

_GAS_TO_TRANSFER = 200_000

# The development mnemonic's first keys, as Anvil, Hardhat and Ganache print them at every start.
_DEV_KEYS = (
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
)
DEPLOYER, FAUCET, SOLVER, MEDIATOR, PROVIDER, REQUESTER = range(6)
"""What each development account is for."""


def dev_key(account: int) -> bytes:
    """Return the published private key of a development account."""
    return bytes.fromhex(_DEV_KEYS[account])


def dev_signer(account: int) -> LocalSigner:
    """Return a signer for a development account, such as ``PROVIDER``."""
    return LocalSigner(dev_key(account))


class DevMarket:
    """The market on a development chain that obeys Anvil's own methods; opened on one already running."""

    def __init__(self, url: str, chain_id: int = DEV_CHAIN_ID, artefacts: Artefacts = OUR_MARKET) -> None:
        self.url = url
        self._artefacts = artefacts
        self.chain_id = chain_id
        self.rpc: JsonRpc
        self._rpc = self.rpc = Rpc(url)
        self.chain = Chain(self.rpc)
        self._contracts: MarketContracts | None = None

    @property
    def contracts(self) -> MarketContracts:
        """The market's contracts, once ``open`` has returned."""
        if self._contracts is None:
            raise Fatal("the development market is not open")
        return self._contracts

    @property
    def addresses(self) -> MarketAddresses:
        """Where the market's contracts are."""
        return self.contracts.addresses

    async def open(self) -> None:
        """Deploy the market, or recognise it; raises Misconfigured if the chain holds something else."""
        deployer, reporter = dev_signer(DEPLOYER).address, dev_signer(SOLVER).address
        addresses = await deploy_market(self.rpc, deployer, reporter, self._artefacts)
        rules = await detect_rules(self.chain, addresses)
        self._contracts = MarketContracts(self.chain, addresses, self.chain_id, rules)

    async def close(self) -> None:
        """Close the connection."""
        await self._rpc.close()

    async def fund(self, address: Address, *, ether_wei: int = 0, token_wei: int = 0) -> None:
        """Add gas money and payment tokens to an account; both are there when this returns."""
        if ether_wei:
            balance = await self.chain.balance(address)
            await self.rpc.call("anvil_setBalance", [address, hex(balance + ether_wei)])
        if token_wei:
            call = self.contracts.transfer(address, Wei(token_wei))
            request = {
                "from": dev_signer(DEPLOYER).address,
                "to": call.to,
                "data": "0x" + call.data.hex(),
                "gas": hex(_GAS_TO_TRANSFER),
            }
            sent = tx_hash(await self.rpc.call("eth_sendTransaction", [request]))
            receipt = await self.chain.receipt(sent)
            if receipt is None:
                await self.mine()
                receipt = await self.chain.receipt(sent)
            if receipt is None or not receipt.ok:
                raise Fatal(f"the devnet did not pay {token_wei} tokens to {address}")

    async def mine(self, blocks: int = 1) -> None:
        """Mine now, whatever the chain's rhythm."""
        await self.rpc.call("anvil_mine", [hex(blocks)])


class Devnet:
    """A development market with its own Anvil, as an async context manager that gives a DevMarket.

    ``port`` 0 takes a free one. ``block_time_s`` None mines each transaction at once. With ``state_dir`` the
    chain is kept there between runs; without, every run is a fresh chain with the same addresses.
    ``artefacts`` are the contracts to deploy.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        block_time_s: int | None = 1,
        chain_id: int = DEV_CHAIN_ID,
        state_dir: Path | None = None,
        artefacts: Artefacts = OUR_MARKET,
    ) -> None:
        if block_time_s is not None and block_time_s < 1:
            raise Misconfigured(f"block_time_s is {block_time_s}: whole seconds from 1, or none")
        self._block_time_s = block_time_s
        self._chain_id = chain_id
        self._artefacts = artefacts
        state_file = None if state_dir is None else state_dir / "anvil.json"
        self._anvil = Anvil(port=port, chain_id=chain_id, state_file=state_file)
        self._market: DevMarket | None = None

    @property
    def pid(self) -> int:
        """Anvil's process id."""
        return self._anvil.pid

    async def __aenter__(self) -> DevMarket:
        await self._anvil.start()
        market = self._market = DevMarket(self._anvil.url, self._chain_id, self._artefacts)
        try:
            # Mining only on demand, so that the deployment fills few blocks and takes no time.
            await market.rpc.call("evm_setAutomine", [False])
            await market.open()
            if self._block_time_s is None:
                await market.rpc.call("evm_setAutomine", [True])
            else:
                await market.rpc.call("evm_setIntervalMining", [self._block_time_s])
        except BaseException:
            await self._close()
            raise
        return market

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        market, self._market = self._market, None
        try:
            if market is not None:
                await market.close()
        finally:
            await self._anvil.stop()
