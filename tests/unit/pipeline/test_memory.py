"""Memory is a condition that a job states, and running out of it an error that says how much was missing."""

import errno
from dataclasses import replace

import pytest
import torch

from node.errors import OutOfMemory, Retryable
from node.pipeline import memory
from node.pipeline.profiles import load_profile

_TINY = load_profile("tiny")
_CARD = replace(_TINY, name="sdv-1.0", device="cuda", memory_gb=22.0)


@pytest.fixture
def card(monkeypatch):
    def with_memory(*, free, held):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 24 * 2**30))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: held)

    return with_memory


def test_a_profile_without_a_need_starts_anywhere():
    memory.require(_TINY)


def test_models_already_loaded_count_towards_the_need(card):
    card(free=10_000_000_000, held=12_000_000_000)
    memory.require(_CARD)


def test_one_byte_less_than_the_need_is_refused_with_both_figures(card):
    card(free=9_999_999_999, held=12_000_000_000)
    with pytest.raises(OutOfMemory) as refusal:
        memory.require(_CARD)
    assert refusal.value.stage is None, "no stage was begun"
    assert refusal.value.needed_bytes == 22_000_000_000
    assert refusal.value.free_bytes == 21_999_999_999
    assert isinstance(refusal.value, Retryable)
    assert "profile sdv-1.0" in str(refusal.value)
    assert "22.0 GB are needed" in str(refusal.value)


def test_a_need_on_the_cpu_is_compared_with_the_machines_memory():
    memory.require(replace(_TINY, memory_gb=0.001))
    with pytest.raises(OutOfMemory) as refusal:
        memory.require(replace(_TINY, memory_gb=1024.0 * 1024))
    assert 10**8 < refusal.value.free_bytes < 10**15


def test_an_allocation_the_cpu_cannot_make_names_stage_and_size():
    with pytest.raises(OutOfMemory) as failure, memory.stage("clip decode", _TINY):
        torch.empty(2**50, dtype=torch.uint8)
    assert "stage 'clip decode' of profile tiny" in str(failure.value)
    assert failure.value.needed_bytes == 2**50
    assert failure.value.free_bytes > 0
    assert failure.value.stage == "clip decode"
    assert isinstance(failure.value.__cause__, RuntimeError)


def test_pythons_own_shortage_is_the_same_error():
    with pytest.raises(OutOfMemory, match="stage 'encode'"), memory.stage("encode", _TINY):
        bytearray(2**60)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 7.03 GiB. GPU 0 has a total capacity of"
        ),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_every_way_a_gpu_says_it_becomes_the_typed_error(card, error):
    card(free=1_000_000_000, held=20_000_000_000)
    with pytest.raises(OutOfMemory) as failure, memory.stage("clip", _CARD):
        raise error
    assert failure.value.needed_bytes == 22_000_000_000
    assert failure.value.free_bytes == 21_000_000_000
    assert failure.value.__cause__ is error
    assert ("when it asked for 7.55 GB" in str(failure.value)) == ("7.03 GiB" in str(error))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        OSError(errno.ENOMEM, "no"),
        ValueError(),
    ],
)
def test_other_errors_pass_unchanged(error):
    with pytest.raises(type(error)) as failure, memory.stage("clip", _TINY):
        raise error
    assert failure.value is error


def test_a_stage_is_never_run_twice():
    runs = []

    def decode():
        runs.append(1)
        raise MemoryError

    with pytest.raises(OutOfMemory), memory.stage("clip", _TINY):
        decode()
    assert runs == [1]
