"""Doctor names each card, what is against using it and what to do; without one, tiny is still well."""

import os

import pytest

from node.app.gpu_checks import check_gpus, read_gpus
from node.gpu import faults
from node.gpu.readings import GpuProcess, GpuReport
from node.gpu.xid import xid
from tests.fakes.gpus import GB, card
from tests.fakes.jobs import make_config

NO_DRIVER = GpuReport((), (faults.fault(12),))


def config(profile="sdv-1.1", **gpu):
    return make_config(worker={"profile": profile}, gpu=gpu)


def only(checks):
    (check,) = checks
    return check


def test_a_healthy_card_is_told_with_what_an_operator_looks_for():
    check = only(check_gpus(config(), GpuReport((card(),))))
    assert check.verdict == "ok"
    assert check.finding == (
        "GPU 0 (NVIDIA GeForce RTX 4090), 22.4 of 22.4 GiB free, 40 °C, driver 570.133.20 CUDA 12.8, ECC 0, "
        "no other process"
    )


@pytest.mark.parametrize("profile", ["sdv-1.1", "sdv-1.0"])
def test_a_profile_that_needs_a_gpu_has_a_problem_without_one(profile):
    check = only(check_gpus(config(profile), NO_DRIVER))
    assert check.verdict == "problem"
    assert check.exit_code == 1
    assert "install the driver" in check.finding


def test_tiny_needs_no_driver():
    check = only(check_gpus(config("tiny"), NO_DRIVER))
    assert check.verdict == "warning"
    assert "tiny" in check.remedy


def test_a_card_that_lasts_to_be_unusable_is_a_problem_with_its_remedy():
    check = only(check_gpus(config(), GpuReport((card(mig_enabled=True),))))
    assert check.verdict == "problem"
    assert "MIG on" in check.finding
    assert "`nvidia-smi -i 0 -mig 0`" in check.remedy


def test_what_passes_is_a_warning():
    crowded = card(memory_free_bytes=10 * GB, other_processes=(GpuProcess(4242, 14 * GB, "python"),))
    check = only(check_gpus(config(), GpuReport((crowded,))))
    assert check.verdict == "warning"
    assert "beside it process 4242 with 14.0 GB (python)" in check.finding
    assert "stage 'still' of profile sdv-1.1 needs 15.9 GB: end process 4242 with 14.0 GB" in check.remedy


def test_a_card_that_had_an_error_and_a_slowdown_is_told_although_it_is_used():
    troubled = card(xid=xid(31, 0.0), throttle_reasons=("power limit",))
    check = only(check_gpus(config(), GpuReport((troubled,))))
    assert check.verdict == "ok"
    assert "throttled: power limit" in check.finding
    assert "Xid 31: a program reached for memory that is not its own" in check.finding


def test_a_lost_card_beside_a_good_one_is_a_warning():
    report = GpuReport((card(1),), (faults.fault(15, "GPU 0"),))
    assert [check.verdict for check in check_gpus(config(), report)] == ["warning", "ok"]


def test_the_hours_are_told_with_their_next_change():
    hours = config("tiny", hours=["00:00-24:00"])
    assert [check.finding for check in check_gpus(hours, GpuReport((card(),)))][1:] == [
        "00:00-24:00: jobs are taken"
    ]


async def test_a_reading_for_a_command_prints_nothing(tmp_path, capsys):
    class Driver:
        def read(self):
            return NO_DRIVER

        def close(self):
            pass

    assert await read_gpus(make_config(node={"data_dir": str(tmp_path)}), Driver()) is NO_DRIVER
    assert capsys.readouterr().out == ""


async def test_a_node_that_runs_is_not_somebody_else_on_the_card(tmp_path):
    settings = make_config(node={"data_dir": str(tmp_path)}, worker={"profile": "sdv-1.1"})
    (tmp_path / "lock").write_text(str(os.getpid()))
    hidden = card(memory_free_bytes=8 * GB, own_memory_bytes=0)

    class Driver:
        def read(self):
            return GpuReport((hidden,))

        def close(self):
            pass

    report = await read_gpus(settings, Driver())
    assert only(check_gpus(settings, report)).verdict == "ok"
    (tmp_path / "lock").write_text("no process")
    assert only(check_gpus(settings, report)).verdict == "warning"
