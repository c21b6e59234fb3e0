"""Stand-ins for parts of libraries that are loaded with what this node uses, and are never used themselves.

For parts alone that cost the start or the memory of every process, and that their library cannot leave out.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


def stand_in(name: str, **attributes: object) -> ModuleType:
    """Return a module of that name with these attributes and nothing else."""
    module = ModuleType(name, "Left out of this node.")
    vars(module).update(attributes)
    return module


def refusing(name: str, why: str) -> type:
    """Return a class, because libraries name theirs as types, that nobody can make anything of."""

    def refuse(_self: object, *_: Any, **__: Any) -> None:
        raise NotImplementedError(f"{name} is left out: {why}")

    return type(name.rpartition(".")[2], (), {"__init__": refuse})


@contextmanager
def standing_in(*modules: ModuleType) -> Iterator[None]:
    """Have imports in this block find these modules; what imports them later finds the real ones.

    What is loaded already stays as it is.
    """
    placed = [module for module in modules if sys.modules.setdefault(module.__name__, module) is module]
    try:
        yield
    finally:
        for module in placed:
            del sys.modules[module.__name__]
