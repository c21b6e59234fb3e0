"""A signer elsewhere: what it signs is used only if it is exactly what was asked; its troubles are told."""

import asyncio
import json
import traceback

import pytest
from structlog.testing import capture_logs

from node.chain.devnet import dev_key, dev_signer
from node.chain.messages import message_signer
from node.chain.payload import WrongSignature
from node.chain.remote_signer import TIMEOUT_S, RemoteSigner
from node.chain.txmanager import Failed, Mined, TxManager
from node.errors import Misconfigured, RefusedByPolicy, Unreachable
from node.job.transactions import TxStatus
from tests.fakes.jobs import TOKEN
from tests.fakes.remote_signer import DENIED, StubSigner
from tests.fakes.sending import World, intent
from tests.fakes.signing import CALLS, transaction

pytestmark = pytest.mark.integration
OURS = dev_signer(4).address
TX = transaction(CALLS.timeout_agree("j1-x"))
FLAVOURS = pytest.mark.parametrize("flavour", ["web3signer", "clef"])


@FLAVOURS
async def test_both_flavours_sign_what_the_local_key_would_sign(flavour):
    async with (stub := StubSigner(flavour=flavour)).over_http() as url:
        signer = RemoteSigner(url, OURS)
        assert await signer.sign(TX) == await dev_signer(4).sign(TX)
        assert await signer.sign(TX | {"nonce": 7}) == await dev_signer(4).sign(TX | {"nonce": 7})
    # The first answer showed which method the signer has, so the second time it alone was used.
    assert [request["method"] for request in stub.asked].count("eth_signTransaction") == (
        2 if flavour == "web3signer" else 1
    )


@FLAVOURS
async def test_both_flavours_sign_messages(flavour):
    async with StubSigner(flavour=flavour).over_http() as url:
        signature = await RemoteSigner(url, OURS).sign_message(b"an offer")
    assert message_signer(b"an offer", signature) == OURS


async def test_clefs_own_socket_works_as_well(tmp_path):
    async with StubSigner(flavour="clef").over_socket(tmp_path / "clef.ipc") as url:
        assert await RemoteSigner(url, OURS).sign(TX) == await dev_signer(4).sign(TX)


@FLAVOURS
async def test_a_transaction_through_a_remote_signer_is_mined(flavour):
    async with StubSigner(flavour=flavour).over_http() as url:
        world = World(signer=RemoteSigner(url, OURS))
        assert isinstance(await world.manager.send(intent()), Mined)


async def test_a_refusal_is_told_in_the_signers_words_and_gives_the_nonce_back():
    async with (stub := StubSigner(flavour="clef")).over_http() as url:
        world = World(signer=RemoteSigner(url, OURS))
        stub.refusal = DENIED
        outcome = await world.manager.send(intent())
        assert isinstance(outcome, Failed)
        assert "refused to sign: 'request denied'" in outcome.reason
        assert world.store.rows["j1:agree"].status is TxStatus.REFUSED
        stub.refusal = None
        assert isinstance(await world.manager.send(intent()), Mined)
        assert [payload.nonce for payload in world.node.broadcasts] == [0]


async def test_a_signer_that_is_down_is_waited_for_and_said_once():
    async with StubSigner().over_http() as url:
        pass
    world = World(signer=RemoteSigner(url, OURS))
    before = world.clock.monotonic()
    with capture_logs() as logs:
        sending = asyncio.create_task(world.manager.send(intent()))
        while world.clock.monotonic() < before + 10:
            await asyncio.sleep(0.01)
        sending.cancel()
        await world.manager.close()
    assert [entry["signer"] for entry in logs if entry["event"] == "signer_waits"] == [url]
    assert world.node.broadcasts == []


async def test_a_signer_that_comes_back_is_used_and_no_nonce_is_skipped():
    stub = StubSigner()
    async with stub.over_http() as url:
        world = World(signer=RemoteSigner(url, OURS))
        stub.status, stub.body = 503, b"starting"
        sending = asyncio.create_task(world.manager.send(intent()))
        while len(stub.asked) < 3:
            await asyncio.sleep(0.01)
        stub.status, stub.body = 200, None
        assert isinstance(await sending, Mined)
    assert [payload.nonce for payload in world.node.broadcasts] == [0]


async def test_a_slow_signer_is_given_time_and_then_asked_again():
    assert TIMEOUT_S > 2 * 30
    stub = StubSigner()
    async with stub.over_http() as url:
        world = World(signer=RemoteSigner(url, OURS, timeout_s=0.05))
        stub.go_on.clear()
        sending = asyncio.create_task(world.manager.send(intent()))
        while len(stub.asked) < 2:
            await asyncio.sleep(0.01)
        stub.go_on.set()
        assert isinstance(await sending, Mined)
    assert [payload.nonce for payload in world.node.broadcasts] == [0]


WRONG = {
    "another recipient": lambda tx: tx | {"to": bytes.fromhex("99" * 20)},
    "another value": lambda tx: tx | {"value": TOKEN},
    "another nonce": lambda tx: tx | {"nonce": tx["nonce"] + 1},
    "another chain": lambda tx: tx | {"chainId": 1},
    "other data": lambda tx: tx | {"data": "0x00"},
    "more gas": lambda tx: tx | {"gas": tx["gas"] + 1},
    "a higher fee": lambda tx: tx | {"maxFeePerGas": tx["maxFeePerGas"] + 1},
    "a higher tip": lambda tx: tx | {"maxPriorityFeePerGas": tx["maxPriorityFeePerGas"] + 1},
    "an access list": lambda tx: tx | {"accessList": [{"address": "0x" + "99" * 20, "storageKeys": []}]},
}


@pytest.mark.parametrize("alter", WRONG.values(), ids=WRONG.keys())
async def test_another_transaction_than_the_one_asked_for_stops_the_node_and_is_never_sent(alter):
    async with (stub := StubSigner()).over_http() as url:
        stub.alter = alter
        world = World(signer=RemoteSigner(url, OURS))
        with pytest.raises(WrongSignature):
            await world.manager.send(intent())
    assert world.node.broadcasts == []
    assert not world.store.rows["j1:agree"].attempts


async def test_the_signature_of_another_key_stops_the_node_and_is_never_sent():
    async with (stub := StubSigner(dev_key(5))).over_http() as url:
        stub.alter = lambda tx: tx
        world = World(signer=RemoteSigner(url, OURS))
        with pytest.raises(WrongSignature, match="instead of"):
            await world.manager.send(intent())
    assert world.node.broadcasts == []


def legacy() -> str:
    from eth_account import Account

    tx = {
        "to": bytes.fromhex("99" * 20),
        "nonce": 0,
        "value": 0,
        "gas": 21_000,
        "gasPrice": 1,
        "chainId": 31337,
    }
    return "0x" + bytes(Account.from_key(dev_key(4)).sign_transaction(tx).raw_transaction).hex()


@pytest.mark.parametrize("raw", ["0x", "0x02", "0x02c0", "0xdeadbeef", legacy()])
async def test_bytes_that_are_no_such_transaction_stop_the_node(raw):
    async with (stub := StubSigner()).over_http() as url:
        stub.answer = raw
        world = World(signer=RemoteSigner(url, OURS))
        with pytest.raises(WrongSignature):
            await world.manager.send(intent())
    assert world.node.broadcasts == []


async def test_after_a_wrong_signature_a_new_start_goes_on_at_the_same_nonce():
    async with (stub := StubSigner()).over_http() as url:
        stub.alter = WRONG["another value"]
        world = World(signer=RemoteSigner(url, OURS))
        with pytest.raises(WrongSignature):
            await world.manager.send(intent())
        stub.alter = dict
        manager: TxManager = world.new_manager()
        await manager.resume()
        assert isinstance(await manager.send(intent()), Mined)
    assert [payload.nonce for payload in world.node.broadcasts] == [0]


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"body": b"<html>hello</html>"}, "something else than JSON-RPC"),
        ({"body": b"[" * 5000}, "something else than JSON-RPC"),
        ({"body": b"x" * 300_000}, "cannot be asked"),
        ({"body": json.dumps({"jsonrpc": "2.0", "id": 999, "result": "0x"}).encode()}, "something else"),
        ({"body": b"no", "status": 401}, "HTTP status 401"),
        ({"body": b"no", "status": 302}, "JSON-RPC"),
        ({"answer": 7}, "bytes of a transaction"),
        ({"answer": "0xzz"}, "bytes of a transaction"),
        ({"refusal": {"code": -32603, "message": "the vault is sealed"}}, "cannot sign now: 'the vault"),
    ],
)
async def test_an_answer_that_is_none_is_told_and_asked_for_again(trouble, words):
    async with (stub := StubSigner()).over_http() as url:
        for name, value in trouble.items():
            setattr(stub, name, value)
        with pytest.raises(Unreachable, match=words):
            await RemoteSigner(url, OURS).sign(TX)


async def test_something_that_signs_nothing_is_a_wrong_setting():
    async with (stub := StubSigner()).over_http() as url:
        stub.refusal = {"code": -32601, "message": "method not found"}
        with pytest.raises(Misconfigured, match="signs nothing"):
            await RemoteSigner(url, OURS).sign(TX)


async def test_the_password_in_a_signers_address_is_used_and_never_shown():
    async with (stub := StubSigner()).over_http() as url:
        secret = url.replace("http://", "http://operator:hunter2secret@") + "/token-4711?key=4712"
        signer = RemoteSigner(secret, OURS)
        with capture_logs() as logs:
            await signer.sign(TX)
            stub.refusal = DENIED
            with pytest.raises(RefusedByPolicy) as refused:
                await signer.sign(TX)
            stub.refusal, stub.status, stub.body = None, 500, b"broken"
            with pytest.raises(Unreachable) as broken:
                await signer.sign(TX)
    with pytest.raises(Unreachable) as down:
        await signer.sign(TX)
    assert stub.headers[0]["Authorization"].startswith("Basic ")
    shown = f"{signer!r} {logs}" + "".join(
        text for caught in (refused, broken, down) for text in traceback.format_exception(caught.value)
    )
    for part in ("hunter2secret", "operator", "token-4711", "4712"):
        assert part not in shown


@pytest.mark.parametrize("url", ["ftp://secret", "https://:secret@", "unix://secret", "0x" + "11" * 32])
def test_an_address_that_is_no_signers_is_a_wrong_setting_and_is_not_repeated(url):
    with pytest.raises(Misconfigured) as caught:
        RemoteSigner(url, OURS)
    assert "secret" not in str(caught.value)
    assert url not in str(caught.value)
