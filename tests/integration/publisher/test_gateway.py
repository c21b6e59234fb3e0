import asyncio
import base64
import hashlib
import re
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from node.publisher.blockstore import block_file
from node.publisher.car import CarReader
from node.publisher.cid import DAG_PB, RAW, BlockId, hash_block, parse_cid
from node.publisher.dag import DirectoryNode, load

pytestmark = pytest.mark.integration

CAR = "application/vnd.ipld.car"
RAW_TYPE = "application/vnd.ipld.raw"


@pytest.fixture
async def ask(gateway_url):
    """Send a request and return (status, headers, body)."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def send(path, method="GET", **headers):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.request(
                method, URL(gateway_url + path, encoded=True), headers=named
            ) as answer:
                return answer.status, answer.headers, await answer.read()

        yield send


@pytest.fixture
async def blocks_of(ask):
    """Ask for a CAR and return the identifiers of its blocks in order, every hash checked."""

    async def read(path, root):
        status, _, body = await ask(path)
        assert status == 200
        reader = CarReader(parse_cid(str(root)), max_block_bytes=1 << 21)
        sections = list(reader.feed(body))
        reader.finish()
        assert all(hash_block(block_id.codec, block) == block_id for block_id, block in sections)
        return [block_id for block_id, _ in sections]

    return read


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("exitCode", "text/plain; charset=utf-8"),
        ("stdout", "text/plain; charset=utf-8"),
        ("stderr", "text/plain; charset=utf-8"),
        ("manifest.json", "application/json"),
        ("outputs/still_00001_.png", "image/png"),
        ("outputs/output_00001_.webp", "image/webp"),
        ("outputs/output_00001_.mp4", "video/mp4"),
        ("outputs/ä & <b>.bin", "application/octet-stream"),
        ("outputs/frames_00001_/frame_00001_.png", "image/png"),
    ],
)
async def test_every_file_is_served_with_its_type_and_the_headers_of_a_gateway(ask, cid, files, path, kind):
    status, headers, body = await ask(quote(f"/ipfs/{cid}/{path}"))
    assert status == 200
    assert body == files[path]
    assert headers["Content-Type"] == kind
    assert headers["Content-Length"] == str(len(body))
    assert headers["Cache-Control"] == "public, max-age=29030400, immutable"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Ipfs-Path"].startswith(f"/ipfs/{cid}/")
    assert headers["X-Ipfs-Roots"].split(",")[0] == cid
    assert headers["X-Ipfs-Roots"].split(",")[-1] == headers["ETag"].strip('"')
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "sandbox" in headers["Content-Security-Policy"]


async def test_head_says_what_get_would_say_without_the_body(ask, cid):
    for path in (f"/ipfs/{cid}/outputs/output_00001_.mp4", f"/ipfs/{cid}", f"/ipfs/{cid}?format=raw"):
        _, expected, _ = await ask(path)
        status, headers, body = await ask(path, method="HEAD")
        assert (status, body) == (200, b"")
        for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control"):
            assert headers[name] == expected[name]
    status, headers, body = await ask(f"/ipfs/{cid}?format=car", method="HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Type"].startswith(CAR)


async def test_other_methods_are_refused(ask, cid):
    for method in ("POST", "PUT", "DELETE"):
        assert (await ask(f"/ipfs/{cid}", method=method))[0] == 405


@pytest.mark.parametrize(
    ("asked", "first", "length"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=262140-262149", 262140, 10),
        ("bytes=-7", 1004001, 7),
        ("bytes=1004000-", 1004000, 8),
    ],
)
async def test_a_range_of_a_file_is_answered_with_that_part(ask, cid, files, asked, first, length):
    status, headers, body = await ask(f"/ipfs/{cid}/outputs/output_00001_.mp4", Range=asked)
    assert status == 206
    assert body == files["outputs/output_00001_.mp4"][first : first + length]
    assert headers["Content-Range"] == f"bytes {first}-{first + length - 1}/1004008"
    assert headers["Content-Type"] == "video/mp4"


async def test_ranges_that_cannot_be_answered(ask, cid, files):
    path = f"/ipfs/{cid}/outputs/output_00001_.mp4"
    status, headers, _ = await ask(path, Range="bytes=2000000-")
    assert status == 416
    assert headers["Content-Range"] == "bytes */1004008"
    assert (await ask(f"/ipfs/{cid}/stderr", Range="bytes=0-"))[0] == 416
    status, _, body = await ask(path, Range="bytes=0-1,4-5")
    assert (status, body) == (200, files["outputs/output_00001_.mp4"])


async def test_a_range_holds_only_for_the_version_it_names(ask, cid):
    path = f"/ipfs/{cid}/stdout"
    etag = (await ask(path))[1]["ETag"]
    assert (await ask(path, Range="bytes=0-1", If_Range=etag))[0] == 206
    assert (await ask(path, Range="bytes=0-1", If_Range='"other"'))[0] == 200


async def test_what_the_client_has_is_not_sent_again(ask, cid):
    for path in (f"/ipfs/{cid}", f"/ipfs/{cid}/stdout", f"/ipfs/{cid}?format=raw", f"/ipfs/{cid}?format=car"):
        etag = (await ask(path))[1]["ETag"]
        status, headers, body = await ask(path, If_None_Match=f'"x", {etag}')
        assert (status, body, headers["ETag"]) == (304, b"", etag)


async def test_a_directory_is_a_page_that_plays_the_result(ask, cid):
    status, headers, body = await ask(f"/ipfs/{cid}/")
    page = body.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert f'<img src="/ipfs/{cid}/outputs/still_00001_.png"' in page
    assert f'<video src="/ipfs/{cid}/outputs/output_00001_.mp4"' in page
    assert f'<a href="/ipfs/{cid}/stderr">stderr</a></td><td>0 bytes' in page
    style = re.search("<style>(.*?)</style>", page, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in headers["Content-Security-Policy"]


async def test_every_link_of_a_page_leads_somewhere(ask, cid):
    _, _, body = await ask(f"/ipfs/{cid}/outputs")
    links = re.findall('(?:href|src)="([^"]+)"', body.decode())
    assert len(links) == 5 + 3
    for link in links:
        assert (await ask(link))[0] == 200
    assert b"<b>" not in body


async def test_a_file_is_found_by_its_own_cid_and_by_the_other_version(ask, cid, files, store):
    node = load(store, parse_cid(cid))
    assert isinstance(node, DirectoryNode)
    outputs = load(store, node.find("outputs").block_id)
    picture = outputs.find("still_00001_.png").block_id
    assert picture.codec == DAG_PB
    for named in (picture, BlockId(DAG_PB, picture.digest, 0)):
        status, headers, body = await ask(f"/ipfs/{named}")
        assert (status, body) == (200, files["outputs/still_00001_.png"])
        assert headers["Content-Type"] == "image/png"


async def test_a_raw_block_is_its_bytes(ask, cid):
    for path, headers in (
        (f"/ipfs/{cid}/outputs?format=raw", {}),
        (f"/ipfs/{cid}/outputs", {"Accept": RAW_TYPE}),
    ):
        status, answered, body = await ask(path, **headers)
        assert status == 200
        assert answered["Content-Type"] == RAW_TYPE
        assert hash_block(DAG_PB, body).to_cid() == answered["X-Ipfs-Roots"].split(",")[-1]
        assert answered["Content-Disposition"].startswith("attachment")


async def test_a_car_has_all_blocks_depth_first_and_none_twice(blocks_of, cid, store):
    blocks = await blocks_of(f"/ipfs/{cid}?format=car", cid)
    assert blocks[0] == parse_cid(cid)
    assert len(blocks) == len(set(blocks)) == len(list(store.stored()))
    node = load(store, parse_cid(cid))
    positions = [blocks.index(entry.block_id) for entry in node.entries]
    assert positions == sorted(positions)
    outputs = node.find("outputs").block_id
    assert blocks.index(load(store, outputs).entries[0].block_id) == blocks.index(outputs) + 1


async def test_the_scope_bounds_a_car(blocks_of, cid, store):
    outputs = load(store, parse_cid(cid)).find("outputs").block_id
    video = load(store, outputs).find("output_00001_.mp4").block_id
    folder = f"/ipfs/{cid}/outputs?format=car&dag-scope="
    assert await blocks_of(folder + "block", outputs) == [parse_cid(cid), outputs]
    assert await blocks_of(folder + "entity", outputs) == [parse_cid(cid), outputs]
    assert len(await blocks_of(folder + "all", outputs)) > 10
    file = f"/ipfs/{cid}/outputs/output_00001_.mp4?format=car&dag-scope="
    assert await blocks_of(file + "block", video) == [parse_cid(cid), outputs, video]
    assert len(await blocks_of(file + "entity", video)) == 3 + 4


async def test_a_car_is_had_by_the_accept_header_too(ask, cid):
    status, headers, body = await ask(f"/ipfs/{cid}?dag-scope=block", Accept=f"{CAR}; version=1; dups=y")
    assert status == 200
    assert headers["Content-Type"] == f"{CAR}; version=1; order=dfs; dups=y"
    assert headers["Content-Location"] == f"/ipfs/{cid}?format=car&dag-scope=block"
    assert len(list(CarReader(parse_cid(cid), max_block_bytes=1 << 21).feed(body))) == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ipfs/{cid}/nothing", 404),
        ("/ipfs/{cid}/stdout/below", 404),
        ("/ipfs/bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e", 404),
        ("/ipfs/bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e?format=car", 404),
        ("/ipfs/notacid", 400),
        ("/ipfs/bafkqaab", 400),
        ("/ipfs/{cid}?format=tar", 400),
        ("/ipfs/{cid}?format=car&dag-scope=x", 400),
        ("/ipfs/{cid}/%2e%2e/%2e%2e/etc/passwd", 400),
        ("/ipfs/{cid}/a%00b", 404),
        ("/ipfs/{cid}/%ff", 404),
        ("/ipfs/" + "b" * 5000, 400),
        ("/ipfs/{cid}/" + "x/" * 4000, 400),
    ],
)
async def test_what_cannot_be_answered_is_refused_in_words(ask, cid, path, status):
    answered, headers, body = await ask(path.replace("{cid}", cid))
    assert answered == status
    assert body
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"].startswith("text/plain")


async def test_content_that_is_no_node_cannot_be_asked_for_as_one(ask, cid, store):
    leaf = load(store, parse_cid(cid)).find("stdout").block_id
    assert leaf.codec == RAW
    for suffix in ("", "/x", "?format=car"):
        assert (await ask(f"/ipfs/{BlockId(DAG_PB, leaf.digest)}{suffix}"))[0] == 400


async def test_a_damaged_block_is_never_sent_as_content(ask, cid, store, gateway_url):
    outputs = load(store, load(store, parse_cid(cid)).find("outputs").block_id)
    video = load(store, outputs.find("output_00001_.mp4").block_id)
    last = block_file(store.root, video.parts[-1].block_id.digest)
    last.write_bytes(bytes(last.stat().st_size))
    for path in (f"/ipfs/{cid}/outputs/output_00001_.mp4", f"/ipfs/{cid}?format=car"):
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask(path)
    block_file(store.root, parse_cid(cid).digest).write_bytes(b"")
    assert (await ask(f"/ipfs/{cid}"))[0] == 500


async def test_many_clients_are_served_at_once(ask, cid, files):
    answers = await asyncio.gather(*(ask(f"/ipfs/{cid}/outputs/output_00001_.mp4") for _ in range(40)))
    assert {body for _, _, body in answers} == {files["outputs/output_00001_.mp4"]}
