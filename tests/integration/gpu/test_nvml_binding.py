"""The real NVML binding, driven by a small library built here that takes the place of the driver's."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

SOURCE = Path(__file__).with_name("nvml_stub.c")
PROBE = """
import json, sys
from node.gpu.probe import probe
report = probe(own_pids=[int(pid) for pid in sys.argv[1:]])
print(json.dumps({"gpus": [gpu.to_json() for gpu in report.gpus], "problem": report.problem}))
"""


@pytest.fixture(scope="module")
def stub(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def old_stub(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("nvml-old"), "-DOLD_DRIVER")


def build(folder: Path, *flags: str) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.fail("no C compiler on this machine. Debian and Ubuntu: apt-get install gcc libc6-dev")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), *flags, str(SOURCE)], check=True)
    return folder


def probed(folder: Path, mood: str = "", *own_pids: int) -> dict:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "NVML_STUB": mood}
    command = [sys.executable, "-c", PROBE, *map(str, own_pids)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_gpu_is_read_with_all_its_numbers(stub):
    report = probed(stub)
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
            "power_w": 123.456,
            "other_processes": [
                {"pid": 4242, "memory_bytes": 2 << 30},
                {"pid": 4343, "memory_bytes": None},
            ],
            "driver_version": "570.133.20",
            "cuda_version": "12.8",
            "missing": [],
        }
    ]


def test_our_own_processes_are_not_counted_as_somebody_elses(stub):
    (gpu,) = probed(stub, "", 4242)["gpus"]
    assert [process["pid"] for process in gpu["other_processes"]] == [4343]


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ("driver-not-loaded", "installed but not loaded"),
        ("version-mismatch", "updated while it was loaded"),
        ("no-permission", "no permission to use the GPU"),
        ("unknown-error", "NVML answered with error 999: run `nvidia-smi`"),
        ("no-gpu", "the NVIDIA driver works but sees no GPU"),
        ("device-no-permission", "GPU 0: no permission to use the GPU"),
        ("lost-midway", "GPU 0: the GPU fell off the bus: reboot"),
    ],
)
def test_a_machine_that_cannot_render_is_an_answer_with_a_remedy(stub, mood, words):
    report = probed(stub, mood)
    assert report["gpus"] == []
    assert words in report["problem"]


def test_a_lost_gpu_does_not_hide_the_one_that_works(stub):
    report = probed(stub, "two-one-lost")
    assert [gpu["index"] for gpu in report["gpus"]] == [1]
    assert report["problem"].startswith("GPU 0: the GPU fell off the bus")


def test_a_reading_that_mig_does_not_offer_is_missing_and_named(stub):
    report = probed(stub, "mig")
    (gpu,) = report["gpus"]
    assert report["problem"] is None
    assert gpu["utilisation_percent"] is None
    assert gpu["temperature_c"] == 52
    (missing,) = gpu["missing"]
    assert missing.startswith("utilisation: this GPU or its mode (MIG, vGPU)")


def test_an_old_driver_without_newer_calls_still_gives_what_it_has(old_stub):
    (gpu,) = probed(old_stub)["gpus"]
    assert gpu["temperature_c"] == 51
    assert gpu["other_processes"] == []
    (missing,) = gpu["missing"]
    assert missing.startswith("processes: the NVIDIA driver is too old")


def test_a_library_that_is_not_the_drivers_is_an_answer(tmp_path):
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"not a library")
    report = probed(tmp_path)
    assert report["gpus"] == []
    assert "no NVIDIA driver on this machine" in report["problem"]


def test_an_empty_library_is_an_answer(tmp_path):
    source = tmp_path / "empty.c"
    source.write_text("int nothing;")
    compiler = shutil.which("cc") or "gcc"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(tmp_path / "libnvidia-ml.so.1"), str(source)], check=True
    )
    assert "too old" in probed(tmp_path)["problem"]
