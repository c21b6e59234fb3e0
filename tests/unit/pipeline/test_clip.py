"""From a still to its clip: conditioning on it, the two random streams, the tunables, and what is refused."""

import math
from types import SimpleNamespace

import pytest
import torch

from node.errors import NotFinite
from node.job.spec import parse_inputs
from node.pipeline import clip, pixels, schedules
from node.pipeline.sampling import SVD

PARTS = ("vision", "clip_vae", "clip_unet", "position_table", "device")
# Of the networks of the tiny profile, at the sizes of the tests' profile.
STILL_LATENT, CLIP_LATENT = (4, 8, 8), (4, 8, 12)
POSITIONS, FRAMES = (257, 32), 3


def spec(**inputs):
    few = {"Prompt": "a cow", "VideoSteps": "5", "VideoSampler": "euler"}
    return parse_inputs("sdv-pipeline:v1.1-lilypad2", few | inputs)


class Network:
    """Stands where the UNet does: predicts some v and remembers what it was shown."""

    dtype = torch.float32

    def __init__(self, fails_at=None):
        self.shown, self.times, self.contexts = [], [], []
        self.fails_at = fails_at

    def __call__(self, x, time, context, ids, *, return_dict):
        self.shown.append(x.clone())
        self.times.append(float(time))
        self.contexts.append(context.clone())
        output = 0.1 * x[:, :, :4] + 0.05 * x[:, :, 4:]
        if len(self.shown) == self.fails_at:
            output[1, 2, 3] = math.inf
        return (output,)


@pytest.fixture
def models(tiny_models):
    parts = {name: getattr(tiny_models, name) for name in PARTS}
    return SimpleNamespace(**parts | {"clip_unet": Network()})


@pytest.fixture
def latents_of(models, tiny_profile):
    def sample(stills, index=0, callback=lambda _done, _steps: None, **inputs):
        job = spec(Batching=str(len(stills)), **inputs)
        with torch.inference_mode():
            conditioned = clip.conditioning(models, tiny_profile, job, stills, index)
            return clip.sample_latents(models, tiny_profile, job, conditioned, callback)

    return sample


def pictures(count=1):
    return torch.rand(count, 64, 64, 3, generator=torch.Generator().manual_seed(11))


def moments(vae, still):
    """Mean and spread of the encoder's posterior for the middle of a 64 x 64 still at 96 x 64."""
    with torch.inference_mode():
        shown = pixels.video_init(still[None], width=96, height=64)
        mean, logarithm = vae.quant_conv(vae.encoder(shown)).chunk(2, dim=1)
    return mean, torch.exp(0.5 * logarithm.clamp(-30, 20))


def posterior_rows(seed, batch):
    """Docs, pipeline 5.4: the image seed's stream after the first noise and the position table."""
    generator = torch.Generator().manual_seed(seed)
    torch.randn(batch, *STILL_LATENT, generator=generator)
    torch.randn(*POSITIONS, generator=generator)
    return torch.randn(batch, *CLIP_LATENT, generator=generator)


@pytest.mark.parametrize(("batch", "index"), [(1, 0), (2, 1), (4, 2)])
def test_the_concat_latent_is_a_posterior_sample_with_the_row_of_its_still_and_unscaled(
    models, latents_of, batch, index
):
    stills = pictures(batch)
    latents_of(stills, index, Seed="5")
    mean, spread = moments(models.clip_vae, stills[index])
    expected = mean + spread * posterior_rows(5, batch)[index]
    for shown in models.clip_unet.shown:
        assert shown.shape == (2, FRAMES, 8, *CLIP_LATENT[1:])
        assert torch.allclose(shown[1, :, 4:], expected.expand(FRAMES, -1, -1, -1), atol=1e-5)
        # The negative pass sees no still at all.
        assert not shown[0, :, 4:].any()
    # A sample is visibly not the mode.
    assert float((spread * posterior_rows(5, batch)[index]).abs().max()) > 0.1


def test_the_context_is_the_projected_class_token_of_the_whole_still(models, latents_of):
    stills = pictures(2)
    latents_of(stills, 1)
    vision = models.vision
    with torch.inference_mode():
        states = vision.vision_model(pixels.clip_vision_input(stills[1:])).last_hidden_state
        expected = vision.visual_projection(vision.vision_model.post_layernorm(states[:, 0]))
    (negative, positive) = models.clip_unet.contexts[0]
    assert positive.shape == (1, 32)
    assert torch.allclose(positive, expected, atol=1e-5)
    assert not negative.any()


def test_the_video_seed_drives_the_clip_s_noise_and_the_seed_only_the_encoding(models, latents_of):
    plain = latents_of(pictures(), VideoSeed="9")
    assert plain.shape == (FRAMES, *CLIP_LATENT)
    assert plain.dtype == torch.float32
    noise = torch.randn(FRAMES, *CLIP_LATENT, generator=torch.Generator().manual_seed(9))
    # Shown at unit variance, the still's channels beside it are not.
    assert torch.allclose(models.clip_unet.shown[0][1, :, :4], noise, atol=1e-5)
    assert torch.equal(plain, latents_of(pictures(), VideoSeed="9", Steps="9", Sampler="heun"))
    assert not torch.allclose(plain, latents_of(pictures(), VideoSeed="10"), atol=0.1)

    calls = len(models.clip_unet.shown)
    latents_of(pictures(), VideoSeed="9", Seed="1")
    other = models.clip_unet.shown[calls]
    assert torch.allclose(other[:, :, :4], models.clip_unet.shown[0][:, :, :4], atol=1e-6)
    assert not torch.allclose(other[1, :, 4:], models.clip_unet.shown[0][1, :, 4:], atol=0.01)


def test_every_still_gets_a_clip_of_its_own_from_the_same_video_seed(models, latents_of):
    stills = pictures(2)
    first, second = (latents_of(stills, index) for index in range(2))
    assert torch.equal(models.clip_unet.shown[0][:, :, :4], models.clip_unet.shown[5][:, :, :4])
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("scheduler", ["normal", "karras", "ddim_uniform"])
def test_video_steps_and_scheduler_are_the_times_that_the_network_is_told(models, latents_of, scheduler):
    reported = []
    latents_of(
        pictures(),
        0,
        lambda *done: reported.append(done),
        VideoSteps="7",
        VideoScheduler=scheduler,
        Steps="9",
    )
    levels = schedules.sigmas(scheduler, 7, SVD, "euler")[:-1].tolist()
    assert models.clip_unet.times == pytest.approx([0.25 * math.log(level) for level in levels], abs=1e-5)
    assert reported == [(step + 1, len(levels)) for step in range(len(levels))]


def test_the_video_sampler_is_the_one_asked_for(models, latents_of):
    euler = latents_of(pictures())
    assert not torch.allclose(euler, latents_of(pictures(), VideoSampler="dpmpp_2m"), atol=1e-4)
    assert len(models.clip_unet.shown) == 2 * 5


def test_frames_are_decoded_together_from_latents_over_the_scale_and_cut_to_8_bits(tiny_models):
    latents = torch.randn(FRAMES, *CLIP_LATENT, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        frames = clip.decode(tiny_models, latents)
        raw = tiny_models.clip_vae.decode(latents / 0.18215, num_frames=FRAMES, return_dict=False)[0]
    exact = (255 * ((raw.double() + 1) / 2).clamp(0, 1)).movedim(1, -1)
    assert frames.shape == (FRAMES, 64, 96, 3)
    assert frames.dtype == torch.uint8
    # Cut off and never rounded; only a value within rounding of a whole number may fall either side of it.
    below = exact.floor()
    sure = (exact - exact.round()).abs() > 1e-2
    assert float(sure.double().mean()) > 0.9
    assert torch.equal(frames[sure].double(), below[sure])
    assert int((frames.double() - below).abs().max()) <= 1


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_network_that_fails_ends_the_job_with_the_step(models, latents_of, step):
    models.clip_unet = Network(fails_at=step)
    with pytest.raises(NotFinite, match=rf"^clip, step {step} of 5: "):
        latents_of(pictures())


def test_a_still_that_is_not_finite_conditions_no_clip(models, latents_of):
    stills = pictures()
    stills[0, 30, 30, 0] = math.nan
    with pytest.raises(NotFinite, match=r"^clip, conditioning on the still: "):
        latents_of(stills)
    assert models.clip_unet.shown == []


def test_frames_that_are_not_finite_end_the_job_and_are_never_black(tiny_models):
    latents = torch.zeros(FRAMES, *CLIP_LATENT)
    latents[1, 2, 3, 4] = math.nan
    with torch.inference_mode(), pytest.raises(NotFinite, match=r"^clip decode, all 3 frames: "):
        clip.decode(tiny_models, latents)
