"""Several sources at once: bounded, overtaken when slow, dropped when they lie, and named."""

import asyncio

import pytest

from node.errors import Misconfigured, Unreachable
from node.publisher.cid import DAG_PB, RAW, hash_block
from node.publisher.dagpb import Kind, Link, UnixFsData, encode_node, encode_unixfs
from node.publisher.errors import BadContent
from node.publisher.fetch_limits import DEFAULT_LIMITS, FetchLimits
from node.publisher.fetching import session as module
from node.publisher.fetching.harvest import Harvest
from node.publisher.fetching.session import OPEN_REQUESTS, BlockSession
from node.publisher.fetching.sources import NotHere

LEAVES = 60


class Content:
    """A directory of many small files."""

    def __init__(self, leaves=LEAVES):
        self.blocks = {}
        links = [Link(self.add(RAW, b"leaf %d" % number), f"{number:04}", 8) for number in range(leaves)]
        self.root = self.add(DAG_PB, encode_node(links, encode_unixfs(UnixFsData(Kind.DIRECTORY))))

    def add(self, codec, block):
        block_id = hash_block(codec, block)
        self.blocks[block_id] = block
        return block_id


class Peer:
    """A source whose behaviour a test chooses."""

    def __init__(self, name, content, *, delay_s=0.001, answer=None):
        self.name = name
        self.content = content
        self.delay_s = delay_s
        self.answer = answer
        self.given = []
        self.asking = 0
        self.opens = asyncio.Event()
        self.opens.set()
        self.most_open = 0

    async def open(self):
        if isinstance(self.opens, Exception):
            raise self.opens
        await self.opens.wait()

    async def block(self, block_id):
        assert self.opens.is_set()
        self.asking += 1
        self.most_open = max(self.asking, self.most_open)
        try:
            await asyncio.sleep(self.delay_s)
            block = self.content.blocks[block_id]
            if self.answer is not None:
                block = self.answer(block_id, block)
            self.given.append(block_id)
            return block
        finally:
            self.asking -= 1


@pytest.fixture
def content():
    return Content()


@pytest.fixture
def harvest_of(tmp_path):
    (tmp_path / "blocks").mkdir()

    def make(content, limits=DEFAULT_LIMITS):
        return Harvest(tmp_path / "blocks", content.root, limits)

    return make


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "OVERTAKE_AFTER_S", 0.05)
    monkeypatch.setattr(module, "_LOOK_AGAIN_S", 0.02)
    monkeypatch.setattr(module, "_FAILURE_PAUSE_S", 0.001)


def refuse(_block_id, _block):
    raise NotHere("not here")


def fail(_block_id, _block):
    raise Unreachable("broke off")


async def gather(harvest, *peers):
    session = BlockSession(harvest, peers)
    async with asyncio.timeout(20):
        await session.run()
    return session


async def test_sources_share_the_work_and_no_block_comes_twice(content, harvest_of, monkeypatch):
    monkeypatch.setattr(module, "OVERTAKE_AFTER_S", 3600)
    peers = [Peer(name, content) for name in "abc"]
    harvest = harvest_of(content)
    await gather(harvest, *peers)
    assert harvest.complete
    given = [block_id for peer in peers for block_id in peer.given]
    assert sorted(map(str, given)) == sorted(map(str, content.blocks))
    assert all(len(peer.given) > LEAVES // 10 for peer in peers)


async def test_no_source_has_more_requests_open_than_allowed(content, harvest_of, monkeypatch):
    monkeypatch.setattr(module, "OVERTAKE_AFTER_S", 3600)
    peers = [Peer(name, content, delay_s=0.01) for name in "ab"]
    await gather(harvest_of(content), *peers)
    assert [peer.most_open for peer in peers] == [OPEN_REQUESTS, OPEN_REQUESTS]


async def test_a_source_that_lies_is_dropped_by_name_and_the_others_finish(content, harvest_of):
    liar = Peer("liar", content, answer=lambda _, block: block + b"!")
    honest = Peer("honest", content, delay_s=0.005)
    harvest = harvest_of(content)
    session = await gather(harvest, liar, honest)
    assert harvest.complete
    assert list(session.dropped) == ["liar"]
    assert "does not have the bytes" in session.dropped["liar"]
    assert len(liar.given) <= OPEN_REQUESTS


async def test_if_all_lie_the_download_ends_and_names_them(content, harvest_of):
    liars = [Peer(name, content, answer=lambda *_: b"lie") for name in ("one", "two")]
    with pytest.raises(BadContent, match=r"one: .*; two: "):
        await gather(harvest_of(content), *liars)


async def test_what_a_slow_source_owes_is_had_from_a_quick_one(content, harvest_of):
    slow, quick = Peer("slow", content, delay_s=3600), Peer("quick", content)
    harvest = harvest_of(content)
    await gather(harvest, slow, quick)
    assert harvest.complete
    assert slow.given == []
    assert slow.asking == 0


async def test_a_source_that_is_not_ready_yet_owes_nothing(content, harvest_of):
    starting, quick = Peer("starting", content), Peer("quick", content)
    starting.opens.clear()
    harvest = harvest_of(content)
    await gather(harvest, starting, quick)
    assert harvest.complete
    assert starting.given == []


async def test_a_source_that_becomes_ready_shares_the_rest(content, harvest_of):
    starting = Peer("starting", content)
    starting.opens.clear()
    half = Peer("half", content, answer=lambda _, block: refuse(0, 0) if len(half.given) > 20 else block)
    gathering = asyncio.create_task(gather(harvest_of(content), starting, half))
    while len(half.given) < 20:
        await asyncio.sleep(0.001)
    starting.opens.set()
    await gathering
    assert len(starting.given) >= LEAVES - 20


@pytest.mark.parametrize("problem", [Unreachable("names no IPFS node"), Misconfigured("no multiaddress")])
async def test_a_source_that_cannot_be_asked_is_dropped_by_name_and_the_others_finish(
    content, harvest_of, problem
):
    bad, good = Peer("bad", content), Peer("good", content)
    bad.opens = problem
    harvest = harvest_of(content)
    session = await gather(harvest, bad, good)
    assert harvest.complete
    assert session.dropped == {"bad": str(problem)}
    with pytest.raises(Unreachable, match=f"bad: {problem}"):
        await gather(harvest_of(Content(3)), bad)


async def test_what_a_source_did_not_foresee_is_not_swallowed(content, harvest_of):
    broken, good = Peer("broken", content), Peer("good", content, delay_s=0.05)
    broken.opens = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        await gather(harvest_of(content), broken, good)


async def test_a_lie_is_no_end_while_another_source_may_have_it(content, harvest_of):
    liar, peer = Peer("liar", content, answer=lambda *_: b"lie"), Peer("peer", content)
    peer.opens.clear()
    asyncio.get_running_loop().call_later(0.1, peer.opens.set)
    harvest = harvest_of(content)
    session = await gather(harvest, liar, peer)
    assert harvest.complete
    assert list(session.dropped) == ["liar"]


async def test_a_slow_source_alone_is_waited_for(harvest_of):
    content = Content(3)
    slow = Peer("slow", content, delay_s=0.2)
    harvest = harvest_of(content)
    await gather(harvest, slow)
    assert harvest.complete
    assert len(slow.given) == 4


async def test_a_block_that_one_source_lacks_comes_from_another(content, harvest_of):
    half = Peer(
        "half", content, answer=lambda block_id, block: refuse(0, 0) if block_id.digest[0] % 2 else block
    )
    whole = Peer("whole", content, delay_s=0.01)
    harvest = harvest_of(content)
    await gather(harvest, half, whole)
    assert harvest.complete


async def test_a_source_without_the_content_is_not_asked_for_all_of_it(content, harvest_of):
    empty, whole = Peer("empty", content, answer=refuse), Peer("whole", content, delay_s=0.01)
    session = await gather(harvest_of(content), empty, whole)
    assert list(session.dropped) == ["empty"]


async def test_a_source_that_fails_now_and_then_is_kept_and_one_that_always_does_is_given_up(
    content, harvest_of
):
    turns = iter(range(10**6))
    shaky = Peer("shaky", content, answer=lambda _, block: fail(0, 0) if next(turns) % 5 == 4 else block)
    dead = Peer("dead", content, answer=fail)
    harvest = harvest_of(content)
    session = await gather(harvest, shaky, dead)
    assert harvest.complete
    assert list(session.dropped) == ["dead"]


async def test_a_block_that_nobody_has_ends_the_download_with_its_name(content, harvest_of):
    lost = next(iter(content.blocks))
    peers = [
        Peer(name, content, answer=lambda block_id, block: refuse(0, 0) if block_id == lost else block)
        for name in "ab"
    ]
    with pytest.raises(Unreachable, match=str(lost)):
        await gather(harvest_of(content), *peers)


async def test_content_that_is_bad_in_itself_is_nobodys_lie(harvest_of):
    content = Content()
    content.root = content.add(DAG_PB, b"\xff\xff")
    with pytest.raises(BadContent):
        await gather(harvest_of(content), Peer("a", content), Peer("b", content))


async def test_content_beyond_the_limits_ends_the_download(content, harvest_of):
    with pytest.raises(BadContent, match="the limit"):
        await gather(harvest_of(content, FetchLimits(blocks=10)), Peer("a", content))


async def test_a_download_that_is_given_up_leaves_no_request_open(content, harvest_of):
    peers = [Peer(name, content, delay_s=3600) for name in "ab"]
    gathering = asyncio.create_task(gather(harvest_of(content), *peers))
    await asyncio.sleep(0.05)
    gathering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gathering
    await asyncio.sleep(0)
    assert [peer.asking for peer in peers] == [0, 0]


async def test_progress_knows_the_total_once_the_root_is_there(content, harvest_of):
    harvest = harvest_of(content)
    told = []
    assert harvest.progress().total_bytes is None
    session = BlockSession(harvest, [Peer("a", content)], lambda: told.append(harvest.progress()))
    await session.run()
    assert {progress.known_blocks for progress in told} == {LEAVES + 1}
    assert [progress.blocks for progress in told] == list(range(1, LEAVES + 2))
    assert told[-1].received_bytes == told[-1].total_bytes == sum(map(len, content.blocks.values()))
    claimed = [progress.total_bytes for progress in told]
    assert max(claimed) - min(claimed) <= 2 * LEAVES


async def test_what_is_on_disk_is_not_asked_for_again_and_what_is_damaged_is(content, harvest_of, tmp_path):
    await gather(harvest_of(content), Peer("a", content))
    files = sorted((tmp_path / "blocks").iterdir())
    assert len(files) == LEAVES + 1
    damaged, missing = [file for file in files if file.name != content.root.digest.hex()][:2]
    damaged.write_bytes(b"half")
    missing.unlink()
    (tmp_path / "blocks" / "abcd.partial").write_bytes(b"half")
    again = harvest_of(content)
    again.resume()
    peer = Peer("b", content)
    await gather(again, peer)
    assert again.complete
    assert {block_id.digest.hex() for block_id in peer.given} == {damaged.name, missing.name}
    assert len(list((tmp_path / "blocks").iterdir())) == LEAVES + 1
