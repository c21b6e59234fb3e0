"""Bytecode of the market that behaves as Lilypad's deployment does, compiled from the sources beside it.

The sources share modules with our own market (``contracts_abi/market``). Compiling takes some seconds and is
done once in each test process that asks.
"""

from functools import cache
from pathlib import Path

from vyper.compiler import CompilerData
from vyper.compiler.input_bundle import FilesystemInputBundle

from node.chain.deploy import Artefacts, market_bytecode
from node.resources import data_path

SOURCES = Path(__file__).parent
SHARED = data_path("contracts_abi/market")
OURS = frozenset({"Users"})
"""Contracts that no rule of a deal depends on, taken from our own market."""


@cache
def _compiled(name: str) -> bytes:
    bundle = FilesystemInputBundle([SHARED, SOURCES])
    return bytes(CompilerData(bundle.load_file(f"Lilypad{name}.vy"), bundle).bytecode)


def lilypad_bytecode(name: str) -> bytes:
    """Return the bytecode that creates one contract of the market."""
    return market_bytecode(name) if name in OURS else _compiled(name)


LILYPAD = Artefacts(lilypad_bytecode, token_obeys_payments=True)
"""What ``Devnet`` deploys to be such a market."""
