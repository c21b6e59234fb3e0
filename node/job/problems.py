"""What is wrong with a job as it was typed or posted: every problem with its key, value and what is allowed.

Owns only the report. The rules are in ``tunables`` and ``modules``, the reading in ``spec``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from node.errors import NodeError

SHOWN_CHARACTERS = 48


def shown(text: str) -> str:
    """Return foreign text quoted, escaped to printable ASCII and shortened, safe for any terminal or log."""
    if len(text) > SHOWN_CHARACTERS:
        return f"{ascii(text[: SHOWN_CHARACTERS - 3])[:-1]}...'"
    return ascii(text)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct. ``value`` is already quoted and shortened (``shown``)."""

    key: str
    value: str
    wrong: str
    allowed: str

    def __str__(self) -> str:
        """Read as ``Steps='500': above the maximum; allowed: an integer from 5 to 200``."""
        return f"{self.key}={self.value}: {self.wrong}; allowed: {self.allowed}"

    def to_json(self) -> dict[str, str]:
        """Return the four parts for programs."""
        return {"key": self.key, "value": self.value, "wrong": self.wrong, "allowed": self.allowed}


class InvalidInputs(NodeError):
    """The job cannot be computed as asked. ``problems`` holds all of them, in the order of the inputs."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(
            "the job's inputs are invalid: " + " | ".join(str(problem) for problem in self.problems)
        )
