"""A download tells of a source that it lost, in the requester's own words, once for each reason."""

import pytest

from node.app.delivery import GatewayDelivery
from node.cli.run_display import sentence
from node.destinations import Reach
from node.errors import Unreachable
from node.publisher.unixfs import CID_V1, cid_of
from node.requester.steps import SourceDropped
from tests.ports import free_port


async def test_a_source_that_stays_away_is_told_once_however_often_it_is_tried(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "stdout").write_text("done")
    cid = cid_of(tmp_path / "tree", CID_V1)
    gateway, own = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    told = []
    delivery = GatewayDelivery(Reach.ANY, tmp_path / "peer", lambda *drop: told.append(drop))
    for _ in range(2):
        with pytest.raises(Unreachable):
            await delivery.fetch(gateway, [own], cid, tmp_path / "copy", lambda *_: None)
    assert len(told) == len(set(told))
    assert {f"the IPFS node of {gateway}"} < {source for source, _ in told}
    assert all("names no IPFS node" not in why for _, why in told)


def test_it_is_one_line_for_people():
    step = SourceDropped("the IPFS node of http://x", "http://x cannot be reached")
    line = "the IPFS node of http://x is not asked for the rest: http://x cannot be reached"
    assert sentence(step, "LP") == line
