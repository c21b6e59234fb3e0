"""Where this node's workers run, as its settings and its GPUs have it."""

import importlib.util
import pwd
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from node.clock import Clock
from node.config import Config, WorkerSection
from node.errors import Misconfigured
from node.gpu.readings import GpuReport
from node.gpu.watch import read_once
from node.observe.metrics import Metrics
from node.pipeline.profiles import load_profile
from node.worker.fake import is_fake
from node.worker.pool import WorkerPool
from node.worker.settings import Fleet, Place, Standalone, WorkerSettings


def worker_settings(section: WorkerSection, *, load_attempts: int = 3) -> WorkerSettings:
    """Return the deadlines and the residency that the operator set."""
    return WorkerSettings(
        residency=section.residency,
        load_s=section.load_timeout_s,
        progress_s=section.progress_timeout_s,
        job_s=section.job_timeout_s,
        load_attempts=load_attempts,
    )


def worker_pool(
    config: Config,
    places: Sequence[Place],
    metrics: Metrics,
    clock: Clock,
    barred: Callable[[Place], str | None],
) -> WorkerPool:
    """Return the pool of the node's workers, one for each place; ``barred`` is why one may not start now."""
    return WorkerPool(
        profile=config.worker.profile,
        data_dir=config.node.directory,
        settings=worker_settings(config.worker),
        clock=clock,
        places=places,
        on_death=metrics.worker_died,
        on_load=metrics.worker_loaded,
        barred=barred,
    )


async def worker_places(section: WorkerSection, data_dir: Path) -> tuple[Place, ...]:
    """Return a place for each worker: sockets, GPUs or, in a fleet and on the processor, as many as wanted.

    ``data_dir`` is the node's. Raises Misconfigured if the standalone workers' user does not exist, if Ray is
    needed and not installed, or if there is no such profile.
    """
    if section.backend == "ray":
        return fleet_places(section, data_dir)
    if section.sockets:
        return standalone_places(section)
    if not _needs_gpu(section.profile):
        return tuple(Place(str(number)) for number in range(section.slots))
    return gpu_places(section.gpus, await read_once())


def _needs_gpu(profile: str) -> bool:
    return not is_fake(profile) and load_profile(profile).device == "cuda"


def check_ray() -> None:
    """Raise Misconfigured if Ray is not installed. It is not imported: that takes a second and 100 MB."""
    if importlib.util.find_spec("ray") is None:
        raise Misconfigured(
            'worker.backend is "ray" and Ray is not installed: pip install "sdv-node[ray]", in a checkout '
            'uv pip install --python .venv ray==2.60.0, or set worker.backend to "process"'
        )


def fleet_places(section: WorkerSection, data_dir: Path) -> tuple[Place, ...]:
    """Return a place for each worker of the fleet. Raises Misconfigured if Ray is not installed."""
    fleet = fleet_of(section, data_dir)
    return tuple(Place(str(number), fleet=fleet) for number in range(section.ray.workers))


def fleet_of(section: WorkerSection, data_dir: Path) -> Fleet:
    """Return what one worker of the fleet needs and where. Raises Misconfigured if Ray is not installed."""
    if section.sockets:
        raise Misconfigured(
            'worker.backend is "ray" and worker.sockets names workers of another kind: empty it'
        )
    check_ray()
    wanted = section.ray
    amounts = [each.rpartition("=") for each in wanted.resources]
    return Fleet(
        address=wanted.address,
        namespace=wanted.namespace,
        gpus=int(_needs_gpu(section.profile)),
        resources=tuple((name, float(amount)) for name, _, amount in amounts),
        data_dir=wanted.data_dir or str(data_dir.absolute()),
        placement_s=wanted.placement_timeout_s,
    )


def gpu_places(wanted: tuple[str, ...], report: GpuReport) -> tuple[Place, ...]:
    """Return a place for each GPU that is wanted, all if none is named, by UUID where it is known.

    A GPU that is named and not seen has its place all the same: its worker says what is wrong, and the others
    go on. With none named and none seen there is one place, whose worker says so.
    """
    if not wanted:
        if report.problem:
            structlog.get_logger().warning("gpus_not_read", problem=report.problem)
        return tuple(Place(str(gpu.index), gpu.uuid) for gpu in report.gpus) or (Place(),)
    uuids = {str(gpu.index): gpu.uuid for gpu in report.gpus}
    indices = {str(gpu.uuid): str(gpu.index) for gpu in report.gpus}
    return tuple(Place(indices.get(name, name), uuids.get(name, name)) for name in wanted)


def standalone_places(section: WorkerSection) -> tuple[Place, ...]:
    """Return a place for each socket. Raises Misconfigured if the workers' user does not exist."""
    try:
        uid = pwd.getpwnam(section.user).pw_uid if section.user else None
    except KeyError:
        raise Misconfigured(
            f"worker.user: there is no user {section.user!r}; set the one the workers run as, or leave it "
            "empty if that is the node's own"
        ) from None
    exchange = Path(section.exchange)
    return tuple(
        Place(str(number), None, Standalone(Path(socket), exchange, uid))
        for number, socket in enumerate(section.sockets)
    )
