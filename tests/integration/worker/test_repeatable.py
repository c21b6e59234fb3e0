"""The same job gives the same bytes: in other processes, after other jobs, however often it is broken off."""

import asyncio
import json
import os
import signal
import sys
import threading

import pytest
import torch

from node.clock import SystemClock
from node.errors import NotFinite, OutOfMemory
from node.job.outputs import image_path
from node.pipeline import clip, containers, results
from node.pipeline.encoding import Encoders
from node.pipeline.environment import ENVIRONMENT
from node.publisher.unixfs import cid_of
from node.types import JobId
from node.worker.pool import WorkerPool
from node.worker.settings import WorkerSettings
from tests.chaos.harness.real_worker import struck_worker
from tests.repeats.small import SMALL

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SAMPLED = {"still", "clip"}


def ignore(_progress):
    pass


def cut_off_at(stage):
    """Break a job off when a stage is over, or ("artifact") when a still is told."""

    def cut(progress):
        if stage == "artifact" and progress.artifact is not None:
            raise OSError("cut off")
        if (progress.stage, progress.step) == (stage, progress.steps):
            raise OSError("cut off")

    return cut


@pytest.mark.parametrize(
    ("stage", "sampled_again"),
    [
        # The last report of a sampling stage comes before its file is written.
        ("still", {"still", "clip"}),
        ("still decode", {"clip"}),
        ("clip", {"clip"}),
        ("clip decode", set()),
        ("encode", set()),
    ],
)
def test_a_job_cut_off_after_any_stage_goes_on_and_gives_the_same_bytes(
    small, small_reference, short_job, tmp_path, stage, sampled_again
):
    with pytest.raises(OSError, match="cut off"):
        small.render(short_job(), tmp_path, cut_off_at(stage))
    assert results.read_result(tmp_path, short_job()) is None
    seen = []
    finished = small.render(short_job(), tmp_path, seen.append)
    assert cid_of(finished.directory) == small_reference[1]
    assert {
        progress.stage for progress in seen if progress.step and progress.stage in SAMPLED
    } == sampled_again
    assert [progress.fraction for progress in seen] == sorted(progress.fraction for progress in seen)


def test_the_warm_up_of_a_gpu_leaves_no_trace_in_the_next_job(small, small_reference, short_job, tmp_path):
    small.warm_up()
    finished = small.render(short_job(), tmp_path, ignore)
    assert cid_of(finished.directory) == small_reference[1]


def test_what_goes_wrong_when_a_still_is_told_ends_the_job_and_the_job_goes_on_when_asked_again(
    small, small_reference, short_job, tmp_path
):
    with pytest.raises(OSError, match="cut off"):
        small.render(short_job(), tmp_path, cut_off_at("artifact"))
    assert cid_of(small.render(short_job(), tmp_path, ignore).directory) == small_reference[1]


def test_a_still_can_be_looked_at_long_before_its_job_is_over(small, short_job, tmp_path):
    told = {}

    def look(progress):
        if progress.artifact is not None:
            told[progress.artifact.rpartition("/")[2]] = (tmp_path / progress.artifact).read_bytes()
            assert not (tmp_path / results.RESULT).exists()

    finished = small.render(short_job(Batching="2"), tmp_path, look)
    assert told == {
        path.rpartition("/")[2]: (finished.directory / path).read_bytes()
        for path in (image_path(1), image_path(2))
    }


def test_a_clip_is_encoded_while_the_next_one_is_computed_and_the_bytes_do_not_depend_on_it(
    small, short_job, tmp_path, monkeypatch
):
    plain = small.render(short_job(Batching="2"), tmp_path / "plain", ignore)
    second_clip_begun, clips = threading.Event(), []

    def begun(progress):
        if (progress.stage, progress.step) == ("clip", 1):
            clips.append(progress)
            if len(clips) == 2:
                second_clip_begun.set()

    def wait_for_the_second_clip(encoders, number, *arguments, **named):
        if number == 1:
            assert second_clip_begun.wait(60)
        return write_clip(encoders, number, *arguments, **named)

    write_clip = Encoders.write_clip
    monkeypatch.setattr(Encoders, "write_clip", wait_for_the_second_clip)
    overlapped = small.render(short_job(Batching="2"), tmp_path / "overlapped", begun)
    assert cid_of(overlapped.directory) == cid_of(plain.directory)


def test_an_encoder_that_fails_fails_the_job_which_then_goes_on_from_what_is_whole(
    small, small_reference, short_job, tmp_path, monkeypatch
):
    def refuse(*_arguments):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(containers, "write_webp", refuse)
        with pytest.raises(OSError, match="no space left"):
            small.render(short_job(), tmp_path, ignore)
    seen = []
    finished = small.render(short_job(), tmp_path, seen.append)
    assert cid_of(finished.directory) == small_reference[1]
    assert not any(progress.step for progress in seen if progress.stage in SAMPLED)


def test_memory_that_runs_out_is_told_with_its_stage_and_nothing_is_computed_in_another_way(
    small, small_reference, short_job, tmp_path, monkeypatch
):
    def run_out(*_arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr(clip, "decode", run_out)
        with pytest.raises(OutOfMemory, match="'clip decode'") as raised:
            small.render(short_job(), tmp_path, ignore)
    assert raised.value.needed_bytes == 2 * 2**30
    assert raised.value.free_bytes > 0
    assert cid_of(small.render(short_job(), tmp_path, ignore).directory) == small_reference[1]


def test_numbers_that_are_not_finite_fail_the_job_with_stage_and_step_and_leave_no_picture(
    small, short_job, tmp_path, monkeypatch
):
    def spoilt(*arguments):
        denoise, calls = clip_denoiser(*arguments), []

        def spoil(x, sigma):
            calls.append(sigma)
            return denoise(x, sigma) * (float("nan") if len(calls) == 3 else 1.0)

        return spoil

    clip_denoiser = clip.clip_denoiser
    monkeypatch.setattr(clip, "clip_denoiser", spoilt)
    with pytest.raises(NotFinite, match="clip, step 3 of 5"):
        small.render(short_job(), tmp_path, ignore)
    assert not (tmp_path / results.RESULT).exists()


RENDER_IN_ANOTHER_PROCESS = """
import json, sys
from dataclasses import replace
from pathlib import Path
from node.job.spec import parse_inputs
from node.pipeline.profiles import load_profile
from node.pipeline.renderer import Renderer
from node.publisher.unixfs import cid_of
data_dir, job_dir, small, before, job = sys.argv[1:]
renderer = Renderer.load(replace(load_profile("tiny"), **json.loads(small)), Path(data_dir))
for number, inputs in enumerate([*json.loads(before), json.loads(job)]):
    spec = parse_inputs("sdv-pipeline:v1.1-lilypad2", inputs)
    finished = renderer.render(spec, Path(job_dir) / str(number), lambda _progress: None)
print(cid_of(finished.directory))
"""


async def cid_in_another_process(data_dir, job_dir, variables, before, job):
    arguments = [data_dir, job_dir, json.dumps(SMALL), json.dumps(before), json.dumps(job)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        RENDER_IN_ANOTHER_PROCESS,
        *map(str, arguments),
        env=os.environ | ENVIRONMENT | variables,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


async def test_threads_of_the_environment_and_jobs_before_change_no_byte(
    data_dir, small_reference, short_job, tmp_path
):
    job = short_job().to_inputs()
    others = [
        short_job(Prompt="(an owl:1.3) at night", Batching="2", Sampler="dpmpp_sde").to_inputs(),
        short_job(VideoSampler="lcm", VideoScheduler="karras", Seed="9").to_inputs(),
    ]
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    two = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    cids = await asyncio.gather(
        cid_in_another_process(data_dir, tmp_path / "one", one, others, job),
        cid_in_another_process(data_dir, tmp_path / "two", two, [], job),
    )
    assert cids == [small_reference[1]] * 2


async def test_a_worker_killed_in_the_middle_and_models_that_take_turns_give_the_bytes_of_another_process(
    data_dir, reference, short_job, tmp_path
):
    settings = WorkerSettings(residency="swapped")
    pool = WorkerPool(profile="tiny", data_dir=data_dir, settings=settings, clock=SystemClock())
    await pool.start()
    try:
        killed = []

        def kill_once(progress):
            if progress.stage == "clip" and progress.step == 3 and not killed:
                killed.append(pool.status()["pid"])
                os.kill(killed[0], signal.SIGKILL)

        files = await pool.render(JobId("j1"), short_job(), tmp_path / "j1", kill_once)
        assert pool.status()["pid"] != killed[0]
        assert cid_of(files.directory) == reference[1]
        # The first one is encoded while the second is computed.
        both = await asyncio.gather(
            *(pool.render(JobId(name), short_job(), tmp_path / name, ignore) for name in ("j2", "j3"))
        )
        assert [cid_of(files.directory) for files in both] == [reference[1]] * 2
    finally:
        await pool.stop()


async def test_a_worker_that_freezes_in_the_middle_is_replaced_and_the_bytes_are_the_same(data_dir, tmp_path):
    assert not (await struck_worker(tmp_path, data_dir, signal.SIGSTOP, 1)).broken
