"""Puts the market contracts on a development chain whose endpoint signs for its first account.

Every deployment uses the same sender and the same nonces, so the addresses are the same on every fresh chain.
Facts: the compiled artefacts beside the contract sources, and the order in which the contracts are wired.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from node.chain.calls import MarketAddresses
from node.chain.client import Chain, JsonRpc
from node.chain.contracts import discover
from node.chain.hexadecimal import tx_hash
from node.chain.interface import Function
from node.errors import Fatal, Misconfigured
from node.resources import data_path
from node.types import Address, TxHash

TOKEN_NAME, TOKEN_SYMBOL = "Devnet Token", "DEV"
TOKEN_SUPPLY_WEI = 10**27

_GAS_TO_CREATE = 8_000_000
_GAS_TO_WIRE = 500_000
_CREATED = ("Token", "Payments", "Storage", "Users", "MediationRandom", "OnChainJobCreator", "Controller")

_INITIALIZE = Function("initialize")
_INITIALIZE_TOKEN = Function("initialize", "address")
_INITIALIZE_CONTROLLER = Function("initialize", *("address",) * 6)
_SET_CONTROLLER = Function("setControllerAddress", "address")


@dataclass(frozen=True, slots=True)
class _Step:
    """One transaction of the deployment; ``to`` is None for a creation."""

    what: str
    to: Address | None
    data: bytes


def market_bytecode(name: str) -> bytes:
    """Return the bytecode that creates one contract of our market."""
    artefact = json.loads(data_path(f"contracts_abi/market/{name}.json").read_text())
    return bytes.fromhex(artefact["bytecode"].removeprefix("0x"))


@dataclass(frozen=True, slots=True)
class Artefacts:
    """What is deployed: each contract's bytecode by name, and whether Payments has rights at the token."""

    bytecode: Callable[[str], bytes] = market_bytecode
    token_obeys_payments: bool = False


def market_addresses(deployer: Address) -> MarketAddresses:
    """Return where the contracts of a fresh chain will be when ``deployer`` has sent nothing before."""
    at = {name: _created_address(deployer, nonce) for nonce, name in enumerate(_CREATED)}
    return MarketAddresses(
        controller=at["Controller"],
        payments=at["Payments"],
        storage=at["Storage"],
        users=at["Users"],
        mediation=at["MediationRandom"],
        job_manager=at["OnChainJobCreator"],
        token=at["Token"],
    )


async def deploy_market(
    rpc: JsonRpc, deployer: Address, job_reporter: Address, artefacts: Artefacts
) -> MarketAddresses:
    """Deploy and wire the market, or recognise the one that is there already.

    ``job_reporter`` may report results to contracts that posted jobs. The endpoint must hold the deployer's
    key and mine only when told to. Raises Misconfigured if the chain holds something else of the deployer.
    """
    chain = Chain(rpc)
    expected = market_addresses(deployer)
    nonce = await chain.nonce(deployer, pending=True)
    if nonce:
        if await chain.code(expected.controller) and await discover(chain, expected.controller) == expected:
            return expected
        raise Misconfigured(
            f"account {deployer} has sent {nonce} transactions on this chain, but not this market's: "
            "start with an empty chain (remove the devnet's state directory)"
        )
    steps = _steps(expected, job_reporter, artefacts)
    hashes = [await _send(rpc, deployer, index, step) for index, step in enumerate(steps)]
    while await chain.nonce(deployer) < len(steps):
        before = await chain.nonce(deployer)
        await rpc.call("evm_mine", [])
        if await chain.nonce(deployer) == before:
            raise Fatal("the development chain does not mine the market's deployment")
    for step, sent in zip(steps, hashes, strict=True):
        receipt = await chain.receipt(sent)
        if receipt is None or not receipt.ok:
            raise Fatal(f"deployment step {step.what} failed: the compiled contracts do not fit together")
    return await discover(chain, expected.controller)


async def _send(rpc: JsonRpc, deployer: Address, nonce: int, step: _Step) -> TxHash:
    # Nonces are explicit and nothing is waited for: the whole deployment fits into a few blocks.
    request: dict[str, str] = {
        "from": deployer,
        "nonce": hex(nonce),
        "gas": hex(_GAS_TO_CREATE if step.to is None else _GAS_TO_WIRE),
        "data": "0x" + step.data.hex(),
    }
    if step.to is not None:
        request["to"] = step.to
    return tx_hash(await rpc.call("eth_sendTransaction", [request]))


def _steps(at: MarketAddresses, job_reporter: Address, artefacts: Artefacts) -> Sequence[_Step]:
    token_arguments = encode(["string", "string", "uint256"], [TOKEN_NAME, TOKEN_SYMBOL, TOKEN_SUPPLY_WEI])
    creations = [
        _Step(
            f"create {name}", None, artefacts.bytecode(name) + (token_arguments if name == "Token" else b"")
        )
        for name in _CREATED
    ]
    token = (
        (_Step("wire Token", at.token, _SET_CONTROLLER.encode(at.payments)),)
        if artefacts.token_obeys_payments
        else ()
    )
    # The Controller keeps an address for a proof-of-work contract that direct matching never calls.
    parts = (at.storage, at.users, at.payments, at.mediation, at.job_manager, at.controller)
    return (
        *creations,
        *token,
        _Step("initialize Payments", at.payments, _INITIALIZE_TOKEN.encode(at.token)),
        _Step("initialize Storage", at.storage, _INITIALIZE.encode()),
        _Step("initialize Users", at.users, _INITIALIZE.encode()),
        _Step("initialize MediationRandom", at.mediation, _INITIALIZE.encode()),
        _Step("initialize OnChainJobCreator", at.job_manager, _INITIALIZE_TOKEN.encode(at.token)),
        _Step("wire OnChainJobCreator", at.job_manager, _SET_CONTROLLER.encode(job_reporter)),
        _Step("initialize Controller", at.controller, _INITIALIZE_CONTROLLER.encode(*parts)),
        _Step("wire Storage", at.storage, _SET_CONTROLLER.encode(at.controller)),
        _Step("wire Payments", at.payments, _SET_CONTROLLER.encode(at.controller)),
        _Step("wire MediationRandom", at.mediation, _SET_CONTROLLER.encode(at.controller)),
    )


def _created_address(sender: Address, nonce: int) -> Address:
    """Return the address of the contract that ``sender`` creates with ``nonce`` (below 128)."""
    # RLP of [20 bytes, small integer]: keccak of it, last 20 bytes (yellow paper, section 7).
    encoded = b"\xd6\x94" + bytes.fromhex(sender[2:]) + (bytes([nonce]) if nonce else b"\x80")
    return Address("0x" + keccak(encoded)[12:].hex())
