"""Making room: finished jobs' results go by age and by quota, and no result lies on the disk twice for long.

Works on the data directory of a node that runs or of one that does not. What may go is decided by
``node.publisher.keeping`` from what the journal says of each job.
"""

import asyncio
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from node.admission.disk import SIZES_FREE, JobSizes, disk_room
from node.app.control import Arguments, Verb
from node.app.kept_results import Carrier, KeptResults, folder_bytes
from node.app.money import NoJournal
from node.clock import Clock, SystemClock
from node.config import Config
from node.errors import NodeError
from node.ipfs_settings import IpfsSection
from node.job.phase import Phase
from node.journal.database import Database
from node.journal.job_states import JobState, JobStates, Reads, job_states
from node.pipeline.results import sync_directory
from node.publisher import keeping, retention
from node.publisher.blockstore import BlockStore, storage_errors
from node.publisher.dag import Scope, walk
from node.publisher.errors import BlockMissing, StoreUnavailable
from node.publisher.keeping import Holding, Need, Plan, Why
from node.publisher.publish import Publisher
from node.publisher.unixfs import cid_of
from node.types import JobId

CLEAN, STORE = "clean", "store"
CLEAN_EVERY_S = 600.0
MAX_TOLD = 1000
DELIVERED = frozenset({Phase.SUBMITTED, Phase.DISPUTED, Phase.CLAIMING})
_JOB_ID = re.compile(r"[jh][0-9]{1,20}")
_REMOVED = ".removed"


@dataclass(frozen=True, slots=True)
class _Found:
    """What lies in the data directory, and what the journal says of it."""

    survey: retention.Survey
    folders: Mapping[JobId, int]
    states: JobStates

    @property
    def held(self) -> set[JobId]:
        return held(self.survey, self.folders)


def held(survey: retention.Survey, folders: Mapping[JobId, int]) -> set[JobId]:
    """Return the jobs of which something is on the disk; other pins are no jobs."""
    return {job_id for job_id in survey.roots if _JOB_ID.fullmatch(job_id)} | set(folders)


class Housekeeper:
    """Cleans one data directory. One cleaning at a time."""

    def __init__(
        self,
        settings: IpfsSection,
        *,
        store: BlockStore,
        jobs_dir: Path,
        journal: Reads,
        finality_blocks: int,
        sizes: JobSizes,
        clock: Clock,
        update: Callable[..., None] = lambda **_: None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._jobs_dir = jobs_dir
        self._journal = journal
        self._finality_blocks = finality_blocks
        self._sizes = sizes
        self._clock = clock
        self._kept = KeptResults(store, jobs_dir, update)
        self._turn = asyncio.Lock()
        self._log = structlog.get_logger()
        self.problem: str | None = None
        """Why the results that must be kept leave no room for another job within the quota, or None."""

    def verbs(self) -> Mapping[str, Verb]:
        """Return the commands by name."""
        return {CLEAN: self._clean, STORE: self._store_state}

    def damage(self) -> str | None:
        """Return which kept results cannot be served whole, or None."""
        return self._kept.damage()

    async def run(self) -> None:
        """Clean now and then until cancelled; trouble is said and tried again."""
        while True:
            try:
                await self.clean()
            except NodeError as problem:
                self._log.warning("clean_failed", problem=str(problem))
            await self._clock.sleep(CLEAN_EVERY_S)

    async def clean(self, *, dry_run: bool = False) -> dict[str, Any]:
        """Remove what may go, and return what that was; ``dry_run`` only tells it.

        Damaged blocks are mended from the job's files. Raises StoreUnavailable for trouble with the disk,
        BlockMissing if those of a job that must be kept cannot be mended: then no block is removed.
        """
        async with self._turn:
            if (gone := self._store.problem()) is not None:
                raise StoreUnavailable(gone)
            if not dry_run:
                self._kept.look_begins()
            found = await self._look()
            copies = {job_id for job_id in found.folders if self._twice(found, job_id)}
            plan = self._plan(found, copies)
            self._note(plan)
            if not dry_run:
                let_go = {one.job_id for one in plan.let_go}
                await asyncio.to_thread(self._read, found, copies - let_go)
                await self._mend(found, plan)
                copies -= found.survey.damaged.keys() - let_go
                # Told before the blocks go: what is damaged still may keep them from it.
                self._tell(found, plan, copies)
                await asyncio.to_thread(self._remove, found, plan, copies)
                self._tell(found, plan, copies)
            return self._told(found, plan, copies, dry_run=dry_run)

    def counting(self, publish: Carrier) -> Carrier:
        """Return the same handler of PUBLISH; the status counts what it publishes at once."""
        return self._kept.counting(publish)

    def _tell(self, found: _Found, plan: Plan, copies: set[JobId]) -> None:
        stays = found.held - {one.job_id for one in plan.let_go}
        sizes = {job_id: sum(found.survey.dags.get(job_id, {}).values()) for job_id in stays}
        for job_id in stays - copies:
            sizes[job_id] += found.folders.get(job_id, 0)
        self._kept.looked(self._told(found, plan, copies, dry_run=False), sizes)

    async def _mend(self, found: _Found, plan: Plan) -> None:
        """Import damaged results anew from the jobs' folders; what is mended is damaged no more."""
        publisher = Publisher(self._store)
        for job_id in found.survey.damaged.keys() - {one.job_id for one in plan.let_go}:
            result = self._result(job_id)
            try:
                if not result.is_dir():
                    continue
                with storage_errors(self._jobs_dir):
                    cid = await asyncio.to_thread(cid_of, result)
                # A folder that holds something else would take the place of what was reported.
                if cid != found.survey.roots[job_id].to_cid():
                    continue
                await publisher.publish(job_id, result)
            except NodeError as problem:
                self._log.warning("result_not_mended", job_id=job_id, problem=str(problem))
            else:
                self._log.warning("result_mended", job_id=job_id, problem=found.survey.damaged.pop(job_id))

    def _result(self, job_id: JobId) -> Path:
        return self._jobs_dir / job_id / "result"

    async def _clean(self, arguments: Arguments) -> dict[str, Any]:
        return await self.clean(dry_run=arguments.get("dry_run") is True)

    async def _store_state(self, _: Arguments) -> dict[str, Any]:
        return {"problem": self._store.problem(), "damage": self.damage()}

    async def _look(self) -> _Found:
        survey, folders = await asyncio.to_thread(self._look_at_disk)
        states = await job_states(self._journal, held(survey, folders))
        return _Found(survey, folders, states)

    def _look_at_disk(self) -> tuple[retention.Survey, dict[JobId, int]]:
        survey = retention.survey(self._store)
        with storage_errors(self._jobs_dir):
            names = [path.name for path in self._jobs_dir.iterdir()] if self._jobs_dir.is_dir() else []
            folders = {
                JobId(name): folder_bytes(self._jobs_dir / name) for name in names if _JOB_ID.fullmatch(name)
            }
        return survey, folders

    def _plan(self, found: _Found, copies: set[JobId]) -> Plan:
        survey = found.survey
        holdings = []
        for job_id in found.held:
            state = found.states.jobs.get(job_id)
            blocks = survey.dags.get(job_id, {})
            if state is not None and blocks and state.job.cid is not None:
                self._sizes.measured(sum(blocks.values()), state.job.offer.spec.batching)
            ended_at = state.updated_at if state is not None and state.job.phase.terminal else 0.0
            need = self._need(state, found.states.block_number)
            folder_bytes = 0 if job_id in copies else found.folders.get(job_id, 0)
            lost = job_id in survey.damaged and not self._result(job_id).is_dir()
            holdings.append(Holding(job_id, need, ended_at, blocks, folder_bytes, lost))
        others = {digest for name in survey.roots.keys() - found.held for digest in survey.dags[name]}
        of_jobs = {digest for holding in holdings for digest in holding.blocks}
        return keeping.plan(
            holdings,
            other_bytes=sum(survey.stored.get(digest, 0) for digest in others - of_jobs),
            now=self._clock.now(),
            keep_s=self._settings.keep_days * 86400,
            quota_bytes=self._target_bytes(),
        )

    def _target_bytes(self) -> int | None:
        """What is kept leaves room for the jobs that may come until the next cleaning."""
        quota = self._settings.quota_bytes
        return None if quota is None else max(0, quota - SIZES_FREE * self._sizes.of())

    def _need(self, state: JobState | None, block_number: int) -> Need:
        if state is None:
            return Need.UNKNOWN
        job = state.job
        final = job.chain_block + self._finality_blocks <= block_number
        if not job.phase.terminal or not final or state.ordered:
            return Need.NEEDED
        return Need.FOR_A_TIME if job.phase is Phase.UNPAID else Need.FREE

    def _twice(self, found: _Found, job_id: JobId) -> bool:
        """Whether a job's folder holds nothing that its published blocks do not hold as well."""
        state = found.states.jobs.get(job_id)
        if state is None or state.ordered or state.job.cid is None:
            return False
        root = found.survey.roots.get(job_id)
        final = state.job.chain_block + self._finality_blocks <= found.states.block_number
        delivered = state.job.phase in DELIVERED or state.job.phase.terminal
        return final and delivered and root is not None and root.to_cid() == state.job.cid

    def _remove(self, found: _Found, plan: Plan, copies: set[JobId]) -> None:
        """Carry a plan out. After a kill the next one goes on."""
        for leftover in self._jobs_dir.glob(f".*{_REMOVED}"):
            shutil.rmtree(leftover, ignore_errors=True)
        for one in plan.let_go:
            retention.unpin(self._store, one.job_id)
            self._remove_folder(one.job_id)
            say = self._log.warning if one.why is Why.DAMAGE else self._log.info
            say(
                "result_let_go",
                job_id=one.job_id,
                why=one.why,
                freed_bytes=one.freed_bytes,
                problem=found.survey.damaged.get(one.job_id),
            )
        for job_id in copies - {one.job_id for one in plan.let_go}:
            self._remove_folder(job_id)
        retention.collect_garbage(self._store)

    def _read(self, found: _Found, job_ids: set[JobId]) -> None:
        """Read every block of the copies that are to stay alone: the other one is what could mend them."""
        for job_id in job_ids - found.survey.damaged.keys():
            try:
                for _ in walk(self._store, found.survey.roots[job_id], Scope.ALL):
                    pass
            except BlockMissing as error:
                found.survey.damaged[job_id] = str(error)

    def _remove_folder(self, job_id: JobId) -> None:
        folder = self._jobs_dir / job_id
        gone = self._jobs_dir / f".{job_id}{_REMOVED}"
        with storage_errors(self._jobs_dir):
            if not folder.exists():
                return
            # Half a folder must never look like a job's.
            folder.rename(gone)
            sync_directory(self._jobs_dir)
            shutil.rmtree(gone)

    def _told(self, found: _Found, plan: Plan, copies: set[JobId], *, dry_run: bool) -> dict[str, Any]:
        freed_bytes = sum(one.freed_bytes for one in plan.let_go)
        freed_bytes += sum(found.folders[job_id] for job_id in copies) + _garbage_bytes(found.survey)
        quota = self._settings.quota_bytes
        states = found.states.jobs
        gone = {one.job_id for one in plan.let_go}
        damaged = {job_id: why for job_id, why in found.survey.damaged.items() if job_id not in gone}
        return {
            "dry_run": dry_run,
            "let_go": [
                {
                    "job_id": one.job_id,
                    "phase": states[one.job_id].job.phase.value,
                    "ended_at": one.ended_at,
                    "why": one.why.value,
                    "bytes": one.freed_bytes,
                }
                for one in plan.let_go[:MAX_TOLD]
            ],
            "jobs_let_go": len(plan.let_go),
            "second_copies": sorted(copies)[:MAX_TOLD],
            "freed_bytes": freed_bytes,
            "kept_jobs": len(found.held) - len(plan.let_go),
            "kept_bytes": plan.kept_bytes,
            "quota_bytes": quota,
            "over_quota_bytes": 0 if quota is None else max(0, plan.kept_bytes - quota),
            "damaged": dict(list(damaged.items())[:MAX_TOLD]),
            "disk_free_bytes": disk_room(self._store.root).free_bytes,
        }

    def _note(self, plan: Plan) -> None:
        quota = self._settings.quota_bytes
        needed = plan.needed_bytes + SIZES_FREE * self._sizes.of()
        self.problem = None
        if quota is not None and needed > quota:
            self.problem = (
                f"results that must be kept take {plan.needed_bytes / 10**9:.3g} GB, which leaves no room "
                f"for {SIZES_FREE} jobs within ipfs.quota_gb ({quota / 10**9:g}): raise it, "
                "or wait until jobs end"
            )


def _garbage_bytes(survey: retention.Survey) -> int:
    if not survey.can_be_collected():
        return 0
    pinned = {digest for blocks in survey.dags.values() for digest in blocks}
    return sum(size for digest, size in survey.stored.items() if digest not in pinned)


async def clean_stopped(config: Config, *, dry_run: bool) -> dict[str, Any]:
    """Clean the directory of a node that is not running.

    Raises NoJournal if no node ever ran there, InUse if one is just starting.
    """
    directory = config.node.directory
    if not (directory / "journal.sqlite").exists():
        raise NoJournal(f"there is no journal in {directory}: start the node first, or set --data-dir")
    database = Database(directory)
    try:
        housekeeper = Housekeeper(
            config.ipfs,
            store=BlockStore(directory / "ipfs"),
            jobs_dir=directory / "jobs",
            journal=database,
            finality_blocks=config.chain.finality_blocks,
            sizes=JobSizes(int(config.admission.initial_job_gb * 10**9)),
            clock=SystemClock(),
        )
        return await housekeeper.clean(dry_run=dry_run)
    finally:
        database.close()
