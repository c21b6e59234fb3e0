"""Which kernels run on a card, and what they need of its memory."""

import pytest

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.usefixtures("card", "inference"),
]


def test_no_attention_runs_in_the_memory_efficient_kernel(card):
    import torch

    from scripts.benchmarks.pipeline.profiling import kernels

    job = card.job()
    job.run(5)
    found = kernels(lambda: job.run(5), torch.device("cuda"))
    assert "efficient" not in found["attention"]
    assert set(found["attention"]) & {"cudnn", "flash"}


def test_a_card_of_the_hopper_kind_attends_with_cudnn(card):
    import torch

    from scripts.benchmarks.pipeline.profiling import kernels

    if torch.cuda.get_device_capability(0) < (9, 0):
        pytest.skip("this card is older than Hopper")
    job = card.job()
    job.run(5)
    assert "cudnn" in kernels(lambda: job.run(5), torch.device("cuda"))["attention"]


def test_decoding_a_clip_of_full_size_needs_less_than_10_gb():
    import torch

    from node.pipeline.acceleration.decoder import decode_clip
    from node.pipeline.acceleration.vae_attention import prepare_vae
    from scripts.benchmarks.pipeline.measuring import release
    from scripts.benchmarks.pipeline.networks import FULL, build, normals

    device = torch.device("cuda")
    vae = build(FULL, "clip/vae", device, torch.bfloat16)
    prepare_vae(vae)
    latents = normals(*FULL.clip_latents, seed=1).to(device, torch.bfloat16)
    release(device)
    frames = decode_clip(vae, latents)
    assert torch.cuda.max_memory_allocated() < 10e9
    assert frames.shape == (25, 3, 576, 1024)
    assert bool(frames.isfinite().all())
    assert torch.equal(frames, decode_clip(vae, latents))


def test_every_rewritten_network_of_full_size_agrees_with_the_stock_one():
    import torch

    from scripts.benchmarks.pipeline import own
    from scripts.benchmarks.pipeline.measuring import difference, release
    from scripts.benchmarks.pipeline.networks import FULL, build, clip_inputs, still_inputs

    device, dtype = torch.device("cuda"), torch.bfloat16
    unet = build(FULL, "still/unet", device, dtype)
    arguments, keywords = still_inputs(FULL, unet)
    expected = unet(*arguments, **keywords)[0]
    del unet
    network = own.still_network(FULL, device, dtype, "eager")
    assert difference(expected, own.still_call(network, arguments, keywords)())["relative"] < 0.02
    del network, expected, arguments, keywords
    release(device)
    unet = build(FULL, "clip/unet", device, dtype)
    arguments, keywords = clip_inputs(FULL, unet)
    expected = unet(*arguments, **keywords)[0]
    del unet
    network = own.clip_network(FULL, device, dtype, "eager")
    assert difference(expected, own.clip_call(network, arguments, FULL.frames)())["relative"] < 0.02
