"""A job's own page: what is told of it, live while it goes on, and the list that leads there."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Seen, ServedNode

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def part(page: Page, name: str):
    return page.get_by_role("region", name=name, exact=True)


async def test_a_finished_jobs_page_tells_everything_of_it(page: Page, node: ServedNode, seen: Seen):
    job_id = node.finish("A kite", notes=["ImageSeed is understood as Seed"])
    node.logs.said[job_id] = [
        {"timestamp": "2026-11-29T12:00:01Z", "level": "info", "event": "tx_broadcast", "job_id": job_id},
        {"timestamp": "2026-11-29T12:00:02Z", "level": "warning", "event": "effect_retried", "attempt": 2},
    ]
    await page.goto(f"{node.url}/jobs/{job_id}")
    await expect(page.get_by_role("heading", level=1)).to_have_text("A kite")
    await expect(page).to_have_title(f"Job {job_id} · sdv-node")
    steps = part(page, "Timeline").locator("li")
    assert [(await step.locator("strong").inner_text()) for step in await steps.all()] == [
        "Offer seen",
        "Offer made",
        "Deal agreed",
        "Rendered",
        "Published",
        "Awaiting acceptance",
        "Paid",
    ]
    await expect(steps.nth(2)).to_contain_text("after 8 s")
    await expect(steps.nth(3)).to_contain_text("took 21.0 s")
    link = steps.nth(2).get_by_role("link")
    assert await link.get_attribute("href") == f"https://explorer.example.org/tx/0x{'ab' * 32}"
    assert await link.get_attribute("rel") == "noopener noreferrer"
    await expect(part(page, "Inputs as understood")).to_contain_text("ImageSeed is understood as Seed")
    await expect(part(page, "Inputs as understood")).to_contain_text("VideoSteps")
    await expect(part(page, "Deal")).to_contain_text("took 21 s, 20 s expected")
    await expect(part(page, "Result")).to_contain_text(node.cid)
    manifest = part(page, "Result").get_by_role("link", name="manifest.json")
    assert await manifest.get_attribute("href") == f"/ipfs/{node.cid}/manifest.json"
    assert await part(page, "Result").locator("li").count() == len(node.outputs)
    await expect(part(page, "Transactions")).to_contain_text("412\u202f003")
    await expect(part(page, "Log").locator("li")).to_have_count(2)
    await expect(part(page, "Log")).to_contain_text("effect_retried attempt=2")
    player = page.locator(".job-media video")
    assert await player.get_attribute("controls") is not None
    await page.wait_for_function("() => document.querySelector('.job-media video').videoWidth === 320")
    assert seen.console == []


async def test_a_page_that_is_open_follows_its_job(page: Page, node: ServedNode, seen: Seen):
    job_id = node.source.add_job("A drum")
    node.source.render(job_id, "video", 1)
    await page.goto(f"{node.url}/jobs/{job_id}")
    progress = part(page, "Progress")
    await expect(progress).to_contain_text("step 1 of 25")
    await expect(page.locator("#connection")).to_have_text("Live")
    node.source.render(job_id, "video", 14)
    await expect(progress).to_contain_text("step 14 of 25")
    node.show_still(job_id)
    await page.wait_for_function("() => document.querySelector('.job-media img')?.naturalWidth === 320")
    await expect(part(page, "Log")).to_contain_text("No line of the log names this job")
    node.logs.said[job_id] = [{"event": "published", "level": "info", "timestamp": "2026-11-29T12:00:01Z"}]
    node.source.publish(job_id, node.cid, node.outputs)
    await expect(page.locator(".job-media video")).to_be_visible()
    await expect(part(page, "Log")).to_contain_text("published")
    node.source.submit(job_id)
    node.source.pay(job_id)
    await expect(page.locator(".job-head")).to_contain_text("Paid")
    await expect(progress).to_have_count(0)
    assert seen.console == []


async def test_on_a_narrow_screen_nothing_is_cut_off_and_sizes_come_from_the_store(
    page: Page, node: ServedNode, seen: Seen
):
    job_id = node.source.add_job("A sail")
    node.source.publish(job_id, node.cid, [{**output, "bytes": None} for output in node.outputs])
    node.logs.said[job_id] = [
        {"event": "stepped " + "on and " * (number % 5) * 6, "timestamp": "2026-11-29T12:00:01Z"}
        for number in range(60)
    ]
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.goto(f"{node.url}/jobs/{job_id}")
    await expect(part(page, "Result")).to_contain_text("Together")
    assert await part(page, "Result").get_by_text("iB").count() == len(node.outputs) + 1
    await expect(part(page, "Log").locator("li")).to_have_count(60)
    assert await page.evaluate(
        "[...document.querySelectorAll('.scroll')].every((one) => one.scrollWidth <= one.clientWidth)"
    )
    assert await page.evaluate(
        "() => { const { top } = document.querySelector('.log-box').getBoundingClientRect();"
        " return [...document.querySelectorAll('.log li')].map((line) => line.getBoundingClientRect())"
        ".every((line) => line.bottom <= top + 1 || line.top >= top - 1) }"
    ), "no line of the log is cut through"
    assert seen.console == []


async def test_a_job_that_does_not_exist_is_told_with_a_way_on(page: Page, node: ServedNode):
    await page.goto(f"{node.url}/jobs/j99")
    await expect(page.get_by_role("heading", level=1)).to_have_text("No such job")
    await expect(page.locator("main")).to_contain_text("This node knows no job of that id.")
    await page.get_by_role("link", name="All jobs").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    await expect(page.locator("#jobs")).to_contain_text("No job yet")


async def test_jobs_are_listed_page_by_page_and_by_state(page: Page, node: ServedNode, seen: Seen):
    for number in range(130):
        if number % 4:
            node.finish(f"scene {number}")
        else:
            node.source.refuse_job(f"scene {number}", "price too low")
    await page.goto(f"{node.url}/jobs")
    rows = page.locator(".jobs tbody tr")
    await expect(rows).to_have_count(50)
    assert (await page.locator("#phases").inner_text()).split() == [
        "All",
        "130",
        "Paid",
        "97",
        "Refused",
        "33",
    ]
    await page.get_by_role("button", name="Show older jobs").click()
    await expect(rows).to_have_count(100)
    await page.get_by_role("button", name="Show older jobs").click()
    await expect(rows).to_have_count(130)
    await expect(page.get_by_role("button", name="Show older jobs")).to_be_hidden()
    prompts = await page.locator(".jobs tbody th a").all_inner_texts()
    assert prompts == [f"scene {number}" for number in range(129, -1, -1)]
    fresh = node.source.add_job("the newest")
    await expect(rows.first).to_contain_text("the newest")
    await page.get_by_role("link", name="Refused 33").click()
    await expect(rows).to_have_count(33)
    await expect(rows.first).to_contain_text("price too low")
    await page.get_by_role("link", name="All 131").click()
    await rows.first.get_by_role("link").click()
    await expect(page).to_have_url(f"{node.url}/jobs/{fresh}")
    assert seen.console == []
