"""Reading JSON that a stranger wrote.

The standard parser recurses on every bracket. A library of the chain room raises the interpreter's recursion
limit so far that some kilobytes of ``[`` overflow the C stack and end the process: depth is checked first.
"""

import json
import re
from typing import Any

MAX_DEPTH = 32

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def read_json(data: bytes) -> Any:
    """Return the document. Raises ValueError if it is no JSON in UTF-8 or nested deeper than MAX_DEPTH."""
    # Given bytes, the parser would also guess UTF-16, in which quotes and brackets lie elsewhere.
    text = data.decode("utf-8")
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
    return json.loads(text)
