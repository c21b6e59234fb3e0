import asyncio
import fcntl
import os
import shutil
import threading

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from node.destinations import Reach
from node.errors import Unreachable
from node.publisher.car import write_car
from node.publisher.cid import DAG_PB, RAW, hash_block, parse_cid
from node.publisher.dag import Scope, walk
from node.publisher.dagpb import Kind, Link, UnixFsData, encode_node, encode_unixfs
from node.publisher.errors import BadContent, InvalidCid, StoreUnavailable, TargetOccupied
from node.publisher.fetch_file import fetch_file
from node.publisher.fetch_limits import FetchLimits
from node.publisher.fetching.download import fetch as fetch_from
from node.publisher.unixfs import cid_of
from node.types import Cid
from tests.integration.publisher.conftest import read_tree

pytestmark = pytest.mark.integration

QUICK = FetchLimits(retry_wait_s=0.01, idle_s=5.0)
CAR = "application/vnd.ipld.car"


async def fetch(url, cid, into, limits, on_progress=lambda _: None):
    """Download from one gateway."""
    await fetch_from([url], cid, into, limits, on_progress)


@pytest.fixture
async def gateway_of():
    """Start a gateway that answers as the given handler likes; return its URL and the requests it got."""
    servers = []

    async def start(handler):
        requests = []

        async def counted(request):
            requests.append(request)
            return await handler(request)

        app = web.Application()
        app.router.add_get("/{path:.*}", counted)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return str(server.make_url("")).rstrip("/"), requests

    yield start
    for server in servers:
        await server.close()


def answering(body: bytes, **headers):
    async def handler(request):
        named = {"Content-Type": CAR} | {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=body, headers=named)

    return handler


@pytest.fixture
def sections(store, cid):
    return list(walk(store, parse_cid(cid), Scope.ALL))


def car_of(sections):
    return b"".join(write_car(sections[0][0], sections))


def directory_with(name):
    text = hash_block(RAW, b"text")
    block = encode_node([Link(text, name, 4)], encode_unixfs(UnixFsData(Kind.DIRECTORY)))
    return [(hash_block(DAG_PB, block), block), (text, b"text")]


async def test_a_result_arrives_as_it_was_published(gateway_url, cid, files, tmp_path):
    received = []
    await fetch(gateway_url + "/", cid, tmp_path / "deep" / "down" / "copy", QUICK, received.append)
    assert read_tree(tmp_path / "deep" / "down" / "copy") == files
    assert cid_of(tmp_path / "deep" / "down" / "copy") == cid
    counts = [(progress.received_bytes, progress.blocks) for progress in received]
    assert counts == sorted(counts)
    last = received[-1]
    assert last.received_bytes == last.total_bytes > sum(map(len, files.values())) // 2
    assert last.blocks == last.known_blocks
    assert [path.name for path in (tmp_path / "deep" / "down").iterdir()] == ["copy"]


async def test_a_single_file_arrives(gateway_url, cid, store, tmp_path):
    await fetch(gateway_url, hash_block(RAW, b"done\n").to_cid(), tmp_path / "stdout", QUICK)
    assert (tmp_path / "stdout").read_bytes() == b"done\n"


async def test_what_is_there_already_is_not_asked_for_again(gateway_of, result, cid, tmp_path):
    url, requests = await gateway_of(answering(b""))
    await fetch(url, cid, result, QUICK)
    assert requests == []


async def test_something_else_in_the_way_is_left_alone(gateway_of, cid, tmp_path):
    url, requests = await gateway_of(answering(b""))
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").write_text("precious")
    with pytest.raises(TargetOccupied):
        await fetch(url, cid, tmp_path / "copy", QUICK)
    (tmp_path / "link").symlink_to(tmp_path / "copy")
    with pytest.raises(TargetOccupied):
        await fetch(url, cid, tmp_path / "link", QUICK)
    assert (tmp_path / "copy" / "mine").read_text() == "precious"
    assert requests == []


async def test_an_empty_directory_may_be_filled(gateway_url, cid, files, tmp_path):
    (tmp_path / "copy").mkdir()
    await fetch(gateway_url, cid, tmp_path / "copy", QUICK)
    assert read_tree(tmp_path / "copy") == files


async def test_what_a_killed_download_left_is_no_hindrance(gateway_url, cid, files, tmp_path):
    (tmp_path / ".copy.part" / "blocks").mkdir(parents=True)
    (tmp_path / ".copy.part" / "blocks" / "half").write_bytes(b"half")
    (tmp_path / ".copy.part" / "tree").write_bytes(b"half")
    await fetch(gateway_url, cid, tmp_path / "copy", QUICK)
    assert read_tree(tmp_path / "copy") == files
    assert not (tmp_path / ".copy.part").exists()


async def test_two_downloads_to_one_place_do_not_mix(gateway_url, cid, tmp_path):
    (tmp_path / ".copy.part").mkdir()
    descriptor = os.open(tmp_path / ".copy.part", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match="another download"):
            await fetch(gateway_url, cid, tmp_path / "copy", QUICK)
    finally:
        os.close(descriptor)


async def test_a_gateway_that_recovers_is_asked_again(gateway_of, sections, cid, files, tmp_path):
    answers = iter(
        [
            web.Response(status=503),
            web.Response(status=404),
            web.Response(body=car_of(sections), content_type=CAR),
        ]
    )

    async def handler(request):
        return next(answers)

    url, requests = await gateway_of(handler)
    await fetch(url, cid, tmp_path / "copy", QUICK)
    assert read_tree(tmp_path / "copy") == files
    assert requests[0].path_qs == f"/ipfs/{cid}?format=car&dag-scope=all"
    assert requests[0].headers["Accept-Encoding"] == "identity"


async def test_a_gateway_without_the_content_is_unreachable_after_all_attempts(gateway_of, cid, tmp_path):
    async def handler(request):
        return web.Response(status=404)

    url, requests = await gateway_of(handler)
    with pytest.raises(Unreachable, match="status 404"):
        await fetch(url, cid, tmp_path / "copy", QUICK)
    assert len(requests) == QUICK.attempts


async def test_nobody_listening_is_unreachable(cid, tmp_path, unused_tcp_port):
    with pytest.raises(Unreachable):
        await fetch(f"http://127.0.0.1:{unused_tcp_port}", cid, tmp_path / "copy", QUICK)


LIES = {
    "a wrong block": lambda s: car_of([*s[:3], (s[3][0], s[3][1] + b"x"), *s[4:]]),
    "a wrong root": lambda s: car_of(s[1:]),
    "a cut section": lambda s: car_of(s)[:-1],
    "a missing block": lambda s: car_of(s[:-1]),
    "an extra block": lambda s: car_of([*s, (hash_block(RAW, b"spam"), b"spam")]),
    "an extra byte": lambda s: car_of(s) + b"\0",
    "a block twice": lambda s: car_of([*s, s[1]]),
    "nothing": lambda s: b"",
    "a page": lambda s: b"<html>" * 100,
    "an endless number": lambda s: b"\xff" * 1000,
    "a huge section": lambda s: car_of(s[:1]) + b"\xff\xff\xff\xff\x0f" + bytes(1000),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_refused_at_once_and_leaves_only_what_is_right(
    gateway_of, sections, cid, tmp_path, lie
):
    url, requests = await gateway_of(answering(LIES[lie](sections)))
    with pytest.raises(BadContent):
        await fetch(url, cid, tmp_path / "new" / "copy", QUICK)
    right = {block_id.digest: data for block_id, data in sections}
    for file in (tmp_path / "new").rglob("*"):
        assert file.is_dir() or right[bytes.fromhex(file.name)] == file.read_bytes()
    assert len(requests) == 1


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp/x", "..", ".ssh"])
async def test_a_name_cannot_lead_out_of_the_download(gateway_of, tmp_path, name):
    hostile = directory_with(name)
    url, _ = await gateway_of(answering(car_of(hostile)))
    with pytest.raises(BadContent, match="name"):
        await fetch(url, hostile[0][0].to_cid(), tmp_path / "new" / "copy", QUICK)
    assert list((tmp_path / "new").iterdir()) == []
    assert not (tmp_path / "x").exists()


async def test_a_symbolic_link_is_refused(gateway_of, tmp_path):
    block = encode_node([], b"\x08\x04\x12\x0b/etc/passwd")
    root = hash_block(DAG_PB, block)
    url, _ = await gateway_of(answering(car_of([(root, block)])))
    with pytest.raises(BadContent, match="type 4"):
        await fetch(url, root.to_cid(), tmp_path / "copy", QUICK)


async def test_an_endless_stream_ends_at_the_limit(gateway_of, tmp_path):
    # A directory that really wants a thousand blocks, from a gateway that would send them for ever.
    blocks = [
        (hash_block(RAW, data), data) for data in (number.to_bytes(2) * 50_000 for number in range(1000))
    ]
    links = [Link(block_id, f"{number:04}", 100_000) for number, (block_id, _) in enumerate(blocks)]
    root = encode_node(links, encode_unixfs(UnixFsData(Kind.DIRECTORY)))
    root_id = hash_block(DAG_PB, root)
    sent_bytes = 0

    async def handler(request):
        nonlocal sent_bytes
        answer = web.StreamResponse(headers={"Content-Type": CAR})
        await answer.prepare(request)
        for piece in write_car(root_id, [(root_id, root), *blocks]):
            await answer.write(piece)
            sent_bytes += len(piece)
        return answer

    url, _ = await gateway_of(handler)
    limits = FetchLimits(total_bytes=3_000_000, attempts=1)
    with pytest.raises(BadContent, match="more than 3000000 bytes arrived"):
        await fetch(url, root_id.to_cid(), tmp_path / "copy", limits)
    assert sent_bytes < 30_000_000


async def test_a_connection_that_breaks_is_unreachable(gateway_of, sections, cid, tmp_path):
    async def handler(request):
        answer = web.StreamResponse(headers={"Content-Type": CAR})
        await answer.prepare(request)
        await answer.write(car_of(sections)[:50_000])
        request.transport.close()
        return answer

    url, requests = await gateway_of(handler)
    with pytest.raises(Unreachable, match="broke off"):
        await fetch(url, cid, tmp_path / "copy", QUICK)
    assert len([request for request in requests if request.query["format"] == "car"]) == 1
    assert not (tmp_path / "copy").exists()
    assert len(list((tmp_path / ".copy.part" / "blocks").iterdir())) > 1


@pytest.mark.parametrize(
    "limits", [FetchLimits(idle_s=0.1, attempts=1), FetchLimits(total_s=0.2, attempts=1)]
)
async def test_a_gateway_that_falls_silent_is_unreachable(gateway_of, sections, cid, tmp_path, limits):
    asked_to_stop = asyncio.Event()

    async def handler(request):
        answer = web.StreamResponse(headers={"Content-Type": CAR})
        await answer.prepare(request)
        await answer.write(car_of(sections)[:50_000])
        await asked_to_stop.wait()
        return answer

    url, _ = await gateway_of(handler)
    with pytest.raises(Unreachable, match=r"in time|broke off|within 0.2 s"):
        await fetch(url, cid, tmp_path / "copy", limits)
    asked_to_stop.set()


async def test_a_compressed_or_foreign_answer_is_refused(gateway_of, sections, cid, tmp_path):
    url, _ = await gateway_of(answering(car_of(sections), Content_Encoding="gzip"))
    with pytest.raises(BadContent, match="plain"):
        await fetch(url, cid, tmp_path / "copy", QUICK)
    url, _ = await gateway_of(answering(car_of(sections), Content_Type="text/html"))
    with pytest.raises(BadContent, match="text/html"):
        await fetch(url, cid, tmp_path / "copy", QUICK)


async def test_redirects_are_followed_a_few_times_to_http_only(gateway_of, gateway_url, cid, files, tmp_path):
    async def onward(request):
        raise web.HTTPFound(gateway_url + request.path_qs)

    async def in_circles(request):
        raise web.HTTPFound(request.path_qs)

    async def to_a_file(request):
        raise web.HTTPFound("file:///etc/passwd")

    url, _ = await gateway_of(onward)
    await fetch(url, cid, tmp_path / "copy", QUICK)
    assert read_tree(tmp_path / "copy") == files
    for handler in (in_circles, to_a_file):
        url, _ = await gateway_of(handler)
        with pytest.raises(Unreachable):
            await fetch(url, cid, tmp_path / "other", QUICK)


async def test_a_gateway_that_a_stranger_published_may_not_redirect(gateway_of, gateway_url, cid, tmp_path):
    async def onward(request):
        raise web.HTTPFound(gateway_url + request.path_qs)

    target, _ = await gateway_of(answering(b""))
    url, _ = await gateway_of(onward)
    for gateways in ([], [target]):
        with pytest.raises(Unreachable, match="status 302, and a gateway that a provider publishes may not"):
            await fetch_from(gateways, cid, tmp_path / "copy", QUICK, published=[url], reach=Reach.ANY)


async def test_an_address_of_a_stranger_leads_into_no_private_network(gateway_of, cid, tmp_path):
    url, requests = await gateway_of(answering(b""))
    for address in (url, url.replace("127.0.0.1", "localhost")):
        with pytest.raises(Unreachable, match="is not on the public internet"):
            await fetch_from([], cid, tmp_path / "copy", QUICK, published=[address])
        with pytest.raises(Unreachable, match="is not on the public internet"):
            await fetch_file(address, hash_block(RAW, b"x").to_cid(), 100, Reach.PUBLIC)
    assert requests == []


async def test_what_came_before_a_lie_is_not_fetched_again(gateway_of, sections, cid, files, tmp_path):
    liar, _ = await gateway_of(answering(car_of(sections[:-2]) + b"\0"))
    with pytest.raises(BadContent):
        await fetch(liar, cid, tmp_path / "copy", QUICK)
    kept = {path.name for path in (tmp_path / ".copy.part" / "blocks").iterdir()}
    assert kept == {block_id.digest.hex() for block_id, _ in sections[:-2]}

    async def block(request):
        name = request.path.removeprefix("/ipfs/")
        return web.Response(body={str(block_id): data for block_id, data in sections}[name])

    honest, requests = await gateway_of(block)
    await fetch(honest, cid, tmp_path / "copy", QUICK)
    assert read_tree(tmp_path / "copy") == files
    assert {request.path for request in requests} == {f"/ipfs/{block_id}" for block_id, _ in sections[-2:]}
    assert not (tmp_path / ".copy.part").exists()


async def test_folders_are_removed_beside_the_event_loop(gateway_url, cid, tmp_path, monkeypatch):
    threads = []
    remove = shutil.rmtree

    def watched(*arguments, **options):
        threads.append(threading.current_thread())
        remove(*arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", watched)
    await fetch(gateway_url, cid, tmp_path / "copy", QUICK)
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://example.com",
        "file:///etc/passwd",
        "http://",
        "example.com",
        "http://user:secret@example.com",
        "http://example.com/?x=",
        "http://example.com/#x",
        "http://example.com:99999",
        "http://[::1",
        "http://" + "x" * 3000,
    ],
)
async def test_an_address_that_is_no_gateway_is_never_asked(url, cid, tmp_path):
    with pytest.raises(Unreachable, match="no gateway address"):
        await fetch(url, cid, tmp_path / "copy", QUICK)


async def test_a_text_that_is_no_cid_is_never_asked_for(gateway_of, tmp_path):
    url, requests = await gateway_of(answering(b""))
    with pytest.raises(InvalidCid):
        await fetch(url, Cid("../../admin"), tmp_path / "copy", QUICK)
    assert requests == []
