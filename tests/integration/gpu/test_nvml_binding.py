"""The real NVML binding, driven by a small library built here that takes the place of the driver's."""

import json
import subprocess
import sys

import pytest

from tests.fakes.gpus import running_cat
from tests.fakes.nvml.library import StubDriver, build

pytestmark = pytest.mark.integration

READER = """
import json, sys
from node.gpu.probe import NvmlSession
session = None
for line in sys.stdin:
    order = json.loads(line)
    if order["fresh"] or session is None:
        if session is not None:
            session.close()
        session = NvmlSession(ours=lambda pid: pid in order["ours"], now=lambda: 1000.0)
    report = session.read()
    print(json.dumps({"gpus": [gpu.to_json() for gpu in report.gpus], "problem": report.problem,
                      "kinds": [fault.kind for fault in report.faults]}), flush=True)
"""


class Reader:
    """A process that reads GPUs through the real binding whenever it is told to."""

    def __init__(self, driver: StubDriver) -> None:
        self.driver = driver
        command = [sys.executable, "-c", READER]
        self.process = subprocess.Popen(
            command,
            env=driver.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read(self, *ours: int, fresh: bool = True, **lines: object) -> dict:
        if lines:
            self.driver.set(lines)
        self.process.stdin.write(json.dumps({"fresh": fresh, "ours": ours}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.process.stderr.read()
        return json.loads(answer)

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
        self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def old_library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("nvml-old"), "-DOLD_DRIVER")


@pytest.fixture(scope="module")
def process(library, tmp_path_factory):
    reader = Reader(StubDriver(library, tmp_path_factory.mktemp("stub") / "gpus"))
    yield reader
    reader.close()


@pytest.fixture
def reader(process):
    process.driver.clear()
    return process


@pytest.fixture
def old_reader(old_library, tmp_path):
    reader = Reader(StubDriver(old_library, tmp_path / "gpus"))
    yield reader
    reader.close()


def test_a_gpu_is_read_with_all_its_numbers(reader):
    report = reader.read(**{"0.process.0": f"999999991 {2 << 30}", "0.process.1": "999999992"})
    assert report["problem"] is None
    assert report["gpus"] == [
        {
            "index": 0,
            "name": "NVIDIA Stub 24GB",
            "uuid": "GPU-0000-stub",
            "memory_total_bytes": 24 << 30,
            "memory_free_bytes": 21 << 30,
            "memory_used_bytes": 3 << 30,
            "utilisation_percent": 37,
            "temperature_c": 52,
            "slowdown_temperature_c": 93,
            "power_w": 123.456,
            "power_limit_w": 450.0,
            "sm_clock_hz": 2_520_000_000,
            "sm_clock_max_hz": 3_105_000_000,
            "memory_clock_hz": 10_501_000_000,
            "throttle_reasons": [],
            "ecc_enabled": True,
            "ecc_uncorrected_errors": 0,
            "recovery": None,
            "xid": None,
            "xid_errors": 0,
            "mig_enabled": False,
            "own_memory_bytes": 0,
            "other_processes": [
                {"pid": 999999991, "memory_bytes": 2 << 30, "name": None, "computes": True},
                {"pid": 999999992, "memory_bytes": None, "name": None, "computes": True},
            ],
            "driver_version": "570.133.20",
            "cuda_version": "12.8",
            "missing": [],
        }
    ]


def test_our_own_processes_are_not_counted_as_somebody_elses(reader):
    lines = {"0.process.0": f"4242 {2 << 30}", "0.process.1": f"4343 {1 << 30}"}
    (gpu,) = reader.read(4242, **lines)["gpus"]
    assert gpu["own_memory_bytes"] == 2 << 30
    assert [process["pid"] for process in gpu["other_processes"]] == [4343]


def test_what_the_driver_hides_of_our_own_is_not_a_zero(reader):
    (gpu,) = reader.read(4242, **{"0.process.0": "4242"})["gpus"]
    assert gpu["own_memory_bytes"] is None


def test_a_process_that_can_be_seen_is_named_and_one_that_only_draws_is_told_apart(reader):
    with running_cat() as child:
        lines = {"0.drawing.0": f"{child} {1 << 20}", "0.process.0": "999999991 5"}
        (gpu,) = reader.read(**lines)["gpus"]
    assert gpu["other_processes"] == [
        {"pid": child, "memory_bytes": 1 << 20, "name": "cat", "computes": False},
        {"pid": 999999991, "memory_bytes": 5, "name": None, "computes": True},
    ]


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (1, []),
        (4, ["power limit"]),
        (8 | 64, ["slowed down by the hardware", "too hot (slowed down by the hardware)"]),
        (32, ["too hot (slowed down by the driver)"]),
        (128, ["power brake (the power supply asks for less)"]),
    ],
)
def test_why_the_clocks_are_low_is_told_in_words(reader, bits, words):
    (gpu,) = reader.read(**{"0.throttle": bits})["gpus"]
    assert gpu["throttle_reasons"] == words


def test_memory_errors_and_mig_and_what_the_driver_asks_for_are_read(reader):
    (gpu,) = reader.read(**{"0.uncorrected": 2, "0.mig": 1, "0.recovery": 1})["gpus"]
    assert gpu["ecc_uncorrected_errors"] == 2
    assert gpu["mig_enabled"] is True
    assert gpu["recovery"] == "stop the node and run `nvidia-smi -r`"


@pytest.mark.parametrize(
    ("call", "code", "kind", "words"),
    [
        ("init", 9, "driver_not_loaded", "installed but not loaded"),
        ("init", 18, "driver_mismatch", "updated while it was loaded"),
        ("init", 4, "no_permission", "no permission to use the GPU"),
        ("init", 999, "other", "NVML answered with error 999: run `nvidia-smi`"),
        ("gpus", 999, "other", "NVML answered with error 999"),
        ("0.handle", 4, "no_permission", "GPU 0: no permission to use the GPU"),
        ("0.handle", 15, "gpu_lost", "GPU 0: the GPU fell off the bus: reboot"),
        ("0.memory", 15, "gpu_lost", "GPU 0 (NVIDIA Stub 24GB): the GPU fell off the bus: reboot"),
        ("0.utilisation", 16, "reset_required", "GPU 0 (NVIDIA Stub 24GB): the GPU must be reset"),
    ],
)
def test_a_machine_that_cannot_render_is_an_answer_with_a_remedy(reader, call, code, kind, words):
    report = reader.read(**{f"{call}!": code})
    assert report["gpus"] == []
    assert report["kinds"] == [kind]
    assert words in report["problem"]


def test_a_driver_that_comes_back_is_read_again_by_the_same_session(reader):
    assert reader.read(**{"init!": 9})["gpus"] == []
    assert len(reader.read(fresh=False, **{"init!": None})["gpus"]) == 1
    assert reader.read(fresh=False, **{"gpus!": 999})["gpus"] == []
    assert len(reader.read(fresh=False, **{"gpus!": None})["gpus"]) == 1


def test_a_driver_without_a_gpu_says_so(reader):
    report = reader.read(gpus=0)
    assert report["kinds"] == ["no_gpu"]
    assert "sees no GPU" in report["problem"]


def test_a_lost_gpu_does_not_hide_the_one_that_works(reader):
    report = reader.read(gpus=2, **{"0.handle!": 15})
    assert [gpu["index"] for gpu in report["gpus"]] == [1]
    assert report["problem"].startswith("GPU 0: the GPU fell off the bus")


OPTIONAL = {
    "utilisation": "utilisation_percent",
    "temperature": "temperature_c",
    "slowdown": "slowdown_temperature_c",
    "power": "power_w",
    "limit": "power_limit_w",
    "clock": "sm_clock_hz",
    "clock-max": "sm_clock_max_hz",
    "memory-clock": "memory_clock_hz",
    "ecc": "ecc_enabled",
    "uncorrected": "ecc_uncorrected_errors",
    "mig": "mig_enabled",
    "process": "own_memory_bytes",
}


@pytest.mark.parametrize(("call", "field"), OPTIONAL.items())
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, "this GPU or its mode (MIG, vGPU) does not offer the query"),
        (4, "no permission to use the GPU"),
        (999, "NVML answered with error 999"),
    ],
)
def test_a_reading_that_is_refused_is_missing_and_named_and_the_others_stay(reader, call, field, code, words):
    report = reader.read(**{f"0.{call}!": code})
    (gpu,) = report["gpus"]
    assert report["problem"] is None
    assert gpu[field] is None
    (missing,) = gpu["missing"]
    assert words in missing
    assert gpu["memory_free_bytes"] == 21 << 30


@pytest.mark.parametrize("call", ["throttle", "recovery", "drawing", "register"])
def test_a_refused_reading_without_a_number_is_named_too(reader, call):
    (gpu,) = reader.read(**{f"0.{call}!": 3})["gpus"]
    assert len(gpu["missing"]) == 1


def test_critical_errors_are_heard_once_each_and_the_fatal_one_stays(reader):
    assert reader.read()["gpus"][0]["xid"] is None
    (gpu,) = reader.read(fresh=False, **{"xid.0": "0 31"})["gpus"]
    assert (gpu["xid"]["number"], gpu["xid"]["fatal"], gpu["xid"]["at"]) == (31, False, 1000.0)
    (gpu,) = reader.read(fresh=False, **{"xid.1": "0 79", "xid.2": "0 13"})["gpus"]
    assert gpu["xid_errors"] == 3
    assert gpu["xid"] == {
        "number": 79,
        "at": 1000.0,
        "meaning": "the GPU fell off the bus",
        "remedy": "reboot the machine; if it comes back, check power, riser and cooling of the card",
        "fatal": True,
    }
    assert reader.read(fresh=False)["gpus"][0]["xid_errors"] == 3


def test_an_error_belongs_to_the_gpu_that_had_it_and_is_told_with_its_loss(reader):
    reader.read(gpus=2)
    report = reader.read(fresh=False, **{"xid.0": "1 79", "1.memory!": 15})
    assert [gpu["xid"] for gpu in report["gpus"]] == [None]
    assert report["problem"].startswith(
        "GPU 1 (NVIDIA Stub 24GB), which reported Xid 79 (the GPU fell off the bus): the GPU fell off the bus"
    )


def test_events_that_cannot_be_waited_for_are_a_missing_reading(reader):
    (gpu,) = reader.read(**{"wait!": 15})["gpus"]
    assert gpu["missing"] == [
        "Xid errors: the GPU fell off the bus: reboot the machine, then check power and riser"
    ]


def test_an_old_driver_without_newer_calls_still_gives_what_it_has(old_reader):
    (gpu,) = old_reader.read()["gpus"]
    assert gpu["temperature_c"] == 51
    assert gpu["throttle_reasons"] == ["power limit"]
    assert gpu["other_processes"] == []
    assert gpu["own_memory_bytes"] is None
    assert [missing.partition(":")[0] for missing in gpu["missing"]] == [
        "recovery action",
        "processes",
        "drawing processes",
    ]
    assert all("the NVIDIA driver is too old" in missing for missing in gpu["missing"])


def test_a_name_that_is_no_text_is_a_problem_and_no_exception(reader):
    reader.driver.describe(b"0.name=\xff\xfe\n")
    report = reader.read()
    assert report["gpus"] == []
    assert "cannot be read" in report["problem"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"not a library", "no NVIDIA driver on this machine"), (None, "no NVIDIA driver on this machine")],
)
def test_a_library_that_is_not_the_drivers_or_not_there_is_an_answer(tmp_path, content, words):
    folder = tmp_path / "library"
    folder.mkdir()
    if content is not None:
        (folder / "libnvidia-ml.so.1").write_bytes(content)
    reader = Reader(StubDriver(folder, tmp_path / "gpus"))
    report = reader.read()
    reader.close()
    assert report["kinds"] == ["no_driver"]
    assert words in report["problem"]


def test_a_library_without_any_call_is_an_answer(tmp_path):
    source = tmp_path / "empty.c"
    source.write_text("int nothing;")
    reader = Reader(StubDriver(build(tmp_path / "library", source=source), tmp_path / "gpus"))
    report = reader.read()
    reader.close()
    assert report["kinds"] == ["driver_too_old"]


WATCHER = """
import asyncio, json, sys
from node.clock import SystemClock
from node.gpu.probe import NvmlSession
from node.gpu.watch import GpuWatch

async def main():
    watch = GpuWatch(NvmlSession(), SystemClock(), every_s=1, patience_s=0.05)
    for line in sys.stdin:
        report = await watch.look()
        print(json.dumps([len(report.gpus), report.problem]), file=sys.stderr, flush=True)

asyncio.run(main())
"""


def test_a_call_that_hangs_is_told_and_neither_the_node_nor_its_end_waits_for_it(library, tmp_path):
    driver = StubDriver(library, tmp_path / "gpus")
    driver.set({"0.power?": 1})
    process = subprocess.run(
        [sys.executable, "-c", WATCHER],
        env=driver.environment,
        input="\n\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    answers = [json.loads(line) for line in process.stderr.splitlines()]
    assert [gpus for gpus, _ in answers] == [0, 0]
    assert all("the NVIDIA driver has not answered for" in problem for _, problem in answers)
