"""The operator's self-check of where results are kept: a small block is given to each target and read back.

A pinning service fetches by itself, so it is only asked whether it takes the token. Nothing stays behind.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from node.app.checks import Check, problem
from node.app.publishing import copy_policy, places_elsewhere
from node.clock import SystemClock
from node.config import Config
from node.errors import Misconfigured, NodeError, Unreachable
from node.job.copies import Copy, CopyPolicy, reads
from node.publisher.cid import RAW, BlockId, hash_block
from node.publisher.errors import BadContent, BlockMissing
from node.publisher.targets.pinning_service import PinningServiceTarget
from node.publisher.targets.several import Place
from node.publisher.targets.target import Removable, TargetRefuses
from node.types import OWN_STORE, JobId

CHECK_S = 30.0
CLEAN_UP_S = 5.0
"""For removing what a failed check may have left."""
DOCTOR = JobId("doctor")
EMPTY = hash_block(RAW, b"")
"""The empty file: every gateway that finds anything finds this."""


class _OneBlock:
    """A source of one block."""

    def __init__(self, block: bytes) -> None:
        self.root = hash_block(RAW, block)
        self._block = block

    def get(self, block_id: BlockId) -> bytes:
        """Return the block."""
        if block_id != self.root:
            raise BlockMissing(f"{block_id} is not the block of this check", block_id.digest)
        return self._block


async def check_targets(config: Config) -> list[Check]:
    """Can results be given to each target and be read back from there? None are set: nothing is said."""
    found, unusable = [], []
    for name, make in places_elsewhere(config.ipfs, None, SystemClock()):
        try:
            found.append((name, make()))
        except Misconfigured as error:
            unusable.append(problem(name, f"{error} (the node does not start like this)"))
    checks = await asyncio.gather(*(_checked(name, place) for name, place in found))
    looked = [(place, check) for (_, place), check in zip(found, checks, strict=True)]
    policy = copy_policy(config.ipfs)
    done = [_copy(Place(OWN_STORE, "store", None, None, 0, kept=True), read=True)]
    done += [_copy(place) for place, check in looked if check.verdict == "ok"]
    met = policy.is_met(done)
    judged = [
        check
        if check.verdict == "ok"
        else _judged(config, check, waited_for=not met and _counts(policy, place))
        for place, check in looked
    ]
    return judged + unusable


def _copy(place: Place, *, read: bool = False) -> Copy:
    """Return what a place that works makes of a result."""
    stored = place.kept or place.target is not None
    return Copy(place.name, 0.0 if stored else None, 0.0 if read or place.reader is not None else None)


def _counts(policy: CopyPolicy, place: Place) -> bool:
    return policy.counted([_copy(place)]) > 0 or reads([_copy(place)]) > 0


def _judged(config: Config, check: Check, *, waited_for: bool) -> Check:
    if not waited_for:
        told = "results do not wait for it"
        return replace(check, verdict="warning", finding=f"{check.finding} ({told})", exit_code=0)
    told = (
        f"results wait for it until {config.ipfs.deadline_margin_s} s before their deadline, "
        "or a quarter of the deal's time if that is less"
    )
    return replace(check, finding=f"{check.finding} ({told})")


async def _checked(name: str, place: Place) -> Check:
    look = {"kubo": _look_at_kubo, "pinning": _look_at_service, "gateway": _look_at_gateway}[place.kind]
    try:
        async with asyncio.timeout(CHECK_S):
            return Check(name, "ok", await look(place))
    except TimeoutError:
        finding, remedy = f"no answer within {CHECK_S:g} s", _out_of_reach(place)
    except TargetRefuses as error:
        finding, remedy = str(error), ""
    except BadContent as error:
        finding, remedy = f"what is read back is wrong: {error}", f"correct the gateway of {place.name}"
    except Unreachable as error:
        finding, remedy = str(error), _out_of_reach(place)
    except NodeError as error:
        finding, remedy = str(error), ""
    return problem(name, finding, remedy)


def _out_of_reach(place: Place) -> str:
    if place.kind == "gateway":
        return "take it out of ipfs.gateways, or see whether it can find this node"
    where = "api and gateway" if place.kind == "kubo" else "endpoint"
    return f"start it, or correct {where} of {place.name} below ipfs.{place.kind}"


async def _look_at_kubo(place: Place) -> str:
    source = _OneBlock(b"sdv-node doctor " + os.urandom(16))
    target, reader = place.target, place.reader
    if not isinstance(target, Removable) or reader is None:
        raise TypeError(f"{place.name} is no Kubo")
    try:
        await target.put(DOCTOR, source.root, source)
        await _soon(lambda: reader.read(source.root))
    except (NodeError, asyncio.CancelledError):
        with suppress(NodeError, TimeoutError):
            async with asyncio.timeout(CLEAN_UP_S):
                await target.remove(source.root)
        raise
    await target.remove(source.root)
    return "a block was added, pinned, read back and removed"


async def _look_at_service(place: Place) -> str:
    if not isinstance(place.target, PinningServiceTarget):
        raise TypeError(f"{place.name} is no pinning service")
    await place.target.ask_nothing()
    unread = "" if place.reader is not None else ", its copies are never read back: it has no gateway"
    return f"takes the token{unread}"


async def _look_at_gateway(place: Place) -> str:
    if place.reader is None:
        raise TypeError(f"{place.name} is no gateway")
    await place.reader.read(EMPTY)
    return f"{place.name} answers with blocks"


async def _soon(read: Callable[[], Awaitable[int]]) -> None:
    """Read, and once more after a moment: a gateway beside the daemon may lag a little."""
    try:
        await read()
    except Unreachable:
        await asyncio.sleep(1.0)
        await read()
