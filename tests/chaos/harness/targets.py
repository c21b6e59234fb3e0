"""T9: where results are kept fails in one way, for good or for a while, and the node is killed meanwhile.

What a run must show: the CID on chain was read, by the journal's word and by that of the services; with less
than what was asked for it is there only when the margin before the deadline has begun; or the job failed
honestly.
"""

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from node.job.copies import Copy, CopyPolicy
from node.job.spec import parse_inputs
from node.publisher.blockstore import BlockStore
from node.publisher.car import write_car
from node.publisher.cid import parse_cid
from node.publisher.dag import Scope, walk
from node.publisher.unixfs import import_path
from node.types import OWN_STORE, Cid
from node.worker.fake import FakeRenderer
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.invariants import check
from tests.chaos.harness.kills import attended
from tests.chaos.harness.standing import MODULE
from tests.fakes.ipfs_services import FakeKubo, FakePinningService, Service, serving

SUBMIT_S, MARGIN_S = 3600, 300
HELD_BACK_S = 1.0
"""How long a result that lacks something is watched, to see that it is not reported."""

BYTES = 60_000
SECRET = "only-for-the-services-4c1d"
HURRY = ("tests.chaos.harness.hooks:hurry_publishing", [])


@dataclass(frozen=True)
class TargetFault:
    """What goes wrong. ``cut`` is the share of an upload after which the connection ends.

    ``targets`` are set, ``broken`` of them have the fault, ``copies`` are asked for. ``unread``: the node's
    own port cannot be read either.
    """

    name: str
    fault: str = "down"
    cut: float = 0.0
    targets: int = 1
    broken: int = 1
    copies: int = 2
    unread: bool = False

    @property
    def tolerable(self) -> bool:
        """Whether the targets that work make enough copies."""
        return 1 + self.targets - self.broken >= self.copies


FAULTS = (
    TargetFault("down before"),
    TargetFault("down at 10 % of the upload", cut=0.1),
    TargetFault("down at 50 % of the upload", cut=0.5),
    TargetFault("down at 90 % of the upload", cut=0.9),
    TargetFault("wrong CID", "wrong cid"),
    TargetFault("taken and unreadable", "unreadable"),
    TargetFault("401", "401"),
    TargetFault("413", "413"),
    TargetFault("10 kB/s", "slow"),
    TargetFault("disk full", "full"),
    TargetFault("1 of 3 dead", targets=3, copies=3),
    TargetFault("2 of 3 dead", targets=3, broken=2, copies=3),
    TargetFault("nothing can be read", "unreadable", unread=True),
)


@dataclass
class Outcome:
    """What a run came to. ``ends``: met, at the margin, or failed."""

    findings: Findings
    ends: str
    copies: int
    reads: int


async def target_fault(arena: Arena, fault: TargetFault, seed: int) -> Outcome:
    """One job whose result is to be kept elsewhere too. Everything random comes from the seed."""
    chance = random.Random(f"{fault.name} {seed}")
    await arena.rewind()
    prompt = f"size:{BYTES} {fault.name} {seed}"
    heals, dies = chance.random() < 0.4, chance.random() < 0.4
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(serving(_service(number))) for number in range(fault.targets)
        ]
        settings = _settings(services, fault.copies, arena.directory / "token", chance)
        provider = arena.provider(worker={"profile": "fake:20"}, ipfs=settings)
        broken = chance.sample(services, fault.broken)
        for service in broken:
            service.fault = f"cut after {int(fault.cut * car_bytes(prompt))}" if fault.cut else fault.fault
        for service in services:
            if isinstance(service, FakePinningService):
                service.source = provider.url
        hooks = [HURRY]
        if fault.unread:
            hooks.append(("tests.chaos.harness.hooks:own_port_unreadable", [provider.url]))
        crowd = Crowd(arena)
        async with attended(arena, crowd, provider):
            await provider.start(*hooks)
            await crowd.post([prompt])
            await _until(provider, {"PUBLISHING", "PAID"})
            if dies:
                await asyncio.sleep(chance.uniform(0.0, 0.5))
                await provider.kill()
                await provider.start(*hooks)
            held_back = not (fault.tolerable or heals) or fault.unread
            if held_back:
                await asyncio.sleep(HELD_BACK_S)
                early = not set(await provider.phases()) <= {"PUBLISHING"}
                await arena.pass_time(SUBMIT_S - MARGIN_S + 1)
            elif heals:
                await asyncio.sleep(chance.uniform(0.0, 0.5))
                for service in broken:
                    service.fault = ""
            await provider.rest("FAILED" if fault.unread else "PAID", jobs=1)
            await crowd.ended(1)
            told = await provider.job("j1") or {"copies": []}
            found = await check(arena, provider, crowd.prompts)
    if held_back:
        found.check(not early, "T9", "the result was reported before it was kept and read as asked for")
    wanted = {OWN_STORE, *map(_name, range(fault.targets))}
    found.check({copy["place"] for copy in told["copies"]} == wanted, "T9", f"the API tells {told['copies']}")
    _no_token_anywhere(provider, found)
    copies = _published(provider)
    _claims_are_true(copies, services, found)
    met = CopyPolicy(copies=fault.copies, reads=2).is_met(copies)
    if fault.unread:
        found.check(not copies and found.read == 0, "T9", "a result that nobody could read was reported")
        ends = "failed"
    elif held_back:
        bearable = CopyPolicy().is_bearable(copies)
        found.check(bearable and not met, "T9", f"reported at the margin with {copies}")
        ends = "at the margin"
    else:
        found.check(met, "T9", f"reported before the margin with {copies}")
        ends = "met"
    counted = CopyPolicy().counted(copies)
    return Outcome(found, ends, counted, sum(copy.read_at is not None for copy in copies))


def _service(number: int) -> Service:
    """Two Kubos for each pinning service, which fetches from the node; all demand the token."""
    if number % 3 == 2:
        service = FakePinningService()
        service.token = SECRET
        return service
    kubo = FakeKubo()
    kubo.secret = f"Bearer {SECRET}"
    return kubo


def _settings(services: Sequence[Service], copies: int, token: Path, chance: random.Random) -> dict[str, Any]:
    token.touch(mode=0o600)
    token.write_text(f"{SECRET}\n")
    tables: dict[str, list[dict[str, Any]]] = {"kubo": [], "pinning": []}
    for number, service in enumerate(services):
        fetches = isinstance(service, FakePinningService)
        gateway = service.url if fetches or chance.random() < 0.5 else ""
        address = {"endpoint": f"{service.url}/psa"} if fetches else {"api": service.url}
        common = {"name": _name(number), "gateway": gateway, "token_file": str(token), "timeout_s": 20.0}
        tables["pinning" if fetches else "kubo"].append(common | address)
    return {"copies_required": copies, "deadline_margin_s": MARGIN_S, **tables}


def _name(number: int) -> str:
    return f"place-{number}"


async def _until(provider: Provider, phases: set[str]) -> None:
    while not set(await provider.phases()) & phases:
        if not provider.node.alive:
            raise AssertionError(f"the node ended with {provider.node.ended.result()}:\n{provider.tail()}")
        await asyncio.sleep(0.02)


def _published(provider: Provider) -> tuple[Copy, ...]:
    """Return the copies that the journal has for the moment the result was reported, none if it was not."""
    with closing(provider.journal()) as journal:
        rows = journal.execute("SELECT body FROM events WHERE kind = 'Published'").fetchall()
    return tuple(Copy(**copy) for (body,) in rows for copy in json.loads(body)["copies"])


def _claims_are_true(copies: Sequence[Copy], services: Sequence[Service], found: Findings) -> None:
    """Check the journal's copies against what the services themselves saw."""
    for copy in copies:
        if copy.place == OWN_STORE:
            continue
        service = services[int(copy.place.rpartition("-")[2])]
        if copy.stored_at is not None:
            found.check(bool(service.pinned), "T9", f"{copy.place} has nothing and is said to have it")
        if copy.read_at is not None:
            found.check(bool(service.served), "T9", f"{copy.place} sent nothing and is said to be read")


def _no_token_anywhere(provider: Provider, found: Findings) -> None:
    for path in provider.directory.rglob("*"):
        if path.is_file():
            found.check(SECRET.encode() not in path.read_bytes(), "I8", f"the services' token is in {path}")


@lru_cache(maxsize=1024)
def car_bytes(prompt: str) -> int:
    """Return how many bytes the CAR of a prompt's result has."""
    spec = parse_inputs(MODULE, (f"Prompt={prompt}",))
    with TemporaryDirectory() as folder:
        result = FakeRenderer("fake:0").render(spec, Path(folder) / "job", lambda _: None).directory
        store = BlockStore(Path(folder) / "store", floor_bytes=0)
        root = parse_cid(Cid(import_path(result, store)))
        return sum(len(piece) for piece in write_car(root, walk(store, root, Scope.ALL)))
