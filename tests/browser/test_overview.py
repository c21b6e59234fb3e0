"""The first page, looked at in a real Chromium: what a person sees, and what the browser was made to do."""

import time

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Seen, ServedNode, sampled

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

HOSTILE = (
    '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>'
    '"><svg onload=window.hacked=3> javascript:alert(1) \u202e reversed'
)
BUDGET_BYTES = 100_000


async def test_a_job_goes_from_its_start_to_paid_before_ones_eyes(page: Page, node: ServedNode, seen: Seen):
    job_id = node.source.add_job("A paper boat on a river")
    node.source.render(job_id, "still", 5)
    await page.goto(node.url)
    running = page.locator("#running .running")
    await expect(running).to_contain_text("Rendering")
    await expect(running).to_contain_text("The still appears here")
    bar = running.get_by_role("progressbar")
    before = int(await bar.get_attribute("aria-valuenow") or "")
    await expect(page.locator("#connection")).to_have_text("Live")
    await page.evaluate("window.stayed = true")
    asked = len(seen.requests)
    node.source.render(job_id, "video", 20)
    await expect(running).to_contain_text("step 20 of 25")
    await expect(running).to_contain_text("82 %, about 9 s left")
    assert int(await bar.get_attribute("aria-valuenow") or "") > before
    assert len(seen.requests) == asked, "the step came over the open stream, not by asking again"
    node.show_still(job_id)
    await page.wait_for_function("() => document.querySelector('#running img')?.naturalWidth === 320")
    assert await page.locator("#running img").get_attribute("src") == f"/api/v1/jobs/{job_id}/stills/1"
    node.source.publish(job_id, node.cid, node.outputs)
    await expect(running).to_contain_text("Published")
    await expect(running.locator("video")).to_be_visible()
    node.source.submit(job_id)
    await expect(running).to_contain_text("Awaiting acceptance")
    node.source.pay(job_id)
    card = page.locator(f'.card[data-job="{job_id}"]')
    await expect(card).to_contain_text("Paid")
    await expect(card).to_contain_text("2 SDV")
    await expect(page.locator("#running")).to_contain_text("Waiting for a job")
    await expect(page.locator("#money")).to_contain_text("2 SDV")
    assert await page.evaluate("window.stayed")
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
    # What happens elsewhere does not start it again.
    await page.evaluate("document.querySelector('.card video').mark = 1")
    other = node.source.add_job("Another")
    node.source.render(other, "still", 2)
    await expect(page.locator("#running")).to_contain_text("step 2 of 20")
    assert await page.evaluate("document.querySelector('.card video').mark") == 1
    assert [url for url in seen.requests if not url.startswith((node.url, "data:"))] == []
    assert seen.console == []


async def test_a_hostile_prompt_is_shown_as_text_everywhere(page: Page, node: ServedNode, seen: Seen):
    node.source.refuse_job(HOSTILE, reason=HOSTILE)
    finished = node.finish(HOSTILE, notes=[HOSTILE], inputs={HOSTILE: HOSTILE})
    broken = node.source.add_job(HOSTILE, cid="../../api/v1/status?x=")
    node.source.fail(broken, HOSTILE)
    running = node.source.add_job(HOSTILE, module=HOSTILE)
    node.source.render(running, "video", 3)
    node.logs.said[finished] = [{"event": HOSTILE, HOSTILE: HOSTILE, "level": HOSTILE, "timestamp": HOSTILE}]
    node.source.set_status(
        not_accepting_because=[HOSTILE],
        accepting=False,
        gpus=[],
        gpu_problem=HOSTILE,
        explorer="javascript:alert(1)",
        skipped=[{"job_number": 1, "block_number": 2, "reason": HOSTILE}],
        offers={"since": 1, "seen": 1, "proposed": 0, "agreed": 0, "declined": {HOSTILE: 1}},
    )
    for path in ("/", "/jobs", f"/jobs/{finished}", f"/jobs/{running}"):
        await page.goto(f"{node.url}{path}")
        await expect(page.locator("#banner")).to_contain_text("<script>")
        await expect(page.locator("main")).to_contain_text("<img src=x")
        assert await page.evaluate("window.hacked") is None
        assert await page.locator("img[src='x'], main script, [href^='javascript:']").count() == 0
    assert seen.console == []


async def test_money_is_told_by_period_with_locked_and_claimable_apart(page: Page, node: ServedNode):
    node.source.set_status(
        earnings={
            "day_wei": str(15 * 10**17),
            "week_wei": str(12 * 10**18),
            "month_wei": str(1234 * 10**18),
            "paid_wei": str(2000 * 10**18),
            "locked_wei": str(5 * 10**18),
            "claimable_wei": str(10**18),
            "slashed_wei": "0",
        }
    )
    await page.goto(node.url)
    await expect(page.locator("#money .sum")).to_have_count(5)
    told = [await one.inner_text() for one in await page.locator("#money .sum").all()]
    assert [text.split("\n")[0] for text in told] == [
        "Last 24 hours",
        "7 days",
        "30 days",
        "Locked in deals",
        "Claimable now",
    ]
    figures = [await one.inner_text() for one in await page.locator("#money strong").all()]
    assert figures == ["1.5", "12", "1\u202f234", "5", "1"]


async def test_an_empty_node_says_what_it_waits_for(page: Page, node: ServedNode, seen: Seen):
    await page.goto(node.url)
    await expect(page.locator("#running")).to_contain_text("Waiting for a job")
    await expect(page.locator("#running")).to_contain_text("asks 2 SDV")
    await expect(page.locator("#gallery-empty")).to_be_visible()
    await expect(page.locator("#offers")).to_contain_text("No offer was declined")
    await expect(page.locator("#queue-part")).to_be_hidden()
    await expect(page.locator("#accepting")).to_have_text("Accepting jobs")
    node.source.set_status(accepting=False, not_accepting_because=["0.0002 for gas: send at least 0.005"])
    await expect(page.locator("#accepting")).to_have_text("Not accepting")
    await expect(page.locator("#banner")).to_contain_text("send at least 0.005")
    node.source.set_status(accepting=True, not_accepting_because=[])
    await expect(page.locator("#banner")).to_be_hidden()
    node.source.set_status(gpus=[], gpu_problem="no NVIDIA driver on this machine: install the driver")
    await expect(page.locator("#gpu-note")).to_contain_text("install the driver")
    await expect(page.locator("#gpus")).to_be_hidden()
    node.source.set_status(gpu_gate={"open": True, "needed_bytes": None})
    await expect(page.locator("#gpu-section")).to_be_hidden()
    assert seen.console == []


async def test_every_card_is_shown_with_its_last_hours_and_what_is_against_it(page: Page, node: ServedNode):
    (card,) = node.source.status()["gpus"]
    hot = {"index": 1, "uuid": "GPU-1", "temperature_c": 96, "usable": False}
    why = {"cause": "hot", "reason": "GPU 1 is at 96 °C and pauses above 91"}
    node.source.set_status(gpus=[card, {**card, **hot, "shut": [why]}])
    node.history = sampled("GPU-0", [10, 90, None, 50])
    await page.goto(node.url)
    cards = page.locator("#gpus .gpu")
    await expect(cards).to_have_count(2)
    first = cards.first
    for reading in ("97 %", "15.0 GiB", "64 °C", "312 W", "limit 450 W"):
        await expect(first).to_contain_text(reading)
    chart = first.get_by_role("img", name="Utilisation of GPU 0 over 4 min: lowest 10 %, highest 90 %")
    await expect(chart).to_be_visible()
    assert await chart.locator(".chart-line").count() == 2, "no line is drawn through the gap"
    box = await chart.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 10)
    await expect(first.locator(".readout").first).to_contain_text("90 %")
    await expect(cards.last).to_contain_text("GPU 1 is at 96 °C and pauses above 91")
    await expect(cards.last).to_contain_text("The chart begins in a minute")


async def test_offers_are_counted_by_reason_and_the_last_declined_are_listed(page: Page, node: ServedNode):
    for number in range(8):
        node.source.refuse_job(f"offer {number}", f"price too low by {number}")
    node.source.set_status(
        offers={"since": time.time() - 7200, "seen": 1284, "proposed": 41, "agreed": 5}
        | {"declined": {"gas": 3, "fresh": 1240}}
    )
    await page.goto(node.url)
    counts = page.locator(".counts > div")
    await expect(counts).to_have_count(4)
    assert [text.split("\n") for text in await counts.all_inner_texts()] == [
        ["Seen", "1\u202f284"],
        ["Proposed", "41"],
        ["Agreed", "5"],
        ["Declined", "1\u202f243"],
    ]
    assert await page.locator(".reasons tr").all_inner_texts() == [
        "Too old\n\t1\u202f240",
        "Too little gas money\n\t3",
    ]
    rows = page.locator("#declined li")
    await expect(rows).to_have_count(6)
    await expect(rows.first).to_contain_text("price too low by 7")
    assert await rows.first.locator("a").get_attribute("href") == "/jobs/j8"
    await expect(page.locator("#offers-note")).to_have_text("since the node started, 2 h ago")


async def test_the_queue_tells_what_each_job_waits_for(page: Page, node: ServedNode):
    running = node.source.add_job("first")
    node.source.render(running, "video", 3)
    node.source.add_job("second", phase="SEEN", reason="the disk is full: 2 GB are needed")
    third = node.source.add_job("third")
    await page.goto(node.url)
    rows = page.locator("#queue li")
    await expect(rows).to_have_count(2)
    await expect(rows.last).to_contain_text("the disk is full: 2 GB are needed")
    await rows.first.get_by_role("link").click()
    await expect(page).to_have_url(f"{node.url}/jobs/{third}")


async def test_a_job_that_is_only_proposed_waits_in_the_queue(page: Page, node: ServedNode):
    proposed = node.source.add_job("proposed", phase="PROPOSED")
    await page.goto(node.url)
    row = page.locator("#queue li")
    await expect(row).to_contain_text("waits for agreement")
    await expect(page.locator("#running")).to_contain_text("not agreed yet")
    await row.get_by_role("link").click()
    await expect(page).to_have_url(f"{node.url}/jobs/{proposed}")
    await expect(page.locator(".track")).to_be_visible()
    assert await page.get_by_role("progressbar").count() == 0, "nothing is computed"
    await page.goto(node.url)
    agreed = node.source.add_job("agreed")
    await expect(page.locator("#running .running")).to_have_attribute("data-job", agreed)
    await expect(row).to_have_count(1)


async def test_disputes_that_the_node_rules_on_are_listed_with_what_became_of_them(
    page: Page, node: ServedNode
):
    ruled = {"deal_id": "j1-UdEeEYUTpT4EtFnccnmUcu", "phase": "ruled", "decision": "reject", "waits": None}
    waits = {"deal_id": "j2-W5eDcfoZtEW6VBKvBVbtdK", "phase": "open", "decision": None, "reason": ""}
    cases = [ruled | {"reason": "they part at <b>stills</b>"}, waits | {"waits": "the job is computed again"}]
    await page.goto(node.url)
    await expect(page.locator("#accepting")).to_be_visible()
    await expect(page.locator("#cases-section")).to_be_hidden()
    node.source.set_status(mediation={"cases": cases})
    rows = page.locator("#cases li")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("Ruled, against the provider")
    await expect(rows.first).to_contain_text("they part at <b>stills</b>")
    await expect(rows.last).to_contain_text("the job is computed again")


async def test_long_prompts_and_narrow_screens_do_not_break_the_layout(page: Page, node: ServedNode):
    long_prompt = "a very long prompt about a city " * 200 + "W" * 3000
    finished = node.finish(long_prompt)
    node.source.refuse_job(long_prompt, reason="no " * 500 + "W" * 500)
    running = node.source.add_job(long_prompt)
    node.source.render(running, "video", 3)
    node.source.add_job(long_prompt)
    node.logs.said[finished] = [{"event": "W" * 900, "level": "info", "timestamp": "2026-01-01T00:00:00Z"}]
    for path, shown in (
        ("/", "#running .running"),
        ("/jobs", ".jobs tbody tr"),
        (f"/jobs/{finished}", ".story"),
    ):
        await page.set_viewport_size({"width": 1280, "height": 800})
        await page.goto(f"{node.url}{path}")
        await expect(page.locator(shown).first).to_be_visible()
        for width in (1280, 768, 360, 320):
            await page.set_viewport_size({"width": width, "height": 800})
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)


async def test_the_first_page_is_small(page: Page, node: ServedNode):
    for number in range(60):
        node.source.refuse_job(
            f"offer {number} of a requester with a prompt of ordinary length", "price too low"
        )
    sizes: list[int] = []
    cdp = await page.context.new_cdp_session(page)
    await cdp.send("Network.enable")
    cdp.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    await page.goto(node.url)
    await expect(page.locator("#declined li")).to_have_count(6)
    await expect(page.locator("#connection")).to_have_text("Live")
    assert 0 < sum(sizes) < BUDGET_BYTES, sizes


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


async def test_times_are_told_from_now(page: Page, node: ServedNode):
    node.source.now = time.time() - 3600
    node.finish("An hour ago")
    await page.goto(node.url)
    await expect(page.locator(".card time")).to_have_text("59 min ago")
