"""What an operator does on the page: drain and resume, and signing in; and what a stranger sees instead."""

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import ServedNode
from tests.browser.test_accessibility import violations

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_node_is_drained_and_resumed_by_keyboard(page: Page, node: ServedNode):
    await page.goto(node.url)
    drain = page.get_by_role("button", name="Drain", exact=True)
    await drain.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Drain this node?")
    await expect(dialog).to_contain_text("accepts nothing new")
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    assert await page.evaluate("document.activeElement.id") == "drain", "the focus went back"
    assert node.given == []
    await page.keyboard.press("Enter")
    await dialog.get_by_role("button", name="Drain").click()
    await expect(page.locator("#accepting")).to_have_text("Draining")
    await expect(page.locator("#banner")).to_contain_text("the node is draining")
    assert await violations(page) == []
    await page.get_by_role("button", name="Resume").click()
    await expect(page.locator("#accepting")).to_have_text("Accepting jobs")
    await expect(page.locator("#banner")).to_have_count(0)
    assert node.given == ["drain", "resume"]


async def test_an_order_that_does_not_arrive_is_told_with_what_to_do(page: Page, node: ServedNode):
    await page.goto(node.url)
    await page.route("**/api/v1/drain", lambda route: route.abort())
    await page.get_by_role("button", name="Drain", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    await expect(page.get_by_role("alert")).to_contain_text("run sdv-node drain")
    await expect(page.locator("#accepting")).to_have_text("Accepting jobs")
    await expect(page.get_by_role("button", name="Drain", exact=True)).to_be_enabled()


async def test_a_stranger_sees_the_public_part_and_the_operator_signs_in(browser: Browser, node: ServedNode):
    job_id = node.finish("A secret garden")
    node.local_user = False
    await node.restart()
    context = await browser.new_context(viewport={"width": 360, "height": 740})
    page = await context.new_page()
    try:
        for path in ("/", f"/jobs/{job_id}"):
            await page.goto(f"{node.url}{path}")
            await expect(page.get_by_role("heading", level=1)).to_have_text("This node accepts jobs")
            await expect(page.locator("#connection")).to_have_text("Signed out")
            for told in ("sdv-pipeline:v1.1-lilypad2", "from 2 SDV", "d3b07384d113"):
                await expect(page.locator("#public")).to_contain_text(told)
            await expect(page.get_by_role("button", name="Drain")).to_be_hidden()
            await expect(page.locator("footer a:visible")).to_have_text(["Status", "Readiness"])
            text = await page.inner_text("body")
            for private in ("A secret garden", "Earn", "Last 24 hours", "61.25"):
                assert private not in text
        assert await violations(page) == []
        await page.get_by_label("Token").fill("not-the-token")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("sdv-node dashboard")
        await page.get_by_label("Token").fill(node.token.read())
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("A secret garden")
        await expect(page.locator("#connection")).to_have_text("Live")
        (cookie,) = await context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        node.token.renew()
        await expect(page.locator("#connection")).to_have_text("Signed out", timeout=60_000)
        await expect(page.locator("#page")).to_be_hidden()
    finally:
        await context.close()
