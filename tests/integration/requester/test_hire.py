"""Direct hires on a real chain: a real node publishes its offer, and a requester agrees first."""

import asyncio
import json
import re
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from node.app.control import ask_running_node
from node.app.parties import requester
from node.app.sandbox import Sandbox, approve_directly
from node.chain.devnet import PROVIDER, REQUESTER, dev_signer
from node.chain.events import PAYMENT, Payment, decode
from node.config import load
from node.destinations import Reach
from node.job.deal import PaymentDirection, PaymentReason, deal_id_for
from node.job.offer_document import read_offer
from node.job.spec import parse_inputs
from node.job.terms import deal_for
from node.publisher.fetch_file import fetch_file
from node.requester import steps
from node.requester.hiring import CannotHire
from node.requester.outcome import RunState
from node.types import Wei
from tests.ports import free_port

pytestmark = [pytest.mark.integration]
ROOT = Path(__file__).resolve().parents[3]
BREAKING = Path(__file__).with_name("breaking_requester.py")
MODULE = "sdv-pipeline:v1.1-lilypad2"
INPUTS = ("Prompt=a fox", "Steps=5", "VideoSteps=5")
TOKEN = 10**18
US, THEM = dev_signer(REQUESTER).address, dev_signer(PROVIDER).address


def write_settings(file: Path, settings: dict) -> None:
    """Write settings as the file that a user has."""
    lines = []
    for section, values in settings.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    file.write_text("\n".join(lines))


class Stage:
    """A market with one provider node in a process of its own, and requesters that are made as needed."""

    def __init__(self, devnet, directory: Path) -> None:
        self.devnet = devnet
        self.box = Sandbox(devnet)
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.steps: list[steps.Step] = []
        self.process = None
        self.offer = None

    async def start(self, **sections) -> None:
        """Start the provider's node and wait until its offer stands."""
        settings = self.box.settings("provider", self.directory / "node")
        settings |= {
            "http": {"port": self.port, "public_url": self.url},
            "worker": {"profile": "fake:20"},
            "deal": {"agree_timeout_s": 60},
        }
        settings["chain"] |= {"poll_interval_s": 0.05}
        for section, values in sections.items():
            settings[section] = settings.get(section, {}) | values
        config = self.directory / "node.toml"
        write_settings(config, settings)
        with (self.directory / "node.log").open("a") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "node.cli.main",
                "--config",
                str(config),
                "start",
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={"PYTHONPATH": str(ROOT)},
            )
        async with asyncio.timeout(60):
            while (await self.status()).get("offer", {}).get("state") not in {
                "published",
                "withdrawn",
                "none",
            }:
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def get(self, path: str):
        try:
            async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
                return await answer.json() if answer.status == 200 else None
        except aiohttp.ClientError:
            return None

    async def status(self) -> dict:
        return await self.get("/api/v1/status") or {}

    async def job(self, job_id: str) -> dict:
        return await self.get(f"/api/v1/jobs/{job_id}") or {}

    async def jobs(self, number: int) -> list[dict]:
        """The job under both of the names that the node may know it by."""
        return [await self.job(f"{letter}{number}") for letter in "hj"]

    async def reached(self, job_id: str, phase: str) -> dict:
        while (job := await self.job(job_id)).get("phase") != phase:
            await asyncio.sleep(0.03)
        return job

    def requester_settings(self, **changes) -> dict:
        settings = self.box.settings("requester", self.directory / "requester")
        settings["requester"] = {"matching": "hire", "gather_proposals_s": 0.0} | changes
        settings["chain"] |= {"poll_interval_s": 0.05}
        return settings

    async def command(self, *arguments: str):
        """Begin ``sdv-node`` with a requester's settings, in a process of its own."""
        config = self.directory / "requester.toml"
        write_settings(config, self.requester_settings())
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "node.cli.main", "--config", str(config), *arguments),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PYTHONPATH": str(ROOT)},
        )

    @asynccontextmanager
    async def requester(self, **changes):
        config = load(environment={}, overrides=self.requester_settings(**changes))
        async with requester(config, on_step=self.steps.append) as party, asyncio.timeout(60):
            yield party

    def seen(self, kind: type) -> list:
        return [step for step in self.steps if isinstance(step, kind)]

    async def document(self):
        user = await self.devnet.contracts.get_user(THEM)
        return read_offer(await fetch_file(self.url, user.metadata_cid, 4096, Reach.ANY))[0]

    async def tokens(self) -> tuple[int, int]:
        contracts = self.devnet.contracts
        return await contracts.token_balance(US), await contracts.token_balance(THEM)

    async def as_requester(self, call) -> None:
        """Send a call as a requester that keeps to no rules of ours."""
        request = {"from": US, "to": call.to, "data": "0x" + call.data.hex(), "gas": hex(3_000_000)}
        sent = await self.devnet.rpc.call("eth_sendTransaction", [request])
        while await self.devnet.chain.receipt(sent) is None:
            await asyncio.sleep(0.01)

    async def pass_time(self, seconds: int) -> None:
        await self.devnet.rpc.call("evm_increaseTime", [seconds])
        await self.devnet.mine()

    async def agreements(self) -> list[str]:
        """The ids of the deals that the requester locked its payment in."""
        head = await self.devnet.chain.head()
        logs = await self.devnet.chain.logs(0, head.number, [self.devnet.addresses.payments], [PAYMENT])
        events = [event for event in map(decode, logs) if isinstance(event, Payment)]
        locked = (PaymentReason.PAYMENT_COLLATERAL, PaymentDirection.PAID_IN)
        return [event.deal_id for event in events if (event.reason, event.direction) == locked]


@pytest_asyncio.fixture
async def stage(devnet, tmp_path):
    for address in (US, THEM):
        await devnet.fund(address, ether_wei=10**19, token_wei=100 * TOKEN)
    await approve_directly(devnet, PROVIDER)
    stage = Stage(devnet, tmp_path)
    yield stage
    await stage.kill()


async def test_a_provider_is_hired_on_its_published_offer_and_paid(stage):
    await stage.start(market={"matching": "hire"})
    ours, theirs = await stage.tokens()
    async with stage.requester() as party:
        outcome = await party.request(MODULE, INPUTS, THEM)
    assert (outcome.state, outcome.paid_wei) == (RunState.PAID, TOKEN)
    assert await stage.tokens() == (ours - TOKEN, theirs + TOKEN)
    job = await stage.reached("h1", "PAID")
    assert job["deal_id"] == outcome.deal_id
    assert (await stage.job("j1"))["phase"] == "REFUSED"
    assert (
        "hired directly" in (await stage.job("j1"))["reason"]
        or "market.matching" in (await stage.job("j1"))["reason"]
    )
    assert await stage.agreements() == [outcome.deal_id]
    kinds = list(dict.fromkeys(type(step) for step in stage.steps))
    assert kinds[:4] == [steps.OfferFound, steps.Started, steps.JobPosted, steps.Chosen]
    assert steps.DealAgreed in kinds


async def test_an_offer_that_is_proposed_to_and_hired_at_once_is_one_deal_and_paid_once(stage):
    await stage.start()
    ours, theirs = await stage.tokens()
    async with stage.requester() as party:
        outcomes = [await party.request(MODULE, INPUTS, THEM) for _ in range(3)]
    assert {outcome.state for outcome in outcomes} == {RunState.PAID}
    assert await stage.tokens() == (ours - 3 * TOKEN, theirs + 3 * TOKEN)
    assert await stage.agreements() == [outcome.deal_id for outcome in outcomes]
    # Whoever was first, it is one job of the node with one deal.
    for number, outcome in enumerate(outcomes, 1):
        async with asyncio.timeout(20):
            while not (paid := [job for job in await stage.jobs(number) if job.get("phase") == "PAID"]):
                await asyncio.sleep(0.03)
        assert [job["deal_id"] for job in paid] == [outcome.deal_id]


async def test_wrong_terms_are_refused_with_what_differs_and_come_back_to_the_requester(stage):
    await stage.start(market={"matching": "hire"})
    document = await stage.document()
    contracts = stage.devnet.contracts
    await stage.as_requester(contracts.approve(stage.devnet.addresses.payments, Wei(50 * TOKEN)))
    await stage.as_requester(contracts.run_job(MODULE, INPUTS, US))
    deal = deal_for(
        parse_inputs(MODULE, INPUTS),
        replace(document.terms, submit_timeout_s=30),
        market=contracts.place,
        job_number=1,
        requester=US,
        provider=THEM,
        mediators=document.mediators,
    )
    await stage.as_requester(contracts.agree(deal))
    async with asyncio.timeout(20):
        job = await stage.reached("h1", "REFUSED")
    assert "submitResults timeout is 30 s, published is 3600 s" in job["reason"]
    forged = replace(deal, deal_id="j1-1111111111111111111111")
    await stage.as_requester(contracts.agree(forged))
    second = deal_id_for(contracts.place, 1, deal.members, deal.timeouts, deal.pricing, "00000002")
    await stage.as_requester(contracts.agree(replace(deal, deal_id=second)))
    async with asyncio.timeout(20):
        while len((await stage.status())["skipped"]) < 2:
            await asyncio.sleep(0.05)
    reasons = [skipped["reason"] for skipped in (await stage.status())["skipped"]]
    assert any("does not follow from job j1" in reason for reason in reasons)
    assert any(f"which deal {deal.deal_id} did before" in reason for reason in reasons)
    ours, _ = await stage.tokens()
    await stage.pass_time(61)
    await stage.as_requester(contracts.timeout_agree(deal.deal_id))
    assert (await stage.tokens())[0] == ours + 2 * TOKEN


async def test_a_withdrawn_offer_is_not_hired_on_and_a_published_one_is_again(stage):
    await stage.start()
    told = await ask_running_node(stage.directory / "node", "offer.withdraw")
    assert told["state"] == "withdrawn"
    async with stage.requester() as party:
        with pytest.raises(CannotHire, match="no offer"):
            await party.request(MODULE, INPUTS, THEM)
    assert await stage.agreements() == []
    await stage.kill()
    await stage.start()
    assert (await stage.status())["offer"]["state"] == "withdrawn"
    told = await ask_running_node(stage.directory / "node", "offer.publish")
    assert told["state"] in {"published", "pending"}  # pending while the worker loads
    async with asyncio.timeout(20):
        while (await stage.status())["offer"]["state"] != "published":
            await asyncio.sleep(0.05)
    async with stage.requester() as party:
        assert (await party.request(MODULE, INPUTS, THEM)).state is RunState.PAID


async def test_a_requester_killed_between_any_two_steps_of_a_hire_resumes_and_pays_once(stage):
    await stage.start(market={"matching": "hire"})
    ours, theirs = await stage.tokens()
    settings = stage.directory / "requester.json"
    settings.write_text(json.dumps(stage.requester_settings()))
    points = ["Started", "JobPosted", "Chosen", "Hired", "DealAgreed", "Verified"]
    for point in points:
        died = await asyncio.create_subprocess_exec(
            sys.executable,
            str(BREAKING),
            str(settings),
            THEM,
            point,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": str(ROOT)},
        )
        out, _ = await died.communicate()
        assert died.returncode == -signal.SIGKILL, out
        run_id = out.decode().split()[0]
        async with stage.requester() as party:
            outcome = await party.resume(run_id)
        assert outcome.state is RunState.PAID, point
    assert await stage.tokens() == (ours - len(points) * TOKEN, theirs + len(points) * TOKEN)
    assert len(set(await stage.agreements())) == len(await stage.agreements()) == len(points)


async def test_a_killed_run_command_is_resumed_by_its_number_says_what_stands_and_pays_once(stage):
    await stage.start(market={"matching": "hire"}, worker={"profile": "fake:1000"})
    ours, theirs = await stage.tokens()
    inputs = [part for text in INPUTS for part in ("-i", text)]
    async with asyncio.timeout(90):
        begun = await stage.command("run", MODULE, *inputs, "--provider", THEM, "--yes")
        said = b""
        # A provider that agrees before our own agreement is read leaves no hire to tell of, only a deal.
        while b"Hired " not in said and b" is agreed, " not in said:
            line = await begun.stdout.readline()
            assert line, said
            said += line
        begun.kill()
        await begun.communicate()
        (run_id,) = re.findall(r"Run ([0-9a-f]{12}) ", said.decode())
        resumed = await stage.command("run", "--resume", run_id)
        out, _ = await resumed.communicate()
    text = out.decode()
    assert resumed.returncode == 0, text
    (deal_id,) = await stage.agreements()
    assert f"Run {run_id}: job j1 is posted, deal {deal_id} with {THEM} is " in text
    assert "Accepted: 1 " in text
    assert await stage.tokens() == (ours - TOKEN, theirs + TOKEN)
