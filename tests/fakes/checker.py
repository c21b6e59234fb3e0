"""A check of results that finds what a test says."""

from pathlib import Path

from node.errors import NodeError
from node.requester.checking import Checked, Found


class ScriptedChecker:
    """Meets the requester's ``Checker``. ``unready`` and ``problem`` are raised where they apply."""

    def __init__(self, folder: Path = Path("checks")) -> None:
        self.found = Found.SAME
        self.unready: NodeError | None = None
        self.problem: NodeError | None = None
        self.checked: list[tuple[str, str]] = []
        self._folder = folder

    def require(self) -> None:
        if self.unready is not None:
            raise self.unready

    async def check(self, deal_id, spec, cid, directory) -> Checked:
        if self.problem is not None:
            raise self.problem
        self.checked.append((deal_id, cid))
        return Checked(self.found, f"it was found {self.found}", self._folder)
