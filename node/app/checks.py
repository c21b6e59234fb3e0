"""What a check of ``sdv-node doctor`` comes to."""

from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and what to do about it."""

    name: str
    verdict: Verdict
    finding: str
    remedy: str = ""
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the check for programs."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "finding": self.finding,
            "remedy": self.remedy,
        }


def problem(name: str, finding: str, remedy: str = "", exit_code: int = 1) -> Check:
    """Return a failed check."""
    return Check(name, "problem", finding, remedy, exit_code)
