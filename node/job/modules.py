"""Which module a job names, and the pinned commit and model profile behind each known tag.

A tag on the module's repository can be moved, so only the tags listed here are served, each as the commit it
stood for when it was read. Spellings follow Lilypad's shortcut (``sdv-pipeline:<tag>``) and repository forms.
"""

import difflib
from dataclasses import dataclass

from node.job.problems import InvalidInputs, Problem, shown

SHORTCUT = "sdv-pipeline"
REPOSITORY = "github.com/lilypad-tech/lilypad-module-sdv-pipeline"
MAX_MODULE_BYTES = 128
"""The market's job manager bounds the module text to this."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module this node knows how to compute. ``canonical`` is how it is written everywhere else."""

    tag: str
    canonical: str
    profile: str
    commit: str
    notes: tuple[str, ...] = ()


def _known(tag: str, profile: str, commit: str) -> tuple[str, Module]:
    return tag, Module(tag=tag, canonical=f"{SHORTCUT}:{tag}", profile=profile, commit=commit)


MODULES: dict[str, Module] = dict(
    (
        _known("v1.1-lilypad2", "sdv-1.1", "25c99c5014c72a99c592134a74740caef14c9b75"),
        _known("v1.1-lilypad1", "sdv-1.1", "5d90f95fbaadd4c04b034362988f3ba3057f2380"),
        _known("v1.0-lilypad2", "sdv-1.0", "048589661cfe5c27840dfd1da9c3bef11a9d4071"),
        _known("v1.0-lilypad1", "sdv-1.0", "779ac48cf958ea8e56c64c33ab3c899676da2646"),
        _known("sdv-xl-1.1-lilypad1", "sdv-1.1", "5d90f95fbaadd4c04b034362988f3ba3057f2380"),
        _known("sdv-xl-1.0-lilypad1", "sdv-1.0", "575267caaf9e0db2ede03bba7bf6da9aa9b1034c"),
    )
)
"""By tag, newest first."""

NEWEST = next(iter(MODULES.values()))
_BY_CANONICAL = {module.canonical: module for module in MODULES.values()}
_ALLOWED = f"{', '.join(_BY_CANONICAL)}, or {REPOSITORY}:<one of these tags>"


def resolve_module(text: str) -> Module:
    """Return the module that ``text`` names; the host, owner and name of a repository ignore case.

    A bare name stands for the newest version and says so in ``notes``. Raises InvalidInputs with one problem
    whose key is ``module``.
    """
    module = _BY_CANONICAL.get(text)
    if module is not None:
        return module
    if len(text) > MAX_MODULE_BYTES:
        raise _unknown(text, f"longer than {MAX_MODULE_BYTES} bytes")
    name, colon, tag = text.removeprefix("https://").partition(":")
    if name != SHORTCUT and not (name.isascii() and name.lower() == REPOSITORY):
        raise _unknown(text, "not a module this node knows" + _suggestion(name, tag))
    if not colon:
        note = f"no version was named, so the newest, {NEWEST.canonical}, is meant"
        return Module(NEWEST.tag, NEWEST.canonical, NEWEST.profile, NEWEST.commit, (note,))
    module = MODULES.get(tag)
    if module is None:
        raise _unknown(text, "not a known version" + _suggestion(SHORTCUT, tag))
    return module


def _suggestion(name: str, tag: str) -> str:
    if difflib.get_close_matches(name, (SHORTCUT, REPOSITORY), n=1, cutoff=0.7):
        near = difflib.get_close_matches(tag, MODULES, n=1, cutoff=0.5)
        return f", did you mean {SHORTCUT}:{near[0] if near else NEWEST.tag}?"
    return ""


def _unknown(text: str, wrong: str) -> InvalidInputs:
    return InvalidInputs((Problem(key="module", value=shown(text), wrong=wrong, allowed=_ALLOWED),))
