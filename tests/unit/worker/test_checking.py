"""A worker's result is believed when it has what was promised, and the bytes its manifest says."""

import os
import shutil

import pytest

from node.errors import JobFailed
from node.publisher.unixfs import cid_of
from node.worker import checking
from node.worker.checking import BadResult, checked_result, take_over
from node.worker.fake import FakeRenderer
from tests.fakes.jobs import make_spec

SPEC = make_spec()
MP4 = "result/outputs/output_00001_.mp4"


@pytest.fixture
def job_dir(tmp_path):
    FakeRenderer("fake:0").render(SPEC, tmp_path / "j1", lambda _: None)
    return tmp_path / "j1"


def test_a_whole_result_is_believed_with_and_without_frames(tmp_path, job_dir):
    assert checked_result(job_dir, SPEC).determinism_class == FakeRenderer.determinism_class
    with_frames = make_spec("Frames=png", "Batching=2")
    rendered = FakeRenderer("fake:0").render(with_frames, tmp_path / "j2", lambda _: None)
    assert checked_result(tmp_path / "j2", with_frames) == rendered
    assert checked_result(tmp_path / "j3", SPEC) is None


def test_the_result_of_other_inputs_is_not_this_jobs(job_dir):
    with pytest.raises(JobFailed, match="other inputs"):
        checked_result(job_dir, make_spec("Seed=7"))


DAMAGE = {
    "another byte": lambda job: (job / MP4).write_bytes(b"garbage"),
    "a file less": lambda job: (job / MP4).unlink(),
    "a file more": lambda job: (job / "result/outputs/more").touch(),
    "no exit code": lambda job: (job / "result/exitCode").unlink(),
    "no manifest": lambda job: (job / "result/manifest.json").unlink(),
    "a torn manifest": lambda job: (job / "result/manifest.json").write_text('{"outputs": ['),
    "no outputs": lambda job: (job / "result/manifest.json").write_text('{"outputs": []}'),
    "a link to a secret": lambda job: replaced_by_link(job, MP4),
    "a folder that is a link": lambda job: replaced_by_link(job, "result/outputs"),
    "a pipe nobody writes to": lambda job: os.mkfifo(job / "result/outputs/pipe"),
}


def replaced_by_link(job, path):
    elsewhere = job.parent / "elsewhere"
    (job / path).rename(elsewhere)
    (job / path).symlink_to(elsewhere)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_anything_else_is_not_believed(job_dir, damage):
    damage(job_dir)
    with pytest.raises(BadResult):
        checked_result(job_dir, SPEC)


def test_a_result_of_another_user_is_copied_so_that_nothing_can_be_exchanged_afterwards(tmp_path, job_dir):
    take_over(job_dir, tmp_path / "ours")
    cid = cid_of(job_dir / "result")
    shutil.rmtree(job_dir)
    assert checked_result(tmp_path / "ours", SPEC).determinism_class == FakeRenderer.determinism_class
    assert cid_of(tmp_path / "ours" / "result") == cid


@pytest.mark.parametrize("damage", [name for name in DAMAGE if "link" in name or "pipe" in name])
def test_links_and_devices_are_not_followed_when_a_result_is_copied(tmp_path, job_dir, damage):
    DAMAGE[damage](job_dir)
    with pytest.raises(BadResult):
        take_over(job_dir, tmp_path / "ours")
    assert not (tmp_path / "ours" / "result").exists()


def test_a_result_without_end_is_not_copied(tmp_path, job_dir, monkeypatch):
    monkeypatch.setattr(checking, "_MAX_BYTES", 100)
    with pytest.raises(BadResult, match="more than 100 bytes"):
        take_over(job_dir, tmp_path / "ours")
