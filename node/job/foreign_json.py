"""Reading JSON that a stranger wrote.

The standard parser recurses on every bracket. A library of the chain room raises the interpreter's recursion
limit so far that some kilobytes of ``[`` overflow the C stack and end the process: depth is checked first.
"""

import json
from typing import Any

MAX_DEPTH = 32

_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_NEITHER = bytes(set(range(256)) - set(b'"[]{}'))


def read_json(data: bytes) -> Any:
    """Return the document. Raises ValueError if it is no JSON in UTF-8 or nested deeper than MAX_DEPTH."""
    return json.loads(_shallow(data))


def read_exact_json(data: bytes) -> Any:
    """Return a document that has one canonical form, as signed text needs it.

    Raises ValueError as ``read_json`` does, and for a key that is given twice or a number that is not whole.
    """
    return json.loads(
        _shallow(data),
        object_pairs_hook=_distinct,
        parse_float=_not_whole,
        parse_constant=_not_whole,
    )


def _shallow(data: bytes) -> str:
    if _deep(data):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    # Given bytes, the parser would also guess UTF-16, in which quotes and brackets lie elsewhere.
    return data.decode("utf-8")


def _deep(data: bytes) -> bool:
    """Return whether the parser may meet more than MAX_DEPTH open brackets; exact for what is JSON.

    Takes time in proportion to the length, whatever is in it: what is no JSON is judged as the parser reads
    it, up to its first fault, and is never let more than twice as deep.
    """
    # Of a run of backslashes the last one escapes what follows if their number is odd.
    unescaped = data.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in data else data
    marks = unescaped.translate(_AS_SQUARE, _NEITHER)
    brackets = b"".join(marks.split(b'"')[::2])
    for _ in range(MAX_DEPTH):
        without_innermost = brackets.replace(b"[]", b"")
        if without_innermost == brackets:
            break
        brackets = without_innermost
    return b"[]" in brackets or brackets.count(b"[") > MAX_DEPTH


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _not_whole(text: str) -> Any:
    raise ValueError(f"{text[:20]} is no whole number")
