"""Whether contracts are where the market says, and whether their code is the one this version ships."""

import asyncio
import json

from eth_utils.crypto import keccak

from node.app.checks import Check, problem
from node.chain.calls import MarketAddresses
from node.chain.client import Chain
from node.resources import data_path

_OURS = {
    "controller": "Controller",
    "payments": "Payments",
    "storage": "Storage",
    "users": "Users",
    "mediation": "MediationRandom",
    "job_manager": "OnChainJobCreator",
}


async def check_code(chain: Chain, addresses: MarketAddresses) -> Check:
    """Is there code at every address, and is it known?"""
    names = [*_OURS, "token"]
    codes = dict(
        zip(
            names,
            await asyncio.gather(*(chain.code(getattr(addresses, name)) for name in names)),
            strict=True,
        )
    )
    empty = [f"{name} {getattr(addresses, name)}" for name, code in codes.items() if not code]
    if empty:
        return problem("contracts", f"no contract is at {', '.join(empty)}", "check chain.controller")
    strange = [name for name in _OURS if not _is_ours(name, codes[name])]
    at = f"controller {addresses.controller}"
    if not strange:
        return Check("contracts", "ok", f"{at}: the code of all {len(_OURS)} is what this version ships")
    hashes = ", ".join(f"{name} {keccak(codes[name]).hex()[:16]}" for name in strange)
    return Check("contracts", "ok", f"{at}: not contracts of ours, by code hash {hashes}")


def _is_ours(name: str, code: bytes) -> bool:
    shipped = json.loads(data_path(f"contracts_abi/market/{_OURS[name]}.json").read_text(encoding="utf-8"))
    # Vyper keeps immutables behind the code, so a deployed contract is longer than what was compiled.
    return code.startswith(bytes.fromhex(shipped["deployedBytecode"].removeprefix("0x")))
