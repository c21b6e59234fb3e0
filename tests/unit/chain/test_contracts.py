"""What the market's contracts store is read exactly, and set aside when it is hostile or nonsense."""

from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from node.chain import interface
from node.chain.client import Chain
from node.chain.contracts import MarketAddresses, MarketContracts, Unreadable, User, discover
from node.chain.hexadecimal import BadReply
from node.chain.rules import SOUND_RULES
from node.errors import Misconfigured
from node.job.deal import (
    Agreement,
    AgreementState,
    Deal,
    DealMembers,
    DealPricing,
    DealTimeout,
    DealTimeouts,
    Result,
    ServiceType,
)
from node.types import Address, DealId, Wei
from tests.fakes.chain_views import ScriptedViews

DEAL = "(bytes,(address,address,address,address[]),((uint256,uint256)[4]),(uint256,uint256,uint256,uint256))"
RESULT = "(bytes,bytes,bytes,uint256)"
USER = "(address,bytes,bytes,uint256[])"
ID = DealId("j17-abc")
WHO = [Address(f"0x{digit * 40}") for digit in "123456"]
ADDRESSES = MarketAddresses(*(Address(f"0x{index:040x}") for index in range(10, 17)))


@pytest.fixture
def views() -> ScriptedViews:
    return ScriptedViews()


@pytest.fixture
def contracts(views: ScriptedViews) -> MarketContracts:
    return MarketContracts(Chain(views), ADDRESSES, 31337, SOUND_RULES)


def stored_deal(deal_id: bytes = b"j17-abc", mediators: Any = (WHO[3],)) -> bytes:
    timeouts = [(600, 0), (3600, 1), (86400, 2**256 - 1), (7, 3)]
    return encode([DEAL], [(deal_id, (*WHO[:3], list(mediators)), (timeouts,), (10, 20, 2, 30))])


async def test_a_deal_is_read_field_by_field(views: ScriptedViews, contracts: MarketContracts):
    views.answers(interface.GET_DEAL, stored_deal(mediators=WHO[3:]))
    assert await contracts.get_deal(ID) == Deal(
        ID,
        DealMembers(WHO[0], WHO[1], WHO[2], tuple(WHO[3:])),
        DealTimeouts(
            DealTimeout(600, Wei(0)),
            DealTimeout(3600, Wei(1)),
            DealTimeout(86400, Wei(2**256 - 1)),
            DealTimeout(7, Wei(3)),
        ),
        DealPricing(Wei(10), Wei(20), 2, Wei(30)),
    )


async def test_reads_are_made_at_the_named_block(views: ScriptedViews, contracts: MarketContracts):
    views.answers(interface.GET_DEAL, stored_deal())
    await contracts.get_deal(ID, at=77)
    await contracts.get_deal(ID)
    assert views.asked == ["0x4d", "latest"]


async def test_an_empty_id_means_that_there_is_none(views: ScriptedViews, contracts: MarketContracts):
    views.answers(interface.GET_DEAL, stored_deal(deal_id=b""))
    views.answers(interface.GET_RESULT, encode([RESULT], [(b"", b"", b"", 0)]))
    views.answers(interface.GET_USER, encode([USER], [("0x" + "0" * 40, b"", b"", [])]))
    assert await contracts.get_deal(ID) is None
    assert await contracts.get_result(ID) is None
    assert await contracts.get_user(WHO[0]) is None


async def test_an_answer_for_another_deal_is_a_bad_reply(views: ScriptedViews, contracts: MarketContracts):
    views.answers(interface.GET_DEAL, stored_deal(deal_id=b"j18-abc"))
    with pytest.raises(BadReply, match="another deal"):
        await contracts.get_deal(ID)


@pytest.mark.parametrize(
    ("data_id", "words"),
    [(b"\xff", "not valid UTF-8"), (b"bafy\x1b[2J", "control characters"), (b"b" * 129, "longer than 128")],
)
async def test_a_hostile_result_is_unreadable_and_says_why(views, contracts, data_id: bytes, words: str):
    views.answers(interface.GET_RESULT, encode([RESULT], [(b"j17-abc", b"", data_id, 1)]))
    with pytest.raises(Unreadable, match=f"the result of deal j17-abc cannot be read: data id .*{words}"):
        await contracts.get_result(ID)


async def test_a_result_is_read(views: ScriptedViews, contracts: MarketContracts):
    views.answers(interface.GET_RESULT, encode([RESULT], [(b"j17-abc", b"", b"bafy", 1)]))
    assert await contracts.get_result(ID) == Result(ID, "", "bafy", 1)


async def test_a_deal_with_a_crowd_of_mediators_is_unreadable(views, contracts):
    views.answers(interface.GET_DEAL, stored_deal(mediators=[WHO[0]] * 65))
    with pytest.raises(Unreadable, match="more than 64"):
        await contracts.get_deal(ID)


async def test_an_agreement_is_read_and_an_unknown_state_is_a_bad_reply(views, contracts):
    views.answers(interface.GET_AGREEMENT, encode(["uint256"] * 14, [2, *range(101, 114)]))
    assert await contracts.get_agreement(ID) == Agreement(AgreementState.RESULTS_SUBMITTED, *range(101, 114))
    for output in (encode(["uint256"] * 14, [11] + [0] * 13), bytes(32 * 13), bytes(32) + b"\xff" * 416):
        views.answers(interface.GET_AGREEMENT, output)
        with pytest.raises(BadReply):
            await contracts.get_agreement(ID)


async def test_a_user_is_read_without_roles_that_do_not_exist(views, contracts):
    views.answers(interface.GET_USER, encode([USER], [(WHO[0], b"bafy", b"http://x", [2, 9, 3])]))
    assert await contracts.get_user(WHO[0]) == User(
        WHO[0], "bafy", "http://x", (ServiceType.RESOURCE_PROVIDER, ServiceType.JOB_CREATOR)
    )


async def test_a_hostile_user_is_unreadable(views, contracts):
    views.answers(interface.GET_USER, encode([USER], [(WHO[0], b"bafy", b"http://\x00", [2])]))
    with pytest.raises(Unreadable, match="url contains control characters"):
        await contracts.get_user(WHO[0])


async def test_nobody_drawn_is_none(views, contracts):
    views.answers(interface.GET_MEDIATOR, bytes(32))
    assert await contracts.get_mediator(ID) is None
    views.answers(interface.GET_MEDIATOR, bytes(12) + b"\x11" * 20)
    assert await contracts.get_mediator(ID) == WHO[0]


@pytest.mark.parametrize("output", [b"", b"\x01", bytes(31)])
async def test_an_answer_too_short_for_a_number_is_a_bad_reply(views, contracts, output: bytes):
    views.answers(interface.BALANCE_OF, output)
    with pytest.raises(BadReply):
        await contracts.token_balance(WHO[0])


@given(data=st.data())
async def test_damaged_answers_never_raise_anything_but_our_own_errors(data: st.DataObject):
    views = ScriptedViews()
    contracts = MarketContracts(Chain(views), ADDRESSES, 31337, SOUND_RULES)
    output = bytearray(
        data.draw(
            st.sampled_from(
                [
                    stored_deal(),
                    encode([RESULT], [(b"j17-abc", b"", b"bafy", 1)]),
                    encode([USER], [(WHO[0], b"bafy", b"http://x", [2])]),
                ]
            )
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        at = 32 * data.draw(st.integers(0, len(output) // 32 - 1))
        word = data.draw(st.sampled_from([0, 1, 32, 64, 2**64, 2**256 - 1]) | st.integers(0, 800))
        output[at : at + 32] = word.to_bytes(32)
    del output[data.draw(st.integers(0, len(output))) :]
    for function, read in (
        (interface.GET_DEAL, contracts.get_deal),
        (interface.GET_RESULT, contracts.get_result),
        (interface.GET_USER, lambda _id: contracts.get_user(WHO[0])),
        (interface.SHOW_USERS_IN_LIST, lambda _id: contracts.show_users_in_list(ServiceType.SOLVER)),
    ):
        views.answers(function, bytes(output))
        try:
            await read(ID)
        except (Unreadable, BadReply):
            continue


@pytest.mark.parametrize("output", [b"", bytes(32), b"\xff" * 32])
async def test_a_contract_that_answers_like_no_controller_is_named(views: ScriptedViews, output: bytes):
    views.results["eth_getCode"] = "0x60"
    views.answers(interface.GET_PAYMENTS, output)
    with pytest.raises(Misconfigured, match="is not a market Controller"):
        await discover(Chain(views), WHO[0])


def test_calls_name_themselves_for_people():
    calls = MarketContracts(Chain(ScriptedViews()), ADDRESSES, 31337, SOUND_RULES)
    assert calls.add_result(ID, "", "bafy", 1).what == "addResult j17-abc"
    assert calls.timeout_judge_result(ID).what == "timeoutJudgeResult j17-abc"
    assert calls.run_job("sdv", ["a=b"], WHO[0]).to == ADDRESSES.job_manager
    assert calls.mediation_accept_result(ID).to == ADDRESSES.mediation
    assert calls.withdraw(WHO[0]).to == ADDRESSES.payments


class YoungContracts(ScriptedViews):
    """Contracts that did not exist before block 8."""

    async def call(self, method, params):
        if params[1] == hex(7):
            return "0x"
        return await super().call(method, params)


async def test_before_its_contract_existed_nothing_was_agreed():
    views = YoungContracts()
    contracts = MarketContracts(Chain(views), ADDRESSES, 31337, SOUND_RULES)
    views.answers(interface.GET_AGREEMENT, bytes(31) + b"\x01" + bytes(13 * 32))
    assert (await contracts.get_agreement(ID)).state is AgreementState.DEAL_AGREED
    assert await contracts.get_agreement(ID, at=7) == Agreement(AgreementState.DEAL_NEGOTIATING)


async def test_an_endpoint_without_the_contract_is_not_believed_about_old_blocks():
    views = YoungContracts()
    views.answers(interface.GET_AGREEMENT, b"")
    contracts = MarketContracts(Chain(views), ADDRESSES, 31337, SOUND_RULES)
    with pytest.raises(BadReply, match="no such contract"):
        await contracts.get_agreement(ID, at=7)
