"""Verifying a result: where it is, what is fetched, what is computed again, and what is said of it."""

import asyncio
import contextlib
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from node.app.delivery import GatewayDelivery
from node.app.parties import OpenMarket, open_market
from node.app.rendering import render_once, require_profile
from node.app.submitted import SubmittedResults, cid_like
from node.chain.deal_record import DealRecord, job_number_of, read_deal
from node.config import Config
from node.errors import JobFailed, Misconfigured, NodeError, NotYet
from node.job.job import hire_id_for, job_id_for
from node.job.manifest import Manifest, digest
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.locking import locked
from node.pipeline.results import RESULT
from node.publisher.cid import parse_cid
from node.publisher.errors import TargetOccupied, UnpublishableTree
from node.requester.results import FOLDER, set_aside
from node.requester.steps import printable
from node.types import Cid, DealId
from node.verification.again import compared
from node.verification.integrity import examine
from node.verification.report import Executed, Report
from node.worker.fake import is_fake

_EXECUTIONS = "verifying"
_JOB_ID = re.compile(r"[jh][0-9]{1,20}")


class NoSuchTarget(NodeError):
    """What is to be verified is neither a directory nor a CID nor the id of a deal."""

    exit_code = 2


class Display(Protocol):
    """How far things are, for whoever waits."""

    def say(self, text: str) -> None:
        """Tell what begins, or what was found."""
        ...

    def received(self, received_bytes: int, total_bytes: int | None) -> None:
        """Tell how much of a download has come and was verified."""
        ...

    def rendering(self, job_dir: Path, clips: int) -> AbstractContextManager[Callable[[Progress], None]]:
        """Show a rendering until the end of the context."""
        ...


@dataclass(frozen=True, slots=True)
class _Delivered:
    """A result on this machine. ``cid`` is the one it goes by; None for a directory of the user's."""

    directory: Path
    cid: Cid | None = None
    record: DealRecord | None = None


async def verify(
    config: Config, target: str, gateways: Sequence[str], *, re_execute: bool, display: Display
) -> Report:
    """Verify a directory, a CID or a deal's result.

    ``gateways`` are asked for what has to be fetched. Raises NoSuchTarget, and whatever keeps a result from
    being had or computed again; what is wrong with the result itself is in the report.
    """
    delivered = await _deliver(config, target, gateways, display)
    display.say(f"checking every file of {delivered.directory}")
    wanted = None if delivered.record is None else delivered.record.spec
    examined = await asyncio.to_thread(examine, delivered.directory, wanted)
    cid, problems = await asyncio.to_thread(_cid, delivered)
    if problems:
        examined = replace(examined, problems=(*problems, *examined.problems))
    deal_id = None if delivered.record is None else delivered.record.deal.deal_id
    report = Report(cid, delivered.directory, examined, deal_id)
    spec = wanted or examined.spec
    if not re_execute or examined.failed or spec is None or examined.manifest is None:
        return report
    if wanted is None:
        # How the inputs were understood is part of the result; without a chain only the manifest tells it.
        spec = replace(spec, notes=examined.manifest.notes)
    return replace(report, executed=await _execute(config, report, spec, examined.manifest, display))


async def _execute(
    config: Config, report: Report, spec: JobSpec, manifest: Manifest, display: Display
) -> Executed:
    profile = _profile(config, report, manifest)
    require_profile(config, profile)
    display.say(f"computing the same job again with the models of {profile}")
    name = digest([profile, spec.to_json()])[:16]
    job_dir = config.node.directory / _EXECUTIONS / name
    await asyncio.to_thread(job_dir.mkdir, parents=True, exist_ok=True)
    with locked(job_dir / "lock", otherwise="this job is being verified: wait for it"):
        with display.rendering(job_dir, spec.batching) as on_progress:
            await render_once(config, profile, spec, job_dir, on_progress)
        executed = await compared(report, spec, manifest, job_dir / RESULT, cid_like)
        # What was broken off stays, to go on from; what is compared has served.
        await asyncio.to_thread(shutil.rmtree, job_dir, ignore_errors=True)
    return executed


def _profile(config: Config, report: Report, manifest: Manifest) -> str:
    """Return which models a job is computed with: a deal's with ours, any other as its manifest says.

    Raises Misconfigured for a result that names the renderer of tests, unless the settings do, too.
    """
    ours = config.worker.profile
    if report.deal_id is not None or manifest.profile == ours:
        return ours
    if is_fake(manifest.profile) and not is_fake(ours):
        raise Misconfigured(
            f"the result was made with {printable(manifest.profile, 40)!r}, which has no models: to compute "
            "it again all the same, set worker.profile to that"
        )
    return ours if is_fake(manifest.profile) else manifest.profile


def _cid(delivered: _Delivered) -> tuple[Cid | None, tuple[str, ...]]:
    """Return the CID of what is there, and what is wrong with it."""
    try:
        found = cid_like(delivered.directory, delivered.cid)
    except UnpublishableTree as error:
        return delivered.cid, (f"it cannot be published: {error}",)
    if delivered.cid is None or found == delivered.cid:
        return found, ()
    return found, (f"the files in {delivered.directory} have the CID {found}, not {delivered.cid}",)


async def _deliver(config: Config, target: str, gateways: Sequence[str], display: Display) -> _Delivered:
    is_directory: bool = await asyncio.to_thread(_is_directory, target)
    if is_directory:
        return _Delivered(Path(target))
    if job_number_of(target) is not None:
        async with open_market(config.chain) as market:
            return await _deliver_deal(config, market, DealId(target), gateways, display)
    try:
        cid = parse_cid(target).to_cid()
    except NodeError as error:
        wrong = f"{printable(target, 80)!r} is no directory, no deal id (j<job>-...) and no CID: {error}"
        if _JOB_ID.fullmatch(target):
            wrong = f"{target} is a job: name its deal, whose id `sdv-node jobs show {target}` tells"
        raise NoSuchTarget(wrong) from error
    if not gateways:
        raise Misconfigured("no gateway to fetch from: name one with --gateway, or set requester.gateways")
    return _Delivered(await _fetch(config, cid, gateways, display), cid)


async def _deliver_deal(
    config: Config, market: OpenMarket, deal_id: DealId, gateways: Sequence[str], display: Display
) -> _Delivered:
    display.say(f"reading deal {deal_id} and its job")
    record = await read_deal(market.chain, market.contracts, deal_id)
    if record.result is None:
        state = record.agreement.state.name.lower()
        raise NotYet(f"no result was submitted for deal {deal_id}, which is in the state {state}")
    if not record.result.data_id:
        raise JobFailed(f"the provider of deal {deal_id} reported a failure and published nothing")
    source = SubmittedResults(
        config,
        market.contracts,
        config.node.directory / "requester",
        gateways=tuple(gateways),
        on_bytes=display.received,
        on_drop=_tell_drop(display),
    )
    cid = source.canonical(record.result.data_id)
    own = await asyncio.to_thread(_own_result, config, record, cid)
    if own is not None:
        return _Delivered(own, cid, record)
    display.say(f"fetching {cid}")
    directory = config.node.directory / FOLDER / cid
    await source.fetch(record, cid, directory)
    return _Delivered(directory, cid, record)


async def _fetch(config: Config, cid: Cid, gateways: Sequence[str], display: Display) -> Path:
    directory = config.node.directory / FOLDER / cid
    display.say(f"fetching {cid}")
    delivery = GatewayDelivery(config.reach, None, _tell_drop(display))
    try:
        await delivery.fetch(None, gateways, cid, directory, display.received)
    except TargetOccupied:
        # An earlier copy that was changed since: set aside, it may be somebody's work.
        await asyncio.to_thread(set_aside, directory)
        await delivery.fetch(None, gateways, cid, directory, display.received)
    return directory


def _own_result(config: Config, record: DealRecord, cid: Cid) -> Path | None:
    """Return the files of a result that this machine's own node made, if they are there unchanged."""
    for name in (job_id_for(record.job_number), hire_id_for(record.job_number)):
        directory = config.node.directory / "jobs" / name / RESULT
        with contextlib.suppress(OSError, UnpublishableTree):
            if directory.is_dir() and cid_like(directory, cid) == cid:
                return directory
    return None


def _is_directory(text: str) -> bool:
    try:
        return bool(text) and Path(text).is_dir()
    except OSError:
        return False  # such as a name that no file system takes


def _tell_drop(display: Display) -> Callable[[str, str], None]:
    return lambda source, problem: display.say(f"not asked any more: {source}: {problem}")
