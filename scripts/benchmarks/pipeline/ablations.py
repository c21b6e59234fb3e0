"""Each technique alone: a network's call before and after it, on equal weights and the same inputs.

The eager ones show what a rewrite does by itself; the last ones of each network what compiling, the graph and
the attention kernel add to all rewrites together.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from diffusers.models.attention import BasicTransformerBlock, TemporalBasicTransformerBlock
from diffusers.models.resnet import TemporalResnetBlock
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from node.pipeline.acceleration.attention import SelfAttention, SingleTokenAttention, TextAttention
from node.pipeline.acceleration.convolution import TemporalConvolution, to_channels_last
from scripts.benchmarks.pipeline import own
from scripts.benchmarks.pipeline.child import Request
from scripts.benchmarks.pipeline.measuring import Clock, difference, in_turns, release, summary
from scripts.benchmarks.pipeline.networks import build, clip_inputs, still_inputs

Tensor = torch.Tensor
Call = Callable[[], Tensor]


class Technique(NamedTuple):
    """How to make the call without it and the call with it; ``cuda`` says that it exists on a GPU only."""

    before: Callable[[], Call]
    after: Callable[[], Call]
    cuda: bool = False


def run(request: Request, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return before and after of every technique that was asked for."""
    clock = Clock(request.device)
    found: dict[str, Any] = {"rewrites": {}}
    for name, technique in techniques(request).items():
        if request.rewrites is not None and name not in request.rewrites:
            continue
        if technique.cuda and not request.cuda:
            continue
        figures = found["rewrites"][name] = {}
        try:
            figures |= _measure(technique, clock, request.rounds)
        except (RuntimeError, ValueError) as error:
            figures["error"] = f"{type(error).__name__}: {str(error)[:200]}"
        release(request.device)
        keep(found)
    return found


def _measure(technique: Technique, clock: Clock, rounds: int) -> dict[str, Any]:
    calls = {"before": technique.before(), "after": technique.after()}
    outputs = {}
    for name, call in calls.items():
        call()
        outputs[name] = call().clone()
    turns = {name: lambda call=call: [clock.time_ms(call) for _ in range(2)] for name, call in calls.items()}
    figures: dict[str, Any] = {name: summary(times) for name, times in in_turns(turns, rounds).items()}
    return figures | {"difference": difference(outputs["before"], outputs["after"])}


def techniques(request: Request) -> dict[str, Technique]:
    """Return every technique by its name, SVD's first, in the order of the gain that was predicted."""
    clip, still = _Clip(request), _Still(request)
    return {
        "svd: channels-last weights": Technique(clip.stock, clip.stock_with(to_channels_last)),
        "svd: convolution over time as conv2d": Technique(clip.stock, clip.stock_with(_convolve_over_time)),
        "svd: one-token context as a constant": Technique(clip.stock, clip.with_constant_context),
        "svd: fused query, key and value": Technique(clip.stock, clip.stock_with(_fuse_projections)),
        "svd: guided passes in one batch": Technique(clip.halves, clip.stock),
        "svd: all rewrites, frames outermost": Technique(clip.stock, clip.rewritten("eager")),
        "svd: compiled, after all rewrites": Technique(
            clip.rewritten("eager"), clip.rewritten("compiled"), cuda=True
        ),
        "svd: step as a CUDA graph": Technique(
            clip.rewritten("compiled"), clip.rewritten("compiled", captured=True), cuda=True
        ),
        "svd: cuDNN attention instead of flash": Technique(
            _with_attention(clip.rewritten("eager"), SDPBackend.FLASH_ATTENTION),
            _with_attention(clip.rewritten("eager"), SDPBackend.CUDNN_ATTENTION),
            cuda=True,
        ),
        "sdxl: channels-last weights": Technique(still.stock, still.stock_with(to_channels_last)),
        "sdxl: fused query, key and value": Technique(still.stock, still.stock_with(_fuse_projections)),
        "sdxl: keys and values of the text computed once": Technique(still.stock, still.with_bound_text),
        "sdxl: guided passes in one batch": Technique(still.halves, still.stock),
        "sdxl: all rewrites": Technique(still.stock, still.rewritten("eager")),
        "sdxl: compiled, after all rewrites": Technique(
            still.rewritten("eager"), still.rewritten("compiled", captured=False), cuda=True
        ),
        "sdxl: step as a CUDA graph": Technique(
            still.rewritten("compiled", captured=False), still.rewritten("compiled"), cuda=True
        ),
    }


class _Stock(ABC):
    """A stock network, plain and with one change; what it is built of is its subclass's."""

    def __init__(self, request: Request) -> None:
        self._request = request

    @abstractmethod
    def _build(self) -> tuple[Any, tuple[Any, ...], dict[str, Any]]: ...

    def stock(self) -> Call:
        unet, arguments, keywords = self._build()
        return lambda: unet(*arguments, **keywords)[0]

    def stock_with(self, change: Callable[[Any], None]) -> Callable[[], Call]:
        def make() -> Call:
            unet, arguments, keywords = self._build()
            change(unet)
            return lambda: unet(*arguments, **keywords)[0]

        return make


class _Clip(_Stock):
    """SVD's network in its variants."""

    def _build(self) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        request = self._request
        unet = build(request.scale, "clip/unet", request.device, request.dtype)
        return unet, *clip_inputs(request.scale, unet)

    def with_constant_context(self) -> Call:
        unet, arguments, keywords = self._build()
        with torch.inference_mode(mode=False), torch.no_grad():
            for block in _blocks(unet):
                block.attn2, block.norm2 = _ConstantContext(block.attn2, arguments[2]), nn.Identity()
        return lambda: unet(*arguments, **keywords)[0]

    def halves(self) -> Call:
        unet, (sample, time, context, ids), keywords = self._build()
        return lambda: torch.cat(
            [unet(sample[i : i + 1], time, context[i : i + 1], ids[i : i + 1], **keywords)[0] for i in (0, 1)]
        )

    def rewritten(self, kernels: str, *, captured: bool = False) -> Callable[[], Call]:
        def make() -> Call:
            request = self._request
            network = own.clip_network(request.scale, request.device, request.dtype, kernels)
            network.unet.captured = captured
            arguments, _ = clip_inputs(request.scale, network.unet)
            return own.clip_call(network, arguments, request.scale.frames)

        return make


class _Still(_Stock):
    """SDXL's network in its variants."""

    def _build(self) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        request = self._request
        unet = build(request.scale, "still/unet", request.device, request.dtype)
        return unet, *still_inputs(request.scale, unet)

    def with_bound_text(self) -> Call:
        unet, arguments, keywords = self._build()
        with torch.inference_mode(mode=False), torch.no_grad():
            for block in _blocks(unet):
                block.attn2 = _BoundText(block.attn2, arguments[2])
        return lambda: unet(*arguments, **keywords)[0]

    def halves(self) -> Call:
        unet, (sample, time, context), keywords = self._build()
        extra = keywords["added_cond_kwargs"]

        def one(row: slice) -> Tensor:
            added = {name: value[row] for name, value in extra.items()}
            output: Tensor = unet(
                sample[row], time[row], context[row], added_cond_kwargs=added, return_dict=False
            )[0]
            return output

        return lambda: torch.cat([one(slice(0, 1)), one(slice(1, 2))])

    def rewritten(self, kernels: str, *, captured: bool = True) -> Callable[[], Call]:
        def make() -> Call:
            request = self._request
            network = own.still_network(request.scale, request.device, request.dtype, kernels)
            network.unet.captured = captured
            return own.still_call(network, *still_inputs(request.scale, network.unet))

        return make


class _ConstantContext(nn.Module):
    """The one-token attention in the place of a stock layer: it answers whatever it is asked."""

    def __init__(self, layer: Any, context: Tensor) -> None:
        super().__init__()
        self.layer = SingleTokenAttention(layer)
        self.layer.bind(context)

    def forward(self, x: Tensor, **_context: Any) -> Tensor:
        """Return each clip's constant for its rows; all rows of a clip follow one another."""
        constant: Tensor = self.layer()
        return constant.repeat_interleave(x.shape[0] // constant.shape[0], dim=0)


class _BoundText(nn.Module):
    """The attention to a bound text in the place of a stock layer, which is told of the text again."""

    def __init__(self, layer: Any, context: Tensor) -> None:
        super().__init__()
        self.layer = TextAttention(layer)
        self.layer.bind(context)

    def forward(self, x: Tensor, **_context: Any) -> Tensor:
        """Attend to the text that is bound."""
        attended: Tensor = self.layer(x)
        return attended


def _blocks(unet: nn.Module) -> list[Any]:
    kinds = (BasicTransformerBlock, TemporalBasicTransformerBlock)
    return [layer for layer in unet.modules() if isinstance(layer, kinds)]


def _fuse_projections(unet: nn.Module) -> None:
    with torch.inference_mode(mode=False), torch.no_grad():
        for block in _blocks(unet):
            block.attn1 = SelfAttention(block.attn1)


def _convolve_over_time(unet: nn.Module) -> None:
    with torch.inference_mode(mode=False), torch.no_grad():
        for block in [layer for layer in unet.modules() if isinstance(layer, TemporalResnetBlock)]:
            block.conv1, block.conv2 = TemporalConvolution(block.conv1), TemporalConvolution(block.conv2)


def _with_attention(make: Callable[[], Call], backend: SDPBackend) -> Callable[[], Call]:
    def made() -> Call:
        call = make()

        def chosen() -> Tensor:
            with sdpa_kernel(backend):
                return call()

        return chosen

    return made
