"""The pages are for everybody: axe finds nothing, a keyboard reaches all, a screen reader hears enough."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import ServedNode, sampled

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules that can tell one colour scheme from the other."""


async def violations(page: Page, rules: list[str] | None = None) -> list[str]:
    """Return what axe has against the page as it is now, each with the first element meant."""
    if await page.evaluate("typeof axe") == "undefined":
        await page.evaluate(AXE.read_text())
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = await page.evaluate("(options) => axe.run(document, options)", options)
    assert found["passes"], "axe looked"
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in found["violations"]]


async def test_axe_finds_nothing_on_any_page_wide_or_narrow_light_or_dark(page: Page, node: ServedNode):
    finished = node.finish("A harbour", notes=["a note"])
    node.logs.said[finished] = [
        {"event": "rendered", "level": "warning", "timestamp": "2026-11-29T12:00:01Z"}
    ]
    node.source.fail(node.source.add_job("A wreck"), "the worker was lost twice")
    node.source.refuse_job("cheap", "price too low")
    running = node.source.add_job("A bridge")
    node.source.render(running, "video", 3)
    node.show_still(running)
    node.source.add_job("Waits", phase="SEEN", reason="one job comes before it")
    node.history = sampled("GPU-0", [10, 90, 50])
    node.source.set_status(
        accepting=False,
        not_accepting_because=["too little gas"],
        offers={"since": 1, "seen": 3, "proposed": 1, "agreed": 1, "declined": {"gas": 2}},
    )
    await page.emulate_media(reduced_motion="reduce")
    for path in ("/", "/jobs", f"/jobs/{finished}", f"/jobs/{running}", "/jobs/j99"):
        await page.goto(f"{node.url}{path}")
        await expect(page.locator("#connection")).to_have_text("Live")
        await expect(page.locator("#banner")).to_be_visible()
        for width in (1280, 360):
            await page.set_viewport_size({"width": width, "height": 800})
            await page.emulate_media(color_scheme="light")
            assert await violations(page) == [], (path, width)
            await page.emulate_media(color_scheme="dark")
            assert await violations(page, COLOURS) == [], (path, width, "dark")


async def test_a_job_is_reached_and_left_again_by_keyboard(page: Page, node: ServedNode):
    job_id = node.finish("A kite")
    await page.goto(node.url)
    await expect(page.locator(".card")).to_be_visible()
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "content"
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.className") == "title":
            break
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "the focus can be seen"
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{node.url}/jobs/{job_id}")
    await expect(page.get_by_role("heading", level=1)).to_have_text("A kite")
    await page.go_back()
    await expect(page.locator(".card")).to_be_visible()


async def test_the_focus_stays_where_it_is_while_the_page_updates(page: Page, node: ServedNode):
    await page.goto(node.url)
    await page.get_by_role("button", name="Copy the address").focus()
    for head in range(100, 103):
        node.source.set_status(chain={**node.source.status()["chain"], "head": head}, accepting=head != 101)
        await expect(page.locator("#facts")).to_contain_text(str(head))
    assert await page.evaluate(
        "document.activeElement.getAttribute('aria-label').startsWith('Copy the address')"
    )


async def test_progress_is_announced_to_a_screen_reader_by_stage_and_quarter_not_by_step(
    page: Page, node: ServedNode
):
    job_id = node.source.add_job("A bell")
    node.source.render(job_id, "video", 0)
    await page.goto(node.url)
    announcer = page.locator("#announcer")
    assert await announcer.get_attribute("aria-live") == "polite"
    await expect(announcer).to_have_text(f"Job {job_id}: Video, 25 percent")
    await expect(page.locator("#connection")).to_have_text("Live")
    await page.evaluate(
        "() => { window.said = 0; new MutationObserver(() => window.said++)"
        ".observe(document.querySelector('#announcer'), {childList: true, subtree: true}) }"
    )
    for step in range(1, 26):
        node.source.render(job_id, "video", step)
        await expect(page.locator("#running")).to_contain_text(f"step {step} of 25")
    assert 1 <= await page.evaluate("window.said") <= 2
