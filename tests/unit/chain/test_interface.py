"""The signatures this node calls have the selectors and topics of the deployed market contracts."""

import json

import pytest

from node.chain import events, interface
from node.chain.abi import topic
from node.resources import data_path

RECORDED_SELECTORS = {
    "f583b125": interface.AGREE,
    "3955548e": interface.ADD_RESULT,
    "297f9e55": interface.ACCEPT_RESULT,
    "46834d1e": interface.CHECK_RESULT,
    "795f9abf": interface.TIMEOUT_AGREE,
    "511a9f68": interface.TIMEOUT_SUBMIT_RESULT,
    "e850be37": interface.TIMEOUT_JUDGE_RESULT,
    "e7b957d1": interface.TIMEOUT_MEDIATE_RESULT,
    "e7079180": interface.GET_DEAL,
    "cdd82d1d": interface.GET_AGREEMENT,
    "498cc70d": interface.GET_RESULT,
    "824518aa": interface.MEDIATION_ACCEPT_RESULT,
    "80ffdfe0": interface.MEDIATION_REJECT_RESULT,
    "a2bffa00": interface.GET_MEDIATOR,
    "ebbbca27": interface.UPDATE_USER,
    "aeb5ec01": interface.ADD_USER_TO_LIST,
    "a7f96f06": interface.REMOVE_USER_FROM_LIST,
    "6f77926b": interface.GET_USER,
    "a15dcc8a": interface.SHOW_USERS_IN_LIST,
    "c75555fa": interface.RUN_JOB,
    "58e56db4": interface.GET_REQUIRED_DEPOSIT,
    "10fe9ae8": interface.GET_TOKEN,
    # The ERC-20 ones are known everywhere.
    "70a08231": interface.BALANCE_OF,
    "dd62ed3e": interface.ALLOWANCE,
    "95d89b41": interface.SYMBOL,
    "095ea7b3": interface.APPROVE,
    "a9059cbb": interface.TRANSFER,
}


@pytest.mark.parametrize(("selector", "function"), RECORDED_SELECTORS.items(), ids=str)
def test_a_function_has_its_recorded_selector(selector: str, function: interface.Function):
    assert function.selector.hex() == selector


def test_the_events_have_their_recorded_topics():
    assert events.MARKET_TOPICS == (
        "0xaa171d38d08c39622dbd189ddd0a5c0cf3ea10eeda0c7d4c2c75d13fcc4fe14a",
        "0x10ca3d89184491f5d8de422bd36534abe6eb4b4aa1429a261bdb5ff1dd9ac386",
        "0x64861f505d0cfce7a0cc3629c70eb54f7de27be35939b48300935694958a9842",
        "0xfd3770121045f9427361660d6eaa8b07a2e45eca6964f5c4f041a28f21084086",
    )


def canonical(parameter: dict) -> str:
    if parameter["type"].startswith("tuple"):
        inner = ",".join(canonical(part) for part in parameter["components"])
        return f"({inner}){parameter['type'][5:]}"
    return parameter["type"]


ONLY_ON_LILYPAD = {"escrowBalanceOf(address)", "paused()"}


def declared(kind: str) -> set[str]:
    """Every signature of a kind in the compiled market contracts."""
    return {
        f"{entry['name']}({','.join(canonical(item) for item in entry['inputs'])})"
        for path in data_path("contracts_abi/market").glob("*.json")
        for entry in json.loads(path.read_text()).get("abi", ())
        if entry["type"] == kind
    }


def test_every_function_called_exists_in_the_compiled_contracts():
    called = {item.signature for item in vars(interface).values() if isinstance(item, interface.Function)}
    assert called
    assert called - declared("function") == ONLY_ON_LILYPAD


def test_every_event_read_exists_in_the_compiled_contracts():
    assert set(events.MARKET_TOPICS) <= {topic(signature) for signature in declared("event")}
