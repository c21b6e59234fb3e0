"""The weight syntax of prompts: ``(text:1.2)``, nesting, escapes, words and embedding names.

Pure text work, no tokens: ``tokens`` cuts what comes from here into chunks. Rules: docs, pipeline 3.1, 3.2.
"""

import re

_EMPHASIS = 1.1
_EMBEDDING = "embedding:"
# One symbol is an escaped parenthesis or a single character; escapes are never read as syntax.
_SYMBOL = re.compile(r"\\[()]|.", re.DOTALL)


def weighted_segments(text: str) -> list[tuple[str, float]]:
    r"""Return the prompt as (text, weight) in order; ``\(`` and ``\)`` come back as bare parentheses."""
    segments: list[tuple[str, float]] = []
    # A stack instead of recursion: a prompt may nest deeper than the interpreter's own limit.
    waiting: list[tuple[list[str], float, bool]] = [(_SYMBOL.findall(text), 1.0, True)]
    while waiting:
        symbols, weight, to_split = waiting.pop()
        if not to_split:
            segments.append((_unescaped(symbols), weight))
            continue
        for piece in reversed(_split_at_groups(symbols)):
            if len(piece) > 1 and piece[0] == "(" and piece[-1] == ")":
                waiting.append((*_opened(piece[1:-1], weight), True))
            else:
                waiting.append((piece, weight, False))
    return segments


def words(text: str) -> list[str]:
    """Return the words of one segment; a textual-inversion name leaves only the commas that follow it."""
    found = []
    for word in text.replace("\n", " ").split(" "):
        if word.startswith(_EMBEDDING):
            found.append(word[len(word.rstrip(",")) :])
        else:
            found.append(word)
    return [word for word in found if word]


def _split_at_groups(symbols: list[str]) -> list[list[str]]:
    """Cut at top-level parentheses. A surplus ``)`` leaves the depth negative, where nothing is cut."""
    pieces: list[list[str]] = []
    running: list[str] = []
    depth = 0
    for symbol in symbols:
        if symbol == "(":
            if depth == 0:
                pieces.append(running)
                running = []
            depth += 1
        running.append(symbol)
        if symbol == ")":
            depth -= 1
            if depth == 0:
                pieces.append(running)
                running = []
    pieces.append(running)
    return [piece for piece in pieces if piece]


def _opened(inside: list[str], weight: float) -> tuple[list[str], float]:
    """Return a group's contents and their weight: an explicit ``:number`` replaces it, else it is raised."""
    colon = len(inside) - 1 - inside[::-1].index(":") if ":" in inside else 0
    if colon > 0:
        try:
            return inside[:colon], float(_unescaped(inside[colon + 1 :]))
        except ValueError:
            pass
    return inside, weight * _EMPHASIS


def _unescaped(symbols: list[str]) -> str:
    return "".join(symbol[-1] for symbol in symbols)
