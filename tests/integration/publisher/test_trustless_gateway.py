"""Sentences of the IPFS trustless and path gateway specifications, each as a test of the real server."""

import hashlib

import pytest

from node.publisher.car import CarReader, car_header
from node.publisher.cid import RAW, hash_block, parse_cid, parse_inline_cid
from node.publisher.dag import load
from node.publisher.unixfs import import_path
from tests.integration.publisher.test_gateway import CAR, RAW_TYPE, ask, blocks_of

pytestmark = pytest.mark.integration
__all__ = ["ask", "blocks_of"]
VIDEO = "outputs/output_00001_.mp4"
ABSENT = hash_block(RAW, b"not stored here").to_cid()


@pytest.fixture
def video(store, cid):
    """The path from the root to a file of four leaves."""
    root = parse_cid(cid)
    outputs = load(store, root).find("outputs").block_id
    return root, outputs, load(store, outputs).find("output_00001_.mp4").block_id


async def test_the_body_hash_of_a_block_matches_the_cid_asked_for(ask, cid):
    status, headers, body = await ask(f"/ipfs/{cid}?format=raw")
    assert status == 200
    assert hashlib.sha256(body).digest() == parse_cid(cid).digest
    assert headers["Content-Type"] == RAW_TYPE
    assert headers["Content-Disposition"] == f'attachment; filename="{cid}.bin"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "public, max-age=29030400, immutable"
    assert headers["Etag"] == f'"{cid}.raw"'


async def test_an_empty_block_is_a_block(ask, cid):
    empty = hash_block(RAW, b"").to_cid()
    status, headers, body = await ask(f"/ipfs/{empty}?format=raw")
    assert (status, headers["Content-Length"], body) == (200, "0", b"")
    status, _, body = await ask(f"/ipfs/{empty}?format=car")
    assert status == 200
    assert list(CarReader(parse_cid(empty), max_block_bytes=10).feed(body)) == [(parse_cid(empty), b"")]


async def test_format_takes_precedence_over_accept_and_the_answer_says_where_it_is(ask, cid):
    _, headers, _ = await ask(f"/ipfs/{cid}?format=raw", Accept=CAR)
    assert headers["Content-Type"] == RAW_TYPE
    assert headers["Content-Location"] == f"/ipfs/{cid}?format=raw"
    _, headers, _ = await ask(f"/ipfs/{cid}", Accept=RAW_TYPE)
    assert headers["Content-Location"] == f"/ipfs/{cid}?format=raw"
    _, headers, _ = await ask(f"/ipfs/{cid}?format=raw", Accept=RAW_TYPE)
    assert "Content-Location" not in headers


async def test_head_is_get_without_a_payload(ask, cid):
    for query in ("?format=raw", "?format=car", f"/{VIDEO}"):
        get, head = await ask(f"/ipfs/{cid}{query}"), await ask(f"/ipfs/{cid}{query}", method="HEAD")
        assert (head[0], head[2]) == (get[0], b"")
        for name in ("Content-Type", "Etag", "Cache-Control", "X-Ipfs-Path", "X-Ipfs-Roots"):
            assert head[1][name] == get[1][name]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("query", ["?format=raw", "?format=car", ""])
async def test_a_root_block_that_is_not_stored_is_not_found(ask, cid, method, query):
    assert (await ask(f"/ipfs/{ABSENT}{query}", method=method))[0] == 404


async def test_only_if_cached_is_a_failed_precondition_for_what_is_not_stored(ask, cid):
    for method in ("GET", "HEAD"):
        status, _, body = await ask(f"/ipfs/{ABSENT}", method=method, Cache_Control="only-if-cached")
        assert (status, body) == (412, b"")
        assert (await ask(f"/ipfs/{cid}", method=method, Cache_Control="only-if-cached"))[0] == 200


async def test_a_car_says_its_version_order_and_whether_blocks_are_repeated(ask, cid):
    _, headers, _ = await ask(f"/ipfs/{cid}?format=car")
    assert headers["Content-Type"] == f"{CAR}; version=1; order=dfs; dups=n"
    assert headers["Content-Disposition"] == f'attachment; filename="{cid}.car"'
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_parameters_of_the_url_go_before_those_of_the_accept_header(ask, cid):
    _, headers, _ = await ask(f"/ipfs/{cid}?format=car&car-dups=n", Accept=f"{CAR}; dups=y")
    assert headers["Content-Type"].endswith("dups=n")
    assert (await ask(f"/ipfs/{cid}?format=car&car-order=other", Accept=CAR))[0] == 406
    assert (await ask(f"/ipfs/{cid}?format=car&car-version=2", Accept=CAR))[0] == 406


async def test_repeated_blocks_come_every_time_if_they_are_asked_for(blocks_of, store, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / "same" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "same" / name).write_bytes(b"the same")
    root = parse_cid(import_path(tmp_path / "same", store))
    leaf = hash_block(RAW, b"the same")
    assert await blocks_of(f"/ipfs/{root}?format=car&car-dups=y", root) == [root, leaf, leaf, leaf]
    assert await blocks_of(f"/ipfs/{root}?format=car", root) == [root, leaf]


@pytest.mark.parametrize(
    ("span", "leaves"),
    [
        ("0:*", 4),
        ("0:0", 1),
        ("262143:262144", 2),
        ("-1:*", 1),
        ("-300000:*", 2),
        ("300000:-500000", 1),
        ("0:99999999", 4),
        ("500:200", 0),
    ],
)
async def test_entity_bytes_gives_the_blocks_that_prove_them_and_no_more(blocks_of, cid, video, span, leaves):
    blocks = await blocks_of(f"/ipfs/{cid}/{VIDEO}?format=car&entity-bytes={span}", video[-1])
    assert tuple(blocks[:3]) == video
    assert len(blocks) == 3 + leaves


async def test_entity_bytes_of_a_directory_is_the_scope_entity(blocks_of, cid):
    assert await blocks_of(f"/ipfs/{cid}?format=car&entity-bytes=5:10", cid) == [parse_cid(cid)]


async def test_entity_bytes_outside_of_the_file_are_a_bad_request(ask, cid):
    assert (await ask(f"/ipfs/{cid}/{VIDEO}?format=car&entity-bytes=99999999:*"))[0] == 400


async def test_the_etag_tells_apart_what_was_asked_for(ask, cid):
    asked = ("raw", "car", "car&dag-scope=block", "car&dag-scope=entity", "car&car-dups=y")
    spans = ("car&entity-bytes=0:1", "car&entity-bytes=0:*")
    tags = [(await ask(f"/ipfs/{cid}/{VIDEO}?format={one}"))[1]["Etag"] for one in (*asked, *spans)]
    tags.append((await ask(f"/ipfs/{cid}/{VIDEO}"))[1]["Etag"])
    assert len(set(tags)) == len(tags)


async def test_a_match_of_if_none_match_is_not_modified_without_a_payload(ask, cid):
    for query in ("", "?format=raw", "?format=car", "?format=car&entity-bytes=0:1"):
        tag = (await ask(f"/ipfs/{cid}/{VIDEO}{query}"))[1]["Etag"]
        assert (await ask(f"/ipfs/{cid}/{VIDEO}{query}", If_None_Match=tag))[::2] == (304, b"")
        assert (await ask(f"/ipfs/{cid}/{VIDEO}{query}", If_None_Match='"other"'))[0] == 200


async def test_a_range_of_a_raw_block_is_that_part(ask, cid):
    whole = (await ask(f"/ipfs/{cid}?format=raw"))[2]
    status, headers, body = await ask(f"/ipfs/{cid}?format=raw", Range="bytes=5-9")
    assert (status, body) == (206, whole[5:10])
    assert headers["Content-Range"] == f"bytes 5-9/{len(whole)}"
    assert (await ask(f"/ipfs/{cid}?format=raw", Range="bytes=999999-"))[0] == 416


@pytest.mark.parametrize("name", ["tar", "dag-json", "dag-cbor", "json", "cbor", "ipns-record", "x"])
async def test_a_format_that_is_not_offered_is_a_bad_request(ask, cid, name):
    status, _, body = await ask(f"/ipfs/{cid}?format={name}")
    assert status == 400
    assert b"allowed are raw and car" in body


async def test_a_malformed_cid_is_a_bad_request(ask, cid):
    for text in ("x", "bafy", cid.upper(), cid + "a"):
        assert (await ask(f"/ipfs/{text}?format=raw"))[0] == 400


async def test_a_directory_without_its_slash_is_moved_permanently(ask, cid, gateway_url):
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{gateway_url}/ipfs/{cid}/outputs?x=1", allow_redirects=False) as answer,
    ):
        assert answer.status == 301
        assert answer.headers["Location"] == f"/ipfs/{cid}/outputs/?x=1"


async def test_a_service_worker_is_never_registered(ask, cid):
    assert (await ask(f"/ipfs/{cid}", Service_Worker="script"))[0] == 400
    assert (await ask(f"/ipfs/{cid}/stdout", Service_Worker="script"))[0] == 400


@pytest.mark.parametrize(
    ("query", "disposition"),
    [
        ("", None),
        ("?filename=a.txt", 'inline; filename="a.txt"'),
        ("?filename=a.txt&download=true", 'attachment; filename="a.txt"'),
        ("?download=true", "attachment"),
        ("?download=false", None),
        (
            "?filename=test%D1%82%D0%B5%D1%81%D1%82.pdf",
            "inline; filename=\"test____.pdf\"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.pdf",
        ),
        (
            "?filename=a%22%0d%0aSet-Cookie:x",
            "inline; filename=\"a___Set-Cookie_x\"; filename*=UTF-8''a%22%0D%0ASet-Cookie%3Ax",
        ),
        ("?format=raw&filename=a.block", 'attachment; filename="a.block"'),
    ],
)
async def test_a_file_name_may_be_given_for_saving(ask, cid, query, disposition):
    _, headers, _ = await ask(f"/ipfs/{cid}/stdout{query}")
    assert headers.get("Content-Disposition") == disposition


async def test_a_path_is_told_with_the_cid_of_each_segment(ask, cid, video):
    _, headers, _ = await ask(f"/ipfs/{cid}/{VIDEO}")
    assert headers["X-Ipfs-Path"] == f"/ipfs/{cid}/{VIDEO}"
    assert headers["X-Ipfs-Roots"] == ",".join(map(str, video))


async def test_a_gateway_is_probed_by_the_empty_cid(ask, cid):
    status, headers, body = await ask("/ipfs/bafkqaaa?format=raw")
    assert (status, headers["Content-Type"], body) == (200, RAW_TYPE, b"")
    status, headers, body = await ask("/ipfs/bafkqaaa?format=car")
    assert (status, headers["Content-Type"].split(";")[0]) == (200, CAR)
    assert b"roots" in body
    assert (await ask("/ipfs/bafkqaaa", method="HEAD", Accept=RAW_TYPE))[0] == 200


async def test_a_cid_that_holds_its_block_is_served_from_itself(ask, cid):
    hello, block = "bafkqabtimvwgy3yk", b"hello\n"
    for path, kind in (
        (f"/ipfs/{hello}?format=raw", RAW_TYPE),
        (f"/ipfs/{hello}/", "application/octet-stream"),
    ):
        status, headers, body = await ask(path)
        assert (status, body) == (200, block)
        assert headers["Content-Type"] == kind
        assert headers["X-Ipfs-Roots"] == hello
    status, _, body = await ask(f"/ipfs/{hello}", Range="bytes=1-2", Cache_Control="only-if-cached")
    assert (status, body) == (206, b"el")
    status, _, body = await ask(f"/ipfs/{hello}?format=car")
    assert (status, body) == (200, car_header(parse_inline_cid(hello)))
    assert (await ask(f"/ipfs/{hello}/below"))[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("OPTIONS", "/ipfs/bafkqabtimvwgy3yk/", 204),
        ("OPTIONS", f"/ipfs/{ABSENT}/x?format=raw", 204),
        ("GET", "/ipfs/bafkqabtimvwgy3yk", 200),
        ("HEAD", f"/ipfs/{ABSENT}", 404),
        ("GET", "/ipfs/nonsense", 400),
    ],
)
async def test_scripts_of_any_page_may_read_the_answer(ask, cid, method, path, status):
    found, headers, _ = await ask(
        path, method, Origin="https://page.example", Access_Control_Request_Method="GET"
    )
    assert found == status
    assert headers["Access-Control-Allow-Origin"] == "*"
    told = {
        name: set(headers[f"Access-Control-{name}"].split(", "))
        for name in ("Allow-Methods", "Allow-Headers")
    }
    assert told["Allow-Methods"] == {"GET", "HEAD", "OPTIONS"}
    assert told["Allow-Headers"] >= {"Content-Type", "Range", "User-Agent", "X-Requested-With"}
    assert set(headers["Access-Control-Expose-Headers"].split(", ")) >= {
        "Content-Range",
        "Content-Length",
        "X-Ipfs-Path",
        "X-Ipfs-Roots",
    }


async def test_what_the_store_cannot_read_now_is_unavailable_with_a_time_to_come_back(ask, cid, store):
    blocks = store.root / "blocks"
    blocks.rename(store.root / "elsewhere")
    blocks.write_text("no folder")
    status, headers, _ = await ask(f"/ipfs/{cid}?format=raw")
    assert status == 503
    assert int(headers["Retry-After"]) > 0
