"""Where workers run: a place for each GPU, for each socket, or as many as the processor is given."""

import json
import os
import pwd
from pathlib import Path

import pytest

from node.app.workers import gpu_places, worker_places
from node.config import load
from node.errors import Misconfigured
from node.gpu.readings import GpuReport
from node.worker.process import fleet_environment
from node.worker.settings import Fleet, Place, Standalone, WorkerSettings
from tests.fakes.gpus import card

TWO = GpuReport((card(0), card(1)), ())


def section(**worker):
    return load(environment={}, overrides={"worker": worker}).worker


def test_every_gpu_that_is_seen_has_a_place_unless_some_are_named():
    assert gpu_places((), TWO) == (Place("0", "GPU-0"), Place("1", "GPU-1"))
    assert gpu_places(("1",), TWO) == (Place("1", "GPU-1"),)
    assert gpu_places(("GPU-1",), TWO) == (Place("1", "GPU-1"),)


def test_a_named_gpu_that_is_not_seen_keeps_its_place_and_the_others_theirs():
    assert gpu_places(("0", "GPU-9", "7"), TWO) == (
        Place("0", "GPU-0"),
        Place("GPU-9", "GPU-9"),
        Place("7", "7"),
    )


def test_without_any_gpu_there_is_a_place_whose_worker_says_so():
    assert gpu_places((), GpuReport((), ())) == (Place(),)


async def test_a_profile_on_the_processor_has_as_many_workers_as_it_is_given():
    assert await worker_places(section(profile="tiny", slots=2, gpus=["0"]), Path("/data")) == (
        Place("0"),
        Place("1"),
    )


async def test_standalone_workers_have_a_place_for_each_socket():
    user = pwd.getpwuid(os.geteuid()).pw_name
    found = await worker_places(
        section(sockets="/run/a.sock,/run/b.sock", user=user, exchange="/srv/jobs"), Path("/data")
    )
    shared = [Standalone(Path(f"/run/{name}.sock"), Path("/srv/jobs"), os.geteuid()) for name in "ab"]
    assert found == (Place("0", None, shared[0]), Place("1", None, shared[1]))


async def test_a_user_that_does_not_exist_is_named():
    with pytest.raises(Misconfigured, match=r"worker.user: there is no user 'nobody-of-that-name'"):
        await worker_places(section(sockets="/run/a.sock", user="nobody-of-that-name"), Path("/data"))


async def test_a_fleet_has_as_many_workers_as_are_wanted_each_with_what_its_host_must_have(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: True)
    wanted = {"address": "10.0.0.1:6379", "workers": 2, "resources": "tiny=1,rack:a=0.5"}
    found = load(environment={}, overrides={"worker": {"backend": "ray", "ray": wanted}}).worker
    fleet = Fleet("10.0.0.1:6379", "sdv-node", 0, (("tiny", 1.0), ("rack:a", 0.5)), "/data", 60.0)
    assert await worker_places(found, Path("/data")) == (Place("0", fleet=fleet), Place("1", fleet=fleet))
    (on_cards, *_) = await worker_places(found.model_copy(update={"profile": "sdv-1.1"}), Path("/data"))
    assert on_cards.fleet.gpus == 1
    assert Fleet.from_json(json.loads(json.dumps(fleet.to_json(WorkerSettings())))) == (
        fleet,
        WorkerSettings(),
    )


async def test_without_ray_a_fleet_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(Misconfigured, match=r'pip install "sdv-node\[ray\]"'):
        await worker_places(section(backend="ray"), Path("/data"))


async def test_a_fleet_and_sockets_are_not_mixed():
    with pytest.raises(Misconfigured, match=r"worker.sockets.*empty it"):
        await worker_places(section(backend="ray", sockets="/run/a.sock"), Path("/data"))


def test_the_process_that_talks_to_a_fleet_is_given_its_token_and_reports_nothing():
    given = fleet_environment({"RAY_AUTH_TOKEN_PATH": "/t", "SDV_NODE__X": "secret", "RAY_ADDRESS": "x"})
    assert given == {
        "RAY_AUTH_TOKEN_PATH": "/t",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
