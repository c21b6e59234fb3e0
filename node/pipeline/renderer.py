"""One job from its spec to its result directory, stage by stage, with progress.

Owns the order of stages and their names; each stage's computing is in ``still``, ``clip`` and ``encoding``.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import torch

from node.job import stages
from node.job.manifest import Manifest, OutputFile, class_name, digest
from node.job.modules import NEWEST
from node.job.spec import JobSpec, parse_inputs
from node.pipeline import clip, determinism, memory, pixels, results, still, toy
from node.pipeline.clip_order import ClipOrder, WriteClip
from node.pipeline.containers import Frames
from node.pipeline.encoding import Encoders
from node.pipeline.meter import Meter, OnProgress
from node.pipeline.models import Models, load_models
from node.pipeline.profiles import Profile
from node.pipeline.residency import Residency, SetName, of_models
from node.pipeline.stages import StageStore

Computed = TypeVar("Computed")


class Renderer:
    """The loaded pipeline of one profile in this process."""

    def __init__(self, profile: Profile, models: Models, weights: dict[str, str]) -> None:
        self._profile = profile
        self.models = models
        self._residency = of_models(models, profile)
        self._weights = weights
        self.class_parts = determinism.class_parts(profile, weights)
        self.determinism_class = class_name(self.class_parts)

    @classmethod
    def load(cls, profile: Profile, data_dir: Path) -> "Renderer":
        """Load the profile's models, making the toy ones if they are not there.

        Raises Fatal if the models or the device are missing, OutOfMemory if the device has too little.
        """
        memory.require_device(profile)
        determinism.configure(profile)
        directory = profile.directory(data_dir)
        if profile.made_here:
            toy.ensure(directory)
        with memory.stage("loading models", profile):
            models = load_models(profile, directory)
            renderer = cls(profile, models, determinism.weights_hashes(directory))
        if profile.device == "cuda":
            renderer.warm_up()
        return renderer

    def warm_up(self) -> None:
        """Render a small job and forget it: what is compiled or planned on first use is there afterwards.

        It also shows that the device computes. Raises what ``render`` raises.
        """
        steps = {tunable: str(low) for tunable, low in (("Steps", 5), ("VideoSteps", 5))}
        with tempfile.TemporaryDirectory(prefix="sdv-warm-up-") as folder:
            self.render(parse_inputs(NEWEST.canonical, steps), Path(folder), lambda _: None)

    def render(self, spec: JobSpec, job_dir: Path, on_progress: OnProgress) -> results.Finished:
        """Compute what is missing of the job and return its result directory.

        The same bytes come out whether or not earlier stages were found on disk. Stills are told as artifacts
        of the progress as soon as their files exist. ``on_progress`` is called from several threads, one at a
        time. Raises JobFailed if the spec cannot be computed, OutOfMemory if the device has too little memory
        for it, OSError if the disk fails, Fatal if this process can no longer give the class's bytes.
        """
        return self.start(spec, job_dir, on_progress)()

    def start(
        self, spec: JobSpec, job_dir: Path, on_progress: OnProgress, write_clip: WriteClip | None = None
    ) -> Callable[[], results.Finished]:
        """Compute what needs the device, and return what does the rest, in whatever thread it is called.

        ``write_clip`` encodes clips elsewhere instead of on threads of this process, to the same bytes. Both
        halves together do and raise what ``render`` does. The rest must be called once.
        """
        finished = results.read_result(job_dir, spec)
        if finished is not None:
            return lambda: finished
        key = digest([spec.to_json(), self.determinism_class])
        determinism.check(self._profile)
        memory.require(self._profile)
        store = StageStore(job_dir / results.WORK, key)
        meter, encoders = Meter(spec, on_progress), Encoders()
        run = _Run(
            self.models, self._residency, self._profile, spec, job_dir, store, meter, encoders, write_clip
        )
        try:
            with torch.inference_mode(), memory.stage("encode", self._profile):
                written = run.compute()
        except BaseException:
            encoders.close()
            raise
        return partial(self._finish, run, written)

    def _finish(self, run: "_Run", written: "_Written") -> results.Finished:
        spec, store, job_dir = run.spec, run.store, run.job_dir
        with memory.stage("encode", self._profile), run.encoders:
            files = written()
        outputs = [output for _, output in files]
        manifest = Manifest(
            module=spec.module,
            profile=self._profile.name,
            inputs=spec.tunables(),
            notes=spec.notes,
            determinism_class=self.determinism_class,
            class_parts=self.class_parts,
            weights=self._weights,
            # Sorted, because stages of two clips may become durable in either order.
            stages=dict(sorted(store.hashes.items())),
            outputs=tuple(outputs),
        )
        sources = {output.path: store.folder(stage) / output.path for stage, output in files}
        results.write_result(job_dir, spec, manifest, sources)
        # The result has every file; what is left are tensors of a job that needs no resuming.
        shutil.rmtree(job_dir / results.WORK, ignore_errors=True)
        return results.Finished(
            job_dir / results.RESULT, tuple(output.path for output in outputs), self.determinism_class
        )


_Written = Callable[[], list[tuple[str, OutputFile]]]


@dataclass(frozen=True, slots=True)
class _Run:
    """One job while it is computed."""

    models: Models
    residency: Residency
    profile: Profile
    spec: JobSpec
    job_dir: Path
    store: StageStore
    meter: Meter
    encoders: Encoders
    write_clip: WriteClip | None

    def compute(self) -> _Written:
        """Do what needs the device; return what waits for every file and tells which stage holds it."""
        stills = self._stills()
        shown = [
            self.encoders.start(self._keep_still, index + 1, pixels.to_uint8(image).numpy())
            for index, image in enumerate(stills)
        ]
        clips = []
        for index in range(len(stills)):
            clips.append(self.encoders.start(self._keep_clip, index + 1, self._frames(stills, index)))
            self.encoders.check()
        return partial(self._written, shown, clips)

    def _written(
        self, stills: Sequence[Future[list[OutputFile]]], clips: Sequence[Future[list[OutputFile]]]
    ) -> list[tuple[str, OutputFile]]:
        """Wait for the files and return them in the manifest's order."""
        step = self.meter.encode()
        written: list[tuple[str, OutputFile]] = []
        for number, (still_files, clip_files) in enumerate(zip(stills, clips, strict=True), 1):
            written.extend((_still_stage(number), output) for output in still_files.result())
            written.extend((_clip_stage(number), output) for output in clip_files.result())
            step(number, len(clips))
        return written

    def _stills(self) -> torch.Tensor:
        """Return all stills of the job, [B, H, W, 3] float32 in [0, 1] on the CPU."""
        prompts = cache(
            self._on_device("still", "still", partial(still.conditioning, self.models, self.spec))
        )
        self.store.digest(stages.TEXT_CONDITIONING, lambda: prompts().parts())
        callback = self.meter.still()

        def sample() -> torch.Tensor:
            return still.sample_latents(self.models, self.profile, self.spec, prompts(), callback)

        latents = self.store.tensor(stages.STILL_LATENTS, self._on_device("still", "still", sample))
        step = self.meter.still_decode()
        decode = partial(still.decode, self.models, latents)
        stills = self.store.tensor(stages.STILLS, self._on_device("still", "still decode", decode))
        step(1, 1)
        if len(stills) > 1:
            # The captured step of a larger batch holds gigabytes that the clips may need.
            self.models.still_unet.release()
        return stills

    def _frames(self, stills: torch.Tensor, index: int) -> torch.Tensor:
        """Return the frames of the clip of still ``index``, [F, H, W, 3] uint8 on the CPU.

        The thread that encodes them makes them durable: the device need not wait for the disk.
        """
        step = self.meter.clip()
        condition = partial(clip.conditioning, self.models, self.profile, self.spec, stills, index)
        conditioned = cache(self._on_device("clip", "clip", condition))
        self.store.digest(stages.video_conditioning(index + 1), lambda: conditioned().parts())

        def sample() -> torch.Tensor:
            return clip.sample_latents(self.models, self.profile, self.spec, conditioned(), step)

        latents = self.store.tensor(stages.video_latents(index + 1), self._on_device("clip", "clip", sample))
        decoded = self.meter.clip_decode()
        frames = self.store.find(stages.frames(index + 1))
        if frames is None:
            decode = partial(clip.decode, self.models, latents)
            frames = self._on_device("clip", "clip decode", decode)().cpu().contiguous()
        decoded(1, 1)
        return frames

    def _on_device(
        self, models: SetName, stage: str, compute: Callable[[], Computed]
    ) -> Callable[[], Computed]:
        """Return ``compute`` with its models brought to the device and its errors of memory named."""

        def computed() -> Computed:
            with memory.stage(stage, self.profile):
                self.residency.use(models)
                return compute()

        return computed

    def _keep_still(self, number: int, image: Frames) -> list[OutputFile]:
        stage = _still_stage(number)
        written = self.store.files(stage, partial(self.encoders.write_still, number, image))
        for output in written:
            path = self.store.folder(stage) / output.path
            self.meter.artifact(path.relative_to(self.job_dir).as_posix())
        return written

    def _keep_clip(self, number: int, frames: torch.Tensor) -> list[OutputFile]:
        if stages.frames(number) not in self.store.hashes:
            self.store.keep(stages.frames(number), frames)
        return self.store.files(_clip_stage(number), partial(self._encode, number, frames))

    def _encode(self, number: int, frames: torch.Tensor, folder: Path) -> list[str]:
        framerate, with_frames = self.spec.framerate, self.spec.frames == "png"
        if self.write_clip is None:
            return self.encoders.write_clip(
                number, frames.numpy(), framerate, folder, with_frames=with_frames
            )
        kept = self.store.tensor_path(stages.frames(number))
        return self.write_clip(ClipOrder(number, kept, framerate, folder, with_frames))


def _still_stage(number: int) -> str:
    return f"still_{number:05}"


def _clip_stage(number: int) -> str:
    return f"encoded_{number:05}"
