"""Where the files that ship with the package are: inside the wheel, or in the source tree beside it."""

from pathlib import Path

from node.errors import Fatal

PACKAGE = Path(__file__).resolve().parent


def data_path(relative: str) -> Path:
    """Return a shipped file or folder such as ``contracts_abi/market/Token.json``.

    Raises Fatal if the installation lacks it.
    """
    for root in (PACKAGE / "_data", PACKAGE.parent):
        candidate = root / relative
        if candidate.exists():
            return candidate
    raise Fatal(f"{relative} is missing from this installation: reinstall sdv-node")
