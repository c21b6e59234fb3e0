"""The quick way from a gateway that is the only source: everything in one CAR, each block checked and kept.

A stream cannot be shared: beside others its gateway is asked for single blocks like them, so that none of
them waits for it and none sends what another has sent.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import aiohttp

from node.errors import Unreachable
from node.publisher.car import MEDIA_TYPE, CarReader
from node.publisher.cid import BlockId
from node.publisher.errors import BadContent
from node.publisher.fetch_limits import FetchLimits
from node.publisher.fetching.harvest import BadSource, Harvest
from node.publisher.fetching.sources import GatewaySource

_PIECE_BYTES = 1 << 20
_NOT_OFFERED = {400, 406, 415, 501}


class NoStream(Unreachable):
    """The gateway answers, but offers no CAR of this."""


async def receive_car(
    source: GatewaySource,
    harvest: Harvest,
    limits: FetchLimits,
    on_blocks: Callable[[], None],
) -> None:
    """Take the whole DAG from one gateway.

    Raises Unreachable if the stream breaks off (what came is kept), NoStream, BadSource for a gateway that
    lies, and BadContent.
    """
    address = f"{source.url}/ipfs/{harvest.root}?format=car&dag-scope=all"
    intake = Intake(harvest, limits)
    try:
        async with source.get(address, f"{MEDIA_TYPE}; version=1; order=dfs; dups=n") as answer:
            if answer.status in _NOT_OFFERED:
                raise NoStream(f"{address} answers with status {answer.status}")
            if answer.status != 200:
                raise Unreachable(source.refusal(address, answer))
            if (
                answer.content_type != MEDIA_TYPE
                or answer.headers.get("Content-Encoding", "identity") != "identity"
            ):
                raise BadSource(
                    f"{address} answers with {answer.content_type[:80]!r}, not with a plain {MEDIA_TYPE}"
                )
            async for piece in answer.content.iter_chunked(_PIECE_BYTES):
                await asyncio.to_thread(intake.feed, piece)
                on_blocks()
            intake.finish()
    except aiohttp.ClientError as error:
        raise Unreachable(f"{address} broke off: {error}") from error


class Intake:
    """Cuts a CAR into blocks and accepts only what was asked for, once."""

    def __init__(self, harvest: Harvest, limits: FetchLimits) -> None:
        self._harvest = harvest
        self._limits = limits
        self._reader = CarReader(harvest.root, max_block_bytes=limits.block_bytes)
        self._received_bytes = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece. Raises BadSource, and BadContent if blocks that are right are no good."""
        self._received_bytes += len(piece)
        if self._received_bytes > self._limits.total_bytes:
            raise BadSource(f"more than {self._limits.total_bytes} bytes arrived: that is the limit")
        for block_id, block in self._sections(piece):
            if block_id in self._harvest.taken:
                raise BadSource(f"block {block_id} came twice")
            if block_id not in self._harvest.wanted:
                raise BadSource(f"block {block_id} was not asked for")
            self._harvest.keep(block_id, block)
            self._harvest.enter(block_id, block)

    def finish(self) -> None:
        """Say that the CAR has ended. Raises BadSource unless every block is there."""
        with _of_the_source():
            self._reader.finish()
        if not self._harvest.complete:
            missing = sorted(str(block_id) for block_id in self._harvest.wanted)
            raise BadSource(f"{len(missing)} blocks are missing, among them {missing[0]}")

    def _sections(self, piece: bytes) -> Iterator[tuple[BlockId, bytes]]:
        sections = self._reader.feed(piece)
        while True:
            with _of_the_source():
                section = next(sections, None)
            if section is None:
                return
            yield section


@contextmanager
def _of_the_source() -> Iterator[None]:
    try:
        yield
    except BadContent as error:
        raise BadSource(str(error)) from error
