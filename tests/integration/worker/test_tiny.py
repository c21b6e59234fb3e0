"""The tiny profile end to end: what is delivered, what it depends on, and that its bytes repeat."""

import json
import os
import signal

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from node.clock import SystemClock
from node.pipeline import results, text, toy
from node.publisher.unixfs import cid_of
from node.types import JobId
from node.worker.pool import WorkerPool
from node.worker.settings import WorkerSettings

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def ignore(_progress):
    pass


def test_everything_promised_is_delivered(reference, short_job):
    directory, _ = reference
    manifest = json.loads((directory / "manifest.json").read_text())
    assert [output["path"] for output in manifest["outputs"]] == results.expected_outputs(short_job(), 25)
    for output in manifest["outputs"]:
        path = directory / output["path"]
        assert results.describe_output(output["path"], path).to_json() == output
    assert manifest["stages"].keys() >= {
        "still_latents", "stills", "video_latents_00001", "frames_00001", "outputs/video_00001.mp4"
    }  # fmt: skip
    with Image.open(directory / "outputs/image_00001.png") as still:
        assert still.size == (256, 256)
        assert np.asarray(still).std() > 10
    for suffix in ("png", "webp"):
        with Image.open(directory / f"outputs/video_00001.{suffix}") as clip:
            clip.load()
            assert (clip.size, clip.n_frames, clip.info["duration"]) == ((128, 80), 25, 125)
    with av.open(str(directory / "outputs/video_00001.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (128, 80, 8)
        assert sum(1 for _ in container.decode(stream)) == 25


def test_the_frames_are_those_of_the_apng_and_they_move(reference):
    directory, _ = reference
    frames = []
    with Image.open(directory / "outputs/video_00001.png") as clip:
        for index in range(25):
            clip.seek(index)
            frame = np.asarray(Image.open(directory / f"outputs/frames_00001/frame_{index + 1:03}.png"))
            assert np.array_equal(np.asarray(clip.convert("RGB")), frame)
            frames.append(frame.astype(int))
    assert all(frame.std() > 10 for frame in frames)
    assert np.abs(np.diff(np.stack(frames), axis=0)).mean() > 0.5


def test_nothing_in_the_result_names_this_machine(reference):
    directory, _ = reference
    texts = b"".join((directory / name).read_bytes() for name in ("manifest.json", "stdout", "stderr"))
    assert str(directory.parent).encode() not in texts
    assert os.uname().nodename.encode() not in texts


@pytest.mark.parametrize(
    ("inputs", "changed"),
    [
        ({"Prompt": "a horse"}, {"image_00001.png", "video_00001.mp4"}),
        ({"Seed": "43"}, {"image_00001.png", "video_00001.mp4"}),
        ({"VideoSeed": "43"}, {"video_00001.mp4"}),
        ({"Framerate": "9"}, {"video_00001.mp4"}),
    ],
    ids=["prompt", "seed", "video-seed", "framerate"],
)
def test_what_each_input_changes(renderer, reference, short_job, tmp_path, inputs, changed):
    finished = renderer.render(short_job(**inputs), tmp_path, ignore)
    for name in ("image_00001.png", "video_00001.mp4"):
        same = (finished.directory / "outputs" / name).read_bytes() == (
            reference[0] / "outputs" / name
        ).read_bytes()
        assert same is (name not in changed)


def test_framerate_changes_no_pixel(renderer, reference, short_job, tmp_path):
    finished = renderer.render(short_job(Framerate="20"), tmp_path, ignore)
    manifests = [
        json.loads((directory / "manifest.json").read_text())
        for directory in (finished.directory, reference[0])
    ]
    assert manifests[0]["stages"]["frames_00001"] == manifests[1]["stages"]["frames_00001"]
    with av.open(str(finished.directory / "outputs/video_00001.mp4")) as container:
        assert container.streams.video[0].average_rate == 20


def test_a_batch_gives_a_still_and_a_clip_each(renderer, short_job, tmp_path):
    spec = short_job(Batching="2")
    finished = renderer.render(spec, tmp_path, ignore)
    assert list(finished.outputs) == results.expected_outputs(spec, 25)
    for name in ("image_{}.png", "video_{}.mp4"):
        first, second = (finished.directory / "outputs" / name.format(f"0000{n}") for n in (1, 2))
        assert first.read_bytes() != second.read_bytes()


@pytest.mark.parametrize("stage", ["still", "still decode", "clip", "clip decode", "encode"])
def test_a_job_cut_off_after_any_stage_goes_on_and_gives_the_same_bytes(
    renderer, reference, short_job, tmp_path, stage
):
    def cut(progress):
        if (progress.stage, progress.step) == (stage, progress.steps):
            raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        renderer.render(short_job(), tmp_path, cut)
    assert results.read_result(tmp_path, short_job()) is None
    seen = []
    finished = renderer.render(short_job(), tmp_path, seen.append)
    assert cid_of(finished.directory) == reference[1]
    # The last report of a sampling stage comes before its file is written; every other stage is durable then.
    sampled = {progress.stage for progress in seen if progress.steps == 5}
    assert (
        sampled
        == {
            "still": {"still", "clip"},
            "still decode": {"clip"},
            "clip": {"clip"},
            "clip decode": set(),
            "encode": set(),
        }[stage]
    )
    assert [progress.fraction for progress in seen] == sorted(progress.fraction for progress in seen)


async def test_a_worker_killed_in_the_middle_gives_the_bytes_of_another_process(
    data_dir, reference, short_job, tmp_path
):
    pool = WorkerPool(profile="tiny", data_dir=data_dir, settings=WorkerSettings(), clock=SystemClock())
    await pool.start()
    try:
        await pool.render(JobId("j1"), short_job(Prompt="another job first"), tmp_path / "j1", ignore)
        killed = []

        def kill_once(progress):
            if progress.stage == "clip" and not killed:
                killed.append(pool.status()["pid"])
                os.kill(killed[0], signal.SIGKILL)

        files = await pool.render(JobId("j2"), short_job(), tmp_path / "j2", kill_once)
        assert pool.status()["pid"] != killed[0]
        assert cid_of(files.directory) == reference[1]
    finally:
        await pool.stop()


def test_toy_weights_are_made_again_when_damaged_and_come_out_alike(tmp_path):
    directory = tmp_path / "models" / "tiny"
    toy.ensure(directory)
    weights = directory / "still" / "unet" / "model.safetensors"
    content, made_at = weights.read_bytes(), weights.stat().st_mtime_ns
    toy.ensure(directory)
    assert weights.stat().st_mtime_ns == made_at
    weights.write_bytes(content[:-1] + b"x")
    toy.ensure(directory)
    assert weights.read_bytes() == content
    assert [path.name for path in directory.parent.iterdir() if path.is_dir()] == ["tiny"]


def test_video_residual_blocks_have_the_trained_epsilon_and_attention_keeps_its_own(renderer):
    norms = {
        name: module.eps
        for name, module in renderer.models.clip_unet.named_modules()
        if isinstance(module, nn.GroupNorm)
    }
    inside = {eps for name, eps in norms.items() if "_res_block" in name}
    attention = {eps for name, eps in norms.items() if "attentions" in name}
    assert inside == {1e-5}
    assert attention == {1e-6}


def encode(models, prompt):
    with torch.inference_mode():
        return text.encode(prompt, models.vocabulary, models.large, models.giant)


def test_context_is_77_tokens_a_chunk_with_both_encoders_side_by_side(renderer):
    assert encode(renderer.models, "").context.shape == (1, 77, 64)
    assert encode(renderer.models, "cow " * 80).context.shape[1] > 77
    assert encode(renderer.models, "a cow").pooled.shape == (1, 32)


def test_weights_move_tokens_away_from_the_empty_prompt_and_leave_pooled_alone(renderer):
    plain, empty = encode(renderer.models, "a cow"), encode(renderer.models, "")
    none, double = encode(renderer.models, "(a cow:0)"), encode(renderer.models, "(a cow:2)")
    words = slice(1, 4)
    assert torch.allclose(none.context[:, words], empty.context[:, words], atol=1e-5)
    assert torch.allclose(
        double.context[:, words], 2 * plain.context[:, words] - empty.context[:, words], atol=1e-4
    )
    assert torch.equal(double.context[:, 0], plain.context[:, 0])
    assert torch.allclose(double.pooled, plain.pooled, atol=1e-5)


def test_context_is_the_penultimate_layer_without_the_final_norm_and_pooled_is_the_end_token(renderer):
    models = renderer.models
    ids = models.vocabulary.encode("cow")
    row = [models.vocabulary.begin, *ids, models.vocabulary.end]
    with torch.inference_mode():
        padded = {
            padding: torch.tensor([row + [padding] * (77 - len(row))])
            for padding in (models.vocabulary.end, 0)
        }
        large = models.large.model(input_ids=padded[models.vocabulary.end], output_hidden_states=True)
        giant = models.giant.model(input_ids=padded[0], output_hidden_states=True)
    encoded = encode(models, "cow")
    assert torch.allclose(encoded.context[..., :32], large.hidden_states[-2], atol=1e-5)
    assert torch.allclose(encoded.context[..., 32:], giant.hidden_states[-2], atol=1e-5)
    assert torch.allclose(encoded.pooled, giant.text_embeds, atol=1e-5)
