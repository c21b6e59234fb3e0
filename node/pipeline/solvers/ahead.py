"""Step noise drawn before it is needed, while the device computes: same numbers, same order, one thread.

A Brownian increment of a whole clip takes the CPU as long as the network's step takes a fast GPU, and a
solver knows from its list of levels all that it will ask for. The thread touches the CPU alone: the solver's
own thread brings the noise to the device, so that nothing disturbs the capture of a CUDA graph.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import torch

from node.pipeline import threads
from node.pipeline.solvers.interface import StepNoise, Tensor

AHEAD = 2
"""Draws that are begun before they are asked for: one ready, one under way."""
FEW = 2**17
"""So few normals are drawn in their place: that takes half a millisecond, and so does waking a thread."""

Drawn = Callable[[], Tensor]
"""``drawn()`` returns the next noise, on the solver's device. What drawing it raised is raised here."""


@contextmanager
def normals(noise: StepNoise, x: Tensor, count: int) -> Iterator[Drawn]:
    """Draw ``count`` times ``noise.like(x)``, on the thread if ``x`` has more than a few numbers.

    Leaving the ``with`` ends the thread and what is not begun.
    """
    if x.numel() <= FEW:
        yield partial(noise.like, x)
        return
    draw = partial(noise.like, _on_cpu(x))
    with _ahead((draw for _ in range(count)), x.device) as drawn:
        yield drawn


@contextmanager
def increments(
    noise: StepNoise, x: Tensor, queries: Iterable[tuple[Tensor, Tensor]], low: Tensor, high: Tensor
) -> Iterator[Drawn]:
    """Draw ``noise.brownian(x, low, high)`` between both levels of each query, all of them on the CPU.

    Leaving the ``with`` ends the thread and what is not begun.
    """
    between = noise.brownian(_on_cpu(x), low, high)
    with _ahead((partial(between, a, b) for a, b in queries), x.device) as drawn:
        yield drawn


@contextmanager
def _ahead(draws: Iterable[Drawn], device: torch.device) -> Iterator[Drawn]:
    # One thread runs what it is given one after the other, in the order given.
    thread = ThreadPoolExecutor(1, thread_name_prefix="noise", initializer=threads.settings())
    try:
        yield _Ahead(thread, draws, device)
    finally:
        # At most the one draw that is under way is waited for.
        thread.shutdown(cancel_futures=True)


class _Ahead:
    def __init__(self, thread: ThreadPoolExecutor, draws: Iterable[Drawn], device: torch.device) -> None:
        self._thread = thread
        self._draws = iter(draws)
        self._device = device
        # Tensors of another mode than the solver's own would not do in its place.
        self._inference = torch.is_inference_mode_enabled()
        self._begun: deque[Future[Tensor]] = deque()
        for _ in range(AHEAD):
            self._begin()

    def __call__(self) -> Tensor:
        noise = self._begun.popleft().result()
        self._begin()
        return noise.to(self._device)

    def _begin(self) -> None:
        draw = next(self._draws, None)
        if draw is not None:
            self._begun.append(self._thread.submit(self._run, draw))

    def _run(self, draw: Drawn) -> Tensor:
        with torch.inference_mode(self._inference):
            return draw()


def _on_cpu(x: Tensor) -> Tensor:
    """Return a tensor on the CPU that shows the noise which shape and type are wanted; it has no values."""
    return torch.empty(x.shape, dtype=x.dtype)
