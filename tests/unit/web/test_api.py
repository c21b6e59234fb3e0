"""What the HTTP interface answers, and what it refuses with words."""

import gzip
import re
from pathlib import Path

import pytest

import node.web
from node.web.pages import MEDIA_TYPES
from node.web.status import wire
from tests.fakes.http_reader import Reader, ask
from tests.fakes.status_source import TOKEN


async def test_status_is_the_whole_node_with_amounts_as_strings(app, source):
    answer = await ask(app, "/api/v1/status")
    assert answer.status == 200
    assert answer.json["chain"]["head"] == 187_442_901
    assert answer.json["wallet"]["gas_wei"] == str(TOKEN // 4)


def test_amounts_in_wei_are_strings_at_any_depth_and_other_numbers_stay():
    value = {"a": [{"fee_wei": 2**80, "nonce": 7}], "price_wei": "5", "paid_wei": None}
    assert wire(value) == {"a": [{"fee_wei": str(2**80), "nonce": 7}], "price_wei": "5", "paid_wei": None}


async def test_jobs_come_newest_first_and_page_by_page(app, source):
    for number in range(5):
        source.add_job(f"prompt {number}")
    first = (await ask(app, "/api/v1/jobs?limit=2")).json
    assert [job["job_id"] for job in first["jobs"]] == ["j5", "j4"]
    second = (await ask(app, f"/api/v1/jobs?limit=2&before={first['next_before']}")).json
    assert [job["job_id"] for job in second["jobs"]] == ["j3", "j2"]
    last = (await ask(app, f"/api/v1/jobs?limit=2&before={second['next_before']}")).json
    assert [job["job_id"] for job in last["jobs"]] == ["j1"]
    assert last["next_before"] is None


async def test_jobs_are_chosen_by_phase(app, source):
    source.add_job("waits")
    source.add_job("done", phase="PAID")
    found = (await ask(app, "/api/v1/jobs?phase=PAID")).json
    assert [job["job_id"] for job in found["jobs"]] == ["j2"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("phase=paid", "phase must be one of"),
        ("phase=", "phase must be one of"),
        ("requester=0x12", "requester must be 0x and 40 hex digits"),
        ("requester=" + "g" * 42, "requester must be 0x and 40 hex digits"),
        ("since=-1", "since must be whole seconds"),
        ("since=\uff11", "since must be whole seconds"),
    ],
)
async def test_a_choice_that_is_none_is_refused_with_what_is_allowed(app, query, told):
    answer = await ask(app, f"/api/v1/jobs?{query}")
    assert answer.status == 400
    assert told in answer.json["error"]


@pytest.mark.parametrize("limit", ["0", "201", "-1", "ten", "1.5", "", "99999999999999999999", "\uff11"])
async def test_a_limit_out_of_bounds_is_refused_with_what_is_allowed(app, limit):
    answer = await ask(app, f"/api/v1/jobs?limit={limit}")
    assert answer.status == 400
    assert answer.json == {"error": "limit must be a whole number from 1 to 200"}


@pytest.mark.parametrize("before", ["j99", "", "j1%27--", "x" * 5000])
async def test_a_before_that_names_no_job_is_refused(app, source, before):
    source.add_job("one")
    answer = await ask(app, f"/api/v1/jobs?before={before}")
    assert answer.status == 400
    assert "before must be the job_id" in answer.json["error"]


async def test_one_job_is_served_with_its_timeline(app, source):
    source.add_job("a lake")
    answer = await ask(app, "/api/v1/jobs/j1")
    assert answer.json["prompt"] == "a lake"
    assert answer.json["timeline"][0]["phase"] == "SEEN"


@pytest.mark.parametrize("path", ["/api/v1/jobs/j404", "/api/v1/jobs/..", "/nothing", "/static/app.py"])
async def test_what_does_not_exist_is_a_json_404(app, path):
    answer = await ask(app, path)
    assert answer.status == 404
    assert set(answer.json) == {"error"}


async def test_liveness_and_readiness_answer_with_reasons(app, health, clock):
    assert (await ask(app, "/livez")).status == 200
    not_ready = await ask(app, "/readyz")
    assert not_ready.status == 503
    assert not_ready.json["reasons"] == ["started: the node is still starting"]
    health.started()
    assert (await ask(app, "/readyz")).status == 200
    health.expect("engine", 30)
    clock.time += 31
    assert (await ask(app, "/livez")).status == 503


async def test_metrics_mirror_the_status_at_the_time_of_reading(app, source):
    source.add_job("one")
    text = (await ask(app, "/metrics")).body.decode()
    assert "sdv_node_head_block 1.87442901e+08" in text
    assert 'sdv_node_jobs_in_phase{phase="agreed"} 1.0' in text
    source.refuse_job("two", "too cheap")
    text = (await ask(app, "/metrics")).body.decode()
    assert 'sdv_node_jobs_in_phase{phase="refused"} 1.0' in text


async def test_a_failure_inside_is_a_json_500_that_tells_no_details(app, source):
    def broken():
        raise RuntimeError("secret detail")

    source.status = broken
    reader = Reader(app, "/api/v1/status")
    with pytest.raises(RuntimeError):  # goes on to the server, which logs it
        await reader.exchange
    assert reader.answer.status == 500
    assert reader.answer.json == {"error": "the node failed to answer this request: its log says why"}


async def test_every_file_of_the_pages_is_served_and_nothing_else_lies_beside_them(app):
    for file in (Path(node.web.__file__).parent / "static").iterdir():
        answer = await ask(app, f"/static/{file.name}")
        assert answer.status == 200
        assert answer.headers["content-type"] == MEDIA_TYPES[file.suffix]
        assert answer.body == file.read_bytes()
    assert (await ask(app, "/static/secrets.toml")).status == 404


async def test_a_browser_that_unpacks_gets_a_file_packed(app):
    plain = await ask(app, "/static/app.css")
    packed = await ask(app, "/static/app.css", accept_encoding="br, gzip;q=0.8")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(packed.body) == plain.body
    for unwanted in ("identity", "gzip;q=0", "br, gzip; q=0.0, deflate"):
        answer = await ask(app, "/static/app.css", accept_encoding=unwanted)
        assert "content-encoding" not in answer.headers


async def test_a_file_that_is_still_the_same_is_not_sent_again(app):
    first = await ask(app, "/static/app.css")
    again = await ask(app, "/static/app.css", if_none_match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    other = await ask(app, "/static/app.css", if_none_match='"other"')
    assert (other.status, other.body) == (200, first.body)


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/j1"])
async def test_a_page_asks_for_nothing_from_elsewhere_and_holds_no_inline_script(app, path):
    html = (await ask(app, path)).body.decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert sources
    assert all(source.startswith(("/", "#")) for source in sources)
    assert all(content == "" for content in re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL))
    assert " style=" not in html
    folder = Path(node.web.__file__).parent / "static"
    for script in folder.glob("*.js"):
        text = script.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        elsewhere = set(re.findall(r"https?://[\w./]+", text))
        assert elsewhere <= {"http://www.w3.org/2000/svg"}, "the name of a kind of element, not an address"
