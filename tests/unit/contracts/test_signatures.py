"""One set of bindings drives both deployments: selectors, return types and topics are Lilypad's."""

import json

import pytest
from eth_utils import keccak

from tests.unit.contracts.evm import ABI_DIRECTORY, signature, type_of

MEMBERS = "(address,address,address,address[])"
TIMEOUTS = "((uint256,uint256),(uint256,uint256),(uint256,uint256),(uint256,uint256))"
PRICING = "(uint256,uint256,uint256,uint256)"
AGREEMENT = "(uint8" + ",uint256" * 13 + ")"

AGREEMENT_FIELDS = (
    "state resourceProviderAgreedAt jobCreatorAgreedAt dealCreatedAt dealAgreedAt resultsSubmittedAt "
    "resultsAcceptedAt resultsCheckedAt mediationAcceptedAt mediationRejectedAt timeoutAgreeAt "
    "timeoutSubmitResultsAt timeoutJudgeResultsAt timeoutMediateResultsAt"
)

FUNCTIONS = [
    ("Controller", "agree", "f583b125", AGREEMENT),
    ("Controller", "addResult", "3955548e", ""),
    ("Controller", "acceptResult", "297f9e55", ""),
    ("Controller", "checkResult", "46834d1e", ""),
    ("Controller", "mediationAcceptResult", "824518aa", ""),
    ("Controller", "mediationRejectResult", "80ffdfe0", ""),
    ("Controller", "timeoutAgree", "795f9abf", ""),
    ("Controller", "timeoutSubmitResult", "511a9f68", ""),
    ("Controller", "timeoutJudgeResult", "e850be37", ""),
    ("Controller", "timeoutMediateResult", "e7b957d1", ""),
    ("Storage", "getDeal", "e7079180", f"(string,{MEMBERS},{TIMEOUTS},{PRICING})"),
    ("Storage", "getAgreement", "cdd82d1d", AGREEMENT),
    ("Storage", "getResult", "498cc70d", "(string,string,string,uint256)"),
    ("Storage", "getDealsForParty", "11d5af33", "string[]"),
    ("Storage", "hasDeal", "2244ad2b", "bool"),
    ("Storage", "isState", "b050e74b", "bool"),
    ("Storage", "getJobCost", "73db5c6a", "uint256"),
    ("Storage", "getResultsCollateral", "8224ce5f", "uint256"),
    ("MediationRandom", "mediationAcceptResult", "824518aa", ""),
    ("MediationRandom", "mediationRejectResult", "80ffdfe0", ""),
    ("MediationRandom", "getMediator", "a2bffa00", "address"),
    ("Users", "updateUser", "ebbbca27", "(address,string,string,uint8[])"),
    ("Users", "addUserToList", "aeb5ec01", ""),
    ("Users", "removeUserFromList", "a7f96f06", ""),
    ("Users", "getUser", "6f77926b", "(address,string,string,uint8[])"),
    ("Users", "showUsersInList", "a15dcc8a", "address[]"),
    ("OnChainJobCreator", "runJob", "c75555fa", "uint256"),
    ("OnChainJobCreator", "getRequiredDeposit", "58e56db4", "uint256"),
    ("OnChainJobCreator", "getControllerAddress", "c57380a2", "address"),
    ("OnChainJobCreator", "getTokenAddress", "10fe9ae8", "address"),
    ("OnChainJobCreator", "setRequiredDeposit", "4c526c76", ""),
    ("OnChainJobCreator", "submitResults", "6c0f1f58", ""),
]

EVENTS = [
    ("Storage", "DealStateChange", "10ca3d89184491f5d8de422bd36534abe6eb4b4aa1429a261bdb5ff1dd9ac386"),
    ("Payments", "Payment", "64861f505d0cfce7a0cc3629c70eb54f7de27be35939b48300935694958a9842"),
    (
        "MediationRandom",
        "MediationRequested",
        "fd3770121045f9427361660d6eaa8b07a2e45eca6964f5c4f041a28f21084086",
    ),
    ("OnChainJobCreator", "JobAdded", "aa171d38d08c39622dbd189ddd0a5c0cf3ea10eeda0c7d4c2c75d13fcc4fe14a"),
    ("Token", "Transfer", "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"),
    ("Token", "Approval", "8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925"),
]

BY_NAME_ALONE = {
    "Controller": [
        "initialize(address,address,address,address,address,address)",
        "getStorageAddress()",
        "getUsersAddress()",
        "getPaymentsAddress()",
        "getMediationAddress()",
        "getJobCreatorAddress()",
        "getPowAddress()",
        "owner()",
        "transferOwnership(address)",
    ],
    "Storage": ["initialize()", "setControllerAddress(address)", "owner()"],
    "Payments": ["initialize(address)", "setControllerAddress(address)", "getTokenAddress()", "owner()"],
    "MediationRandom": ["initialize()", "setControllerAddress(address)", "owner()"],
    "Users": ["initialize()", "owner()"],
    "OnChainJobCreator": ["initialize(address)", "setControllerAddress(address)", "nextJobID()", "owner()"],
    "Token": [
        "name()",
        "symbol()",
        "decimals()",
        "totalSupply()",
        "balanceOf(address)",
        "allowance(address,address)",
        "approve(address,uint256)",
        "transfer(address,uint256)",
        "transferFrom(address,address,uint256)",
    ],
}


def entries(contract: str, kind: str) -> list[dict]:
    abi = json.loads((ABI_DIRECTORY / f"{contract}.json").read_text())
    return [entry for entry in abi if entry["type"] == kind]


@pytest.mark.parametrize(("contract", "name", "selector", "returned"), FUNCTIONS)
def test_function_has_lilypads_selector_and_return_type(
    contract: str, name: str, selector: str, returned: str
) -> None:
    (entry,) = [entry for entry in entries(contract, "function") if entry["name"] == name]
    assert keccak(text=signature(entry))[:4].hex() == selector
    assert ",".join(type_of(output) for output in entry["outputs"]) == returned


@pytest.mark.parametrize(("contract", "name", "topic"), EVENTS)
def test_event_has_lilypads_topic(contract: str, name: str, topic: str) -> None:
    (entry,) = [entry for entry in entries(contract, "event") if entry["name"] == name]
    assert keccak(text=signature(entry)).hex() == topic
    indexed = [parameter["indexed"] for parameter in entry["inputs"]]
    assert indexed == ([True, True, False] if contract == "Token" else [False] * len(indexed))


@pytest.mark.parametrize("contract", BY_NAME_ALONE)
def test_set_up_calls_and_getters_keep_their_names(contract: str) -> None:
    present = {signature(entry) for entry in entries(contract, "function")}
    assert set(BY_NAME_ALONE[contract]) <= present


@pytest.mark.parametrize(
    ("contract", "name", "fields"),
    [
        ("Storage", "getDeal", "dealId members timeouts pricing"),
        ("Storage", "getResult", "dealId resultsId dataId instructionCount"),
        (
            "Storage",
            "getAgreement",
            AGREEMENT_FIELDS,
        ),
        ("Users", "getUser", "userAddress metadataCID url roles"),
    ],
)
def test_struct_fields_stand_in_abi_order(contract: str, name: str, fields: str) -> None:
    (entry,) = [entry for entry in entries(contract, "function") if entry["name"] == name]
    assert [component["name"] for component in entry["outputs"][0]["components"]] == fields.split()
