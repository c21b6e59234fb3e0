"""What is delivered, in a real Chromium: the MP4 plays and can be sought in, APNG and WebP show and move."""

from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Page, expect

from node.publisher.unixfs import import_path
from tests.browser.conftest import FRAMES, Published, ServedNode, paint, write_clip

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WIDTH, HEIGHT = 1024, 576
FRAMERATE = 7
"""A rate whose frames last neither whole milliseconds nor a round part of a second."""


@pytest.fixture(scope="session")
def clip() -> np.ndarray:
    picture = paint(0, WIDTH, HEIGHT)
    return np.stack([np.roll(picture, 40 * frame, axis=1) for frame in range(FRAMES)])


@pytest.fixture(scope="session")
def delivered(published: Published, clip: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Publish a clip of full size in the node's store; return where it is served."""
    folder: Path = tmp_path_factory.mktemp("full-size")
    write_clip(folder, clip, FRAMERATE)
    return f"/ipfs/{import_path(folder, published[0])}/outputs"


async def test_the_mp4_plays_at_its_size_and_length(page: Page, node: ServedNode, delivered: str):
    await page.goto(node.url)
    shown = await page.evaluate(OPEN_VIDEO, f"{delivered}/output_00001_.mp4")
    assert (shown["width"], shown["height"]) == (WIDTH, HEIGHT)
    assert shown["duration"] == pytest.approx(FRAMES / FRAMERATE, abs=0.002)
    await page.evaluate("window.video.play()")
    await page.wait_for_function("() => window.video.currentTime > 0.5 && window.video.readyState >= 3")
    await page.wait_for_function("() => window.video.ended")
    played = await page.evaluate("[video.error, video.getVideoPlaybackQuality().totalVideoFrames]")
    assert played[0] is None
    assert played[1] > 0


async def test_seeking_in_the_mp4_shows_the_frame_of_that_moment(
    page: Page, node: ServedNode, delivered: str, clip: np.ndarray
):
    await page.goto(node.url)
    await page.evaluate(OPEN_VIDEO, f"{delivered}/output_00001_.mp4")
    for index in (0, 24, 7, 18):
        colours = await page.evaluate(SEEK_AND_LOOK, (index + 0.5) / FRAMERATE)
        seen = np.array(colours, dtype=np.uint8).reshape(HEIGHT // 8, WIDTH // 8, 4)[..., :3].astype(int)
        distances = [np.abs(seen - shrink(frame)).mean() for frame in clip]
        assert int(np.argmin(distances)) == index
        assert distances[index] < 6


@pytest.mark.parametrize("suffix", ["png", "webp"])
async def test_an_animation_has_every_frame_for_its_time_and_for_ever(
    page: Page, node: ServedNode, delivered: str, suffix: str
):
    await page.goto(node.url)
    found = await page.evaluate(DECODE, [f"{delivered}/output_00001_.{suffix}", f"image/{suffix}"])
    assert found["frames"] == FRAMES
    assert found["for_ever"]
    assert found["durations"] == [1000 // FRAMERATE * 1000] * FRAMES
    assert found["sizes"] == [[WIDTH, HEIGHT]] * FRAMES


@pytest.mark.parametrize("suffix", ["png", "webp"])
async def test_an_animation_opens_directly_and_moves(
    page: Page, node: ServedNode, delivered: str, suffix: str
):
    await page.goto(f"{node.url}{delivered}/output_00001_.{suffix}")
    await page.wait_for_function(f"() => document.images[0].naturalWidth === {WIDTH}")
    picture = page.locator("img")
    first = await picture.screenshot()
    while await picture.screenshot() == first:
        pass


async def test_the_still_is_shown(page: Page, node: ServedNode, delivered: str):
    await page.goto(f"{node.url}{delivered}/still_00001_.png")
    await expect(page.locator("img")).to_be_visible()
    assert await page.evaluate("[document.images[0].naturalWidth, document.images[0].naturalHeight]") == [
        WIDTH,
        HEIGHT,
    ]


def shrink(frame: np.ndarray) -> np.ndarray:
    """Return the means of blocks of 8 by 8 pixels."""
    return frame.reshape(HEIGHT // 8, 8, WIDTH // 8, 8, 3).mean(axis=(1, 3))


OPEN_VIDEO = """(address) => new Promise((resolve, reject) => {
  const video = window.video = document.createElement('video');
  video.muted = true;
  video.preload = 'auto';
  video.onerror = () => reject(new Error(video.error.message));
  video.oncanplaythrough = () => resolve({
    width: video.videoWidth, height: video.videoHeight, duration: video.duration,
  });
  video.src = address;
  document.body.append(video);
})"""

SEEK_AND_LOOK = """async (seconds) => {
  const video = window.video;
  await new Promise((resolve) => { video.onseeked = resolve; video.currentTime = seconds; });
  const canvas = new OffscreenCanvas(video.videoWidth / 8, video.videoHeight / 8);
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(video, 0, 0, canvas.width, canvas.height);
  return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
}"""

DECODE = """async ([address, type]) => {
  const decoder = new ImageDecoder({ data: (await fetch(address)).body, type });
  await decoder.tracks.ready;
  await decoder.completed;
  const track = decoder.tracks.selectedTrack;
  const durations = [], sizes = [];
  for (let frameIndex = 0; frameIndex < track.frameCount; frameIndex++) {
    const { image } = await decoder.decode({ frameIndex });
    durations.push(image.duration);
    sizes.push([image.displayWidth, image.displayHeight]);
    image.close();
  }
  return { frames: track.frameCount, for_ever: track.repetitionCount === Infinity, durations, sizes };
}"""
