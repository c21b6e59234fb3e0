"""Doctor says whether the folder of published results is there, and asks a node that runs."""

import pytest

from node.app.control import control_socket
from node.app.housekeeping import STORE
from node.app.store_check import check_store
from node.publisher.blockstore import BlockStore
from tests.fakes.jobs import make_config


@pytest.fixture
def config(tmp_path):
    return make_config(node={"data_dir": str(tmp_path)})


async def test_nothing_is_said_where_no_node_ever_ran(config):
    assert await check_store(config) == []


async def test_a_store_that_a_node_had_and_that_is_gone_is_a_problem_with_its_remedy(config, tmp_path):
    (tmp_path / "jobs").mkdir()
    BlockStore(tmp_path / "ipfs")
    (check,) = await check_store(config)
    assert check.verdict == "ok"
    (tmp_path / "ipfs").rename(tmp_path / "unmounted")
    (tmp_path / "ipfs").mkdir()
    (check,) = await check_store(config)
    assert (check.name, check.verdict) == ("store", "problem")
    assert "has no blocks, pins, tmp" in check.finding
    assert "mount its disk again" in check.remedy


async def test_a_running_node_knows_of_a_store_that_was_replaced(config, tmp_path):
    (tmp_path / "jobs").mkdir()
    store = BlockStore(tmp_path / "ipfs")

    async def state(_):
        return {"problem": store.problem()}

    async with control_socket(tmp_path, {STORE: state}, on_fatal=lambda _: None):
        assert [check.verdict for check in await check_store(config)] == ["ok"]
        store.root.rename(tmp_path / "unmounted")
        BlockStore(tmp_path / "ipfs")
        (check,) = await check_store(config)
    assert check.verdict == "problem"
    assert "is not the one that was opened any more" in check.finding


async def test_a_result_that_a_running_node_found_damaged_is_a_problem_of_the_store(config, tmp_path):
    (tmp_path / "jobs").mkdir()
    BlockStore(tmp_path / "ipfs")

    async def state(_):
        return {"problem": None, "damage": "j1: 1 of 4 blocks are not stored here"}

    async with control_socket(tmp_path, {STORE: state}, on_fatal=lambda _: None):
        (check,) = await check_store(config)
    assert (check.verdict, check.finding) == ("problem", "j1: 1 of 4 blocks are not stored here")
    assert "from a backup" in check.remedy


async def test_a_node_that_does_not_know_the_question_is_not_a_problem_of_the_store(config, tmp_path):
    (tmp_path / "jobs").mkdir()
    BlockStore(tmp_path / "ipfs")
    async with control_socket(tmp_path, {}, on_fatal=lambda _: None):
        assert [check.verdict for check in await check_store(config)] == ["ok"]
