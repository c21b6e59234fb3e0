"""Rebuild what contracts_abi/ holds from the Vyper sources in contracts_abi/market.

Writes contracts_abi/<Contract>.json (the ABI alone) and contracts_abi/market/<Contract>.json (ABI, bytecode
and where they come from). The same sources always give the same bytes, so ``--check`` can tell stale ones.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import vyper  # type: ignore[import-untyped]
from vyper.compiler import CompilerData  # type: ignore[import-untyped]
from vyper.compiler.input_bundle import FilesystemInputBundle  # type: ignore[import-untyped]
from vyper.compiler.output import build_abi_output  # type: ignore[import-untyped]

ABI_DIRECTORY = Path(__file__).resolve().parent.parent / "contracts_abi"
CONTRACTS = ("Controller", "MediationRandom", "OnChainJobCreator", "Payments", "Storage", "Token", "Users")
MODULES = ("controller_ownable", "deal", "escrow", "ownable", "terms")
EVM_VERSION = "cancun"


def source_sha256(sources: Path, contract: str) -> str:
    """Hash the contract's source followed by the shared modules in the order of their names."""
    digest = hashlib.sha256()
    for name in (contract, *MODULES):
        digest.update((sources / f"{name}.vy").read_bytes())
    return digest.hexdigest()


def compile_contract(sources: Path, contract: str) -> dict[str, object]:
    """Return the artefact of one contract."""
    bundle = FilesystemInputBundle([sources])
    compiled = CompilerData(bundle.load_file(f"{contract}.vy"), bundle)
    if compiled.settings.evm_version != EVM_VERSION:
        raise SystemExit(f"{contract}.vy must say '# pragma evm-version {EVM_VERSION}'")
    return {
        "contractName": contract,
        "compiler": f"vyper {vyper.__version__}",
        "evmVersion": EVM_VERSION,
        "sourceSha256": source_sha256(sources, contract),
        "abi": build_abi_output(compiled),
        "bytecode": "0x" + compiled.bytecode.hex(),
        "deployedBytecode": "0x" + compiled.bytecode_runtime.hex(),
    }


def build(sources: Path) -> dict[str, str]:
    """Return the text of every artefact by its path below contracts_abi/."""
    texts: dict[str, str] = {}
    for contract in CONTRACTS:
        artefact = compile_contract(sources, contract)
        texts[f"{contract}.json"] = json.dumps(artefact["abi"], indent=1) + "\n"
        texts[f"market/{contract}.json"] = json.dumps(artefact, indent=1) + "\n"
    return texts


def stale(directory: Path, texts: dict[str, str]) -> list[str]:
    """Name the artefacts that are missing or differ from what the sources give."""
    return [
        name
        for name, text in texts.items()
        if not (directory / name).is_file() or (directory / name).read_text() != text
    ]


def main() -> int:
    """Rebuild or check, by the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/compile_contracts",
        description="Rebuild contracts_abi/ from the Vyper sources in contracts_abi/market.",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when an artefact is not up to date"
    )
    arguments = parser.parse_args()
    texts = build(ABI_DIRECTORY / "market")
    changed = stale(ABI_DIRECTORY, texts)
    if arguments.check:
        for name in changed:
            print(f"contracts_abi/{name} is not what the sources give; run scripts/compile_contracts")
        return 1 if changed else 0
    for name in changed:
        (ABI_DIRECTORY / name).write_text(texts[name])
        print(f"wrote contracts_abi/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
