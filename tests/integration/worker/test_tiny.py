"""The tiny profile end to end: what is delivered, and what every input does to it."""

import json
import os

import av
import numpy as np
import pytest
from PIL import Image

from node.job.outputs import expected_outputs, frame_path, image_path, video_path
from node.job.stages import all_stages
from node.pipeline import results

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STILL = "outputs/still_00001_.png"
APNG, WEBP, MP4 = (f"outputs/output_00001_.{suffix}" for suffix in ("png", "webp", "mp4"))
CLIP = {APNG, WEBP, MP4}
EVERYTHING = {STILL} | CLIP


def ignore(_progress):
    pass


def manifest_of(directory):
    return json.loads((directory / "manifest.json").read_text())


def pictures_of(path):
    """Return the frames of an animation, [F, H, W, 3], and how long each is shown in milliseconds."""
    with Image.open(path) as animation:
        frames, durations = [], []
        for index in range(animation.n_frames):
            animation.seek(index)
            frames.append(np.asarray(animation.convert("RGB")))
            durations.append(animation.info["duration"])
    return np.stack(frames), durations


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def read(finished, path):
    return (finished.directory / path).read_bytes()


def film_of(path):
    """Return the rate and the number of frames of an MP4."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.average_rate, sum(1 for _ in container.decode(stream))


def test_everything_promised_is_delivered(reference, short_job):
    directory, _ = reference
    manifest = manifest_of(directory)
    assert [output["path"] for output in manifest["outputs"]] == [STILL, APNG, WEBP, MP4]
    assert expected_outputs(short_job(), 25) == [STILL, APNG, WEBP, MP4]
    for output in manifest["outputs"]:
        path = directory / output["path"]
        assert results.describe_output(output["path"], path).to_json() == output
    delivered = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert delivered == {STILL, APNG, WEBP, MP4, "exitCode", "stdout", "stderr", "manifest.json"}
    with Image.open(directory / STILL) as still:
        assert (still.size, still.mode) == ((256, 256), "RGB")
        assert np.asarray(still).std() > 10
    for path in (APNG, WEBP):
        frames, durations = pictures_of(directory / path)
        assert frames.shape == (25, 80, 128, 3)
        assert durations == [125] * 25
    assert film_of(directory / MP4) == (8, 25)


def test_stages_are_told_in_an_order_that_no_thread_decides(reference):
    stages = manifest_of(reference[0])["stages"]
    assert list(stages) == sorted(stages)
    assert stages.keys() == {
        "text_conditioning", "still_latents", "stills",
        "video_conditioning_00001", "video_latents_00001", "frames_00001", STILL, APNG, WEBP, MP4
    }  # fmt: skip


def test_the_clip_moves_and_every_container_shows_it(reference):
    directory, _ = reference
    lossless, _ = pictures_of(directory / APNG)
    lossy, _ = pictures_of(directory / WEBP)
    with av.open(str(directory / MP4)) as container:
        film = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert all(frame.std() > 10 for frame in lossless)
    assert np.abs(np.diff(lossless.astype(int), axis=0)).mean() > 0.5
    for other in (lossy, film):
        assert np.abs(other.astype(int) - lossless).mean() < 6


def test_nothing_in_the_result_names_this_machine(reference):
    directory, _ = reference
    texts = b"".join((directory / name).read_bytes() for name in ("manifest.json", "stdout", "stderr"))
    assert str(directory.parent).encode() not in texts
    assert os.uname().nodename.encode() not in texts


@pytest.mark.parametrize(
    ("changed_input", "changed", "first"),
    [
        ("Prompt=a horse", EVERYTHING, "text_conditioning"),
        ("Seed=43", EVERYTHING, "still_latents"),
        (f"Seed={2**64 - 1}", EVERYTHING, "still_latents"),
        ("Steps=6", EVERYTHING, "still_latents"),
        ("Scheduler=karras", EVERYTHING, "still_latents"),
        ("Sampler=euler", EVERYTHING, "still_latents"),
        ("VideoSeed=43", CLIP, "video_latents_00001"),
        ("VideoSteps=6", CLIP, "video_latents_00001"),
        ("VideoScheduler=karras", CLIP, "video_latents_00001"),
        ("VideoSampler=euler", CLIP, "video_latents_00001"),
        ("Framerate=9", CLIP, APNG),
    ],
)
def test_what_each_input_changes_and_the_first_stage_that_shows_it(
    small, small_reference, short_job, tmp_path, changed_input, changed, first
):
    finished = small.render(short_job(**dict([changed_input.split("=")])), tmp_path, ignore)
    assert {
        path for path in finished.outputs if read(finished, path) != (small_reference[0] / path).read_bytes()
    } == changed
    told, plain = (manifest_of(folder)["stages"] for folder in (finished.directory, small_reference[0]))
    assert next(stage for stage in all_stages(short_job()) if told[stage] != plain[stage]) == first


@pytest.mark.parametrize("framerate", [1, 7, 13, 20])
def test_framerate_drives_every_container_and_changes_no_pixel(
    small, small_reference, short_job, tmp_path, framerate
):
    finished = small.render(short_job(Framerate=str(framerate)), tmp_path, ignore)
    stages, plain = (manifest_of(folder)["stages"] for folder in (finished.directory, small_reference[0]))
    assert stages["frames_00001"] == plain["frames_00001"]
    assert stages[STILL] == plain[STILL]
    for path in (APNG, WEBP):
        assert pictures_of(finished.directory / path)[1] == [1000 // framerate] * 5
    assert film_of(finished.directory / MP4) == (framerate, 5)


def test_frames_on_request_are_those_of_the_apng_and_leave_every_other_file_as_it_is(
    small, small_reference, short_job, tmp_path
):
    spec = short_job(Frames="png")
    finished = small.render(spec, tmp_path, ignore)
    assert list(finished.outputs) == expected_outputs(spec, 5)
    for path in (STILL, APNG, WEBP, MP4):
        assert read(finished, path) == (small_reference[0] / path).read_bytes()
    animated, _ = pictures_of(finished.directory / APNG)
    for number, picture in enumerate(animated, 1):
        assert np.array_equal(pixels_of(finished.directory / frame_path(1, number)), picture)


@pytest.mark.parametrize("batching", [2, 8])
def test_a_batch_gives_that_many_different_stills_and_a_clip_of_each(small, short_job, tmp_path, batching):
    spec = short_job(Batching=str(batching))
    finished = small.render(spec, tmp_path, ignore)
    assert list(finished.outputs) == expected_outputs(spec, 5)
    assert len(finished.outputs) == 4 * batching == len({read(finished, path) for path in finished.outputs})
    stills = [pixels_of(finished.directory / image_path(number + 1)) for number in range(batching)]
    for number in range(batching):
        first_frame = pictures_of(finished.directory / video_path(number + 1, "png"))[0][0]
        distances = [np.abs(first_frame - still).mean() for still in stills]
        assert int(np.argmin(distances)) == number


@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [
        ("euler", "karras"),
        ("dpmpp_2m_sde_gpu", "exponential"),
        ("lcm", "simple"),
        ("dpm_2", "ddim_uniform"),
        ("dpm_adaptive", "normal"),
        ("dpmpp_2s_ancestral", "sgm_uniform"),
    ],
)
def test_other_samplers_and_schedulers_make_other_pictures(
    small, small_reference, short_job, tmp_path, sampler, scheduler
):
    inputs = {"Sampler": sampler, "Scheduler": scheduler}
    spec = short_job(**inputs, **{f"Video{key}": value for key, value in inputs.items()})
    finished = small.render(spec, tmp_path, ignore)
    manifest = manifest_of(finished.directory)
    assert manifest["inputs"]["Sampler"] == manifest["inputs"]["VideoSampler"] == sampler
    assert any("dpmpp_2m_sde" in note for note in manifest["notes"]) is sampler.endswith("_gpu")
    plain = manifest_of(small_reference[0])["stages"]
    assert not (set(manifest["stages"].values()) - {plain["text_conditioning"]}) & set(plain.values())
    assert pixels_of(finished.directory / STILL).std() > 5
    assert pictures_of(finished.directory / APNG)[0].std() > 5
