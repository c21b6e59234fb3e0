"""A service that speaks the IPFS Pinning Service API as a target, over real HTTP."""

import asyncio
import json
import time

import pytest

from node.chain.keystore import Password
from node.errors import Unreachable
from node.publisher.cid import RAW, hash_block
from node.publisher.targets.pinning_service import PinningServiceTarget
from node.publisher.targets.target import TargetBusy, TargetRefuses
from node.types import JobId
from tests.fakes.ipfs_services import DELEGATE, FakePinningService, serving

JOB = JobId("h7")
ROOT = hash_block(RAW, b"a result")
ORIGIN = "/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWLeKPDWkZ2kZDdVjq1N3dDgWg7i6WSvxAvTgZvDzDnS9n"


class QuickClock:
    """Sleeps a hundredth of what it is asked to and adds it up."""

    def __init__(self):
        self.slept_s = 0.0

    def now(self):
        return time.time()

    def monotonic(self):
        return time.monotonic()

    async def sleep(self, seconds):
        self.slept_s += seconds
        await asyncio.sleep(seconds / 100)


@pytest.fixture
async def service():
    async with serving(FakePinningService()) as fake:
        yield fake


@pytest.fixture
def clock():
    return QuickClock()


@pytest.fixture
def target(service, clock):
    secret = Password("token", "a test")
    return PinningServiceTarget("psa", f"{service.url}/psa", secret, origins=[ORIGIN], peer=None, clock=clock)


async def test_a_pin_is_asked_for_with_its_origins_and_followed_to_its_end(service, target, clock):
    service.polls_until_pinned = 4
    assert not await target.holds(ROOT)
    await target.put(JOB, ROOT, store=None)
    assert service.wishes == [{"cid": ROOT.to_cid(), "name": "sdv-node h7", "origins": [ORIGIN]}]
    assert await target.holds(ROOT)
    assert clock.slept_s == 1 + 2 + 4 + 8


class APeer:
    """Has one address and cannot reach anybody."""

    def __init__(self):
        self.asked_to_meet = []

    def addresses(self):
        return (ORIGIN,) * 30

    async def connect(self, address):
        self.asked_to_meet.append(address)
        raise Unreachable("nobody is there")


async def test_without_origins_the_embedded_node_is_told_and_meets_the_services_peers(service, clock):
    secret, peer = Password("token", "a test"), APeer()
    service.delegates += ["/ip4/1.2.3.4", "not one", 7, "/unix/" + "x" * 300, *[DELEGATE] * 40]
    target = PinningServiceTarget("psa", f"{service.url}/psa", secret, origins=(), peer=peer, clock=clock)
    await target.put(JOB, ROOT, store=None)
    assert service.wishes[0]["origins"] == [ORIGIN] * 20
    assert set(peer.asked_to_meet) == {DELEGATE}
    assert len(peer.asked_to_meet) <= 20
    assert await target.holds(ROOT)


async def test_a_request_made_before_a_kill_is_found_and_not_made_twice(service, target):
    service.fault = "queued"
    killed = asyncio.create_task(target.put(JOB, ROOT, store=None))
    async with asyncio.timeout(30):
        while not service.requests:
            await asyncio.sleep(0.01)
    killed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killed
    service.fault = ""
    await target.put(JOB, ROOT, store=None)
    await target.put(JOB, ROOT, store=None)
    assert len(service.wishes) == 1


async def test_a_failed_request_is_replaced_and_told(service, target):
    service.fault = "fails"
    with pytest.raises(Unreachable, match="no provider found"):
        await target.put(JOB, ROOT, store=None)
    service.fault = ""
    await target.put(JOB, ROOT, store=None)
    assert [status["status"] for status in service.requests.values()] == ["pinned"]


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        ("down", Unreachable, "broke off"),
        ("429", TargetBusy, "asks for 9 s"),
        ("401", TargetRefuses, "check its token_file"),
        ("402", TargetRefuses, "more than the plan allows"),
        ("413", TargetRefuses, "more than the plan allows"),
        ("wrong cid", TargetRefuses, "that CID is never reported"),
        ("endless", TargetRefuses, "more than 262144 bytes"),
    ],
)
async def test_every_fault_is_an_error_that_says_what_to_do(service, target, fault, kind, told):
    service.fault = fault
    with pytest.raises(kind, match=told):
        await target.put(JOB, ROOT, store=None)


PIN = json.dumps({"cid": ROOT.to_cid()}).encode()


@pytest.mark.parametrize("status", [200, 409, 500])
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"7", b"{", b"\xff\xfe", b"[" * 100_000, b'{"results": null}'),
        *(b'{"results": [5]}', b'{"results": [{}]}', b'{"results": [{"pin": {}}]}'),
        *(b'{"results": [{"pin": {"cid": null}}]}', b'{"results": [{"pin": {"cid": ["x"]}}]}'),
        b'{"results": [{"pin": %s, "status": ["pinned"], "requestid": "1"}]}' % PIN,
        b'{"results": [{"pin": %s, "status": "pinned", "requestid": 5}]}' % PIN,
        b'{"results": [{"pin": %s, "status": "pinned", "requestid": "a b"}]}' % PIN,
        *(b'{"error": 5}', b'{"error": {}}', b'{"error": {"details": {}}}'),
    ],
)
async def test_a_damaged_answer_is_refused_with_the_services_name(service, target, status, body):
    service.says = status, body
    with pytest.raises((TargetRefuses, Unreachable)) as refused:
        await target.put(JOB, ROOT, store=None)
    assert str(refused.value).startswith("psa ")
    assert "None" not in str(refused.value)


async def test_a_wrong_token_is_never_repeated(service, target):
    service.token = "another"
    with pytest.raises(TargetRefuses, match="wrong token") as refused:
        await target.ask_nothing()
    assert "Bearer" not in str(refused.value)


async def test_an_endpoint_that_is_something_else_is_told(service):
    lost = PinningServiceTarget(
        "psa", service.url, Password("token", "t"), origins=(), peer=None, clock=QuickClock()
    )
    with pytest.raises(TargetRefuses, match="answers 404: check its endpoint"):
        await lost.ask_nothing()
