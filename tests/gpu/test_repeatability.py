"""The same bytes: in another process, after other jobs, with little memory left, with models taking turns."""

from dataclasses import replace

import pytest

pytestmark = pytest.mark.filterwarnings("default")  # compilers warn, and no result depends on it


def trace_of(place, cache, part="first"):
    from scripts.benchmarks.pipeline.processes import run_leg

    found = run_leg(place.document | {"part": part, "before": 10}, cache, limit_s=600)
    assert "error" not in found, found["error"]
    return found


@pytest.mark.usefixtures("inference")
def test_a_job_gives_the_same_bytes_after_other_jobs(place):
    job = place.job()
    first = job.traced(5)
    for seed in range(1, 11 if place.cuda else 4):
        other = job.run(5, seed=seed)
    assert job.traced(5) == first
    assert other.shape == (place.scale.frames, place.scale.clip_height, place.scale.clip_width, 3)
    # Hashes that could not differ would prove nothing.
    evaluations = [value for name, value in first.items() if "evaluation" in name]
    assert len(set(evaluations)) == len(evaluations) == 10


@pytest.mark.usefixtures("inference")
def test_another_seed_gives_other_bytes(place):
    from scripts.benchmarks.pipeline.measuring import digest

    job = place.job()
    assert digest(job.run(5, seed=1)) != digest(job.run(5, seed=2))


@pytest.mark.usefixtures("inference")
def test_models_that_take_turns_give_the_bytes_of_models_that_stay(place):
    from node.pipeline.residency import of_models

    job = place.job()
    resident = job.traced(5)
    turns = of_models(job.models, replace(job.profile, residency="swapped"))
    entered = []
    job.enter = lambda name: (entered.append(name), turns.use(name))
    assert job.traced(5) == resident
    assert job.traced(5) == resident
    assert entered == ["still", "clip"] * 2
    assert turns.present == ("clip",)


@pytest.mark.gpu
@pytest.mark.slow
def test_two_processes_with_empty_compiler_caches_give_the_same_bytes(card, tmp_path):
    one = trace_of(card, tmp_path / "one")
    two = trace_of(card, tmp_path / "two")
    assert any((tmp_path / "two").rglob("*.py")), "nothing was compiled"
    assert one["trace"] == two["trace"]


@pytest.mark.gpu
@pytest.mark.slow
def test_a_card_that_is_nearly_full_gives_the_bytes_of_an_empty_one(card, tmp_path):
    empty = trace_of(card, tmp_path)
    full = trace_of(card, tmp_path, "memory ballast")
    assert full["left_gb"] < 6
    assert full["trace"] == empty["trace"]


@pytest.mark.usefixtures("inference")
@pytest.mark.gpu
@pytest.mark.slow
def test_compiled_and_eager_are_two_classes_and_both_repeat(card):
    from node.job.manifest import class_name
    from node.pipeline import determinism

    names = set()
    for kernels in ("eager", "compiled"):
        job = card.job()
        job.profile = replace(job.profile, kernels=kernels)
        job.models.still_unet.kernels = job.models.clip_unet.kernels = kernels
        assert job.traced(5) == job.traced(5)
        names.add(class_name(determinism.class_parts(job.profile, {})))
    assert len(names) == 2
