"""What ``sdv-node doctor`` finds about where results are kept."""

import asyncio

import pytest

from node.app import target_checks
from node.app.target_checks import EMPTY, check_targets
from tests.fakes.ipfs_services import FakeKubo, FakePinningService, serving
from tests.fakes.jobs import make_config


@pytest.fixture
async def kubo():
    async with serving(FakeKubo()) as fake:
        yield fake


@pytest.fixture
async def service():
    async with serving(FakePinningService()) as fake:
        yield fake


@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text("token\n")
    return file


async def test_nothing_is_said_of_targets_that_are_not_there():
    assert await check_targets(make_config()) == []


@pytest.mark.parametrize("through", ["", "gateway"])
async def test_a_kubo_is_given_a_block_that_is_read_back_and_removed(kubo, through):
    settings = {"api": kubo.url, "gateway": kubo.url if through else ""}
    (check,) = await check_targets(make_config(ipfs={"kubo": settings}))
    assert (check.name, check.verdict) == ("kubo kubo", "ok")
    assert len(kubo.blocks) == 1
    assert kubo.pinned == set()
    assert ("GET /ipfs/" in str(kubo.asked)) is bool(through)


@pytest.mark.parametrize(
    ("fault", "finding", "remedy"),
    [
        ("down", "broke off", "start it, or correct api and gateway of kubo below ipfs.kubo"),
        ("unreadable", "block was not found locally", "start it, or correct"),
        ("lies", "what is read back is wrong", "correct the gateway of kubo"),
        ("wrong cid", "never reported", ""),
        ("old", "0.12 or newer is needed", ""),
        ("401", "check its token_file", ""),
    ],
)
async def test_what_is_wrong_is_a_problem_with_a_remedy(kubo, fault, finding, remedy):
    kubo.fault = fault
    (check,) = await check_targets(make_config(ipfs={"kubo": {"api": kubo.url}}))
    assert check.verdict == "problem"
    assert finding in check.finding
    assert "until 300 s before their deadline, or a quarter of the deal's time" in check.finding
    assert remedy in check.remedy


async def test_a_target_that_nothing_waits_for_is_a_warning(kubo):
    kubo.fault = "down"
    (check,) = await check_targets(make_config(ipfs={"read_back": "best_effort", "kubo": {"api": kubo.url}}))
    assert check.verdict == "warning"
    assert "results do not wait for it" in check.finding


async def test_of_two_targets_only_one_is_waited_for_unless_both_are_asked_for(kubo):
    two = [{"name": "up", "api": kubo.url}, {"name": "down", "api": "http://127.0.0.1:9"}]
    _, down = await check_targets(make_config(ipfs={"kubo": two}))
    assert (down.verdict, "do not wait" in down.finding) == ("warning", True)
    _, down = await check_targets(make_config(ipfs={"kubo": two, "copies_required": 3}))
    assert (down.verdict, "results wait for it" in down.finding) == ("problem", True)
    kubo.fault = "down"
    assert [one.verdict for one in await check_targets(make_config(ipfs={"kubo": two}))] == ["problem"] * 2


async def test_a_service_is_asked_whether_it_takes_the_token(service, token):
    one = {"name": "psa", "endpoint": f"{service.url}/psa", "token_file": str(token)}
    (check,) = await check_targets(make_config(ipfs={"pinning": [one]}))
    assert (check.name, check.verdict) == ("pinning psa", "ok")
    assert "it has no gateway" in check.finding
    assert service.wishes == []
    service.token = "another"
    (check,) = await check_targets(make_config(ipfs={"pinning": [one]}))
    assert check.verdict == "warning"
    assert "check its token_file" in check.finding
    assert "results do not wait for it" in check.finding
    (check,) = await check_targets(make_config(ipfs={"pinning": [one | {"gateway": service.url}]}))
    assert check.verdict == "problem"
    token.chmod(0o644)
    (check,) = await check_targets(make_config(ipfs={"pinning": [one]}))
    assert "chmod 600" in check.finding


async def test_a_gateway_is_asked_for_the_empty_file(kubo):
    (check,) = await check_targets(make_config(ipfs={"gateways": [kubo.url]}))
    assert check.verdict == "problem"
    (check,) = await check_targets(make_config(ipfs={"gateways": [kubo.url], "read_back": "best_effort"}))
    assert check.verdict == "warning"
    kubo.blocks[EMPTY] = b""
    (check,) = await check_targets(make_config(ipfs={"gateways": [kubo.url]}))
    assert check.verdict == "ok"


@pytest.mark.parametrize("fault", ["hangs", "trickles"])
async def test_targets_that_hang_end_the_check_each_by_its_name(kubo, service, token, monkeypatch, fault):
    monkeypatch.setattr(target_checks, "CHECK_S", 0.3)
    monkeypatch.setattr(target_checks, "CLEAN_UP_S", 0.1)
    kubo.fault = service.fault = fault
    ipfs = {
        "kubo": [{"name": "api", "api": kubo.url}, {"name": "read", "api": kubo.url, "gateway": kubo.url}],
        "pinning": [{"name": "psa", "endpoint": f"{service.url}/psa", "token_file": str(token)}],
        "gateways": [kubo.url],
    }
    async with asyncio.timeout(20):
        found = await check_targets(make_config(ipfs=ipfs))
    assert [check.name for check in found] == ["kubo api", "kubo read", "pinning psa", "gateway"]
    assert all("no answer within 0.3 s" in check.finding for check in found)


async def test_all_targets_are_asked_at_once(kubo, service, token):
    kubo.blocks[EMPTY] = b""
    async with serving(FakeKubo()) as gateway:
        gateway.blocks[EMPTY] = b""
        together = asyncio.Barrier(3)
        kubo.all_asked = service.all_asked = gateway.all_asked = together
        one = {"name": "psa", "endpoint": f"{service.url}/psa", "token_file": str(token)}
        ipfs = {"kubo": {"api": kubo.url}, "pinning": [one], "gateways": [gateway.url]}
        async with asyncio.timeout(20):
            found = await check_targets(make_config(ipfs=ipfs))
    assert [check.verdict for check in found] == ["ok", "ok", "ok"]


async def test_a_file_that_is_missing_is_told_for_its_target_and_the_others_are_looked_at(kubo, tmp_path):
    settings = {
        "kubo": {"api": kubo.url},
        "pinning": [{"name": "psa", "endpoint": "http://127.0.0.1:9", "token_file": str(tmp_path / "none")}],
    }
    up, bad = await check_targets(make_config(ipfs=settings))
    assert (up.name, up.verdict) == ("kubo kubo", "ok")
    assert (bad.name, bad.verdict) == ("pinning psa", "problem")
    assert bad.finding.startswith(f"psa's token file {tmp_path}/none cannot be read: No such file")
