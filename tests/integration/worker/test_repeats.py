"""T20 at the size of a change: drawn jobs repeat their bytes, honest results are accepted, cheats are not."""

import pytest

from tests.fakes.cheating import CHEATS
from tests.repeats import programme
from tests.repeats.jobs import CHEATED, drawn, every_pair

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def bench(small, tmp_path):
    return programme.Bench(small, tmp_path)


def test_drawn_jobs_give_the_same_bytes_again_between_and_after_others(bench):
    known = programme.repeats(bench, drawn(7, 3), 3)
    programme.after_others(bench, known, drawn(8, 3))
    assert bench.broken == []
    assert len(set(known.values())) == 3
    assert bench.runs == 3 * 3 + 3 + 3


def test_honest_results_of_drawn_jobs_are_all_accepted(bench):
    assert programme.honest(bench, drawn(9, 5)) == 5
    assert bench.broken == []


def test_every_way_to_cheat_is_found_out_with_real_models_too(bench):
    reasons = programme.cheating(bench, CHEATED)
    assert bench.broken == []
    assert reasons.keys() == CHEATS.keys()
    assert "part at still_latents" in reasons["other seed"]
    assert "part at text_conditioning" in reasons["other prompt"]
    assert "part at video_latents_00001" in reasons["fewer video steps"]
    assert "part at outputs/output_00001_.mp4" in reasons["changed byte"]
    assert "other models" in reasons["other weights"]


def test_a_renderer_that_does_not_repeat_itself_is_noticed(bench):
    render, count = bench.renderer.render, iter(range(100))

    class Unsteady:
        def render(self, spec, job_dir, on_progress):
            finished = render(spec, job_dir, on_progress)
            (finished.directory / "stdout").write_text(str(next(count)))
            return finished

    bench.renderer = Unsteady()
    programme.repeats(bench, drawn(7, 1), 2)
    assert len(bench.broken) == 1
    assert "repeat 1" in bench.broken[0]


def test_the_programme_has_every_pair_of_sampler_and_schedule_once():
    pairs = [(spec.sampler, spec.scheduler) for spec in every_pair()]
    assert len(set(pairs)) == len(pairs) == 19 * 6
    assert all((spec.video_sampler, spec.video_scheduler) in set(pairs) for spec in every_pair())
