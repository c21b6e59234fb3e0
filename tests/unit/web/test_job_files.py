"""What only the operator sees of a job: its still before publication, and its log."""

import os
from pathlib import Path
from typing import Any

import pytest

from node.job.outputs import image_path
from node.web.gpu_history import gpu_history_table
from node.web.job_files import job_file_table, read_inside
from tests.fakes.http_reader import ask
from tests.fakes.status_source import FakeStatusSource

PNG = b"\x89PNG\r\n\x1a\n and so on"


def job_lines(job_id: str, limit: int) -> list[dict[str, Any]]:
    if job_id == "j2":
        raise PermissionError(13, "Permission denied")
    return [{"event": f"{job_id} line {number}"} for number in range(5)][-limit:]


class Jobs(FakeStatusSource):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def still(self, job_id: str, number: int) -> tuple[Path, str] | None:
        return (self.folder / job_id, f"work/{image_path(number)}") if number == 1 else None


@pytest.fixture
def source(tmp_path):
    return Jobs(tmp_path)


@pytest.fixture
def app(make_app, source):
    return make_app(more=(*job_file_table(source, job_lines), *gpu_history_table(lambda: {"gpus": []})))


def put_still(folder, content=PNG):
    place = folder / "work" / image_path(1)
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    return place


async def test_a_still_is_shown_before_its_publication_and_kept_by_nobody(app, source, tmp_path):
    job_id = source.add_job("a lake")
    assert (await ask(app, f"/api/v1/jobs/{job_id}/stills/1")).status == 404
    put_still(tmp_path / job_id)
    answer = await ask(app, f"/api/v1/jobs/{job_id}/stills/1")
    assert (answer.status, answer.body) == (200, PNG)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_a_published_still_is_the_gateways(app, source):
    job_id = source.add_job("a lake", cid="bafybeigdyrzt")
    answer = await ask(app, f"/api/v1/jobs/{job_id}/stills/1")
    assert answer.status == 303
    assert answer.headers["location"] == f"/ipfs/bafybeigdyrzt/{image_path(1)}"


@pytest.mark.parametrize("path", ["j9/stills/1", "j1/stills/0", "j1/stills/2", "j1/stills/x", "j1/stills/10"])
async def test_what_is_no_still_is_not_found(app, source, path):
    source.add_job("a lake")
    answer = await ask(app, f"/api/v1/jobs/{path}")
    assert answer.status == 404
    assert answer.json["error"]


def test_no_link_is_followed_out_of_the_folder(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(PNG)
    place = put_still(tmp_path / "j1")
    assert read_inside(tmp_path / "j1", f"work/{image_path(1)}") == PNG
    place.unlink()
    place.symlink_to(secret)
    assert read_inside(tmp_path / "j1", f"work/{image_path(1)}") is None
    (tmp_path / "j2").mkdir()
    (tmp_path / "j2" / "work").symlink_to(tmp_path / "j1" / "work")
    put = tmp_path / "j1" / "work" / "plain.png"
    put.write_bytes(PNG)
    assert read_inside(tmp_path / "j2", "work/plain.png") is None


def test_what_is_no_picture_is_not_shown(tmp_path):
    (tmp_path / "page.png").write_bytes(b"<script>")
    os.mkfifo(tmp_path / "pipe.png")
    assert read_inside(tmp_path, "page.png") is None
    assert read_inside(tmp_path, "pipe.png") is None


async def test_the_last_lines_of_a_jobs_log_are_given(app, source):
    job_id = source.add_job("a lake")
    answer = await ask(app, f"/api/v1/jobs/{job_id}/logs?limit=2")
    assert answer.json == {"lines": [{"event": "j1 line 3"}, {"event": "j1 line 4"}]}
    assert (await ask(app, "/api/v1/jobs/j9/logs")).status == 404
    for limit in ("0", "201", "x"):
        assert (await ask(app, f"/api/v1/jobs/{job_id}/logs?limit={limit}")).status == 400


async def test_a_record_that_cannot_be_read_is_told(app, source):
    source.add_job("a lake")
    answer = await ask(app, f"/api/v1/jobs/{source.add_job('a hill')}/logs")
    assert answer.status == 503
    assert "Permission denied" in answer.json["error"]


async def test_the_history_of_the_gpus_is_given(app):
    answer = await ask(app, "/api/v1/gpus/history")
    assert answer.json == {"gpus": []}
    assert answer.headers["cache-control"] == "no-store"
