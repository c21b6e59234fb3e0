"""The page and the node that goes away: gaps are filled, silence is told, and everything is there again."""

import asyncio

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import ServedNode

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PATIENCE_MS = 60_000


async def test_a_node_that_goes_away_is_missed_and_comes_back_without_a_reload(page: Page, node: ServedNode):
    job_id = node.source.add_job("A swing")
    node.source.render(job_id, "video", 1)
    await page.goto(node.url)
    connection = page.locator("#connection")
    await expect(connection).to_have_text("Live")
    await page.evaluate("window.stayed = true")
    port = node.listener.port
    await node.stop()
    await expect(connection).to_contain_text("No answer since", timeout=PATIENCE_MS)
    await expect(page).to_have_title("No answer · sdv-node")
    node.source.render(job_id, "video", 9)
    await node.start(port)
    await expect(connection).to_have_text("Live", timeout=PATIENCE_MS)
    await expect(page.locator("#running")).to_contain_text("step 9 of 25")
    await expect(page).to_have_title("sdv-node")
    node.source.render(job_id, "video", 10)
    await expect(page.locator("#running")).to_contain_text("step 10 of 25")
    assert await page.evaluate("window.stayed")


async def test_a_gap_in_the_stream_is_filled_when_it_is_back(page: Page, node: ServedNode):
    job_id = node.source.add_job("A swing")
    node.source.render(job_id, "video", 1)
    await page.goto(node.url)
    await expect(page.locator("#connection")).to_have_text("Live")
    node.source.end_subscriptions()
    node.source.render(job_id, "video", 9)
    await expect(page.locator("#running")).to_contain_text("step 9 of 25", timeout=PATIENCE_MS)
    await expect(page.locator("#connection")).to_have_text("Live", timeout=PATIENCE_MS)


async def test_without_a_stream_the_page_polls(page: Page, node: ServedNode):
    job_id = node.source.add_job("A drum")
    node.source.render(job_id, "video", 1)
    await page.route("**/api/v1/events", lambda route: route.abort())
    await page.goto(node.url)
    await expect(page.locator("#connection")).to_have_text("Updating every few seconds")
    node.source.render(job_id, "video", 14)
    await expect(page.locator("#running")).to_contain_text("step 14 of 25", timeout=PATIENCE_MS)
    await page.unroute("**/api/v1/events")
    await expect(page.locator("#connection")).to_have_text("Live", timeout=PATIENCE_MS)


async def test_a_second_viewer_costs_the_first_nothing(page: Page, node: ServedNode):
    job_id = node.source.add_job("A door")
    node.source.render(job_id, "video", 1)
    await page.goto(node.url)
    other = await page.context.new_page()
    await other.goto(node.url)
    await expect(other.locator("#connection")).to_have_text("Live")
    await other.close()
    node.source.render(job_id, "video", 2)
    await expect(page.locator("#running")).to_contain_text("step 2 of 25")
    async with asyncio.timeout(60):
        while node.source.subscribers != 1:
            await asyncio.sleep(0.05)
