"""Having weights converted: the plan, the process that carries it out, and what it says. Imports no torch."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from node.errors import Fatal, Misconfigured
from node.pipeline.environment import ENVIRONMENT
from node.pipeline.profiles import Profile
from node.pipeline.weights.layout import WEIGHTS
from node.pipeline.weights.sources import Group, Source
from node.resources import PACKAGE

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
_NEEDED = ("torch", "diffusers", "transformers", "safetensors")
_LAST_WORDS_BYTES = 4096


class Reporter(Protocol):
    """Who is told how far things are."""

    def begin(self, what: str, total_bytes: int) -> None:
        """Something of a known size begins (0: unknown); what began before is done."""
        ...

    def advance(self, count: int) -> None:
        """So many more bytes of it are done; fewer if ``count`` is negative."""
        ...

    def note(self, text: str) -> None:
        """Say something that people should read."""
        ...


@dataclass(frozen=True, slots=True)
class Obtained:
    """The checked files of one source: the pinned files by path, or one single file."""

    source: Source
    single_file: Path | None
    files: Mapping[str, Path]


def require_libraries() -> None:
    """Raise Misconfigured if what conversion needs is not installed. Imports none of it."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Misconfigured(
            f"weights are converted with {', '.join(missing)}, not installed here: install sdv-node[gpu]"
        )


def convert(
    profile: Profile,
    obtained: Mapping[Group, Obtained],
    configs: Mapping[str, Mapping[str, Any]],
    target: Path,
    reporter: Reporter,
) -> None:
    """Write the networks of the given groups below ``target``, which exists.

    Raises Fatal, naming the file and what was expected, if a source is not what it should be.
    """
    with tempfile.TemporaryDirectory(prefix="sdv-sources-") as staging:
        places: dict[str, str] = {}
        groups = [_group_plan(group, had, configs, Path(staging), places) for group, had in obtained.items()]
        plan = {
            "target": str(target.absolute()),
            "precision": profile.precision,
            "vae_precision": profile.vae_precision,
            "groups": groups,
        }
        problem = _run(plan, reporter)
    if problem is not None:
        for staged, place in places.items():
            problem = problem.replace(staged, place)
        raise Fatal(problem)


def _group_plan(
    group: Group,
    had: Obtained,
    configs: Mapping[str, Mapping[str, Any]],
    staging: Path,
    places: dict[str, str],
) -> dict[str, Any]:
    """Return one group of the plan, with links to exactly the files that were checked."""
    paths = [f"{group}/{network}" for network in had.source.networks]
    plan: dict[str, Any] = {"configs": {path: configs[path] for path in paths}}
    if had.single_file is not None:
        return plan | {"single_file": str(had.single_file.absolute())}
    for file in had.source.files:
        if file.part not in had.source.networks:
            continue
        link = staging / group / file.part / (WEIGHTS if file.is_weights else file.name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(had.files[file.path].absolute())
        places[str(link)] = str(had.files[file.path])
    return plan | {"directory": str(staging)}


def _run(plan: Mapping[str, Any], reporter: Reporter) -> str | None:
    """Run the converting process to its end and return its problem, if any."""
    command = [sys.executable, "-P", "-m", "node.pipeline.weights.convert"]
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=_environment(),
            # Ctrl-C in a terminal is for us, who then end the child.
            start_new_session=True,
            text=True,
        ) as child,
    ):
        try:
            return _follow(child, plan, stderr, reporter)
        finally:
            if child.poll() is None:
                child.kill()


def _follow(
    child: "subprocess.Popen[str]", plan: Mapping[str, Any], stderr: IO[bytes], reporter: Reporter
) -> str | None:
    if child.stdin is None or child.stdout is None:
        raise Fatal("the converting process has no pipes")
    problem = None
    try:
        child.stdin.write(json.dumps(plan))
        child.stdin.close()
    except BrokenPipeError:
        problem = "the converting process ended before it was told what to do"
    for line in child.stdout:
        message = json.loads(line)
        if "begin" in message:
            reporter.begin(f"converting {message['begin']}", int(message["total"]))
        elif "advance" in message:
            reporter.advance(int(message["advance"]))
        else:
            problem = str(message["error"])
    code = child.wait()
    if code == 0 and problem is None:
        return None
    if code < 0:
        return f"the converting process was ended by signal {-code}: is there enough memory?"
    return problem or f"the converting process failed: {_last_words(stderr)}"


def _last_words(stderr: IO[bytes]) -> str:
    size = stderr.seek(0, 2)
    stderr.seek(max(0, size - _LAST_WORDS_BYTES))
    lines = stderr.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _environment() -> dict[str, str]:
    """Return the process's whole environment: nothing secret reaches it."""
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment.update(ENVIRONMENT)
    if (PACKAGE.parent / "pyproject.toml").exists():
        environment["PYTHONPATH"] = str(PACKAGE.parent)
    return environment
