"""Progress of a job, which a worker tells and nobody may use to point elsewhere."""

import pytest

from node.job.progress import Progress


def test_an_artifact_is_a_path_below_the_jobs_directory():
    assert Progress("still decode", 1, 1, 0.2, "work/files/a.png").artifact == "work/files/a.png"
    assert Progress("still", 1, 5, 0.1).artifact is None


@pytest.mark.parametrize(
    "told",
    [("still\n", 1, 5, 0.1), ("x" * 41, 1, 5, 0.1), ("still", -1, 5, 0.1), ("still", 1, 5, 1.1)],
    ids=["line break", "long", "negative", "more than all"],
)
def test_what_cannot_be_shown_is_no_progress(told):
    with pytest.raises(ValueError, match=r"name of a stage|no progress"):
        Progress(*told)


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../other/a.png", "work/../../a.png", "a\n.png", "a\x1b[2J.png", "x" * 201],
    ids=["empty", "absolute", "parent", "parent inside", "line break", "escape", "long"],
)
def test_a_path_that_leads_elsewhere_or_breaks_a_terminal_is_refused(path):
    with pytest.raises(ValueError, match="below the job's directory"):
        Progress("still decode", 1, 1, 0.2, path)
