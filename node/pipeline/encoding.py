"""Delivered files, encoded on CPU threads while the device goes on with the next clip.

Owns the threads and who waits for whom; the formats are in ``containers``. Neither the number of threads nor
the order in which they run changes a byte, and neither does the process they run in. Imports no torch.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from node.job.outputs import CLIP_SUFFIXES, frame_path, image_path, video_path
from node.pipeline import containers
from node.pipeline.containers import Frames

_MOST_THREADS = 8
_Result = TypeVar("_Result")


class Encoders:
    """Encoding threads of one job; leaving the ``with`` waits for what runs and drops what has not begun."""

    def __init__(self) -> None:
        # One processor stays with the thread that feeds the device.
        threads = max(1, min(_MOST_THREADS, len(os.sched_getaffinity(0)) - 1))
        self._frames = ThreadPoolExecutor(threads, thread_name_prefix="encode")
        # Whole clips wait in a line of their own: one that waited among its own frames could wait for ever.
        self._clips = ThreadPoolExecutor(1, thread_name_prefix="clip")
        self._tasks: list[Future[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what runs and drop what has not begun."""
        self._clips.shutdown(cancel_futures=True)
        self._frames.shutdown(cancel_futures=True)

    def start(self, task: Callable[..., _Result], *arguments: object) -> Future[_Result]:
        """Have a task run after those that were started before it."""
        future = self._clips.submit(task, *arguments)
        self._tasks.append(future)
        return future

    def check(self) -> None:
        """Raise the error of a task that has already failed, rather than at the end of the job."""
        for task in self._tasks:
            if task.done():
                task.result()

    def write_still(self, number: int, still: Frames, folder: Path) -> list[str]:
        """Write still ``number``, [H, W, 3], below ``folder`` and return its path there."""
        path = image_path(number)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        containers.write_png(folder / path, containers.deflate(still))
        return [path]

    def write_clip(
        self, number: int, clip: Frames, framerate: int, folder: Path, *, with_frames: bool
    ) -> list[str]:
        """Write clip ``number``, [F, H, W, 3], below ``folder`` in every container and return the paths.

        Raises OSError or JobFailed.
        """
        apng, webp, mp4 = (video_path(number, suffix) for suffix in CLIP_SUFFIXES)
        (folder / apng).parent.mkdir(parents=True, exist_ok=True)
        # The longest work that cannot be shared out goes first.
        film = self._frames.submit(containers.write_mp4, folder / mp4, clip, framerate)
        lossless = self._frames.map(containers.deflate, clip)
        lossy = self._frames.map(containers.vp8, clip)
        deflated = list(lossless)
        containers.write_apng(folder / apng, deflated, framerate)
        pictures = _write_frames(number, deflated, folder) if with_frames else []
        containers.write_webp(folder / webp, list(lossy), framerate)
        film.result()
        return [apng, webp, mp4, *pictures]


def _write_frames(number: int, frames: Sequence[containers.Compressed], folder: Path) -> list[str]:
    paths = [frame_path(number, frame) for frame in range(1, len(frames) + 1)]
    (folder / paths[0]).parent.mkdir(parents=True)
    for path, frame in zip(paths, frames, strict=True):
        containers.write_png(folder / path, frame)
    return paths
