"""Which files a job promises, and what they are called."""

import pytest

from node.job.outputs import expected_outputs, frame_path, image_path, media_type, video_path
from node.job.spec import parse_inputs


def job(*inputs):
    return parse_inputs("sdv-pipeline:v1.1-lilypad2", inputs)


def test_every_still_has_a_picture_and_three_videos():
    assert expected_outputs(job("Batching=2"), frames=25) == [
        "outputs/still_00001_.png",
        "outputs/output_00001_.png",
        "outputs/output_00001_.webp",
        "outputs/output_00001_.mp4",
        "outputs/still_00002_.png",
        "outputs/output_00002_.png",
        "outputs/output_00002_.webp",
        "outputs/output_00002_.mp4",
    ]


def test_frames_are_delivered_where_they_are_asked_for():
    paths = expected_outputs(job("Batching=4", "Frames=png"), frames=25)
    assert len(paths) == 4 * (1 + 3 + 25) == len(set(paths))
    assert paths[4] == "outputs/frames_00001_/frame_00001_.png"
    assert paths[-1] == "outputs/frames_00004_/frame_00025_.png"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (image_path(1), "image/png"),
        (video_path(12, "png"), "image/apng"),
        (video_path(12, "webp"), "image/webp"),
        (video_path(12, "mp4"), "video/mp4"),
        (frame_path(1, 25), "image/png"),
    ],
)
def test_the_media_type_follows_from_the_name(path, expected):
    assert media_type(path) == expected
