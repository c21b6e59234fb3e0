"""The page, looked at in a real Chromium: what a person sees, and what the browser was made to do."""

import asyncio
import time

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Seen, ServedNode

pytestmark = pytest.mark.browser

HOSTILE = (
    '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>'
    '"><svg onload=window.hacked=3> javascript:alert(1) \u202e reversed'
)


async def test_the_running_job_moves_by_itself_without_a_reload(page: Page, node: ServedNode, seen: Seen):
    job_id = node.source.add_job("A quiet mountain lake at dawn")
    node.source.render(job_id, "video", 1)
    await page.goto(node.url)
    running = page.locator("#running .running")
    await expect(running).to_contain_text("A quiet mountain lake at dawn")
    await expect(running).to_contain_text("step 1 of 25")
    bar = running.get_by_role("progressbar")
    before = int(await bar.get_attribute("aria-valuenow"))
    await page.evaluate("window.stayed = true")
    asked = len(seen.requests)
    node.source.render(job_id, "video", 20)
    await expect(running).to_contain_text("step 20 of 25")
    await expect(running).to_contain_text("82 %, about 9 s left")
    assert int(await bar.get_attribute("aria-valuenow")) > before
    assert await page.evaluate("window.stayed")
    assert len(seen.requests) == asked, "the step came over the open stream, not by asking again"
    assert seen.console == []


async def test_a_job_goes_from_rendering_to_paid_before_ones_eyes(page: Page, node: ServedNode, seen: Seen):
    job_id = node.source.add_job("A paper boat on a river")
    node.source.render(job_id, "still", 5)
    await page.goto(node.url)
    await expect(page.locator("#running")).to_contain_text("Rendering")
    node.source.publish(job_id, node.cid, node.outputs)
    await expect(page.locator("#running")).to_contain_text("Published")
    await expect(page.locator("#running video")).to_be_visible()
    node.source.submit(job_id)
    await expect(page.locator("#running")).to_contain_text("Awaiting acceptance")
    node.source.pay(job_id)
    card = page.locator(f'.card[data-job="{job_id}"]')
    await expect(card).to_contain_text("Paid")
    await expect(card).to_contain_text("2 SDV")
    await expect(page.locator("#running")).to_contain_text("Waiting for a job")
    await expect(page.locator("#facts")).to_contain_text("2 SDV")
    assert seen.console == []


async def test_a_finished_job_shows_its_picture_and_plays_its_video(page: Page, node: ServedNode, seen: Seen):
    job_id = node.finish("A lighthouse in the evening")
    await page.goto(node.url)
    card = page.locator(f'.card[data-job="{job_id}"]')
    await expect(card).to_be_visible()
    await page.wait_for_function(
        "() => { const i = document.querySelector('.card img'); return i?.complete && i.naturalWidth > 0 }"
    )
    await page.wait_for_function(
        "() => { const v = document.querySelector('.card video');"
        " return v && v.readyState >= 2 && v.videoWidth === 320 && !v.paused && v.currentTime > 0 }"
    )
    assert await page.evaluate("document.querySelector('.card video').muted")
    links = {
        await link.inner_text(): await link.get_attribute("href")
        for link in await card.locator(".files a").all()
    }
    assert links == {
        "Still": f"/ipfs/{node.cid}/outputs/still_00001_.png",
        "MP4": f"/ipfs/{node.cid}/outputs/output_00001_.mp4",
        "WebP": f"/ipfs/{node.cid}/outputs/output_00001_.webp",
        "APNG": f"/ipfs/{node.cid}/outputs/output_00001_.png",
        "Manifest": f"/ipfs/{node.cid}/manifest.json",
    }
    assert seen.console == []


async def test_published_files_open_directly_although_they_are_sandboxed(page: Page, node: ServedNode):
    await page.goto(f"{node.url}/ipfs/{node.cid}/outputs/output_00001_.mp4")
    await page.wait_for_function("() => document.querySelector('video').readyState >= 2")
    await page.goto(f"{node.url}/ipfs/{node.cid}/outputs/still_00001_.png")
    await page.wait_for_function("() => document.images[0].naturalWidth === 320")


async def test_a_hostile_prompt_is_shown_as_text_everywhere(page: Page, node: ServedNode, seen: Seen):
    node.source.refuse_job(HOSTILE, reason=HOSTILE)
    finished = node.finish(HOSTILE, notes=[HOSTILE], inputs={HOSTILE: HOSTILE})
    broken = node.source.add_job(HOSTILE, cid="../../api/v1/status?x=")
    node.source.fail(broken, HOSTILE)
    running = node.source.add_job(HOSTILE, module=HOSTILE)
    node.source.render(running, "video", 3)
    node.source.set_status(not_accepting_because=[HOSTILE], accepting=False, gpus=[], gpu_problem=HOSTILE)
    await page.goto(f"{node.url}/#job={finished}")
    for place in ("#running .prompt", "#gallery .title", "#refused .one-line", "#detail .prompt", "#banner"):
        await expect(page.locator(place).first).to_contain_text('<img src=x onerror="window.hacked=1">')
    await expect(page.locator("#detail .pairs").nth(1)).to_contain_text("onerror")
    assert await page.evaluate("window.hacked") is None
    assert await page.locator("img[src='x'], main svg, main script, dialog script").count() == 0
    assert all("/api/v1/status?x" not in url for url in seen.requests)
    assert seen.console == []


async def test_the_page_asks_nobody_but_the_node(page: Page, node: ServedNode, seen: Seen):
    node.finish("A windmill")
    await page.goto(node.url)
    await page.wait_for_function("() => document.querySelector('.card video')?.readyState >= 2")
    assert seen.requests
    assert [url for url in seen.requests if not url.startswith((node.url, "data:"))] == []
    assert seen.console == []


async def test_an_empty_node_says_what_it_waits_for(page: Page, node: ServedNode, seen: Seen):
    await page.goto(node.url)
    await expect(page.locator("#running")).to_contain_text("Waiting for a job")
    await expect(page.locator("#running")).to_contain_text("asks 2 SDV")
    await expect(page.locator("#gallery-empty")).to_be_visible()
    await expect(page.locator("#refused-section")).to_be_hidden()
    await expect(page.locator("#accepting")).to_have_text("Accepting jobs")
    assert seen.console == []


async def test_a_node_that_takes_no_jobs_says_why(page: Page, node: ServedNode):
    node.source.set_status(accepting=False, not_accepting_because=["0.0002 for gas: send at least 0.005"])
    await page.goto(node.url)
    await expect(page.locator("#accepting")).to_have_text("Not accepting jobs")
    await expect(page.locator("#banner")).to_contain_text("send at least 0.005")
    node.source.set_status(accepting=True, not_accepting_because=[])
    await expect(page.locator("#banner")).to_be_hidden()


async def test_every_card_is_shown_with_what_is_against_it(page: Page, node: ServedNode):
    (card,) = node.source.status()["gpus"]
    hot = {"index": 1, "uuid": "GPU-1", "temperature_c": 96, "usable": False}
    why = {"cause": "hot", "reason": "GPU 1 is at 96 °C and pauses above 91"}
    node.source.set_status(gpus=[card, {**card, **hot, "shut": [why]}])
    await page.goto(node.url)
    facts = page.locator("#facts .fact", has_text="GPU ")
    await expect(facts).to_have_count(2)
    await expect(facts.first).to_contain_text("97 % · 64 °C · 312 W")
    await expect(facts.last).to_contain_text("GPU 1")
    await expect(facts.last.locator(".bad")).to_have_text("GPU 1 is at 96 °C and pauses above 91")


async def test_disputes_that_the_node_rules_on_are_listed_with_what_became_of_them(
    page: Page, node: ServedNode
):
    ruled = {"deal_id": "j1-UdEeEYUTpT4EtFnccnmUcu", "phase": "ruled", "decision": "reject", "waits": None}
    waits = {"deal_id": "j2-W5eDcfoZtEW6VBKvBVbtdK", "phase": "open", "decision": None, "reason": ""}
    cases = [ruled | {"reason": "they part at <b>stills</b>"}, waits | {"waits": "the job is computed again"}]
    await page.goto(node.url)
    await expect(page.locator("#cases-section")).to_be_hidden()
    node.source.set_status(mediation={"cases": cases})
    rows = page.locator("#cases li")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("Ruled, against the provider")
    await expect(rows.first).to_contain_text("they part at <b>stills</b>")
    await expect(rows.last).to_contain_text("the job is computed again")
    await page.set_viewport_size({"width": 360, "height": 700})
    await expect(rows.first).to_contain_text("j1-UdEeEYUTpT4EtFnccnmUcu")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_refused_offers_are_listed_with_their_reasons(page: Page, node: ServedNode):
    for number in range(8):
        node.source.refuse_job(f"offer {number}", f"price too low by {number}")
    await page.goto(node.url)
    rows = page.locator("#refused li")
    await expect(rows).to_have_count(5)
    await expect(rows.first).to_contain_text("price too low by 7")
    await expect(page.locator("#refused-count")).to_have_text("8 offers")
    await page.get_by_role("button", name="Show all of these").click()
    await expect(rows).to_have_count(8)


async def test_a_thousand_jobs_are_paged_and_only_what_is_seen_plays(
    page: Page, node: ServedNode, seen: Seen
):
    for number in range(1000):
        if number % 4:
            node.finish(f"scene {number}")
        else:
            node.source.refuse_job(f"scene {number}", "price too low")
    await page.goto(node.url)
    cards = page.locator("#gallery .card")
    await expect(cards).to_have_count(12)
    await expect(page.locator("#done-count")).to_have_text("750 jobs")
    await page.get_by_role("button", name="Show more").click()
    await expect(cards).to_have_count(24)
    for _ in range(3):
        await page.get_by_role("button", name="Show more").click()
    await expect(cards).to_have_count(60)
    texts = await page.locator("#gallery .title").all_inner_texts()
    assert texts == [f"scene {number}" for number in range(999, 0, -1) if number % 4][:60]
    await page.evaluate("scrollTo(0, 0)")
    await page.wait_for_function(
        "() => [...document.querySelectorAll('#gallery video')].filter(v => !v.paused).length <= 6"
    )
    assert seen.console == []


async def test_long_prompts_and_narrow_screens_do_not_break_the_layout(page: Page, node: ServedNode):
    long_prompt = "a very long prompt about a city " * 200 + "W" * 3000
    node.finish(long_prompt)
    node.source.refuse_job(long_prompt, reason="no " * 500)
    running = node.source.add_job(long_prompt)
    node.source.render(running, "video", 3)
    for width in (1280, 768, 320):
        await page.set_viewport_size({"width": width, "height": 800})
        await page.goto(node.url)
        await expect(page.locator("#running .running")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_can_be_read_in_both_colour_schemes(page: Page, node: ServedNode, scheme: str):
    await page.emulate_media(color_scheme=scheme)
    node.finish("A harbour")
    node.source.refuse_job("cheap", "price too low")
    running = node.source.add_job("A bridge")
    node.source.render(running, "video", 3)
    await page.goto(node.url)
    await expect(page.locator(".card")).to_be_visible()
    worst = await page.evaluate(CONTRAST)
    assert worst["ratio"] >= 4.5, worst


async def test_everything_can_be_reached_and_opened_by_keyboard(page: Page, node: ServedNode):
    job_id = node.finish("A kite")
    await page.goto(node.url)
    await expect(page.locator(".card")).to_be_visible()
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.className") == "title":
            break
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "the focus can be seen"
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    await expect(dialog).to_contain_text(f"Job {job_id}")
    await expect(dialog).to_contain_text("agree j1")
    await expect(dialog).to_contain_text("412003")
    assert page.url.endswith(f"#job={job_id}")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    assert await page.evaluate("document.activeElement.className") == "title", "the focus went back"
    await expect(page).to_have_url(f"{node.url}/")


async def test_the_focus_stays_where_it_is_while_the_page_updates(page: Page, node: ServedNode):
    await page.goto(node.url)
    await page.get_by_role("button", name="Copy the wallet address").focus()
    for head in range(100, 103):
        node.source.set_status(chain={**node.source.status()["chain"], "head": head})
        await expect(page.locator("#facts")).to_contain_text(str(head))
    assert (
        await page.evaluate("document.activeElement.getAttribute('aria-label')") == "Copy the wallet address"
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
    await page.evaluate(
        "() => { window.said = 0; new MutationObserver(() => window.said++)"
        ".observe(document.querySelector('#announcer'), {childList: true, subtree: true}) }"
    )
    for step in range(1, 26):
        node.source.render(job_id, "video", step)
        await expect(page.locator("#running")).to_contain_text(f"step {step} of 25")
    assert 1 <= await page.evaluate("window.said") <= 2


async def test_a_gap_in_the_stream_is_filled_when_it_is_back(page: Page, node: ServedNode):
    job_id = node.source.add_job("A swing")
    node.source.render(job_id, "video", 1)
    await page.goto(node.url)
    await expect(page.locator("#connection")).to_have_text("Live")
    node.source.end_subscriptions()
    node.source.render(job_id, "video", 9)
    await expect(page.locator("#running")).to_contain_text("step 9 of 25", timeout=15_000)
    await expect(page.locator("#connection")).to_have_text("Live", timeout=15_000)


async def test_without_a_stream_the_page_polls_and_without_an_answer_it_says_so(page: Page, node: ServedNode):
    job_id = node.source.add_job("A drum")
    node.source.render(job_id, "video", 1)
    await page.route("**/api/v1/events", lambda route: route.abort())
    await page.goto(node.url)
    await expect(page.locator("#connection")).to_have_text("Updating every few seconds")
    node.source.render(job_id, "video", 14)
    await expect(page.locator("#running")).to_contain_text("step 14 of 25", timeout=15_000)
    await page.route("**/api/v1/*", lambda route: route.abort())
    await expect(page.locator("#connection")).to_contain_text("No answer since", timeout=15_000)
    await page.unroute("**/api/v1/*")
    await page.unroute("**/api/v1/events")
    await expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)


async def test_an_update_elsewhere_does_not_restart_a_playing_video(page: Page, node: ServedNode):
    node.finish("A clock")
    await page.goto(node.url)
    await page.wait_for_function("() => document.querySelector('.card video')?.currentTime > 0")
    await page.evaluate("document.querySelector('.card video').mark = 1")
    job_id = node.source.add_job("Another")
    node.source.render(job_id, "still", 2)
    await expect(page.locator("#running")).to_contain_text("step 2 of 20")
    assert await page.evaluate("document.querySelector('.card video').mark") == 1


async def test_a_reader_who_wants_less_motion_gets_controls_instead_of_playing_videos(
    page: Page, node: ServedNode
):
    await page.emulate_media(reduced_motion="reduce")
    node.finish("A wheel")
    await page.goto(node.url)
    await page.wait_for_function("() => document.querySelector('.card video')?.readyState >= 1")
    assert await page.evaluate(
        "(() => { const v = document.querySelector('.card video'); return v.paused && v.controls })()"
    )


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


async def test_times_are_told_from_now(page: Page, node: ServedNode):
    node.source.now = time.time() - 3600
    node.finish("An hour ago")
    await page.goto(node.url)
    await expect(page.locator(".card time")).to_have_text("59 min ago")


CONTRAST = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const linear = (v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ({ r, g, b }) => [r, g, b].map((v) => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const colour = parse(getComputedStyle(n).backgroundColor);
      if (colour.a === 1) return colour;
    }
    return { r: 255, g: 255, b: 255 };
  };
  let worst = { ratio: 99 };
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest('.visually-hidden, noscript, .skip')) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < worst.ratio) worst = { ratio, text: node.textContent.slice(0, 60), cls: node.className };
  }
  return worst;
}"""
