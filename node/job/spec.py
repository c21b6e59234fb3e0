"""What a job computes: the module and its tunables, read from ``Key=Value`` inputs, all problems at once.

Owns the reading and the bounds on hostile input; the table itself is in ``tunables``, known modules in
``modules``. Pure and quick (tens of microseconds, a millisecond for a prompt of parentheses alone), because
every offer on the market passes here.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from node.job.modules import Module, resolve_module
from node.job.problems import SHOWN_CHARACTERS, InvalidInputs, Problem, shown
from node.job.prompt import LARGEST_WEIGHT, impossible_weights
from node.job.tunables import (
    ADDED,
    ALIASES,
    BY_NAME,
    DEFAULTS,
    KEYS,
    SAMPLERS,
    SCHEDULERS,
    TUNABLES,
    sampler_notes,
)

__all__ = [
    "MAX_INPUTS",
    "MAX_INPUT_BYTES",
    "MAX_TOTAL_BYTES",
    "SAMPLERS",
    "SCHEDULERS",
    "InvalidInputs",
    "JobSpec",
    "Problem",
    "parse_inputs",
]

MAX_INPUTS = 64
MAX_INPUT_BYTES = 2048
"""UTF-8 bytes of one ``Key=Value``; the market's job manager has the same bound."""
MAX_TOTAL_BYTES = 8192

# Control characters (C0, DEL, C1) break terminals and logs, lone surrogates cannot be written as UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# A hostile job can carry 64 unknown keys; looking for the nearest name costs far more than refusing one.
_MAX_SUGGESTIONS = 4
_MAX_TOLD_WEIGHTS = 3


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A valid job. ``notes`` tell how the inputs were understood where that is not obvious."""

    module: str
    prompt: str
    framerate: int
    seed: int
    steps: int
    scheduler: str
    sampler: str
    batching: int
    video_seed: int
    video_steps: int
    video_scheduler: str
    video_sampler: str
    frames: str
    notes: tuple[str, ...] = ()

    def tunables(self) -> dict[str, str | int]:
        """Return every tunable by its documented name, in the order of the documentation."""
        return {tunable.name: getattr(self, tunable.attribute) for tunable in TUNABLES}

    def to_inputs(self) -> tuple[str, ...]:
        """Return every tunable as ``Key=Value``; reading them again gives this spec, without its notes."""
        return tuple(f"{name}={value}" for name, value in self.tunables().items())

    def to_json(self) -> dict[str, Any]:
        """Return ``{"module": str, "inputs": {name: str or int}, "notes": [str]}``.

        Seeds are up to 2^64-1, more than a JavaScript number holds exactly.
        """
        return {"module": self.module, "inputs": self.tunables(), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, document: object) -> "JobSpec":
        """Return the spec that ``to_json`` wrote. Raises InvalidInputs on anything else."""
        if not isinstance(document, dict) or document.keys() != {"module", "inputs", "notes"}:
            raise InvalidInputs((_malformed(document, "an object with module, inputs and notes"),))
        module, inputs, notes = document["module"], document["inputs"], document["notes"]
        if not (isinstance(module, str) and isinstance(inputs, dict) and isinstance(notes, list)):
            raise InvalidInputs((_malformed(document, "a text, an object and a list"),))
        if not all(isinstance(note, str) for note in notes):
            raise InvalidInputs((_malformed(notes, "notes as a list of texts"),))
        for name, value in inputs.items():
            if name not in BY_NAME or type(value) is not type(BY_NAME[name].default):
                raise InvalidInputs((_malformed(inputs, "texts and whole numbers by tunable name"),))
        inputs = ADDED | inputs
        spec = parse_inputs(module, {name: str(value) for name, value in inputs.items()})
        if spec.tunables() != inputs:
            raise InvalidInputs((_malformed(inputs, "all tunables, by their documented names"),))
        values = {tunable.attribute: getattr(spec, tunable.attribute) for tunable in TUNABLES}
        return cls(module=spec.module, notes=tuple(notes), **values)


def _malformed(value: object, allowed: str) -> Problem:
    return Problem("spec", shown(str(value)[:200]), "is not a stored job", allowed)


def parse_inputs(module: str, inputs: Iterable[str] | Mapping[str, str]) -> JobSpec:
    """Read a job from its module text and its inputs.

    Inputs are split at their first ``=``; an empty value stands for the default. Raises InvalidInputs with
    every problem found in the module, the keys and the values.
    """
    problems: list[Problem] = []
    notes: list[str] = []
    known = _read_module(module, problems)
    values: dict[str, Any] = DEFAULTS.copy()
    given: dict[str, str] = {}
    for key, text in _pairs(inputs, problems):
        if key in given:
            problems.append(Problem(key, shown(text), "is given more than once", "each input once"))
            continue
        given[key] = text
        name = ALIASES.get(key, key)
        tunable = BY_NAME[name]
        if not text:
            notes.append(f"{key} is empty, so the default of {name} is used")
            continue
        value = tunable.read(text)
        if isinstance(value, str) and name == "Prompt":
            value = _weighed(value)
        if isinstance(value, Problem):
            problems.append(value if key == name else replace(value, key=key))
        elif key == name or not given.get(name):
            values[tunable.attribute] = value
    for alias, name in ALIASES.items():
        if given.get(alias):
            reading = f"left out, as {name} is given" if given.get(name) else f"read as {name}"
            notes.append(f"{alias} is {reading}")
    notes.extend(sampler_notes(values))
    if problems or known is None:
        raise InvalidInputs(problems)
    return JobSpec(module=known.canonical, notes=known.notes + tuple(notes), **values)


def _read_module(text: str, problems: list[Problem]) -> Module | None:
    try:
        return resolve_module(text)
    except InvalidInputs as error:
        problems.extend(error.problems)
        return None


def _pairs(inputs: Iterable[str] | Mapping[str, str], problems: list[Problem]) -> list[tuple[str, str]]:
    """Return the well-formed inputs with a known key; report the rest. Reads no more than MAX_INPUTS."""
    pairs: list[tuple[str, str]] = []
    total_bytes = 0
    items: Iterable[str | tuple[str, str]] = inputs.items() if isinstance(inputs, Mapping) else inputs
    for count, item in enumerate(islice(items, MAX_INPUTS + 1)):
        if count == MAX_INPUTS:
            problems.append(Problem("inputs", "...", "there are too many", f"at most {MAX_INPUTS}"))
            break
        if isinstance(item, tuple):
            key, text = item
            equals = "="
        else:
            key, equals, text = item.partition("=")
        total_bytes += _bytes(key) + len(equals) + _bytes(text)
        problem = _misshapen(key, equals, text)
        if problem is not None:
            problems.append(problem)
        elif key in BY_NAME or key in ALIASES:
            pairs.append((key, text))
        else:
            problems.append(_unknown_key(key, text, suggest=len(problems) < _MAX_SUGGESTIONS))
    if total_bytes > MAX_TOTAL_BYTES:
        problems.append(
            Problem("inputs", f"{total_bytes} bytes", "together too long", f"at most {MAX_TOTAL_BYTES} bytes")
        )
    return pairs


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _misshapen(key: str, equals: str, text: str) -> Problem | None:
    if not equals:
        return Problem(_key(key), "''", "has no '='", "inputs of the form Key=Value")
    # An ASCII text within the bound is by far the most usual one and needs no second look at its bytes.
    if _bytes(key) + 1 + _bytes(text) > MAX_INPUT_BYTES:
        return Problem(_key(key), shown(text), "is too long", f"at most {MAX_INPUT_BYTES} bytes with its key")
    if not text.isprintable() and _UNPRINTABLE.search(text) is not None:
        wrong = "holds a line break, a tab or another control character"
        return Problem(_key(key), shown(text), wrong, "printable text in one line; write a space instead")
    return None


def _weighed(prompt: str) -> str | Problem:
    """Return the prompt, or the problem with the weights it gives its parts.

    A weight that is not finite would make every number that the networks compute from it useless.
    """
    impossible = impossible_weights(prompt)
    if not impossible:
        return prompt
    told = [f"{shown(text)} the weight {weight!r}" for text, weight in impossible[:_MAX_TOLD_WEIGHTS]]
    if len(impossible) > len(told):
        told.append(f"{len(impossible) - len(told)} more impossible ones")
    allowed = f"weights that are finite numbers, from {-LARGEST_WEIGHT:.7g} to {LARGEST_WEIGHT:.7g}"
    return Problem("Prompt", shown(prompt), f"gives {', '.join(told)}", allowed)


def _key(key: str) -> str:
    return key if len(key) <= SHOWN_CHARACTERS and key.isascii() and key.isidentifier() else shown(key)


def _unknown_key(key: str, text: str, *, suggest: bool) -> Problem:
    near = difflib.get_close_matches(key[:32].capitalize(), KEYS, n=1, cutoff=0.5) if suggest else []
    wrong = "is not an input of this module" + (f", did you mean {near[0]}?" if near else "")
    return Problem(_key(key), shown(text), wrong, ", ".join(BY_NAME))
