"""Draws that name us become cases once, with the block they were read from, whatever the chain does."""

import pytest
from eth_abi.abi import encode

from node.chain.client import Chain
from node.chain.events import MEDIATION_REQUESTED
from node.job.case import CasePhase, Decision
from node.journal.cases import CaseLog
from node.journal.database import Database
from node.mediation.draws import DrawFollower
from node.mediation.judge import evidence_folder
from node.types import Address
from tests.fakes.chain import FakeNode
from tests.fakes.clock import FakeClock

OURS = "j17-5YgmvRPc5K9n2GJhpa3yYx"
MEDIATION = Address("0x" + "f9" * 20)
US, ANOTHER = Address("0x" + "c3" * 20), Address("0x" + "c4" * 20)


@pytest.fixture
def cases(tmp_path):
    database = Database(tmp_path)
    yield CaseLog(database, FakeClock())
    database.close()


def follower(node, cases, confirmations=2):
    return DrawFollower(
        Chain(node), MEDIATION, US, cases, confirmations=confirmations, start_block=0, clock=FakeClock()
    )


def draw(node, deal_id, mediator=US, data=None):
    node.mine()
    data = data or encode(["string", "address"], [deal_id, mediator])
    node.add_log({"address": MEDIATION, "topics": [MEDIATION_REQUESTED], "data": "0x" + data.hex()})


async def read_all(follower):
    while await follower.read():
        pass


async def known(cases):
    return {row.case.deal_id: row.case for row in await cases.recent(10)}


async def test_confirmed_draws_of_us_become_cases_and_others_do_not(cases):
    node = FakeNode()
    draw(node, "j1-a")
    draw(node, "j2-b", ANOTHER)
    draw(node, "j3-c", data=b"\xff" * 64)
    following = follower(node, cases)
    await read_all(following)
    assert set(await known(cases)) == {"j1-a"}
    draw(node, "j4-d")
    await read_all(following)
    assert set(await known(cases)) == {"j1-a"}
    node.mine(2)
    await read_all(following)
    assert set(await known(cases)) == {"j1-a", "j4-d"}


async def test_after_a_restart_reading_goes_on_behind_the_last_block(cases):
    node = FakeNode()
    draw(node, "j1-a")
    node.mine(5)
    await read_all(follower(node, cases))
    cursor = await cases.cursor()
    draw(node, "j2-b")
    node.mine(2)
    await read_all(follower(node, cases))
    assert set(await known(cases)) == {"j1-a", "j2-b"}
    assert (await cases.cursor())[0] > cursor[0]


async def test_a_case_that_is_decided_is_not_opened_again_by_blocks_that_are_read_twice(cases):
    node = FakeNode()
    draw(node, "j1-a")
    node.mine(6)
    following = follower(node, cases)
    await read_all(following)
    (row,) = await cases.open_cases()
    await cases.save(row.case.decided(Decision.ACCEPT, "the same"))
    node.reorg(4)
    node.mine(8)
    await read_all(following)
    assert (await known(cases))["j1-a"].phase is CasePhase.DECIDED


async def test_another_draw_of_the_same_deal_opens_a_case_that_was_over(cases):
    node = FakeNode()
    draw(node, "j1-a")
    node.mine(2)
    following = follower(node, cases)
    await read_all(following)
    (row,) = await cases.open_cases()
    await cases.save(row.case.lapsed("the mediator is somebody else now"))
    draw(node, "j1-a")
    node.mine(2)
    await read_all(following)
    case = (await known(cases))["j1-a"]
    assert case.phase is CasePhase.OPEN
    assert case.drawn_in != row.case.drawn_in


async def test_cases_are_kept_in_order_with_what_became_of_them(cases):
    node = FakeNode()
    for number in range(3):
        draw(node, f"j{number + 1}-x")
    node.mine(2)
    await read_all(follower(node, cases))
    first, second, third = [row.case for row in await cases.open_cases()]
    await cases.save(first.decided(Decision.REJECT, "a byte differs").ruled())
    await cases.save(second.declined("another class"))
    assert [row.case for row in await cases.open_cases()] == [third]
    ended = (await known(cases))[first.deal_id]
    assert (ended.phase, ended.decision, ended.reason) == (
        CasePhase.RULED,
        Decision.REJECT,
        "a byte differs",
    )
    assert {row.case.deal_id for row in await cases.settled_before(10**12)} == {"j1-x", "j2-x"}
    assert await cases.settled_before(0) == []


@pytest.mark.parametrize(
    "deal_id", ["..", ".", "", "a/b", "/etc", "j1-../../../../../../../..", OURS + "/.."]
)
def test_no_path_is_made_of_what_a_stranger_calls_a_deal(tmp_path, deal_id):
    assert evidence_folder(tmp_path, deal_id) is None
    assert evidence_folder(tmp_path, OURS) == tmp_path / OURS


async def test_deals_of_any_name_become_cases_that_end_without_a_folder(cases):
    node = FakeNode()
    for deal_id in ("..", "a/b", OURS):
        draw(node, deal_id)
    node.mine(2)
    await read_all(follower(node, cases))
    assert set(await known(cases)) == {"..", "a/b", OURS}
