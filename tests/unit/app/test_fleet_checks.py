"""How many workers a fleet has room for, and what doctor says where there is none."""

import socket
from dataclasses import replace

import pytest

from node.app.fleet_checks import ask, check_fleet, room_for
from node.worker.settings import Fleet
from tests.fakes.jobs import make_config

CARD = {"CPU": 16.0, "GPU": 1.0}


def fleet(gpus=1, **resources):
    return Fleet("127.0.0.1:1", "test", gpus, tuple(resources.items()), "/var/lib/sdv-node", 20.0)


@pytest.mark.parametrize(
    ("hosts", "wanted", "room"),
    [
        ([CARD, CARD], fleet(), 2),
        ([{"CPU": 16.0, "GPU": 4.0}], fleet(), 4),
        ([{"CPU": 2.0, "GPU": 4.0}], fleet(), 2),
        ([{"CPU": 0.5, "GPU": 1.0}, {"CPU": 0.5, "GPU": 1.0}], fleet(), 0),
        ([{"CPU": 8.0}], fleet(), 0),
        ([{"CPU": 8.0}], fleet(gpus=0), 8),
        ([CARD | {"big": 1.0}, CARD], fleet(big=1.0), 1),
        ([], fleet(), 0),
    ],
)
def test_a_worker_needs_all_it_needs_on_one_host(hosts, wanted, room):
    assert room_for(hosts, wanted) == room


def ray_config(**settings):
    return make_config(worker={"profile": "fake:0", "backend": "ray", "ray": settings})


async def test_a_fleet_with_room_is_told_with_its_hosts(monkeypatch):
    monkeypatch.setattr("node.app.fleet_checks.ask", answering([CARD, CARD]))
    check = await check_fleet(ray_config(address="192.0.2.1:6379", workers=2))
    assert (check.verdict, check.finding) == (
        "ok",
        "2 hosts at 192.0.2.1:6379 with room for 32 workers, 2 wanted",
    )


async def test_too_little_room_is_a_problem_that_names_the_remedy(monkeypatch):
    monkeypatch.setattr("node.app.fleet_checks.ask", answering([{"CPU": 1.0}]))
    check = await check_fleet(ray_config(address="192.0.2.1:6379", workers=2))
    assert check.verdict == "problem"
    assert "1 host at 192.0.2.1:6379 with room for 1 workers, 2 wanted" in check.finding
    assert "worker.ray.workers" in check.remedy


async def test_a_fleet_that_is_not_there_is_said_to_be_so(tmp_path):
    told = await ask(fleet(), tmp_path)
    assert isinstance(told, str)
    assert "no fleet at 127.0.0.1:1" in told


async def test_one_that_does_not_answer_is_not_waited_for(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        told = await ask(replace(fleet(), address=f"{host}:{port}"), tmp_path, patience_s=0.01)
    assert isinstance(told, str)
    assert "did not answer for 0.01 s" in told


def answering(hosts):
    async def ask(*_given):
        return hosts

    return ask
