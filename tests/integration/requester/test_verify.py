"""``sdv-node verify`` of a directory, a CID and a deal, as programs and people use it."""

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from node.app.verifying import NoSuchTarget, verify
from node.chain.deal_record import UnknownDeal
from node.chain.devnet import MEDIATOR, PROVIDER, REQUESTER, dev_signer
from node.config import load
from node.errors import Misconfigured, NotYet
from node.job.comparison import Relation
from node.job.manifest import class_name
from node.job.spec import parse_inputs
from node.publisher.unixfs import cid_of
from node.verification.report import Verdict
from node.worker.fake import FakeRenderer
from tests.fakes.cheating import CHEATS, edit, fake_render
from tests.fakes.provider import TOKEN, propose_terms

pytestmark = pytest.mark.integration
SDV_NODE = Path(sys.executable).with_name("sdv-node")
MODULE = "sdv-pipeline:v1.1-lilypad2"
FAKE = ("--set", "http.port=1", "--set", "worker.profile=fake:0")
INPUTS = ("Prompt=a red fox", "ImageSeed=7")
SPEC = parse_inputs(MODULE, INPUTS)


class Silent:
    """A display that nobody looks at."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text):
        self.said.append(text)

    def received(self, received_bytes, total_bytes):
        pass

    def rendering(self, job_dir, clips):
        return nullcontext(lambda _: None)


@pytest.fixture
def result(tmp_path):
    return fake_render(SPEC, tmp_path / "job")


@pytest.fixture
def run(tmp_path):
    def command(*arguments):
        words = [SDV_NODE, "--data-dir", tmp_path / "data", *FAKE, "verify", *arguments]
        return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)

    return command


def test_a_sound_result_is_intact_and_computed_again_it_is_identical(run, result):
    done = run(result)
    assert done.returncode == 0, done.stderr
    assert "intact" in done.stdout
    assert cid_of(result) in done.stdout
    done = run(result, "--re-execute", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["verdict"], document["cid"]) == ("identical", cid_of(result))
    assert document["executed"]["class"] == FakeRenderer.determinism_class


@pytest.mark.parametrize("cheat", ["changed byte", "other seed", "missing file", "altered text"])
def test_a_wrong_result_ends_with_one_and_is_located(run, tmp_path, cheat):
    directory = CHEATS[cheat](SPEC, tmp_path / "cheat", fake_render)
    done = run(directory, "--re-execute", "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["verdict"] in {"different", "damaged"}
    expected = {"changed byte": "outputs/output_00001_.mp4", "other seed": "text_conditioning"}
    assert document["executed"]["parts_at"] == expected.get(cheat, document["executed"]["parts_at"])


def test_another_class_is_undecided_names_its_parts_and_measures_the_pictures(run, result):
    def elsewhere(manifest):
        manifest["class_parts"]["device"] = "another card"
        manifest["determinism_class"] = class_name(manifest["class_parts"])

    edit(result, elsewhere)
    done = run(result, "--re-execute", "--json")
    assert done.returncode == 75, done.stderr
    document = json.loads(done.stdout)
    assert document["verdict"] == "other class"
    different = document["executed"]["class_differences"]
    assert different == {"device": {"result": "another card", "execution": None}}
    # The same pictures lie in both: nothing but the manifest differs.
    assert document["executed"]["differing"] == ["manifest.json"]


def test_what_is_nothing_to_verify_is_told_with_what_would_be(run):
    done = run("fox.txt")
    assert done.returncode == 2
    assert "no directory, no deal id (j<job>-...) and no CID" in done.stderr
    done = run("fox.txt", "--json")
    assert json.loads(done.stdout)["verdict"] is None


def test_a_profile_that_is_not_here_is_named_with_the_remedy(run, result):
    def other_profile(manifest):
        manifest["profile"] = manifest["class_parts"]["profile"] = "sdv-1.1"
        manifest["determinism_class"] = class_name(manifest["class_parts"])

    edit(result, other_profile)
    assert run(result).returncode == 0
    done = run(result, "--re-execute")
    assert done.returncode == 2
    assert "models pull" in done.stderr


def test_a_result_of_the_renderer_of_tests_is_computed_again_by_nobody_who_does_not_ask_for_it(
    result, tmp_path
):
    words = [SDV_NODE, "--data-dir", tmp_path / "data", "--set", "http.port=1", "verify", result]
    done = subprocess.run([*words, "--re-execute"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "has no models" in done.stderr


@pytest.mark.parametrize("target", ["", "x" * 5000, "fox.txt"])
def test_targets_that_are_none_are_invalid(run, target):
    done = run(target)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr) < 600


@pytest.mark.parametrize("url", ["nonsense", "ftp://x"])
def test_a_gateway_that_is_none_is_told_before_anything_is_fetched(run, url):
    done = run("bafybeiasqlc34vzgoy6ousbqkqswgswtw2h6k2rkvulnt25sgr5hzwzvze", "--gateway", url)
    assert done.returncode == 2
    assert "--gateway" in done.stderr


def test_a_directory_that_no_cid_can_stand_for_is_damaged_and_says_why(run, result):
    (result / "outputs" / "link").symlink_to("/etc/hostname")
    done = run(result, "--json")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert (document["verdict"], document["cid"]) == ("damaged", None)
    assert any("outputs/link is not a plain file" in problem for problem in document["problems"])


def test_help_has_examples(run):
    assert "sdv-node verify" in run("--help").stdout


def settings(market, tmp_path, **requester):
    """Return the settings of somebody who only looks, on the test's market."""
    return load(
        environment={},
        overrides={
            "node": {"data_dir": str(tmp_path / "observer")},
            "chain": {
                "rpc_urls": [market.devnet.url],
                "chain_id": market.devnet.chain_id,
                "controller": market.devnet.addresses.controller,
            },
            "ipfs": {"enabled": False},
            "worker": {"profile": "fake:0"},
            "requester": requester,
        },
    )


async def deal_with(market, inputs=INPUTS):
    """Post a job and agree to a deal about it; returns the deal."""
    contracts, devnet = market.devnet.contracts, market.devnet
    await devnet.rpc.call("anvil_impersonateAccount", [market.requester_address])

    async def as_requester(call):
        request = {"from": market.requester_address, "to": call.to, "data": "0x" + call.data.hex()}
        await devnet.rpc.call("eth_sendTransaction", [request | {"gas": hex(3_000_000)}])
        await devnet.mine()

    await as_requester(contracts.run_job(MODULE, inputs, market.requester_address))
    deal = propose_terms(
        contracts,
        1,
        dev_signer(REQUESTER).address,
        dev_signer(PROVIDER).address,
        mediators=(dev_signer(MEDIATOR).address,),
    )
    await market.provider.propose(deal)
    await as_requester(contracts.approve(contracts.addresses.payments, 100 * TOKEN))
    await as_requester(contracts.agree(deal))
    return deal


async def test_a_deals_result_is_fetched_and_judged_by_the_job_that_was_posted(market, tmp_path):
    config = settings(market, tmp_path)
    deal = await deal_with(market)
    with pytest.raises(NotYet, match="no result was submitted"):
        await verify(config, deal.deal_id, (), re_execute=True, display=Silent())
    result = fake_render(SPEC, tmp_path / "job")
    await market.provider.submit(deal, market.provider.publish(result))
    report = await verify(config, deal.deal_id, (), re_execute=True, display=Silent())
    assert (report.verdict, report.deal_id) == (Verdict.IDENTICAL, deal.deal_id)
    assert report.directory == tmp_path / "observer" / "downloaded-files" / cid_of(result)
    assert report.examined.manifest.notes == ("ImageSeed is read as Seed",)
    assert not any((tmp_path / "observer" / "verifying").iterdir())


async def test_a_deal_is_judged_by_the_models_of_this_machine_and_not_by_those_its_result_names(
    market, tmp_path
):
    deal = await deal_with(market)
    result = fake_render(SPEC, tmp_path / "job")

    def boast(manifest):
        manifest["profile"] = manifest["class_parts"]["profile"] = "sdv-1.1"
        manifest["determinism_class"] = class_name(manifest["class_parts"])

    edit(result, boast)
    await market.provider.submit(deal, market.provider.publish(result))
    report = await verify(settings(market, tmp_path), deal.deal_id, (), re_execute=True, display=Silent())
    assert report.executed.determinism_class == FakeRenderer.determinism_class
    assert report.verdict is Verdict.OTHER_MODEL


async def test_a_provider_verifies_its_own_deal_from_its_own_files(market, tmp_path):
    deal = await deal_with(market)
    config = settings(market, tmp_path)
    result = fake_render(SPEC, config.node.directory / "jobs" / "j1")
    await market.provider.submit(deal, cid_of(result))
    report = await verify(config, deal.deal_id, (), re_execute=True, display=Silent())
    assert (report.verdict, report.directory) == (Verdict.IDENTICAL, result)


async def test_the_result_of_another_job_is_not_that_of_the_deal(market, tmp_path):
    deal = await deal_with(market)
    stale = CHEATS["stale result"](SPEC, tmp_path / "job", fake_render)
    await market.provider.submit(deal, market.provider.publish(stale))
    report = await verify(settings(market, tmp_path), deal.deal_id, (), re_execute=False, display=Silent())
    assert report.verdict is Verdict.DAMAGED
    assert "not those of the job: Prompt" in report.examined.problems[0]


async def test_a_cid_is_fetched_from_gateways_and_one_that_is_changed_on_disk_is_not_believed(
    market,
    tmp_path,
):
    result = fake_render(SPEC, tmp_path / "job")
    cid = market.provider.publish(result)
    config = settings(market, tmp_path)
    with pytest.raises(Misconfigured, match="--gateway"):
        await verify(config, cid, (), re_execute=False, display=Silent())
    report = await verify(config, cid, (market.gateway,), re_execute=True, display=Silent())
    assert report.verdict is Verdict.IDENTICAL
    assert report.executed.comparison.relation is Relation.IDENTICAL
    shutil.rmtree(report.directory / "outputs")
    report = await verify(config, cid, (market.gateway,), re_execute=False, display=Silent())
    assert report.verdict is Verdict.INTACT
    assert (report.directory.parent / f"{cid}.old-1").is_dir()


async def test_a_deal_that_does_not_exist_is_told_as_that(market, tmp_path):
    config = settings(market, tmp_path)
    with pytest.raises(UnknownDeal, match="there is no deal"):
        await verify(config, "j9-5YgmvRPc5K9n2GJhpa3yYx", (), re_execute=False, display=Silent())
    with pytest.raises(NoSuchTarget):
        await verify(config, "j9", (), re_execute=False, display=Silent())


def test_what_was_computed_to_compare_is_gone_afterwards(run, result, tmp_path):
    assert run(result, "--re-execute").returncode == 0
    assert list((tmp_path / "data" / "verifying").iterdir()) == []
