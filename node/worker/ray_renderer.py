"""A renderer whose rendering is done by a worker on another host, reached through Ray.

Lives in a worker process of the node, in the place of the pipeline: Ray's client, its threads and its pickles
stay out of the process that holds the key. What the host has finished is fetched at once and is durable here
before it is told, so that a lost host costs only the stage it was in.
"""

import itertools
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from node.errors import Misconfigured, Retryable, Unreachable
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.pipeline import results
from node.pipeline.clip_order import WriteClip
from node.pipeline.results import Finished
from node.worker.protocol import (
    DeviceFree,
    Failed,
    FailureKind,
    FromWorker,
    Progressed,
    Ready,
    Refused,
    Render,
    Rendered,
    decode_from_worker,
    encode,
)
from node.worker.ray_actor import HostWorker
from node.worker.ray_files import (
    CHUNK_BYTES,
    PARTIAL,
    BadFile,
    FileChanged,
    FileInfo,
    Inbox,
    Outbox,
    chunk_offsets,
    described,
)
from node.worker.serving import EndedElsewhere, Rest
from node.worker.settings import Fleet

_CHUNKS_AHEAD = 4
_CALL_S = 120.0
_SAME_VERSION = "install the same version of sdv-node, with its extra ray, on every host of the fleet"


def fleet_loader(order: str, profile: str, residency: str) -> Callable[[], "RayRenderer"]:
    """Return what connects to the fleet and hires a worker there; ``order`` is that of ``Fleet.to_json``."""
    fleet, settings = Fleet.from_json(json.loads(order))
    return partial(RayRenderer.hire, fleet, profile, {**asdict(settings), "residency": residency})


class _Job:
    def __init__(
        self, key: str, job_dir: Path, spec: JobSpec, on_progress: Callable[[Progress], None]
    ) -> None:
        self.key = key
        self.job_dir = job_dir
        self.spec = spec
        self.on_progress = on_progress
        self.inbox = Inbox(job_dir)


class RayRenderer:
    """A worker on one host of the fleet with its models loaded; made by ``hire``."""

    def __init__(self, actor: Any, host: str, determinism_class: str) -> None:
        self._actor = actor
        self._host = host
        self._keys = itertools.count(1)
        self._open_jobs = 0
        self.determinism_class = determinism_class
        threading.Thread(target=self._watch, name="watch host", daemon=True).start()

    @classmethod
    def hire(cls, fleet: Fleet, profile: str, settings: dict[str, Any]) -> "RayRenderer":
        """Connect to the fleet and start a worker where there is room. Raises Retryable or Misconfigured."""
        connect(fleet)
        _check_size(fleet)
        actor = (
            ray.remote(HostWorker)
            .options(
                num_cpus=1,
                num_gpus=fleet.gpus,
                resources=dict(fleet.resources),
                scheduling_strategy="SPREAD",
                # Whoever lost a worker hires the next one, which may be on another host.
                max_restarts=0,
                max_task_retries=0,
            )
            .remote(fleet.data_dir)
        )
        try:
            host = str(ray.get(actor.where.remote(), timeout=fleet.placement_s))
            answer = decode_from_worker(
                ray.get(actor.load.remote(profile, settings), timeout=settings["load_s"])
            )
        except GetTimeoutError as error:
            raise Retryable(
                f"no host of the fleet had room for a worker within {fleet.placement_s:g} s: it needs "
                f"{_needs(fleet)}; ray status tells what is in use"
            ) from error
        except RayError as error:
            raise Retryable(
                f"a host of the fleet started no worker: {_brief(error)}: if that repeats, {_SAME_VERSION}"
            ) from error
        match answer:
            case Ready(determinism_class):
                return cls(actor, host, determinism_class)
            case Refused(reason):
                raise Retryable(f"the worker on host {host}: {reason}")
        raise Retryable(f"host {host} answered with {type(answer).__name__}: {_SAME_VERSION}")

    def start(
        self,
        spec: JobSpec,
        job_dir: Path,
        on_progress: Callable[[Progress], None],
        write_clip: WriteClip | None = None,
    ) -> Rest:
        """Have the host do what needs its device, from the stages that are here already.

        Raises EndedElsewhere, or BadFile for what is not a job's file.
        """
        del write_clip
        job = _Job(f"job{next(self._keys)}", job_dir, spec, on_progress)
        self._open_jobs += 1
        try:
            shutil.rmtree(job_dir / PARTIAL, ignore_errors=True)
            job_dir.mkdir(parents=True, exist_ok=True)
            self._send_stages(job)
            order = encode(Render(job.key, spec.to_json(), ""))
            self._ask(self._actor.begin.remote(job.key, order))
            said = self._messages(job)
            for message in said:
                if isinstance(message, DeviceFree):
                    break
        except (EndedElsewhere, OSError) as error:
            self._end(job, error)
            raise
        return partial(self._finish, job, said)

    def _finish(self, job: _Job, said: Iterator[FromWorker]) -> Finished:
        try:
            for message in said:
                if isinstance(message, Rendered):
                    break
            self._fetch(job, whole=True)
            results.appear(job.job_dir)
            finished = results.read_result(job.job_dir, job.spec)
            if finished is None:
                raise BadFile(f"host {self._host} told of a result and has none")
            shutil.rmtree(job.job_dir / results.WORK, ignore_errors=True)
        except (EndedElsewhere, OSError) as error:
            self._end(job, error)
            raise
        self._end(job)
        return finished

    def _end(self, job: _Job, error: Exception | None = None) -> None:
        # A lost host ends this process, which then tells it of the job and not of itself.
        if not (isinstance(error, EndedElsewhere) and error.of is FailureKind.LOST):
            self._open_jobs -= 1
            self._actor.forget.remote(job.key)

    def _messages(self, job: _Job) -> Iterator[FromWorker]:
        """Yield what the host tells of a job, after what it has finished until then was fetched."""
        while True:
            lines = self._ask(self._actor.heard.remote(job.key), timeout=None)
            messages = [decode_from_worker(line) for line in lines]
            self._fetch(job, whole=False)
            for message in messages:
                match message:
                    case Progressed():
                        job.on_progress(
                            Progress(
                                message.stage, message.step, message.steps, message.fraction, message.artifact
                            )
                        )
                    case Failed(reason=reason, of=of):
                        raise EndedElsewhere(f"{reason} (on host {self._host})", of)
                yield message

    def _send_stages(self, job: _Job) -> None:
        """Give the host what earlier workers have finished of a job."""
        files = [info for info in Outbox(job.job_dir).files() if info.path.startswith(f"{results.WORK}/")]
        for info in files:
            with (job.job_dir / info.path).open("rb") as file:
                references = [ray.put(file.read(CHUNK_BYTES)) for _ in chunk_offsets(info)]
            self._ask(self._actor.accept.remote(job.key, astuple(info), references))
        job.inbox.has(files)

    def _fetch(self, job: _Job, *, whole: bool) -> None:
        """Fetch what the host has finished and is not here yet.

        A file that is still being written ends it, to be fetched another time, unless it is to be ``whole``.
        """
        for info in described(self._ask(self._actor.files.remote(job.key))):
            if not job.inbox.lacks(info):
                continue
            try:
                job.inbox.write(info, self._chunks(job.key, info))
            except (FileChanged, BadFile):
                if whole:
                    raise
                return

    def _chunks(self, key: str, info: FileInfo) -> Iterator[bytes]:
        """Yield a file's bytes; a few chunks are on their way while one is written."""
        offsets = iter(chunk_offsets(info))
        ask = partial(self._actor.chunk.remote, key, astuple(info))
        coming = [ask(offset) for offset in itertools.islice(offsets, _CHUNKS_AHEAD)]
        while coming:
            chunk = self._ask(coming.pop(0))
            if chunk is None:
                raise FileChanged(f"{info.path} has changed")
            coming.extend(ask(offset) for offset in itertools.islice(offsets, 1))
            yield chunk

    def _ask(self, reference: Any, timeout: float | None = _CALL_S) -> Any:
        try:
            return ray.get(reference, timeout=timeout)
        except RayError as error:
            raise EndedElsewhere(self._lost(error), FailureKind.LOST) from error

    def _lost(self, error: RayError) -> str:
        if isinstance(error, RayActorError):
            return (
                f"host {self._host} of the fleet or its worker is gone: ray list nodes and its log tell why"
            )
        return f"host {self._host} of the fleet: {_brief(error)}"

    def _watch(self) -> None:
        """End this process when the host's worker ends while it has nothing to do; a job tells by itself."""
        try:
            why = f"the worker on host {self._host} of the fleet: {ray.get(self._actor.until_lost.remote())}"
        except RayError as error:
            why = self._lost(error)
        if self._open_jobs == 0:
            sys.stderr.write(f"{why}\n")
            sys.stderr.flush()
            os._exit(1)


def connect(fleet: Fleet) -> None:
    """Make this process a client of the fleet. Raises Unreachable, or Misconfigured if it cannot be used."""
    try:
        ray.init(
            address=fleet.address,
            namespace=fleet.namespace,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise Unreachable(
            f"no fleet at {fleet.address} (worker.ray.address): {_brief(error)}: start Ray on this machine "
            "(ray start --address=HEAD:6379)"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise Misconfigured(f"the fleet at {fleet.address} cannot be used: {_brief(error)}") from error


def _check_size(fleet: Fleet) -> None:
    """See whether any host could ever have room. Raises Retryable."""
    there = ray.cluster_resources()
    wanted = {**dict(fleet.resources), **({"GPU": fleet.gpus} if fleet.gpus else {})}
    for name, amount in wanted.items():
        if there.get(name, 0) < amount:
            raise Retryable(
                f"the fleet has {there.get(name, 0):g} of {name!r}, each worker needs {amount:g}: start Ray "
                "on the hosts that are missing, with --resources for names of your own (worker.ray.resources)"
            )


def _needs(fleet: Fleet) -> str:
    return ", ".join(
        f"{amount:g} {name}" for name, amount in (("GPU", fleet.gpus), ("CPU", 1), *fleet.resources)
    )


def _brief(error: Exception) -> str:
    """Return the last line that says something; Ray puts whole tracebacks into its errors."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), repr(error))[
        :300
    ]
