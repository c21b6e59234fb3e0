"""Alive means that loops turn; ready means that a job could be taken now; both say why not."""

import pytest

from node.observe.health import Health
from tests.fakes.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def health(clock):
    return Health(clock)


def test_a_node_is_not_ready_until_its_start_is_complete_and_again_when_it_stops(health):
    assert health.ready().reasons == ("started: the node is still starting",)
    health.started()
    assert health.ready().ok
    health.stopping()
    assert health.ready().reasons == ("started: the node is shutting down",)


def test_a_loop_that_beats_in_time_is_alive_and_one_that_does_not_is_named(health, clock):
    health.expect("engine", 30)
    health.expect("chain", 60)
    clock.time += 29
    health.beat("engine")
    clock.time += 30
    assert health.live().ok
    clock.time += 2
    assert health.live().reasons == (
        "engine: no turn for 32 s, allowed are 30 s",
        "chain: no turn for 61 s, allowed are 60 s",
    )
    health.beat("engine")
    health.beat("chain")
    assert health.live().ok


def test_a_loop_that_ended_on_purpose_is_not_missed(health, clock):
    health.expect("engine", 30)
    health.forget("engine")
    clock.time += 1000
    assert health.live().ok


def test_a_beat_that_nobody_expects_is_a_bug(health):
    with pytest.raises(KeyError):
        health.beat("engin")


def test_a_chain_that_stands_still_makes_the_node_not_ready_but_never_dead(health, clock):
    health.started()
    health.watch_head(180)
    health.head(17)
    clock.time += 181
    health.head(17)
    assert health.live().ok
    assert health.ready().reasons == (
        "chain_head: the head stands at block 17 for 181 s: check the RPC endpoint",
    )
    health.head(18)
    assert health.ready().ok


def test_a_head_that_was_never_seen_is_told_as_that(health, clock):
    health.started()
    health.watch_head(180)
    clock.time += 200
    assert health.ready().reasons == ("chain_head: no block was seen for 200 s: check the RPC endpoint",)


def test_a_missing_condition_is_degraded_and_not_dead(health):
    health.started()
    health.condition("wallet", ok=False, why="0.0002 for gas: send at least 0.005")
    assert health.live().ok
    report = health.ready()
    assert not report.ok
    assert report.to_json() == {
        "ok": False,
        "reasons": ["wallet: 0.0002 for gas: send at least 0.005"],
        "checks": [
            {"name": "started", "ok": True, "why": ""},
            {"name": "wallet", "ok": False, "why": "0.0002 for gas: send at least 0.005"},
        ],
    }
    health.condition("wallet", ok=True)
    assert health.ready().ok


def test_a_node_whose_loop_hangs_is_not_ready_either(health, clock):
    health.started()
    health.expect("engine", 30)
    clock.time += 31
    assert not health.ready().ok


def test_a_node_that_waits_for_its_disk_is_not_ready_but_not_dead(health, clock):
    health.started()
    health.expect("engine", 30)
    health.hold("the disk is full")
    clock.time += 1000
    assert health.live().ok
    assert health.ready().reasons == ("held: the disk is full",)
    health.hold(None)
    assert health.ready().ok
    clock.time += 31
    assert not health.live().ok


def test_what_is_probed_keeps_the_node_from_being_ready_while_it_is_so():
    health, gone = Health(FakeClock()), ["the store is gone"]
    health.started()
    health.probe("store", lambda: gone[0] if gone else None)
    assert health.ready().reasons == ("store: the store is gone",)
    assert health.live().ok
    gone.clear()
    assert health.ready().ok
