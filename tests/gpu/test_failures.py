"""What a job does when its numbers or its memory run out: it says so, and delivers nothing."""

import re
from dataclasses import replace

import pytest

from node.errors import NotFinite, OutOfMemory

pytestmark = pytest.mark.filterwarnings("default")


def spoil(network):
    """Make one number of the network's last convolution NaN, as a damaged file would."""
    network.conv_out.bias.data[0] = float("nan")


@pytest.mark.usefixtures("inference")
@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ("still_unet", r"still, step 1 of 5"),
        ("still_vae", r"still decode, still 1"),
        ("clip_unet", r"clip, step 1 of 5"),
        ("clip_vae", r"clip decode, all \d+ frames"),
    ],
)
def test_weights_that_are_not_numbers_end_the_job_with_its_stage_and_step(place, spoilt, said):
    job = place.job()
    network = getattr(job.models, spoilt)
    spoil(network.decoder if spoilt.endswith("vae") else network.unet)
    with pytest.raises(NotFinite) as failure:
        job.run(5)
    assert re.match(said, str(failure.value))


@pytest.mark.usefixtures("inference")
@pytest.mark.gpu
@pytest.mark.slow
def test_a_job_is_refused_before_it_starts_when_the_card_is_too_full(card):
    import torch

    from node.pipeline import memory

    free, _ = torch.cuda.mem_get_info()
    profile = replace(card.job().profile, memory_gb=2.0)
    memory.require(profile)
    ballast = torch.empty(max(0, free - 10**9), dtype=torch.uint8, device="cuda")
    # What this very process holds counts as its own; another process would see less.
    with pytest.raises(OutOfMemory) as refusal:
        memory.require(replace(profile, memory_gb=1024.0))
    assert refusal.value.needed_bytes == 1024 * 10**9
    assert 0 < refusal.value.free_bytes <= free + torch.cuda.memory_reserved()
    del ballast


@pytest.mark.usefixtures("inference")
@pytest.mark.gpu
@pytest.mark.slow
def test_memory_that_runs_out_in_a_stage_is_an_error_with_need_and_free(card):
    import torch

    from node.pipeline import memory

    job = card.job()
    profile = replace(job.profile, memory_gb=3.0)
    job.run(5)
    torch.cuda.empty_cache()
    blocks = []
    while torch.cuda.mem_get_info()[0] > 2**28:
        blocks.append(torch.empty(2**27, dtype=torch.uint8, device="cuda"))
    with pytest.raises(OutOfMemory) as failure, memory.stage("clip", profile):
        job.run(5)
    assert failure.value.needed_bytes == 3 * 10**9
    assert failure.value.free_bytes is not None
    assert "stage 'clip'" in str(failure.value)
    blocks.clear()
    torch.cuda.empty_cache()
    assert job.run(5) is not None
