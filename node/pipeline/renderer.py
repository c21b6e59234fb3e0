"""One job from its spec to its result directory, stage by stage, with progress.

Owns the order of stages and their names; each stage's computing is in ``still``, ``clip`` and ``containers``.
"""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch

from node.job.progress import Progress
from node.job.spec import JobSpec
from node.pipeline import clip, containers, determinism, pixels, results, still, toy
from node.pipeline.models import Models, load_models
from node.pipeline.profiles import Profile
from node.pipeline.stages import StageStore

OnProgress = Callable[[Progress], None]
# Rough shares of a job's time, in steps of the video sampler; only the progress bar depends on them.
_STILL_STEP, _STILL_DECODE, _CLIP_DECODE, _ENCODE = 0.2, 0.5, 8.0, 4.0
_ENCODERS = 4


class _Meter:
    """Turns steps of stages into a fraction of the whole job that never falls."""

    def __init__(self, spec: JobSpec, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._done = 0.0
        per_still = _STILL_STEP * spec.steps + _STILL_DECODE
        self._whole = spec.batching * (per_still + spec.video_steps + _CLIP_DECODE + _ENCODE)

    def stage(self, name: str, share: float) -> Callable[[int, int], None]:
        """Return the callback of a stage that makes up ``share`` of the job."""
        before = self._done
        self._done += share

        def step(done: int, steps: int) -> None:
            fraction = min(1.0, (before + share * done / steps) / self._whole)
            self._on_progress(Progress(name, done, steps, fraction))

        return step


class Renderer:
    """The loaded pipeline of one profile in this process."""

    def __init__(self, profile: Profile, models: Models, weights: dict[str, str]) -> None:
        self._profile = profile
        self.models = models
        self._weights = weights
        self.class_parts = determinism.class_parts(profile, weights)
        self.determinism_class = determinism.class_name(self.class_parts)

    @classmethod
    def load(cls, profile: Profile, data_dir: Path) -> "Renderer":
        """Load the profile's models, making the toy ones if they are not there.

        Raises Fatal if the models or the device are missing.
        """
        determinism.configure(profile)
        directory = profile.directory(data_dir)
        if profile.made_here:
            toy.ensure(directory)
        return cls(profile, load_models(profile, directory), determinism.weights_hashes(directory))

    def render(self, spec: JobSpec, job_dir: Path, on_progress: OnProgress) -> results.Finished:
        """Compute what is missing of the job and return its result directory.

        The same bytes come out whether or not earlier stages were found on disk. Raises JobFailed if the
        spec cannot be computed, OSError if the disk fails.
        """
        finished = results.read_result(job_dir, spec)
        if finished is not None:
            return finished
        key = determinism.digest([spec.to_json(), self.determinism_class])
        store = StageStore(job_dir / results.WORK, key)
        with torch.inference_mode():
            outputs, sources = self._outputs(spec, store, _Meter(spec, on_progress))
        document = results.manifest(
            spec,
            profile=self._profile.name,
            determinism_class=self.determinism_class,
            class_parts=self.class_parts,
            weights=self._weights,
            stages=store.hashes,
            outputs=outputs,
        )
        results.write_result(job_dir, spec, document, sources)
        # The result has every file; what is left are tensors of a job that needs no resuming.
        shutil.rmtree(job_dir / results.WORK, ignore_errors=True)
        return results.Finished(
            job_dir / results.RESULT, tuple(output.path for output in outputs), self.determinism_class
        )

    def _outputs(
        self, spec: JobSpec, store: StageStore, meter: _Meter
    ) -> tuple[list[results.OutputFile], dict[str, Path]]:
        models, profile, batch = self.models, self._profile, spec.batching
        step = meter.stage("still", _STILL_STEP * spec.steps * batch)
        latents = store.tensor("still_latents", partial(still.sample_latents, models, profile, spec, step))
        step = meter.stage("still decode", _STILL_DECODE * batch)
        stills = store.tensor("stills", partial(still.decode, models, latents))
        step(1, 1)
        outputs: list[results.OutputFile] = []
        sources: dict[str, Path] = {}
        for index in range(batch):
            frames = self._frames(spec, store, meter, stills, index)
            step = meter.stage("encode", _ENCODE)
            stage = f"encoded_{index + 1:05}"
            encode = partial(_encode, index + 1, pixels.to_uint8(stills[index]), frames, spec.framerate)
            written = store.files(stage, encode)
            outputs.extend(written)
            sources.update({output.path: store.folder(stage) / output.path for output in written})
            step(1, 1)
        return outputs, sources

    def _frames(
        self, spec: JobSpec, store: StageStore, meter: _Meter, stills: torch.Tensor, index: int
    ) -> torch.Tensor:
        """Return the frames of the clip of still ``index``, [F, H, W, 3] uint8."""
        step = meter.stage("clip", float(spec.video_steps))
        latents = store.tensor(
            f"video_latents_{index + 1:05}",
            partial(clip.sample_latents, self.models, self._profile, spec, stills, index, step),
        )
        step = meter.stage("clip decode", _CLIP_DECODE)
        frames = store.tensor(f"frames_{index + 1:05}", partial(clip.decode, self.models, latents))
        step(1, 1)
        return frames


def _encode(
    number: int, image: torch.Tensor, frames: torch.Tensor, framerate: int, folder: Path
) -> list[str]:
    """Write everything that is delivered of one still into ``folder`` and return the paths."""
    pictures = frames.numpy()
    frame_paths = [results.frame_path(number, frame) for frame in range(1, len(pictures) + 1)]
    (folder / frame_paths[0]).parent.mkdir(parents=True)
    videos = {suffix: results.video_path(number, suffix) for suffix in ("png", "webp", "mp4")}
    still_path = results.image_path(number)
    # The encoders let go of the interpreter's lock; each file is one encoder's work, whatever the order.
    with ThreadPoolExecutor(max_workers=_ENCODERS) as pool:
        tasks = [
            pool.submit(containers.write_webp, folder / videos["webp"], pictures, framerate),
            pool.submit(containers.write_apng, folder / videos["png"], pictures, framerate),
            pool.submit(containers.write_mp4, folder / videos["mp4"], pictures, framerate),
            pool.submit(containers.write_png, folder / still_path, image.numpy()),
            *(
                pool.submit(containers.write_png, folder / path, picture)
                for path, picture in zip(frame_paths, pictures, strict=True)
            ),
        ]
        for task in tasks:
            task.result()
    return [still_path, *videos.values(), *frame_paths]
