"""An answer that breaks off has no end, raises nothing into the server and is told once."""

import os

import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from node.publisher.blockstore import BlockStore, block_file
from node.publisher.cid import parse_cid
from node.publisher.dag import Scope, walk
from node.publisher.gateway import gateway_routes
from node.publisher.publish import Publisher
from node.types import JobId


async def ask(app, path, query=b""):
    """Return what the server would be given to send."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", b"node")],
    }
    await app(scope, receive, send)
    return sent


@pytest.mark.parametrize(("name", "query"), [("", b"format=car"), ("/still.png", b"")], ids=["car", "file"])
@pytest.mark.parametrize("damage", ["missing", "damaged"])
async def test_a_leaf_that_fails_on_the_way_cuts_the_answer_and_is_told_once(tmp_path, damage, name, query):
    store = BlockStore(tmp_path / "ipfs", floor_bytes=0)
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "still.png").write_bytes(os.urandom(3 << 20))
    cid = await Publisher(store).publish(JobId("j1"), folder)
    whole = await ask(app := Starlette(routes=gateway_routes(store)), f"/ipfs/{cid}{name}", query)
    last = [*walk(store, parse_cid(cid), Scope.ALL)][-1][0].digest
    if damage == "missing":
        block_file(store.root, last).unlink()
    else:
        block_file(store.root, last).write_bytes(b"damaged")
    with capture_logs() as log:
        answers = [await ask(app, f"/ipfs/{cid}{name}", query) for _ in range(3)]
    assert whole[-1]["more_body"] is False
    for sent in answers:
        assert sent[0]["status"] == 200
        assert all(message["more_body"] for message in sent[1:])
    (line,) = log
    assert (line["event"], line["log_level"]) == ("ipfs_answer_broken_off", "warning")
    assert cid in line["path"]
    assert "block b" in line["problem"]
