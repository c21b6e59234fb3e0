"""The self-check that computes: a small job is rendered, and its CID must be that of its determinism class.

Within a class the same job gives the same bytes. Known CIDs are shipped in config/golden.toml; where the
class of this machine is not among them, the first result is written down and later ones are held against it.
"""

import asyncio
import json
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node.app.checks import Check, problem
from node.app.gpu_checks import node_process
from node.app.rendering import render_once
from node.config import Config
from node.disk_errors import disk_remedy
from node.errors import NodeError
from node.job.manifest import MANIFEST, BadManifest, Manifest, read_manifest
from node.job.modules import MODULES, NEWEST
from node.job.progress import Progress
from node.job.spec import parse_inputs
from node.pipeline.profiles import Profile, load_profile
from node.publisher.unixfs import cid_of
from node.resources import data_path
from node.worker.fake import is_fake

GOLDEN_JOB = ("Prompt=a red fox in snow", "Seed=7", "VideoSeed=7", "Steps=5", "VideoSteps=5")
RECORD = "golden.json"
_MAX_RECORD_BYTES = 2**20
REMEDY = (
    "results of this machine would be disputed: sdv-node models verify, then look at the card's memory "
    "(ECC), its temperature and any overclocking"
)


@dataclass(frozen=True, slots=True)
class Golden:
    """What a class is known to give, and from where that is known."""

    cid: str
    source: str


async def check_golden(config: Config, doing: Callable[[str], None]) -> Check:
    """Does this machine compute, and what its determinism class computes?"""
    name, directory = config.worker.profile, config.node.directory
    if is_fake(name):
        return Check("render", "skipped", f"{name} computes nothing")
    profile = load_profile(name)
    if profile.device == "cuda" and node_process(directory) is not None:
        return Check(
            "render",
            "skipped",
            "the node that runs has the GPU",
            "sdv-node drain --wait, stop it, and ask again",
        )
    doing("rendering a small job: loading the models")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=directory) as folder:
            manifest, cid = await _rendered(config, profile, Path(folder), doing)
    except (NodeError, BadManifest) as error:
        return problem("render", f"a small job was not rendered: {error}", "sdv-node render shows more")
    except OSError as error:
        return problem("render", f"{directory}: {error.strerror}", disk_remedy(error))
    return judged(name, manifest, cid, directory)


def judged(name: str, manifest: Manifest, cid: str, directory: Path) -> Check:
    """Compare a rendered CID with what its class is known to give; the first of a class is written down."""
    parts, found = manifest.class_parts, manifest.determinism_class
    versions = [f"{part} {parts[part]}" for part in ("torch", "cuda", "cudnn") if part in parts]
    with_what = f"{', '.join(versions)} on {parts.get('device', 'an unknown device')}"
    golden = known(name, found, directory)
    if golden is None:
        try:
            _write_down(name, found, cid, directory)
        except OSError as error:
            return problem(
                "render", f"{directory / RECORD}: {error.strerror}", "run this as the node's own user"
            )
        told = (
            f"{cid} with {with_what}; no value is known for class {found}, so it was written down to compare"
        )
        return Check("render", "ok", told)
    if golden.cid != cid:
        return problem(
            "render",
            f"{cid} with {with_what}, but class {found} gives {golden.cid} ({golden.source})",
            REMEDY,
        )
    return Check("render", "ok", f"{cid} with {with_what}, as {golden.source} for class {found}")


def known(name: str, determinism_class: str, directory: Path) -> Golden | None:
    """Return what a class gives for the golden job of a profile, None if nobody knows."""
    shipped = tomllib.loads(data_path("config/golden.toml").read_text(encoding="utf-8"))
    cid = shipped.get(name, {}).get(determinism_class)
    if cid is not None:
        return Golden(cid, "golden.toml has it")
    cid = _recorded(directory).get(name, {}).get(determinism_class)
    return None if cid is None else Golden(cid, "it was the first time here")


async def _rendered(
    config: Config, profile: Profile, folder: Path, doing: Callable[[str], None]
) -> tuple[Manifest, str]:
    module = next((each for each in MODULES.values() if each.profile in profile.serves), NEWEST)

    def tell(progress: Progress) -> None:
        doing(f"rendering a small job: {progress.stage}, {progress.fraction:.0%}")

    await render_once(config, profile.name, parse_inputs(module.canonical, GOLDEN_JOB), folder, tell)
    result = folder / "result"
    return read_manifest((result / MANIFEST).read_bytes()), await asyncio.to_thread(cid_of, result)


def _recorded(directory: Path) -> dict[str, dict[str, str]]:
    try:
        found: dict[str, dict[str, str]] = json.loads((directory / RECORD).read_bytes()[:_MAX_RECORD_BYTES])
    except (OSError, ValueError):
        return {}
    return found


def _write_down(name: str, determinism_class: str, cid: str, directory: Path) -> None:
    record = _recorded(directory)
    record.setdefault(name, {})[determinism_class] = cid
    fresh = directory / f".{RECORD}"
    fresh.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    fresh.replace(directory / RECORD)
