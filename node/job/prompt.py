r"""The weight syntax of prompts: ``(text:1.2)``, nesting, escapes, words and embedding names.

Pure text work, no tokens and no torch: inputs are checked with it where a job is read, and the pipeline cuts
what comes from here into chunks. Every prompt takes time linear in its length, however deep it nests. Rules:
docs, pipeline 3.1 and 3.2.
"""

import math
import re

_EMPHASIS = 1.1
_EMBEDDING = "embedding:"
# Escaped parentheses are matched to be passed over: they are text, never syntax.
_MARK = re.compile(r"\\[()]|[():]")
_ESCAPED = re.compile(r"\\([()])")
LARGEST_WEIGHT = 3.4028234663852886e38
"""The largest float32: weights are doubles, but they are applied to float32 numbers."""


def weighted_segments(text: str) -> list[tuple[str, float]]:
    r"""Return the prompt as (text, weight) in order; ``\(`` and ``\)`` come back as bare parentheses.

    Whatever ``float`` reads is a weight, ``nan`` and ``inf`` included; ``impossible_weights`` finds those.
    """
    if "(" not in text:
        return [(_unescaped(text), 1.0)] if text else []
    return _Groups(text).segments()


def words(text: str) -> list[str]:
    """Return the words of one segment; a textual-inversion name leaves only the commas that follow it."""
    found = []
    for word in text.replace("\n", " ").split(" "):
        if word.startswith(_EMBEDDING):
            found.append(word[len(word.rstrip(",")) :])
        else:
            found.append(word)
    return [word for word in found if word]


def impossible_weights(text: str) -> list[tuple[str, float]]:
    """Return the segments whose weight no network can compute with: NaN, infinite or beyond float32."""
    if "(" not in text:
        return []
    return [
        (segment, weight)
        for segment, weight in weighted_segments(text)
        if math.isnan(weight) or abs(weight) > LARGEST_WEIGHT
    ]


class _Groups:
    """The parentheses and colons of one text that count as syntax, each parenthesis with its partner.

    Surplus ``)`` and as many ``(`` after them are left out: while the nesting is below zero nothing is cut.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._places: list[int] = []
        self._closing: dict[int, int] = {}
        self._opening: dict[int, int] = {}
        unclosed: list[int] = []
        surplus = 0
        for match in _MARK.finditer(text):
            place = match.start()
            mark = len(self._places)
            match match[0]:
                case "(" if surplus:
                    surplus -= 1
                    continue
                case "(":
                    unclosed.append(mark)
                case ")" if not unclosed:
                    surplus += 1
                    continue
                case ")":
                    opening = unclosed.pop()
                    self._opening[mark] = opening
                    self._closing[opening] = mark
                case ":":
                    pass
                case _:
                    continue
            self._places.append(place)

    def segments(self) -> list[tuple[str, float]]:
        """Return (text, weight) in order."""
        found: list[tuple[str, float]] = []
        # A stack instead of recursion: a prompt may nest deeper than the interpreter's own limit. Each entry
        # is a stretch of marks, the stretch of text they stand in, and the weight around it.
        waiting = [(0, len(self._places), 0, len(self._text), 1.0)]
        while waiting:
            mark, marks_end, start, end, weight = waiting.pop()
            while mark < marks_end and self._text[self._places[mark]] != "(":
                mark += 1
            place = self._places[mark] if mark < marks_end else end
            self._emit(found, start, place, weight)
            if mark == marks_end:
                continue
            closing = self._closing.get(mark)
            if closing is None:
                closing = self._borrowed(marks_end, end)
            if closing is None:
                self._emit(found, place, end, weight)
                continue
            waiting.append((closing + 1, marks_end, self._places[closing] + 1, end, weight))
            waiting.append(self._opened(mark, closing, weight))
        return found

    def _emit(self, found: list[tuple[str, float]], start: int, end: int, weight: float) -> None:
        if start < end:
            found.append((_unescaped(self._text[start:end]), weight))

    def _borrowed(self, marks_end: int, end: int) -> int | None:
        """Let a group that is never closed end with the stretch's last ``)``, if that is its very end.

        The group that this ``)`` closed is then the one that is never closed.
        """
        last = marks_end - 1
        if last not in self._opening or self._places[last] != end - 1:
            return None
        del self._closing[self._opening.pop(last)]
        return last

    def _opened(self, opening: int, closing: int, weight: float) -> tuple[int, int, int, int, float]:
        """Return a group's contents and weight: an explicit ``:number`` replaces it, else it is raised."""
        start, end = self._places[opening] + 1, self._places[closing]
        last = closing - 1
        # With a parenthesis after the last colon no number follows it.
        if last > opening and self._text[self._places[last]] == ":" and self._places[last] > start:
            colon = self._places[last]
            try:
                return opening + 1, last, start, colon, float(_unescaped(self._text[colon + 1 : end]))
            except ValueError:
                pass
        return opening + 1, closing, start, end, weight * _EMPHASIS


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text
