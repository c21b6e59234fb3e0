"""From a job's tunables to the stills: what drives them, what the network is shown, and what is refused."""

import math
from types import SimpleNamespace

import pytest
import torch

from node.errors import NotFinite
from node.job.spec import parse_inputs
from node.pipeline import schedules, still
from node.pipeline.sampling import SDXL
from node.pipeline.text import encode

PARTS = ("vocabulary", "large", "giant", "still_unet", "still_vae", "device")


def spec(**inputs):
    few = {"Prompt": "a cow", "Steps": "5", "Sampler": "euler"}
    return parse_inputs("sdv-pipeline:v1.1-lilypad2", few | inputs)


class Network:
    """Stands where the UNet does: predicts some noise and remembers what it was shown."""

    dtype = torch.float32

    def __init__(self, fails_at=None):
        self.shown, self.times, self.contexts, self.pooled = [], [], [], []
        self.fails_at = fails_at

    def __call__(self, x, time, context, *, added_cond_kwargs, return_dict):
        self.shown.append(x.clone())
        self.times.append(time.tolist())
        self.contexts.append(context)
        self.pooled.append(added_cond_kwargs["text_embeds"])
        output = 0.1 * x.roll(1, dims=-1) + context.mean(dim=(1, 2)).reshape(-1, 1, 1, 1)
        if len(self.shown) == self.fails_at:
            output[0, 0, 0, 0] = math.nan
        return (output,)


@pytest.fixture
def models(tiny_models):
    parts = {name: getattr(tiny_models, name) for name in PARTS}
    return SimpleNamespace(**parts | {"still_unet": Network()})


@pytest.fixture
def latents_of(models, tiny_profile):
    def sample(callback=lambda _done, _steps: None, **inputs):
        with torch.inference_mode():
            job = spec(**inputs)
            return still.sample_latents(models, tiny_profile, job, still.conditioning(models, job), callback)

    return sample


def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_seed_drives_the_still_and_the_video_seed_does_not(latents_of):
    plain = latents_of()
    assert plain.shape == (1, 4, 8, 8)
    assert plain.dtype == torch.float32
    assert torch.equal(plain, latents_of(Seed="42", VideoSeed="7", VideoSteps="9", Framerate="3"))
    assert not torch.allclose(plain, latents_of(Seed="43"), atol=0.1)


def test_the_first_noise_is_the_seed_s_and_is_shown_at_unit_variance(models, latents_of):
    latents_of(Seed="7")
    # x is noise times the root of 1 + sigma^2, of which the network is shown x over the same root.
    expected = drawn(7, 1, 4, 8, 8).repeat(2, 1, 1, 1)
    assert torch.allclose(models.still_unet.shown[0], expected, atol=1e-6)


def test_ddim_uniform_starts_below_the_largest_level_and_its_noise_is_scaled_by_sigma(models, latents_of):
    latents_of(Seed="7", Scheduler="ddim_uniform")
    # Five steps of 200 indices: 801 is the first.
    sigma = float(SDXL.sigmas[801])
    expected = drawn(7, 1, 4, 8, 8).repeat(2, 1, 1, 1) * sigma / math.sqrt(1 + sigma**2)
    assert torch.allclose(models.still_unet.shown[0], expected, atol=1e-5)


@pytest.mark.parametrize("scheduler", ["normal", "karras", "simple"])
@pytest.mark.parametrize("steps", [5, 9])
def test_steps_and_scheduler_are_the_times_that_the_network_is_told(models, latents_of, scheduler, steps):
    reported = []
    latents_of(lambda *done: reported.append(done), Steps=str(steps), Scheduler=scheduler)
    levels = schedules.sigmas(scheduler, steps, SDXL, "euler")[:-1]
    assert models.still_unet.times == [[float(SDXL.timestep(level))] * 2 for level in levels]
    assert reported == [(step, steps) for step in range(1, steps + 1)]


def test_the_sampler_is_the_one_asked_for(models, latents_of):
    euler = latents_of()
    calls = len(models.still_unet.shown)
    assert not torch.allclose(euler, latents_of(Sampler="heun"), atol=1e-4)
    # Two evaluations for each step but the last.
    assert len(models.still_unet.shown) - calls == 9


def test_the_prompt_is_the_positive_and_text_watermark_the_negative(models, latents_of):
    latents_of(Prompt="a (red:1.5) cow", Batching="2")
    positive, negative = (
        encode(text, models.vocabulary, models.large, models.giant)
        for text in ("a (red:1.5) cow", "text, watermark")
    )
    rows = [negative, negative, positive, positive]
    assert torch.allclose(models.still_unet.contexts[0], torch.cat([row.context for row in rows]), atol=1e-5)
    assert torch.allclose(models.still_unet.pooled[0], torch.cat([row.pooled for row in rows]), atol=1e-5)


@pytest.mark.parametrize("batch", [2, 4, 8])
def test_a_batch_starts_from_one_draw_in_which_the_first_image_is_always_the_same(models, latents_of, batch):
    alone = latents_of()
    together = latents_of(Batching=str(batch))
    assert together.shape == (batch, 4, 8, 8)
    assert torch.allclose(models.still_unet.shown[5][batch:], drawn(42, batch, 4, 8, 8), atol=1e-6)
    # Without step noise the first image stays the same to its end.
    assert torch.allclose(together[0], alone[0], atol=1e-4)
    assert not torch.allclose(together[1], together[0], atol=0.1)


def test_step_noise_is_drawn_for_the_whole_batch_so_the_first_image_changes(latents_of):
    alone, together = (latents_of(Sampler="euler_ancestral", Batching=batch) for batch in "12")
    assert not torch.allclose(together[0], alone[0], atol=0.1)


def test_stills_are_decoded_one_by_one_from_latents_over_the_scale(tiny_models):
    latents = drawn(1, 2, 4, 8, 8)
    with torch.inference_mode():
        decoded = still.decode(tiny_models, latents)
        expected = [
            tiny_models.still_vae.decode(row[None] / 0.13025, return_dict=False)[0][0] for row in latents
        ]
    assert decoded.shape == (2, 64, 64, 3)
    assert decoded.dtype == torch.float32
    for image, raw in zip(decoded, expected, strict=True):
        assert torch.allclose(image, ((raw + 1) / 2).clamp(0, 1).movedim(0, -1), atol=1e-5)


class Decoder:
    """A VAE in half precision that shows its input, four channels as three, and remembers it."""

    dtype = torch.bfloat16

    def __init__(self):
        self.seen = []

    def decode(self, x, *, return_dict):
        self.seen.append(x)
        return (x[:, :3],)


def test_the_scale_divides_in_float32_before_the_decoder_s_type(tiny_models):
    decoder = Decoder()
    latents = drawn(2, 3, 4, 2, 2)
    still.decode(SimpleNamespace(still_vae=decoder, device=torch.device("cpu")), latents)
    assert [x.shape for x in decoder.seen] == [(1, 4, 2, 2)] * 3
    assert torch.equal(torch.cat(decoder.seen), (latents.double() / 0.13025).float().bfloat16())


@pytest.mark.parametrize("step", [1, 4, 5])
def test_a_network_that_fails_ends_the_job_with_the_step(models, latents_of, step):
    models.still_unet = Network(fails_at=step)
    with pytest.raises(NotFinite, match=rf"^still, step {step} of 5: "):
        latents_of()


def test_a_weight_that_no_float32_can_carry_out_ends_the_job_before_the_first_step(models, latents_of):
    with pytest.raises(NotFinite, match=r"^still, text conditioning: "):
        latents_of(Prompt="a (cow:3.4e38)")
    assert models.still_unet.shown == []


def test_a_still_that_is_not_finite_is_named_and_never_black():
    latents = torch.zeros(4, 4, 2, 2)
    latents[2, 1, 0, 0] = math.inf
    with pytest.raises(NotFinite, match=r"^still decode, still 3: "):
        still.decode(SimpleNamespace(still_vae=Decoder(), device=torch.device("cpu")), latents)
