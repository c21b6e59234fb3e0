"""What a forked node does to itself: die exactly at one durable boundary, or count what its worker computes.

Each function is called in the fork before the node runs, and wraps the one function whose call is the
boundary. Workers are forked from the same process, so that theirs are wrapped too.
"""

import functools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Wrapped = Callable[..., Any]
RULING = "rule"
"""Begins the intents of a mediator's rulings."""


def die_at(job_id: str, boundary: str) -> None:
    """Kill this node with SIGKILL at a boundary of one job.

    ``boundary`` is ``before:`` or ``after:`` and one of: a phase (the commit in which the job enters it);
    ``reserve``, ``record``, ``sent`` or ``settle`` and an effect, e.g. ``after:record:propose``; a stage of
    the worker (``still``, ``frames``, ``encoded``, ``manifest``); a step of publishing (``cid``, ``pinned``,
    ``read-back`` from the disk, ``copies-wanted``, ``copy-read`` over the node's port).
    """
    around_boundaries(job_id, _dying_at(boundary))


def die_in_case(boundary: str) -> None:
    """Kill this node with SIGKILL at a boundary of a case that it mediates.

    ``boundary`` is ``before:`` or ``after:`` and one of: ``drawn``, a phase of a case, or ``reserve``,
    ``record``, ``sent`` or ``settle`` with ``:ruling``.
    """
    from node.journal.cases import CaseLog

    die = _dying_at(boundary)
    drawn, save = CaseLog.drawn, CaseLog.save

    async def crashing_drawn(self: Any, draws: Any, *arguments: Any) -> None:
        found = list(draws)
        die("before", "drawn" if found else "")
        await drawn(self, found, *arguments)
        die("after", "drawn" if found else "")

    async def crashing_save(self: Any, case: Any) -> None:
        die("before", case.phase.value)
        await save(self, case)
        die("after", case.phase.value)

    CaseLog.drawn, CaseLog.save = crashing_drawn, crashing_save  # type: ignore[method-assign]
    _around_transactions(RULING, die)


def falsify_film() -> None:
    """Have this node deliver films of which one byte is another, with a manifest that says so."""
    from node.app.dispute_demonstration import falsify
    from node.pipeline import results

    write = results.write_result

    def cheating(job_dir: Path, *arguments: Any) -> None:
        write(job_dir, *arguments)
        if job_dir.parent.name == "jobs":
            falsify(job_dir / results.RESULT)

    results.write_result = cheating


def _dying_at(boundary: str) -> Callable[[str, str], None]:
    when, _, what = boundary.partition(":")
    node = os.getpid()

    def die(moment: str, name: str) -> None:
        if (moment, name) == (when, what):
            os.kill(node, signal.SIGKILL)
            # A worker dies with its node, but not before the kernel has come around to it.
            signal.pause()

    return die


def around_boundaries(job_id: str, act: Callable[[str, str], None]) -> None:
    """Call ``act`` with ``before`` or ``after`` and the name of each durable boundary of one job."""
    _around_commits(job_id, act)
    _around_transactions(job_id, act)
    _around_stages(job_id, act)
    _around_publishing(job_id, act)


def log_stages(log: str) -> None:
    """Append a line to ``log`` before each stage a worker computes and after it became durable."""
    from node.worker import fake

    keep = fake.keep_stage

    @functools.wraps(keep)
    def logged(spec: Any, work: Path, stage: str) -> None:
        _append(log, f"computed {work.parent.name} {stage}\n")
        keep(spec, work, stage)
        _append(log, f"durable {work.parent.name} {stage}\n")

    fake.keep_stage = logged


def time_device(log: str) -> None:
    """Append to ``log`` when each job began and ended on its worker's device, in seconds of one clock."""
    from node.worker.fake import FakeRenderer

    start = FakeRenderer.start

    @functools.wraps(start)
    def timed(*given: Any, **more: Any) -> Any:
        began = time.monotonic()
        rest = start(*given, **more)
        _append(log, f"{began} {time.monotonic()}\n")
        return rest

    FakeRenderer.start = timed  # type: ignore[method-assign]


def wrong_clock(change: str, before_s: float) -> None:
    """Have wall time be ``before_s`` off, and otherwise once the file ``change`` says so.

    It holds a jump in seconds and a rate in seconds per second. The monotonic clock stays as it is. By how
    many seconds the first wrong answer is off is kept in the file ``change`` with ``.told`` at its end.
    """
    right = time.time
    since: list[float] = []
    told = Path(f"{change}.told")

    def wrong() -> float:
        now = right()
        try:
            jump, rate = map(float, Path(change).read_text().split())
        except (OSError, ValueError):
            return now + before_s
        if not since:
            since.append(now)
        off = jump + (rate - 1) * (now - since[0])
        if off and len(since) == 1:
            since.append(now)
            told.write_text(str(off))
        return now + before_s + off

    time.time = wrong


def stub_driver(library: str, description: str) -> None:
    """Have this node find the driver in the file ``library``, whose cards ``description`` tells of."""
    import ctypes

    os.environ |= {"NVML_STUB": description, "LD_LIBRARY_PATH": str(Path(library).parent)}
    # The linker has read its path long ago; a library that is loaded is found by its name.
    ctypes.CDLL(library)


def leak_key() -> None:
    """Put the provider's key into the environment of every worker, as no node may."""
    from node.chain.devnet import PROVIDER, dev_key
    from node.worker import process

    environment = process.child_environment
    process.child_environment = lambda *given: environment(*given) | {"LEAK": dev_key(PROVIDER).hex()}


def _append(path: str, line: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, line.encode())
    os.close(handle)


def _around_commits(job_id: str, die: Callable[[str, str], None]) -> None:
    from node.journal.journal import Journal

    commit = Journal.commit

    async def crashing(self: Any, batch: Any) -> None:
        phases = [entry.job.phase.value for entry in batch.entries if entry.job.job_id == job_id]
        for phase in phases:
            die("before", phase)
        await commit(self, batch)
        for phase in phases:
            die("after", phase)

    Journal.commit = crashing  # type: ignore[method-assign]


def _around_transactions(job_id: str, die: Callable[[str, str], None]) -> None:
    from node.chain import pursuit
    from node.journal.transactions import TransactionLog

    intents: dict[bytes, str] = {}

    def named(step: str, intent_id: str) -> str:
        whose, _, what = intent_id.partition(":")
        if whose != job_id:
            return ""
        return f"{step}:{'ruling' if whose == RULING else what.partition(':')[0]}"

    def wrap(method: str, step: str) -> None:
        write = getattr(TransactionLog, method)

        async def crashing(self: Any, intent_id: str, *arguments: Any) -> Any:
            if step == "record":
                intents[arguments[1]] = intent_id
            die("before", named(step, intent_id))
            result = await write(self, intent_id, *arguments)
            die("after", named(step, intent_id))
            return result

        setattr(TransactionLog, method, crashing)

    wrap("reserve", "reserve")
    wrap("record_attempt", "record")
    wrap("settle", "settle")
    send = pursuit.broadcast

    async def crashing_broadcast(chain: Any, raw: bytes) -> Any:
        name = named("sent", intents.get(raw, ""))
        die("before", name)
        result = await send(chain, raw)
        die("after", name)
        return result

    pursuit.broadcast = crashing_broadcast


def _around_stages(job_id: str, die: Callable[[str, str], None]) -> None:
    from node.pipeline import results
    from node.worker import fake

    keep, write = fake.keep_stage, results.write_result

    def crashing_stage(spec: Any, work: Path, stage: str) -> None:
        name = stage if work.parent.name == job_id else ""
        die("before", name)
        keep(spec, work, stage)
        die("after", name)

    def crashing_result(job_dir: Path, *arguments: Any) -> None:
        name = "manifest" if job_dir.name == job_id else ""
        die("before", name)
        write(job_dir, *arguments)
        die("after", name)

    fake.keep_stage = crashing_stage
    results.write_result = crashing_result


def _around_publishing(job_id: str, die: Callable[[str, str], None]) -> None:
    from node.publisher import publish, retention

    def wrap(module: Any, function: str, name: str, is_ours: Callable[..., bool]) -> None:
        inner = getattr(module, function)

        def crashing(*arguments: Any) -> Any:
            ours = is_ours(*arguments)
            die("before", name if ours else "")
            result = inner(*arguments)
            die("after", name if ours else "")
            return result

        setattr(module, function, crashing)

    _around_copies(job_id, die)
    wrap(publish, "import_tree", "cid", lambda directory, _: directory.parent.name == job_id)
    wrap(retention, "pin", "pinned", lambda _store, _writer, job, _root: job == job_id)
    # Every block is read back between the pin and the second look at the directory.
    wrap(publish, "cid_of", "read-back", lambda directory: directory.parent.name == job_id)


def _around_copies(job_id: str, die: Callable[[str, str], None]) -> None:
    from node.journal.copies import CopyLog

    want, put = CopyLog.want, CopyLog.put

    async def crashing_want(self: Any, job: str, *arguments: Any) -> Any:
        name = "copies-wanted" if job == job_id else ""
        die("before", name)
        found = await want(self, job, *arguments)
        die("after", name)
        return found

    async def crashing_put(self: Any, job: str, cid: str, copy: Any) -> None:
        name = "copy-read" if job == job_id and copy.read_at is not None else ""
        die("before", name)
        await put(self, job, cid, copy)
        die("after", name)

    CopyLog.want, CopyLog.put = crashing_want, crashing_put


def hurry_publishing() -> None:
    """Look at chain time often and try again soon, so that a run does not take the minutes a node may."""
    from node.app import publishing as failing
    from node.engine import publishing
    from node.publisher.targets import several

    publishing.LOOK_EVERY_S, publishing.LAST_CHANCE_S = 0.2, 5.0
    failing.FAILURE_WAIT_S = 1.0
    several.FIRST_PAUSE_S = several.LONGEST_PAUSE_S = several.REFUSED_PAUSE_S = 0.2


def hurry_workers() -> None:
    """Take a worker for hung or silent after three seconds, and start the next one at once."""
    from dataclasses import replace

    from node.app import workers

    settings = workers.worker_settings

    def hurried(section: Any) -> Any:
        quick = {"ping_interval_s": 0.05, "ping_s": 3.0, "progress_s": 3.0, "terminate_s": 0.5}
        return replace(settings(section), restart_backoff_s=0.05, **quick)

    workers.worker_settings = hurried


def own_port_unreadable(url: str) -> None:
    """Have every read over this node's own HTTP port fail."""
    from node.errors import Unreachable
    from node.publisher.targets.readback import GatewayReader

    read = GatewayReader.read

    async def failing(self: Any, root: Any) -> int:
        if self._url == url:
            raise Unreachable(f"{url} cannot be read, as this test wants it")
        return int(await read(self, root))

    GatewayReader.read = failing
