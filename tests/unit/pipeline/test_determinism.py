"""The switches are set, noticed when something else changes them, and named in the determinism class."""

import ctypes
import hashlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from node.errors import Fatal
from node.job.manifest import class_name
from node.pipeline import determinism
from node.pipeline.environment import ENVIRONMENT
from node.pipeline.profiles import load_profile
from node.resources import PACKAGE

_TINY = load_profile("tiny")


@pytest.fixture(autouse=True)
def switches_restored(monkeypatch):
    for name in os.environ:
        if name.startswith(("TORCHINDUCTOR", "CUBLAS", "ATEN_CPU", "MKL_CBWR", "ONEDNN", "DNNL")):
            monkeypatch.delenv(name)
    before = determinism.in_force()
    yield
    for name, value in before.items():
        if name != "interop threads":  # can be set once in a process
            determinism._SWITCHES[name].write(value)
    torch.use_deterministic_algorithms(mode=before["algorithms"] != "any", warn_only=True)


def test_after_configuring_every_switch_is_as_the_class_says():
    determinism.configure(_TINY)
    now = determinism.in_force()
    assert torch.get_num_threads() == _TINY.threads
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cuda.mem_efficient_sdp_enabled()
    listed = determinism.class_parts(_TINY, {})["switches"]
    assert listed == "; ".join(f"{name}: {value}" for name, value in now.items())


def test_configuring_twice_is_allowed():
    determinism.configure(_TINY)
    determinism.configure(_TINY)
    determinism.check(_TINY)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
            "fp32 cuda matmul is tf32, not ieee",
        ),
        (lambda: torch.set_float32_matmul_precision("medium"), "matmul precision is medium, not highest"),
        (lambda: setattr(torch.backends.cudnn, "allow_tf32", True), "fp32 cuda conv is tf32, not ieee"),
        (
            lambda: setattr(torch.backends.cudnn.rnn, "fp32_precision", "tf32"),
            "cudnn tf32 is in contradiction",
        ),
        (lambda: setattr(torch.backends.cudnn, "benchmark", True), "cudnn benchmark is True, not False"),
        (lambda: torch.set_num_threads(_TINY.threads + 1), "threads is 2, not 1"),
        (
            lambda: torch.use_deterministic_algorithms(mode=False),
            "algorithms is any, not deterministic, warn",
        ),
        (
            lambda: torch.use_deterministic_algorithms(mode=True),
            "algorithms is deterministic, raise, not deterministic, warn",
        ),
        (lambda: torch.set_flush_denormal(True), "flush denormals is True, not False"),
        (lambda: torch.set_default_dtype(torch.float64), "default type is torch.float64, not torch.float32"),
        (
            lambda: torch.backends.cuda.enable_mem_efficient_sdp(enabled=True),
            "attention is flash math mem_efficient, not flash math",
        ),
        (
            lambda: torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True),
            "reduced reduction in plain attention is True, not False",
        ),
    ],
)
def test_a_switch_flipped_by_a_library_is_noticed_and_named(change, named):
    determinism.configure(_TINY)
    change()
    with pytest.raises(Fatal, match="were changed in this process") as refusal:
        determinism.check(_TINY)
    assert named in str(refusal.value)
    determinism.configure(_TINY)
    determinism.check(_TINY)


def test_a_new_thread_computes_with_the_same_switches_even_those_each_thread_has_for_itself():
    determinism.configure(_TINY)
    seen = []

    def job():
        determinism.check(_TINY)
        seen.append(determinism.in_force())

    thread = threading.Thread(target=job)
    thread.start()
    thread.join()
    assert seen == [determinism.in_force()]


def test_an_environment_that_would_change_results_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_MAX_AUTOTUNE", "1")
    with pytest.raises(Fatal, match="TORCHINDUCTOR_MAX_AUTOTUNE must be unset, not '1'"):
        determinism.configure(_TINY)


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((9, 0), "cudnn flash math"), ((10, 0), "cudnn flash math"), ((8, 9), "flash math")],
)
def test_attention_on_a_gpu_has_a_fixed_order_without_the_memory_efficient_kernel(
    monkeypatch, capability, expected
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    backends = determinism._attention(replace(_TINY, device="cuda"))
    assert backends == expected
    determinism._SWITCHES["attention"].write(backends)
    assert determinism.in_force()["attention"] == expected
    assert torch.nn.attention._cur_sdpa_kernel_backends(with_priority=True)[0].name == (
        "CUDNN_ATTENTION" if capability >= (9, 0) else "FLASH_ATTENTION"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "float16"},
        {"vae_precision": "bfloat16"},
        {"kernels": "compiled"},
        {"threads": 2},
        {"name": "other"},
        {"still_size": 512},
        {"clip_width": 256},
        {"clip_height": 128},
        {"frames": 14},
    ],
)
def test_whatever_can_change_a_bit_changes_the_class(change):
    plain = class_name(determinism.class_parts(_TINY, {"a": "1"}))
    assert class_name(determinism.class_parts(replace(_TINY, **change), {"a": "1"})) != plain


@pytest.mark.parametrize("change", [{"residency": "swapped"}, {"memory_gb": 14.0}, {"serves": ()}])
def test_where_models_wait_and_what_is_served_do_not_change_the_class(change):
    weights = {"a": "1"}
    assert determinism.class_parts(replace(_TINY, **change), weights) == determinism.class_parts(
        _TINY, weights
    )


def test_weights_and_rewrites_are_in_the_class():
    parts = determinism.class_parts(_TINY, {"a": "1"})
    assert parts["weights"] == hashlib.sha256(b'{"a":"1"}').hexdigest()
    assert determinism.class_parts(_TINY, {"a": "2"})["weights"] != parts["weights"]
    assert "temporal decoder in pieces of 201326592" in parts["rewrites"]
    assert "vae attention by 2048 rows" in parts["rewrites"]


def test_the_class_names_no_host_and_no_folder(tmp_path):
    words = json.dumps(determinism.class_parts(_TINY, {}))
    assert os.uname().nodename not in words.split('"')
    assert str(tmp_path.anchor + "home") not in words
    assert str(PACKAGE) not in words


def test_a_gpu_is_described_by_model_and_libraries_not_by_clocks_or_memory(monkeypatch):
    card = SimpleNamespace(name="NVIDIA H200", major=9, minor=0, multi_processor_count=132, total_memory=1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(determinism.ctypes, "CDLL", _FakeCublas)
    parts = determinism.class_parts(replace(_TINY, device="cuda"), {})
    assert parts["device"] == "NVIDIA H200"
    assert parts["compute_capability"] == "9.0"
    assert parts["multiprocessors"] == "132"
    assert parts["cublas"] == "13.1.4"
    assert {"cuda", "cudnn", "triton"} <= parts.keys()
    assert torch.backends.cpu.get_cpu_capability() in parts["host"]


class _FakeCublas:
    def __init__(self, name):
        assert name == "libcublas.so.13"

    def cublasGetProperty(self, kind, number):  # noqa: N802, the library's name
        ctypes.cast(number, ctypes.POINTER(ctypes.c_int))[0] = (13, 1, 4)[kind]
        return 0


def test_an_unknown_cublas_is_an_error_not_a_class(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(Fatal, match=r"cuBLAS cannot be read from libcublas\.so\.13"):
        determinism._cublas_version()


def test_hashes_are_those_of_the_files(tmp_path):
    (tmp_path / "still" / "unet").mkdir(parents=True)
    (tmp_path / "still" / "unet" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "origin.json").write_text("not part of the models", encoding="utf-8")
    expected = {"still/unet/model.safetensors": hashlib.sha256(b"weights").hexdigest()}
    assert determinism.read_hashes(tmp_path) == expected
    assert determinism.weights_hashes(tmp_path) == expected


_JOB = """
import hashlib, threading, torch
from node.pipeline import determinism
from node.pipeline.acceleration.group_norm import Statistics
from node.pipeline.profiles import load_profile

determinism.configure(load_profile("tiny"))

def job():
    determinism.check(load_profile("tiny"))
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 64, 96, 96, generator=generator)
    convolved = torch.nn.functional.conv2d(x, torch.randn(64, 64, 3, 3, generator=generator))
    statistics = Statistics()
    statistics.add(convolved)
    scaling = statistics.over_all(torch.nn.GroupNorm(8, 64))
    product = convolved[0].flatten(1) @ convolved[1].flatten(1).T
    total = torch.randn(3_000_001, generator=generator).sum()  # one thread and two do not agree on this one
    text = b"".join(t.detach().numpy().tobytes() for t in (convolved, scaling.scale, product, total))
    print(hashlib.sha256(text).hexdigest())

job()
thread = threading.Thread(target=job)
thread.start()
thread.join()
"""


@pytest.mark.slow
def test_processes_and_threads_agree_whatever_thread_counts_the_environment_asks_for():
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _JOB],
            env={**ENVIRONMENT, "PYTHONPATH": str(PACKAGE.parent), **counts},
            stdout=subprocess.PIPE,
            text=True,
        )
        for counts in ({"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "4"})
    ]
    printed = [process.communicate(timeout=240)[0].split() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert [len(lines) for lines in printed] == [2, 2]
    assert len({line for lines in printed for line in lines}) == 1
