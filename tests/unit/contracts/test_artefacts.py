"""The committed artefacts are what the committed sources give, wherever they are compiled."""

import json
import shutil
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest

from tests.unit.contracts.evm import ABI_DIRECTORY

DEPLOYED_CODE_LIMIT = 24_576


@pytest.fixture(scope="module")
def compiler() -> SimpleNamespace:
    return SimpleNamespace(**run_path(str(ABI_DIRECTORY.parent / "scripts" / "compile_contracts.py")))


@pytest.fixture(scope="module")
def built(compiler: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    elsewhere = tmp_path_factory.mktemp("sources")
    for source in (ABI_DIRECTORY / "market").glob("*.vy"):
        shutil.copy(source, elsewhere)
    return compiler.build(elsewhere)


@pytest.mark.slow
def test_the_committed_artefacts_are_what_the_sources_give(
    compiler: SimpleNamespace, built: dict[str, str]
) -> None:
    assert compiler.stale(ABI_DIRECTORY, built) == []


@pytest.mark.slow
def test_an_edited_or_missing_artefact_is_named_as_stale(
    compiler: SimpleNamespace, built: dict[str, str], tmp_path: Path
) -> None:
    directory = tmp_path / "contracts_abi"
    shutil.copytree(ABI_DIRECTORY, directory)
    (directory / "Token.json").unlink()
    edited = directory / "market" / "Payments.json"
    edited.write_text(edited.read_text().replace("uint256", "uint128", 1))
    assert compiler.stale(directory, built) == ["market/Payments.json", "Token.json"]


def test_every_contract_fits_the_code_size_limit(compiler: SimpleNamespace) -> None:
    for contract in compiler.CONTRACTS:
        artefact = json.loads((ABI_DIRECTORY / "market" / f"{contract}.json").read_text())
        assert 0 < len(artefact["deployedBytecode"]) // 2 - 1 <= DEPLOYED_CODE_LIMIT, contract


def test_the_abi_file_is_the_abi_of_the_artefact(compiler: SimpleNamespace) -> None:
    for contract in compiler.CONTRACTS:
        artefact = json.loads((ABI_DIRECTORY / "market" / f"{contract}.json").read_text())
        assert json.loads((ABI_DIRECTORY / f"{contract}.json").read_text()) == artefact["abi"]
