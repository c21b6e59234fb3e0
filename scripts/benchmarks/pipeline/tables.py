"""Figures as text: looking them up, ratios, tables, sections. Imports no torch."""

from typing import Any

Figures = dict[str, Any]


def get(leg: Figures, *path: str) -> Any:
    """Return a figure, or None if it is not there."""
    found: Any = leg
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


def ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above and below else None


def times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: Any, digits: int = 2) -> str:
    if value is None:
        return ""
    return f"{value:,.{digits}f}" if isinstance(value, float) else str(value)


def section(title: str, leg: Figures, says: str, *tables: str) -> str:
    lines = [f"## {title}"]
    if "error" in leg:
        lines.append(f"**Not complete**: {leg['error']}.")
    return "\n\n".join([*lines, says, *(table for table in tables if table)])
