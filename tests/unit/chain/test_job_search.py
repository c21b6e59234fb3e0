"""A posted job is found by its number, however long ago it was posted, and a deal with its job."""

from dataclasses import replace

import pytest
from eth_abi.abi import encode

from node.chain import job_search
from node.chain.client import Chain
from node.chain.deal_record import UnknownDeal, job_number_of, read_deal
from node.chain.events import JOB_ADDED
from node.chain.job_search import JobNotFound, find_job
from node.job.deal import Agreement, AgreementState, MarketPlace
from node.job.spec import InvalidInputs
from tests.fakes.chain import FakeNode
from tests.fakes.jobs import CONTROLLER, JOB_MANAGER, MARKET, REQUESTER, make_deal

MODULE = "sdv-pipeline:v1.1-lilypad2"


def post(node, number, *inputs, module=MODULE):
    node.mine()
    data = encode(
        ["uint256", "address", "address", "string", "string[]"],
        [number, REQUESTER, REQUESTER, module, list(inputs or ("Prompt=a red fox",))],
    )
    node.add_log({"address": JOB_MANAGER, "topics": [JOB_ADDED], "data": "0x" + data.hex()})


async def found(node, number, posted_before=None):
    chain = Chain(node)
    head = await chain.head()
    return await find_job(chain, JOB_MANAGER, number, posted_before or head.timestamp)


async def test_the_job_of_this_number_is_found_among_others():
    node = FakeNode()
    for number in range(1, 6):
        post(node, number, f"Prompt=job {number}")
    node.mine(30)
    assert (await found(node, 3)).inputs == ("Prompt=job 3",)


async def test_reading_goes_back_in_growing_ranges_until_the_job_is_there(monkeypatch):
    monkeypatch.setattr(job_search, "_FIRST_BLOCKS", 4)
    node = FakeNode()
    post(node, 1)
    node.mine(200)
    assert (await found(node, 1)).number == 1


async def test_a_job_that_is_not_in_the_blocks_before_its_deal_is_named_as_missing(monkeypatch):
    node = FakeNode()
    node.mine(20)
    with pytest.raises(JobNotFound, match="job 7 was not posted in the 21 blocks"):
        await found(node, 7)
    monkeypatch.setattr(job_search, "MAX_BLOCKS", 10)
    post(node, 8)
    node.mine(20)
    with pytest.raises(JobNotFound, match="11 blocks"):
        await found(node, 8)


async def test_what_was_posted_after_the_deal_is_not_its_job():
    node = FakeNode()
    post(node, 1, "Prompt=before")
    deal_made = (await Chain(node).head()).timestamp
    node.mine(5)
    post(node, 2, "Prompt=after")
    assert (await found(node, 1, deal_made)).inputs == ("Prompt=before",)
    with pytest.raises(JobNotFound):
        await found(node, 2, deal_made)


class Contracts:
    """The reads that a deal's record needs."""

    def __init__(self, deal):
        self.deal = deal
        self.place = MarketPlace(MARKET.chain_id, CONTROLLER, JOB_MANAGER)
        self.addresses = type("Addresses", (), {"job_manager": JOB_MANAGER})()

    async def get_deal(self, deal_id):
        return self.deal if self.deal and self.deal.deal_id == deal_id else None

    async def get_agreement(self, deal_id):
        return Agreement(AgreementState.RESULTS_CHECKED, deal_created_at=2**40)

    async def get_result(self, deal_id):
        return None


async def test_a_deal_is_read_with_the_job_that_its_id_binds():
    node, deal = FakeNode(), make_deal(3)
    post(node, 3, "Prompt=a cow", "ImageSeed=5")
    record = await read_deal(Chain(node), Contracts(deal), deal.deal_id)
    assert (record.job_number, record.spec.prompt, record.spec.seed) == (3, "a cow", 5)
    assert record.spec.notes == ("ImageSeed is read as Seed",)


async def test_a_deal_whose_id_does_not_follow_from_its_terms_belongs_to_no_job():
    node, deal = FakeNode(), make_deal(3)
    post(node, 3)
    forged = replace(deal, pricing=replace(deal.pricing, instruction_price_wei=1))
    with pytest.raises(UnknownDeal, match="does not follow"):
        await read_deal(Chain(node), Contracts(forged), deal.deal_id)
    with pytest.raises(UnknownDeal, match="there is no deal"):
        await read_deal(Chain(node), Contracts(None), deal.deal_id)


async def test_a_job_that_cannot_be_computed_is_told_as_that():
    node, deal = FakeNode(), make_deal(3)
    post(node, 3, "Steps=4000")
    with pytest.raises(InvalidInputs):
        await read_deal(Chain(node), Contracts(deal), deal.deal_id)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (make_deal(17).deal_id, 17),
        ("j0-5YgmvRPc5K9n2GJhpa3yYx", None),
        ("j01-5YgmvRPc5K9n2GJhpa3yYx", None),
        ("17", None),
        ("j17", None),
        ("bafybeiasqlc34vzgoy6ousbqkqswgswtw2h6k2rkvulnt25sgr5hzwzvze", None),
        ("j1-../../etc/passwd/////////", None),
        ("", None),
    ],
)
def test_the_number_of_a_job_is_read_from_ids_of_ours_alone(text, number):
    assert job_number_of(text) == number
