"""A step compiles as one graph, never falls back, and says in words what is missing."""

import pytest
import torch
from torch._dynamo.utils import counters

from node.errors import Fatal, Misconfigured
from node.pipeline.acceleration import compilation
from node.pipeline.acceleration.compilation import INDUCTOR, Runner, require_toolchain
from node.pipeline.acceleration.constants import Binding
from node.pipeline.acceleration.unets import prepare_clip_unet, prepare_still_unet


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def bind_still(unet, tokens=77):
    ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)
    Binding(unet, context=drawn(2, tokens, 64), text_embeds=drawn(2, 32), time_ids=ids)


def prepared(make, prepare):
    unet = make(torch.float32)
    prepare(unet)
    return unet


def test_the_still_unet_is_one_graph_with_the_numbers_of_the_eager_one(stock_still, difference):
    unet = prepared(stock_still, prepare_still_unet)
    bind_still(unet)
    x, time = drawn(2, 4, 8, 8), torch.full((2,), 30.0)
    expected = unet(x, time)[0]
    told = []
    runner = Runner(unet, "compiled", told.append, backend="eager")
    assert difference(runner(x, time, return_dict=False)[0], expected) < 1e-5
    assert counters["stats"]["unique_graphs"] == 1
    assert told == ["compiling StillUNet for shapes 2x4x8x8_2_2x77, once per start of the worker"]


def test_the_clip_unet_is_one_graph_with_the_numbers_of_the_eager_one(stock_clip, difference):
    unet = prepared(stock_clip, prepare_clip_unet)
    ids = torch.tensor([[5.0, 127.0, 0.0]])
    Binding(unet, context=drawn(2, 1, 32), added_time_ids=ids, frames=3)
    x, time = drawn(2, 3, 8, 8, 6), torch.tensor(0.4)
    expected = unet(x, time)[0]
    runner = Runner(unet, "compiled", backend="eager")
    assert difference(runner(x, time)[0], expected) < 1e-5
    assert counters["stats"]["unique_graphs"] == 1


def test_compiled_steps_read_the_constants_of_the_job_that_is_bound(stock_still, difference):
    unet = prepared(stock_still, prepare_still_unet)
    runner = Runner(unet, "compiled", backend="eager")
    x, time = drawn(2, 4, 8, 8), torch.full((2,), 30.0)
    results = []
    for seed in (3, 4):
        Binding(
            unet,
            context=drawn(2, 77, 64, seed=seed),
            text_embeds=drawn(2, 32, seed=seed),
            time_ids=torch.zeros(2, 6),
        )
        results.append(runner(x, time)[0])
        assert difference(results[-1], unet(x, time)[0]) < 1e-5
    assert not torch.equal(*results)
    assert counters["stats"]["unique_graphs"] == 1


class Tripler(torch.nn.Module):
    """Stands for a prepared network where only the number of shapes matters."""

    captured = False
    lengths = ()

    def forward(self, x, time):
        return (3 * x + time,)


def test_no_number_of_shapes_uses_up_a_limit(monkeypatch):
    monkeypatch.setattr(compilation, "StillUNet", Tripler)
    told = []
    runner = Runner(Tripler(), "compiled", told.append, backend="eager")
    limit = torch._dynamo.config.recompile_limit
    for size in range(2, 2 * limit + 3):
        assert torch.equal(runner(torch.ones(size, 2), torch.tensor(1.0))[0], torch.full((size, 2), 4.0))
    assert len(told) == 2 * limit + 1
    # The latest shapes are kept, the oldest are compiled again.
    runner(torch.ones(2 * limit + 2, 2), torch.tensor(1.0))
    assert len(told) == 2 * limit + 1
    runner(torch.ones(2, 2), torch.tensor(1.0))
    assert len(told) == 2 * limit + 2


class Broken(Tripler):
    def forward(self, x, time):
        torch._dynamo.graph_break()
        return (3 * x + time,)


def test_a_step_that_is_not_one_graph_is_an_error_and_never_run_in_pieces(monkeypatch):
    monkeypatch.setattr(compilation, "StillUNet", Broken)
    runner = Runner(Broken(), "compiled", backend="eager")
    with pytest.raises(Fatal, match=r'cannot be compiled: .* or set kernels = "eager" for the profile'):
        runner(torch.ones(2, 2), torch.tensor(1.0))


# Inductor's import uses a part of torch that torch itself gave up.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_inductor_compiles_with_every_choice_that_timing_could_make_switched_off():
    options = torch.compile(lambda x: x, options=INDUCTOR)  # refuses unknown names
    assert options is not None
    assert INDUCTOR["deterministic"] is True
    assert not any(value for name, value in INDUCTOR.items() if name != "deterministic")


def test_eager_kernels_pass_every_argument_on():
    def network(*arguments, **named):
        return arguments, named

    x, time = torch.ones(1), torch.ones(1)
    assert Runner(network, "eager")(x, time, 5, extra=6, return_dict=False) == (
        (x, time, 5),
        {"extra": 6, "return_dict": False},
    )


def test_what_cannot_be_compiled_is_refused_at_once(stock_still):
    with pytest.raises(ValueError, match="kernels are eager or compiled, not 'fast'"):
        Runner(stock_still(torch.float32), "fast")
    with pytest.raises(ValueError, match="only a prepared UNet is compiled, not UNet2DConditionModel"):
        Runner(stock_still(torch.float32), "compiled")


def test_a_compiled_step_takes_no_conditioning(stock_still):
    runner = Runner(prepared(stock_still, prepare_still_unet), "compiled", backend="eager")
    with pytest.raises(ValueError, match="a sample and a timestep alone"):
        runner(drawn(2, 4, 8, 8), torch.tensor(1.0), drawn(2, 77, 64))
    with pytest.raises(ValueError, match="a sample and a timestep alone"):
        runner(drawn(2, 4, 8, 8), torch.tensor(1.0), return_dict=True)


@pytest.mark.parametrize(("device", "variable"), [("cpu", "CXX"), ("cuda", "CC")])
def test_a_missing_compiler_is_named_with_the_remedy(monkeypatch, tmp_path, device, variable):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(Misconfigured, match=r'install gcc, or set kernels = "eager" for the profile'):
        require_toolchain(device)
    monkeypatch.setenv(variable, "nocc")
    with pytest.raises(Misconfigured, match=f"{variable} names 'nocc', which is not there"):
        require_toolchain(device)


def test_missing_headers_of_python_are_named_with_the_remedy(monkeypatch, tmp_path):
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(compilation.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(Misconfigured, match=r"Python\.h is missing: install python3-dev"):
        require_toolchain("cpu")
