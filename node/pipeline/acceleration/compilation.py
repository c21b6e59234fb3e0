"""How a UNet's step is executed: as it is, or compiled and, on a GPU, replayed as one captured graph.

Compiling is torch.compile with Inductor in its deterministic mode: no kernel whose choice can change a bit is
chosen by timing it (docs, performance 3.3). Nothing falls back: what cannot be compiled is an error.
"""

import logging
import os
import shutil
import sysconfig
import types
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.exc import TorchDynamoException
from torch.utils._triton import has_triton

from node.errors import Fatal, Misconfigured
from node.pipeline.acceleration.convolution import to_channels_last
from node.pipeline.acceleration.unets import ClipUNet, StillUNet

Tensor = torch.Tensor
Step = Callable[[Tensor, Tensor], Tensor]
Notice = Callable[[str], None]
KERNELS = ("eager", "compiled")
INDUCTOR: dict[str, Any] = {
    "deterministic": True,
    "max_autotune": False,
    "max_autotune_pointwise": False,
    "max_autotune_gemm": False,
    "coordinate_descent_tuning": False,
    "benchmark_fusion": False,
    "benchmark_epilogue_fusion": False,
    "autotune_remote_cache": False,
    "triton.cudagraphs": False,
    "triton.multi_kernel": 0,
}
"""Inductor's switches, all of them named so that no environment variable can turn another one on."""
_KEPT_STEPS = 16
_KEPT_GRAPHS = 4
_REMEDY = 'or set kernels = "eager" for the profile'
_log = logging.getLogger(__name__)


class Runner:
    """Calls a UNet with the arguments it takes and returns a tuple of one tensor, the caller's to keep.

    ``kernels`` is "eager" or "compiled". Compiled, the network must be a prepared one; each new combination
    of shapes is compiled once per process, which takes a minute or more for the real networks and is told to
    ``notice`` before it begins. A ``backend`` of torch.compile other than Inductor only traces: for tests.

    Raises ValueError for unknown kernels or an unprepared network.
    """

    def __init__(
        self, unet: Any, kernels: str, notice: Notice = _log.info, *, backend: str = "inductor"
    ) -> None:
        if kernels not in KERNELS:
            raise ValueError(f"kernels are {' or '.join(KERNELS)}, not {kernels!r}")
        self.unet = unet
        self.kernels = kernels
        self.notice = notice
        self._backend = backend
        self._steps: OrderedDict[object, Step] = OrderedDict()
        self._graphs: OrderedDict[object, _Graph] = OrderedDict()
        self._addresses: object = None
        self._pool: Any = None
        self._side: Any = None
        if kernels == "compiled":
            if not isinstance(unet, StillUNet | ClipUNet):
                raise ValueError(f"only a prepared UNet is compiled, not {type(unet).__name__}")
            to_channels_last(unet)

    @property
    def dtype(self) -> torch.dtype:
        """The type the network computes in."""
        dtype: torch.dtype = self.unet.dtype
        return dtype

    def __call__(self, sample: Tensor, timestep: Tensor, *arguments: Any, **named: Any) -> tuple[Tensor, ...]:
        """Return the network's output for ``sample`` and ``timestep``.

        Raises Fatal if the step cannot be compiled, Misconfigured if what compiling needs is missing.
        """
        if self.kernels == "eager":
            output: tuple[Tensor, ...] = self.unet(sample, timestep, *arguments, **named)
            return output
        if arguments or named.pop("return_dict", False) or named:
            raise ValueError("a compiled UNet takes a sample and a timestep alone and returns a tuple")
        # One mode for every call: compiled code is guarded by it.
        with torch.inference_mode():
            return (self._run(sample.contiguous(), timestep),)

    def release(self) -> None:
        """Drop captured graphs and their memory; call it before the network's weights leave the device."""
        self._graphs.clear()
        self._addresses = self._pool = None

    def _run(self, sample: Tensor, timestep: Tensor) -> Tensor:
        shapes = (
            tuple(sample.shape),
            tuple(timestep.shape),
            self.unet.lengths,
            sample.dtype,
            timestep.dtype,
            sample.device,
        )
        if not (self.unet.captured and sample.is_cuda):
            return self._step(shapes, sample.device.type)(sample, timestep)
        addresses = (self.unet.generation, self.unet.conv_in.weight.data_ptr())
        if addresses != self._addresses:
            self.release()
            self._addresses, self._pool = addresses, torch.cuda.graph_pool_handle()
        graph = self._graphs.get(shapes)
        if graph is None:
            if self._side is None:
                # One for all captures: cuBLAS keeps a workspace for each stream it has ever seen.
                self._side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            graph = _Graph(self._step(shapes, "cuda"), sample, timestep, self._pool, self._side)
            _remember(self._graphs, shapes, graph, _KEPT_GRAPHS)
        self._graphs.move_to_end(shapes)
        return graph(sample, timestep)

    def _step(self, shapes: tuple[Any, ...], device: str) -> Step:
        step = self._steps.get(shapes)
        if step is None:
            require_toolchain(device)
            name = "_".join("x".join(map(str, shape)) for shape in shapes[:3] if shape)
            self.notice(
                f"compiling {type(self.unet).__name__} for shapes {name}, once per start of the worker"
            )
            step = _told(_compile(self.unet, name, self._backend))
            _remember(self._steps, shapes, step, _KEPT_STEPS)
        self._steps.move_to_end(shapes)
        return step


class _Graph:
    """One captured step with inputs of its own; the graphs of a network share one pool of memory.

    Sharing is safe because no graph reads what another one left, and an output is copied before the next
    replay, in the order of the stream.
    """

    def __init__(self, step: Step, sample: Tensor, timestep: Tensor, pool: Any, side: Any) -> None:
        self._sample, self._timestep = sample.clone(), timestep.clone()
        # Compilation, plans and workspaces of libraries come to be outside of the capture.
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                step(self._sample, self._timestep)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, stream=side):
            self._output = step(self._sample, self._timestep)

    def __call__(self, sample: Tensor, timestep: Tensor) -> Tensor:
        """Replay the step for new inputs and return a copy of its output."""
        self._sample.copy_(sample)
        self._timestep.copy_(timestep)
        self._graph.replay()
        return self._output.clone()


def require_toolchain(device: str) -> None:
    """Raise Misconfigured if compiling for "cpu" or "cuda" lacks something, naming it and the remedy."""
    variable, usual = ("CC", ("gcc", "clang", "cc")) if device == "cuda" else ("CXX", ("g++", "clang++"))
    named = os.environ.get(variable)
    if not any(shutil.which(compiler) for compiler in ((named,) if named else usual)):
        missing = f"{variable} names {named!r}, which is not there" if named else f"there is no {usual[0]}"
        raise Misconfigured(f"compiled kernels need a C compiler and {missing}: install gcc, {_REMEDY}")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        raise Misconfigured(
            f"compiled kernels need Python's headers and {header} is missing: install python3-dev, {_REMEDY}"
        )
    if device == "cuda" and not has_triton():
        raise Misconfigured(
            f"compiled kernels need Triton for this card and it is missing: install triton, {_REMEDY}"
        )


def _compile(unet: Any, name: str, backend: str) -> Step:
    def step(sample: Tensor, timestep: Tensor) -> Tensor:
        output: Tensor = unet(sample, timestep)[0]
        return output

    # Dynamo counts recompilations per code object and stops at a limit: each combination of shapes gets its
    # own code, so that no sequence of jobs can use the limit up and forgotten code is freed.
    own = types.FunctionType(
        step.__code__.replace(co_name=f"step_{name}"), globals(), f"step_{name}", None, step.__closure__
    )
    options = INDUCTOR if backend == "inductor" else None
    compiled: Step = torch.compile(own, fullgraph=True, dynamic=False, backend=backend, options=options)
    return compiled


def _told(step: Step) -> Step:
    """Translate what the compiler raises; errors of the step itself pass."""

    def run(sample: Tensor, timestep: Tensor) -> Tensor:
        try:
            return step(sample, timestep)
        except TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise Fatal(
                f"the UNet's step cannot be compiled: {reason}: mend the compiler, {_REMEDY}"
            ) from error

    return run


def _remember(kept: "OrderedDict[object, Any]", key: object, value: object, most: int) -> None:
    while len(kept) >= most:
        kept.popitem(last=False)
    kept[key] = value
