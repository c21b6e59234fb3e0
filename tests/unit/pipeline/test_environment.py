"""The process environment: what must be set, what must not, and what does not matter."""

import pytest

from node.pipeline.environment import ENVIRONMENT, objections


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_pipelines_own_environment_has_nothing_against_it(device):
    assert objections({**ENVIRONMENT, "PATH": "/bin", "OMP_NUM_THREADS": "7"}, device) == []


def test_an_empty_environment_is_enough_without_a_gpu():
    assert objections({}, "cpu") == []


def test_cuda_needs_what_its_libraries_read_when_they_start():
    found = objections({}, "cuda")
    assert [sentence.split()[0] for sentence in found] == [
        "CUBLAS_WORKSPACE_CONFIG",
        "NVIDIA_TF32_OVERRIDE",
        "PYTORCH_ALLOC_CONF",
    ]
    assert found[0] == "CUBLAS_WORKSPACE_CONFIG must be ':4096:8', and is unset"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("CUBLAS_WORKSPACE_CONFIG", ":16:8", "CUBLAS_WORKSPACE_CONFIG must be ':4096:8', not ':16:8'"),
        ("NVIDIA_TF32_OVERRIDE", "1", "NVIDIA_TF32_OVERRIDE must be '0', not '1'"),
        ("TORCHINDUCTOR_MAX_AUTOTUNE", "1", "TORCHINDUCTOR_MAX_AUTOTUNE must be unset, not '1'"),
        ("PYTORCH_TUNABLEOP_ENABLED", "1", "PYTORCH_TUNABLEOP_ENABLED must be unset, not '1'"),
        ("TORCH_CUDNN_SDPA_DEPRIORITIZED", "1", "TORCH_CUDNN_SDPA_DEPRIORITIZED must be unset, not '1'"),
        ("MKL_CBWR", "COMPATIBLE", "MKL_CBWR must be unset, not 'COMPATIBLE'"),
        ("ATEN_CPU_CAPABILITY", "default", "ATEN_CPU_CAPABILITY must be unset, not 'default'"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_variables_that_choose_kernels_are_refused(name, text, sentence, device):
    assert objections({**ENVIRONMENT, name: text}, device) == [sentence]


def test_the_place_of_a_compile_cache_is_the_callers():
    assert objections({**ENVIRONMENT, "TORCHINDUCTOR_CACHE_DIR": "/cache"}, "cuda") == []
