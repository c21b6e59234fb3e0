"""A Kubo daemon as a target, over real HTTP: the fake speaks its RPC as documented."""

import asyncio
import random

import pytest

from node.chain.keystore import Password
from node.errors import Unreachable
from node.publisher.blockstore import BlockStore
from node.publisher.cid import parse_cid
from node.publisher.errors import BadContent, BlockMissing
from node.publisher.publish import Publisher
from node.publisher.targets.kubo import KuboReader, KuboTarget
from node.publisher.targets.kubo_rpc import KuboRpc
from node.publisher.targets.target import TargetBusy, TargetRefuses
from node.types import JobId
from tests.fakes.ipfs_services import MOVED_BYTES, FakeKubo, make_car, serving

JOB = JobId("j1")


@pytest.fixture
def store(tmp_path):
    return BlockStore(tmp_path / "store", floor_bytes=0)


@pytest.fixture
async def root(tmp_path, store):
    for name, size in {"stdout": 0, "outputs/a.mp4": 700_000, "outputs/b.png": 262_144}.items():
        file = tmp_path / "result" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(random.Random(name).randbytes(size))
    return parse_cid(await Publisher(store).publish(JOB, tmp_path / "result"))


@pytest.fixture
async def kubo():
    async with serving(FakeKubo()) as fake:
        yield fake


@pytest.fixture
def target(kubo):
    return KuboTarget("kubo", KuboRpc(kubo.url))


async def test_a_result_is_imported_under_our_cid_pinned_and_read_back(kubo, target, store, root):
    assert not await target.holds(root)
    await target.put(JOB, root, store)
    assert await target.holds(root)
    assert kubo.pinned == {root.to_cid()}
    assert all(kubo.blocks[block_id] == store.get(block_id) for block_id in kubo.blocks)
    assert await KuboReader(KuboRpc(kubo.url)).read(root) == len(make_car(root, kubo.blocks))


async def test_nothing_of_this_machine_is_sent_along(kubo, target, store, root, tmp_path):
    await target.put(JOB, root, store)
    assert kubo.names == ["result.car"]
    assert str(tmp_path) not in str(kubo.headers)
    assert "abspath" not in str(kubo.headers).lower()


async def test_what_is_pinned_is_not_sent_again(kubo, target, store, root):
    await target.put(JOB, root, store)
    sent = kubo.received_bytes
    await target.put(JOB, root, store)
    assert kubo.received_bytes == sent > 0


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        ("down", Unreachable, "broke off"),
        ("cut after 1000", Unreachable, "broke off"),
        ("cut after 900000", Unreachable, "broke off"),
        ("full", Unreachable, "no space left on device"),
        ("unpinned", Unreachable, "could not pin"),
        ("busy", TargetBusy, "asks for 7 s"),
        ("wrong cid", TargetRefuses, "that CID is never reported"),
        ("401", TargetRefuses, "check its token_file"),
        ("413", TargetRefuses, "raise what the proxy"),
        ("old", TargetRefuses, "Kubo 0.9.1: 0.12 or newer is needed"),
        ("html", TargetRefuses, "is it a Kubo API?"),
        ("endless", TargetRefuses, "more than 262144 bytes"),
        ("moved nowhere", TargetRefuses, "answers 302: is it a Kubo API"),
    ],
)
async def test_every_fault_is_an_error_that_says_what_to_do(kubo, target, store, root, fault, kind, told):
    kubo.fault = fault
    with pytest.raises(kind, match=told):
        await target.put(JOB, root, store)
    kubo.fault = ""
    await target.put(JOB, root, store)
    assert root.to_cid() in kubo.pinned


@pytest.mark.parametrize(
    ("fault", "kind"), [("unreadable", Unreachable), ("lies", BadContent), ("cut", Unreachable)]
)
async def test_what_was_taken_and_cannot_be_read_is_found(kubo, target, store, root, fault, kind):
    await target.put(JOB, root, store)
    kubo.fault = fault
    with pytest.raises(kind):
        await KuboReader(KuboRpc(kubo.url)).read(root)


async def test_what_comes_with_a_redirect_is_not_read(kubo, target, store, root):
    kubo.fault = "moved"
    with pytest.raises(TargetRefuses, match="answers 302"):
        await target.put(JOB, root, store)
    assert kubo.asked == ["POST /api/v0/version"]
    assert 0 < kubo.sent_bytes < MOVED_BYTES / 2


async def test_a_daemon_that_is_not_there_is_unreachable(store, root):
    with pytest.raises(Unreachable, match="broke off"):
        await KuboTarget("kubo", KuboRpc("http://127.0.0.1:9")).put(JOB, root, store)


async def test_a_slow_upload_that_is_given_up_ends_soon(kubo, target, store, root):
    kubo.fault = "slow"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await target.put(JOB, root, store)
    assert kubo.received_bytes < 700_000, "the caller waited for the whole upload"
    async with asyncio.timeout(30):
        while kubo.asked and kubo.received_bytes < 5_000:
            await asyncio.sleep(0.05)
    assert not kubo.pinned


async def test_a_daemon_that_trickles_its_answer_keeps_no_connection_that_nobody_waits_for(
    kubo, target, root
):
    kubo.fault = "trickles"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await target.holds(root)
    async with asyncio.timeout(20):
        await kubo.cut.wait()


DAMAGED = [
    *(b"", b"null", b"[]", b"7", b'"x"', b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000),
    *(b'{"Version": 5}', b'{"Version": null}', b'{"Version": "0.43.1"}\n{"Version"', b'{"Keys": []}'),
    *(b'{"Root": 5}', b'{"Root": {"Cid": 5}}', b'{"Type": "error"}', b'{"Type": "error", "Message": {}}'),
]


@pytest.mark.parametrize("status", [200, 405, 500])
@pytest.mark.parametrize("body", DAMAGED)
async def test_a_damaged_answer_is_refused_in_words(kubo, target, store, root, status, body):
    kubo.says = status, body
    with pytest.raises((TargetRefuses, Unreachable)) as refused:
        await target.put(JOB, root, store)
    assert kubo.url in str(refused.value)
    assert "None" not in str(refused.value)


async def test_what_an_error_says_is_told_as_a_sentence(kubo, target, root):
    for body, told in (
        (b'{"Message": "argument \\"path\\" is required"}', 'It says: argument "path" is required'),
        (b"405 - Method Not Allowed", "It says: 405 - Method Not Allowed"),
        (b'{"Code": 0}', "It does not say why."),
        (b"x" * 100_000, "It says more than 16384 bytes about it."),
    ):
        kubo.says = 405, body
        with pytest.raises(TargetRefuses) as refused:
            await target.holds(root)
        assert str(refused.value) == f"{kubo.url} answers 405: is it a Kubo API? {told}"


async def test_a_block_that_is_lost_here_ends_the_upload(kubo, target, store, root):
    leaf = max(store.stored(), key=lambda pair: pair[1])[0]
    with store.exclusive():
        store.discard(leaf)
    with pytest.raises(BlockMissing):
        await target.put(JOB, root, store)
    assert not kubo.pinned


@pytest.mark.parametrize(
    ("rpc", "header"),
    [
        ({"token": Password("t0ken", "a test")}, "Bearer t0ken"),
        ({"basic": ("alice", Password("pass", "a test"))}, "Basic YWxpY2U6cGFzcw=="),
    ],
)
async def test_credentials_reach_the_daemon_and_nobody_else(kubo, store, root, rpc, header):
    kubo.secret = header
    await KuboTarget("kubo", KuboRpc(kubo.url, **rpc)).put(JOB, root, store)
    kubo.secret = "Bearer other"
    with pytest.raises(TargetRefuses) as refused:
        await KuboTarget("kubo", KuboRpc(kubo.url, **rpc)).put(JOB, root, store)
    assert "t0ken" not in str(refused.value) + repr(refused.value.__cause__)
