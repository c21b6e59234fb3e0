"""A node seen from outside, for the web room's tests: jobs that really move on when told to, and say so."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.fakes.gpus import card

TOKEN = 10**18
STAGES = (("load_still", 1), ("still", 20), ("video", 25), ("encode", 4))


def _step(
    at: float, event: str, phase: str, detail: str = "", block_number: int | None = None
) -> dict[str, Any]:
    step = {"at": at, "event": event, "phase": phase, "detail": detail}
    return {**step, "block_number": block_number, "tx_hash": None}


class FakeStatusSource:
    """Holds jobs and a status, advances jobs on demand, and tells every subscriber."""

    def __init__(self, *, now: float = 1_790_000_000.0) -> None:
        self.now = now
        self._jobs: dict[str, dict[str, Any]] = {}
        self._subscribers: list[asyncio.Queue[dict[str, Any] | None]] = []
        self._stills: dict[str, tuple[Path, str]] = {}
        self._status: dict[str, Any] = {
            "version": "0.1.0",
            "started_at": now - 93_000,
            "chain": {
                "chain_id": 31337,
                "head": 187_442_901,
                "head_at": now,
                "cursor": 187_442_899,
                "rpc_ok": True,
                "endpoints": [
                    {
                        "name": "https://rpc.example.org",
                        "state": "up",
                        "active": True,
                        "head": 187_442_901,
                        "lag": 0,
                        "problem": None,
                    },
                    {
                        "name": "wss://other.example.org",
                        "state": "behind",
                        "active": False,
                        "head": 187_441_901,
                        "lag": 1000,
                        "problem": "its head 187441901 is 1000 blocks behind",
                    },
                ],
                "controller": "0x" + "c0" * 20,
                "job_manager": "0x" + "1b" * 20,
                "token": "0x" + "7a" * 20,
                "symbol": "SDV",
            },
            "wallet": {
                "address": "0x" + "a1" * 20,
                "gas_wei": TOKEN // 4,
                "token_wei": 61_250 * TOKEN // 1000,
                "allowance_wei": 500 * TOKEN,
            },
            "worker": {
                "ready": True,
                "profile": "sdv-1.1",
                "state": "idle",
                "determinism_class": "d3b07384d113",
                "current_job": None,
                "quarantined": 0,
                "slots": [
                    {
                        "name": str(number),
                        "gpu": f"GPU-{number}",
                        "socket": None,
                        "ready": True,
                        "state": "idle",
                    }
                    | {"rendering": None, "encoding": None, "pid": 7 + number, "replacements": 0}
                    | {"problem": None, "determinism_class": "d3b07384d113"}
                    for number in range(2)
                ],
            },
            "gpus": [
                {
                    **card(
                        memory_total_bytes=24 << 30,
                        memory_free_bytes=9 << 30,
                        memory_used_bytes=15 << 30,
                        utilisation_percent=97,
                        temperature_c=64,
                        power_w=312.4,
                    ).to_json(),
                    "usable": True,
                    "shut": [],
                    "promised_bytes": 22 * 10**9,
                    "jobs": [],
                }
            ],
            "gpu_problem": None,
            "gpu_gate": {
                "open": True,
                "reason": None,
                "needed_bytes": 22 * 10**9,
                "hours": [],
                "in_hours": True,
                "hours_change_at": None,
                "without_memory": [],
            },
            "disk": {"path": "/var/lib/sdv-node", "free_bytes": 412 << 30},
            "jobs": {"by_phase": {}},
            "earnings": {},
            "draining": False,
            "explorer": "https://explorer.example.org",
            "skipped": [],
            "offers": {"since": now - 93_000, "seen": 0, "proposed": 0, "agreed": 0, "declined": {}},
            "gateway_url": "http://127.0.0.1:8080",
            "public_gateway": None,
            "limits": {"max_open_deals": 4, "max_open_proposals_per_requester": 2},
            "accepting": True,
            "not_accepting_because": [],
            "price_wei": str(2 * TOKEN),
            "modules": ["sdv-pipeline:v1.1-lilypad2"],
        }

    # what the web room asks

    def status(self) -> dict[str, Any]:
        by_phase: dict[str, int] = {}
        paid = 0
        for job in self._jobs.values():
            by_phase[job["phase"]] = by_phase.get(job["phase"], 0) + 1
            paid += int(job["paid_wei"])
        return {
            **self._status,
            "jobs": {"by_phase": by_phase},
            "earnings": {
                "paid_wei": str(paid),
                "day_wei": str(paid // 2),
                "week_wei": str(paid),
                "month_wei": str(paid),
                "locked_wei": str(3 * TOKEN),
                "claimable_wei": "0",
                "slashed_wei": "0",
                "gas_wei": str(TOKEN // 100),
                "net_wei": str(paid),
                "last_paid_at": None,
                **self._status["earnings"],
            },
        }

    async def jobs(self, limit: int, before: str | None, chosen: Any = None) -> list[dict[str, Any]]:
        newest_first = [
            job
            for job in reversed(self._jobs.values())
            if chosen is None or chosen.phase in {None, job["phase"]}
        ]
        if before is not None:
            ids = [job["job_id"] for job in newest_first]
            newest_first = newest_first[ids.index(before) + 1 :]
        return [{**job, "timeline": [], "transactions": []} for job in newest_first[:limit]]

    async def job(self, job_id: str) -> dict[str, Any] | None:
        return self._jobs.get(job_id)

    def still(self, job_id: str, number: int) -> tuple[Path, str] | None:
        return self._stills.get(job_id) if number == 1 else None

    async def subscribe(self) -> AsyncIterator[dict[str, Any]]:
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._subscribers.append(queue)
        try:
            while (change := await queue.get()) is not None:
                yield change
        finally:
            self._subscribers.remove(queue)

    # what a test does to it

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    def set_status(self, **parts: Any) -> None:
        self._status.update(parts)
        self._tell("status", self.status())

    def add_job(self, prompt: str, **changes: Any) -> str:
        job_id = f"j{len(self._jobs) + 1}"
        self.now += 30
        job = {
            "job_id": job_id,
            "deal_id": f"{job_id}-3vQB7B6MrGQZaxCuFg4oh",
            "phase": "AGREED",
            "terminal": False,
            "module": "sdv-pipeline:v1.1-lilypad2",
            "prompt": prompt,
            "inputs": {"Prompt": prompt, "Seed": "42", "Steps": "20", "VideoSteps": "25"},
            "notes": [],
            "requester": "0x" + "f3" * 20,
            "price_wei": str(2 * TOKEN),
            "paid_wei": "0",
            "cid": None,
            "reason": None,
            "deadline": None,
            "seen_at": self.now,
            "updated_at": self.now,
            "progress": None,
            "stills": [],
            "copies": [],
            "estimate": None,
            "run_time": None,
            "outputs": [],
            "timeline": [
                _step(self.now - 12, "OfferSeen", "SEEN"),
                _step(self.now - 8, "Admitted", "PROPOSED"),
                _step(self.now, "DealMoved", "AGREED", block_number=187_442_000),
            ],
            "transactions": [
                {
                    "what": f"agree {job_id}",
                    "status": "mined",
                    "tx_hash": "0x" + "ab" * 32,
                    "nonce": 7,
                    "block_number": 187_442_000,
                    "reason": None,
                    "gas_used": 412_003,
                    "fee_wei": str(412_003 * 10**9),
                }
            ],
            "determinism_class": "d3b07384d113",
        }
        self._jobs[job_id] = job | changes
        self._changed(job_id)
        return job_id

    def refuse_job(self, prompt: str, reason: str) -> str:
        job_id = self.add_job(prompt, phase="REFUSED", terminal=True, reason=reason, transactions=[])
        self._move(job_id, "Refused", "REFUSED", reason)
        return job_id

    def render(self, job_id: str, stage: str, step: int) -> None:
        """Put a job at a step of a stage."""
        job = self._jobs[job_id]
        total = sum(steps for _, steps in STAGES)
        names = [name for name, _ in STAGES]
        done = sum(steps for _, steps in STAGES[: names.index(stage)]) + step
        steps = dict(STAGES)[stage]
        job["progress"] = {"stage": stage, "step": step, "steps": steps, "fraction": done / total}
        job["estimate"] = {
            "expected_s": total,
            "upper_s": 2 * total,
            "left_s": total - done,
            "measured": True,
        }
        if job["phase"] != "RENDERING":
            self._move(job_id, "WorkerReady", "RENDERING", "")
        self._status["worker"] = {**self._status["worker"], "state": "rendering", "current_job": job_id}
        self.now += 1
        job["updated_at"] = self.now
        moved = ("job_id", "progress", "estimate", "updated_at")
        self._tell("progress", {name: job[name] for name in moved})
        self._tell("status", self.status())

    def show_still(self, job_id: str, folder: Path, path: str) -> None:
        """Let the first still of a job that is being rendered be there."""
        self._stills[job_id] = (folder, path)
        self._jobs[job_id]["stills"] = [1]
        self._changed(job_id)

    def publish(self, job_id: str, cid: str, outputs: list[dict[str, Any]]) -> None:
        """Give a job its files."""
        self._status["worker"] = {**self._status["worker"], "state": "idle", "current_job": None}
        self._jobs[job_id].update(progress=None, estimate=None, cid=cid, outputs=outputs)
        self._jobs[job_id]["run_time"] = {"expected_s": 20.0, "taken_s": 21.0}
        self._move(job_id, "Rendered", "PUBLISHING", "took 21.0 s, 20.0 s were expected")
        self._move(job_id, "Published", "PUBLISHED", cid)

    def submit(self, job_id: str) -> None:
        self._move(job_id, "ResultSubmitted", "SUBMITTED", "")

    def pay(self, job_id: str) -> None:
        self._jobs[job_id].update(terminal=True, paid_wei=self._jobs[job_id]["price_wei"])
        self._move(job_id, "Paid", "PAID", "2 SDV")

    def fail(self, job_id: str, reason: str) -> None:
        self._jobs[job_id].update(terminal=True, progress=None, reason=reason)
        self._move(job_id, "Failed", "FAILED", reason)

    def end_subscriptions(self) -> None:
        """Drop every live stream, as a restart of the node would."""
        for queue in self._subscribers:
            queue.put_nowait(None)

    def _move(self, job_id: str, event: str, phase: str, detail: str) -> None:
        self.now += 7
        job = self._jobs[job_id]
        job["phase"] = phase
        job["timeline"] = [
            *job["timeline"],
            _step(self.now, event, phase, detail),
        ]
        self._changed(job_id)

    def _changed(self, job_id: str) -> None:
        self._jobs[job_id]["updated_at"] = self.now
        self._tell("job", dict(self._jobs[job_id]))
        self._tell("status", self.status())

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        for queue in self._subscribers:
            queue.put_nowait({"type": kind, "data": data})
