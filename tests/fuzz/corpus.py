"""Hostile material: texts, words and JSON values that parsers elsewhere fell over, and ways to damage data.

Everything is drawn from a ``random.Random`` that the caller seeds, so an input can be made again from its
number alone. Written for speed: a million inputs take minutes.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

TEXTS = (
    "",
    "=",
    "==",
    "a=b=c",
    "\x00",
    "Prompt=\x00",
    "\u202egnp.exe",
    "\u200b\u200d\ufeff",
    "\ud800",
    "\udfff\ud800",
    "e\u0301" * 40,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "/dev/zero",
    "file:///etc/passwd",
    "${HOME}",
    "$(reboot)",
    "`reboot`",
    "; rm -rf /",
    "&& shutdown -h now",
    "--help",
    "-rf",
    "--config=/tmp/x",
    "%s%s%s%n",
    "%00",
    "{{7*7}}",
    "{0.__class__}",
    "<script>alert(1)</script>",
    "' OR 1=1 --",
    "NaN",
    "-nan",
    "Infinity",
    "1e400",
    "-1e400",
    "-0",
    "+1",
    "1_000",
    " 1",
    "0x10",
    "1.0",
    "\u0663",
    "\uff11\uff12",
    "\u00b2",
    str(2**64),
    str(2**256 - 1),
    "9" * 400,
    "true",
    "null",
    "\r\nSet-Cookie: a=b",
    "\x1b[2J",
    "((((((((",
    "(:1e999)",
    "(a:nan)",
    "[" * 200,
    "x" * 2047,
    "x" * 2049,
    "ß" * 1024,
    "(" * 1500,
    "p" * 100_000,
    "Prompt=" + "é" * 50_000,
)
WORDS = (
    *(0, 1, 31, 32, 33, 63, 64, 65, 96, 127, 128, 160, 192, 255, 256, 2048),
    *(2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**128, 2**160 - 1, 2**160),
    *(2**255, 2**256 - 64, 2**256 - 32, 2**256 - 1),
)
JSON_VALUES = (None, True, False, 0, -1, 2**70, 1.5, 1e308, "", "0x", "0X1", [], {}, [[]], [{}], {"": None})


def text(dice: Random) -> str:
    """Return a hostile text, two of them, or random characters of all planes."""
    kind = dice.random()
    if kind < 0.55:
        return TEXTS[int(dice.random() * len(TEXTS))]
    if kind < 0.8:
        return dice.choice(TEXTS)[:3000] + dice.choice(TEXTS)[:3000]
    top = dice.choice((0x80, 0x800, 0xFFFF, 0x10FFFF))
    return "".join(chr(int(dice.random() * top)) for _ in range(int(dice.random() * 60)))


def damaged(data: bytes, dice: Random) -> bytes:
    """Return encoded data with one to four wrong words, bits, cuts, growths or exchanges."""
    wrong = bytearray(data)
    for _ in range(1 + int(dice.random() * 4)):
        words = len(wrong) // 32
        kind = int(dice.random() * 6)
        if kind == 0 and words:
            at = 32 * int(dice.random() * words)
            wrong[at : at + 32] = dice.choice(WORDS).to_bytes(32)
        elif kind == 1 and wrong:
            wrong[int(dice.random() * len(wrong))] ^= 1 << int(dice.random() * 8)
        elif kind == 2:
            del wrong[int(dice.random() * (len(wrong) + 1)) :]
        elif kind == 3:
            wrong += dice.randbytes(int(dice.random() * 70))
        elif kind == 4 and words > 1:
            one, two = (32 * int(dice.random() * words) for _ in range(2))
            wrong[one : one + 32], wrong[two : two + 32] = wrong[two : two + 32], wrong[one : one + 32]
        elif words:
            at = 32 * int(dice.random() * words)
            wrong[at : at + 32] = dice.randbytes(32)
    return bytes(wrong)


def damaged_json(value: Any, dice: Random, depth: int = 0) -> Any:
    """Return a JSON value with something in it replaced, left out, doubled or nested."""
    if isinstance(value, dict) and value and depth < 4 and dice.random() < 0.8:
        key = dice.choice(list(value))
        copy = dict(value)
        if dice.random() < 0.15:
            del copy[key]
        else:
            copy[key] = damaged_json(value[key], dice, depth + 1)
        return copy
    if isinstance(value, list) and value and depth < 4 and dice.random() < 0.8:
        at = int(dice.random() * len(value))
        if dice.random() < 0.1:
            return value * 50
        return [*value[:at], damaged_json(value[at], dice, depth + 1), *value[at + 1 :]]
    if isinstance(value, str) and dice.random() < 0.5:
        return damaged_text(value, dice)
    return dice.choice(JSON_VALUES) if dice.random() < 0.7 else text(dice)


def damaged_text(value: str, dice: Random) -> str:
    """Return a text with a character exchanged, left out, doubled, or with a hostile one put in."""
    at = int(dice.random() * (len(value) + 1))
    put: Sequence[Callable[[], str]] = (
        lambda: value[:at] + value[at + 1 :],
        lambda: value[:at] + dice.choice(TEXTS)[:200] + value[at:],
        lambda: value[:at] + chr(int(dice.random() * 0x500)) + value[at + 1 :],
        value.swapcase,
        lambda: value * 3,
        lambda: value[: at // 2],
    )
    return dice.choice(put)()
