"""A drain is the operator's word: remembered, obeyed by admission and told with what is left to deliver."""

import asyncio
import json
from dataclasses import replace
from datetime import datetime
from functools import partial

import pytest

from node.app.control import control_socket
from node.app.drain import DRAIN, LOOK, RESUME, Drain, drain_stopped, left_words, tell, told
from node.cli.main import main
from node.clock import SystemClock
from node.job.phase import Phase
from node.journal.database import Database
from node.journal.marks import Marks
from tests.fakes.jobs import make_config, make_job


@pytest.fixture
def marks(tmp_path):
    database = Database(tmp_path)
    yield Marks(database, SystemClock())
    database.close()


async def test_it_lasts_over_restarts_until_it_is_taken_back(marks):
    await Drain(marks, list).verbs()[DRAIN]({})
    restarted = Drain(marks, list)
    await restarted.restore()
    assert restarted.active
    assert (await restarted.verbs()[RESUME]({}))["was_draining"] is True
    again = Drain(marks, list)
    await again.restore()
    assert not again.active
    assert again.problem() is None


async def test_what_is_agreed_or_may_still_be_is_to_be_delivered_and_what_is_on_chain_is_not(marks):
    jobs = [make_job(phase, number) for number, phase in enumerate(Phase, start=1)]
    drain = Drain(marks, lambda: jobs)
    found = await drain.verbs()[LOOK]({})
    left = {Phase(job.phase) for job in jobs if job.job_id in found["jobs"]}
    assert (found["draining"], found["undelivered"], found["running"]) == (False, len(left), True)
    assert left == {
        Phase.PROPOSING,
        Phase.PROPOSED,
        Phase.AGREEING,
        Phase.WITHDRAWING,
        Phase.AGREED,
        Phase.RENDERING,
        Phase.PUBLISHING,
        Phase.SUBMITTING,
        Phase.FAILING,
    }


async def test_the_reason_says_how_much_is_left(marks):
    jobs = [make_job(Phase.RENDERING)]
    drain = Drain(marks, lambda: jobs)
    await drain.verbs()[DRAIN]({})
    assert "draining, 1 job is still to be delivered: sdv-node resume" in drain.problem()
    jobs.clear()
    assert "all that was agreed is delivered" in drain.problem()


def test_proposals_that_nobody_answered_are_told_apart_from_what_was_agreed():
    until = 1_700_000_000
    proposed = replace(make_job(Phase.PROPOSED, 1), deadline=until)
    at = f"{datetime.fromtimestamp(until).astimezone():%H:%M}"
    told_of_one = told([proposed], draining=True)
    assert (told_of_one["proposals"], told_of_one["proposals_until"]) == (1, until)
    delivered = "all that was agreed is delivered"
    assert left_words(told_of_one) == f"{delivered}, 1 proposal may still be accepted until {at}"
    told_of_both = told([proposed, make_job(Phase.RENDERING, 2), make_job(Phase.RENDERING, 3)], draining=True)
    assert left_words(told_of_both).startswith("2 jobs are still to be delivered, 1 proposal may")
    assert left_words(told([make_job(Phase.RENDERING, 2)], draining=True)) == "1 job is still to be delivered"


async def test_a_node_that_is_starting_is_asked_until_it_listens(tmp_path):
    config = make_config(node={"data_dir": str(tmp_path)})
    starting = Database(tmp_path)
    asking = asyncio.create_task(tell(config, DRAIN, partial(drain_stopped, config)))
    drain = Drain(Marks(starting, SystemClock()), list)
    async with control_socket(tmp_path, drain.verbs(), on_fatal=pytest.fail):
        assert (await asking)["running"] is True
    assert drain.active
    starting.close()


async def test_a_node_that_does_not_run_can_be_told_too(tmp_path, capsys, monkeypatch):
    # The log's handler would outlive the captured stream it writes to.
    monkeypatch.setattr("node.observe.logging.configure_logging", lambda *_: None)

    async def command(*words):
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(main, ["--data-dir", str(tmp_path), *words, "--json"])
        return ended.value.code, json.loads(capsys.readouterr().out)

    assert await command("drain", "--wait") == (
        0,
        {
            "draining": True,
            "undelivered": 0,
            "jobs": [],
            "proposals": 0,
            "proposals_until": None,
            "running": False,
        },
    )
    code, resumed = await command("resume")
    assert (code, resumed["was_draining"]) == (0, True)
    code, resumed = await command("resume")
    assert (code, resumed["was_draining"]) == (0, False)
