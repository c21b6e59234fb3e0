"""A private market with a funded provider and requester, for ``devnet up``, the demo and tests."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.chain.deploy import Artefacts
from node.chain.devnet import (
    MEDIATOR,
    OUR_MARKET,
    PROVIDER,
    REQUESTER,
    DevMarket,
    Devnet,
    dev_key,
    dev_signer,
)
from node.chain.keystore import DEVNET_SCRYPT_COST, create_keystore
from node.journal.database import take_lock
from node.types import Address, Wei

ROLES = {"provider": PROVIDER, "requester": REQUESTER, "mediator": MEDIATOR}
TOKENS = 10_000 * 10**18
GAS_MONEY = 100 * 10**18
DEV_PASSWORD = "development"  # noqa: S105 - protects keys that everybody knows
HTTP_PORT = 8470
# Several nodes run beside each other on one machine, and none of them is for others.
ANY_PORT = ("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1")
# A devnet has one requester, so caps per account would only be caps on how much can be tried at once.
NO_CAPS = {"max_unpaid_deals_unknown": 1000, "max_unpaid_unknown": "100000"} | {
    "max_unpaid_deals_per_requester": 1000,
    "max_unpaid_per_requester": "100000",
}


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running devnet whose parties own money and have approved the market."""

    market: DevMarket

    def address(self, role: str) -> Address:
        """Return the account of ``provider``, ``requester`` or ``mediator``."""
        return dev_signer(ROLES[role]).address

    def settings(self, role: str, data_dir: Path) -> dict[str, dict[str, Any]]:
        """Return settings for a party on this devnet, and write its keystore into ``data_dir``."""
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        keystore, password = data_dir / "keystore.json", data_dir / "password"
        if not keystore.exists():
            password.touch(mode=0o600)
            password.write_text(DEV_PASSWORD)
            create_keystore(keystore, DEV_PASSWORD, key=dev_key(ROLES[role]), scrypt_cost=DEVNET_SCRYPT_COST)
        return {
            "node": {"data_dir": str(data_dir)},
            "chain": {
                "rpc_urls": [self.market.url],
                "chain_id": self.market.chain_id,
                "controller": self.market.addresses.controller,
                "confirmations": 0,
                "poll_interval_s": 0.2,
            },
            "wallet": {"keystore": str(keystore), "password_file": str(password)},
            "market": {"mediators": [self.address("mediator")], "allow_toy_models": True},
            "admission": {"min_free_disk_gb": 0.2, "initial_job_gb": 0.01, **NO_CAPS},
            "ipfs": {"listen": list(ANY_PORT)},
            # Play money: a test may do in a minute what is suspicious in an hour elsewhere.
            "policy": {"max_per_hour": "100000", "max_per_counterparty": "10000", "max_gas_per_hour": "1000"},
        }

    def write_configs(self, folder: Path) -> None:
        """Write a file of settings for each party of this devnet, with its data beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        for role in ROLES:
            _forget_last_chain(folder.absolute() / role)
            sections = self.settings(role, folder.absolute() / role)
            if role == "provider":
                sections["http"] = {"port": HTTP_PORT, "public_url": f"http://127.0.0.1:{HTTP_PORT}"}
            elif role == "mediator":
                sections["http"] = {"port": HTTP_PORT + 1}
                sections["mediator"] = {"enabled": True}
                # It judges, and takes no jobs of its own.
                sections["market"]["modules"] = []
            lines = []
            for section, values in sections.items():
                lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
            (folder / f"{role}.toml").write_text("\n".join(lines) + "\n")


def _forget_last_chain(data_dir: Path) -> None:
    """Remove what another chain left; keys and models stay. Raises InUse while a node works there."""
    with take_lock(data_dir):
        for name in ("jobs", "ipfs", "requester", "mediation", "disputes"):
            shutil.rmtree(data_dir / name, ignore_errors=True)
        for file in data_dir.glob("journal.sqlite*"):
            file.unlink()


@asynccontextmanager
async def sandbox(
    *, port: int = 0, block_time_s: int | None = 1, artefacts: Artefacts = OUR_MARKET
) -> AsyncIterator[Sandbox]:
    """Start a fresh devnet, fund the parties and let the market take the provider's collateral."""
    async with Devnet(port=port, block_time_s=block_time_s, artefacts=artefacts) as market:
        box = Sandbox(market)
        for role in ("provider", "requester"):
            await market.fund(box.address(role), ether_wei=GAS_MONEY, token_wei=TOKENS)
        await market.fund(box.address("mediator"), ether_wei=GAS_MONEY)
        if market.contracts.rules.needs_allowance:
            await approve_directly(market, PROVIDER)
        yield box


async def approve_directly(market: DevMarket, account: int) -> None:
    """Have a development account approve the market without a journal: its node has not started yet."""
    call = market.contracts.approve(market.addresses.payments, Wei(TOKENS))
    request = {"from": dev_signer(account).address, "to": call.to, "data": "0x" + call.data.hex()}
    await market.rpc.call("eth_sendTransaction", [request])
    await market.mine()
