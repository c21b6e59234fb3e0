"""The self-check of a fleet: is its cluster there, and have its hosts room for the workers wanted?"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from node.app.checks import Check, problem
from node.app.workers import fleet_of
from node.config import Config
from node.errors import NodeError
from node.worker.process import child_environment, fleet_environment
from node.worker.settings import Fleet, WorkerSettings

PATIENCE_S = 30.0
_KNOCK_S = 5.0
Hosts = Sequence[Mapping[str, float]]


async def check_fleet(config: Config) -> Check:
    """Can the fleet be reached, and will its workers find room? What runs there now counts as room."""
    wanted = config.worker.ray
    try:
        fleet = fleet_of(config.worker, config.node.directory)
    except NodeError as error:
        return problem("fleet", str(error))
    hosts = await ask(fleet, config.node.directory)
    if isinstance(hosts, str):
        return problem("fleet", hosts)
    room = room_for(hosts, fleet)
    hosts_told = "1 host" if len(hosts) == 1 else f"{len(hosts)} hosts"
    found = f"{hosts_told} at {wanted.address} with room for {room} workers, {wanted.workers} wanted"
    if room >= wanted.workers:
        return Check("fleet", "ok", found)
    return problem(
        "fleet",
        found,
        "start Ray on more hosts (ray start --address=HEAD:6379), or lower worker.ray.workers",
    )


def room_for(hosts: Hosts, fleet: Fleet) -> int:
    """Return how many workers fit on hosts with these resources; no worker is split between two."""
    needed = {"CPU": 1.0, "GPU": float(fleet.gpus), **dict(fleet.resources)}
    return sum(
        min(int(host.get(name, 0.0) // amount) for name, amount in needed.items() if amount > 0)
        for host in hosts
    )


async def ask(fleet: Fleet, data_dir: Path, patience_s: float = PATIENCE_S) -> Hosts | str:
    """Return what each host has, or why nothing is known of them."""
    if (why := await _unreachable(fleet.address)) is not None:
        return f"no fleet at {fleet.address}: {why}: start Ray there (ray start --head)"
    order = json.dumps(fleet.to_json(WorkerSettings()))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "node.worker.ray_probe", order),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(os.environ, data_dir) | fleet_environment(os.environ),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(patience_s):
            told, complaint = await process.communicate()
    except TimeoutError:
        return f"the fleet at {fleet.address} did not answer for {patience_s:g} s: ray status tells more"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode:
        lines = complaint.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
        return f"the fleet cannot be asked: {lines[-1][:300]}"
    return [dict(host) for host in json.loads(told.splitlines()[-1])]


async def _unreachable(address: str) -> str | None:
    """Return why nobody listens there, which Ray itself takes a minute to find out; None for somebody."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return None
    try:
        async with asyncio.timeout(_KNOCK_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except TimeoutError:
        return f"nobody answers for {_KNOCK_S:g} s"
    except OSError as error:
        return error.strerror or str(error)
    writer.close()
    return None
