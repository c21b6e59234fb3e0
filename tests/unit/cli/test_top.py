"""The live view: what a frame shows, and how the node's events are followed across a break."""

import http.server
import io
import json
import threading
from datetime import UTC, datetime

import pytest
from rich.console import Console

from node.cli.main import main
from node.cli.top_feed import Feed, View, events
from node.cli.top_frame import frame
from node.config import load
from node.observe.log_records import LEVELS

TOKEN = 10**18


def job(number, phase, **more):
    return {
        "job_id": f"j{number}",
        "phase": phase,
        "seen_at": number,
        "prompt": "a red fox",
        "reason": None,
        "price_wei": str(TOKEN),
        **more,
    }


STATUS = {
    "version": "0.1.0",
    "chain": {"chain_id": 31337, "head": 99, "symbol": "TEST"},
    "accepting": False,
    "not_accepting_because": ["too little gas money"],
    "worker": {
        "state": "rendering",
        "slots": [{"rendering": {"job": "j3", "stage": "video_sampling", "step": 1, "steps": 25}}],
    },
    "gpus": [
        {
            "index": 0,
            "name": "NVIDIA H100",
            "memory_total_bytes": 80 * 2**30,
            "memory_free_bytes": 58 * 2**30,
            "utilisation_percent": 97.0,
            "temperature_c": 61,
            "power_w": 402.0,
            "shut": [],
        }
    ],
    "jobs": {"by_phase": {"PROPOSED": 2}},
    "earnings": {
        "day_wei": str(3 * TOKEN),
        "month_wei": str(40 * TOKEN),
        "paid_wei": str(41 * TOKEN),
        "net_wei": str(39 * TOKEN),
        "gas_wei": "5",
        "locked_wei": str(TOKEN),
        "claimable_wei": "0",
    },
}
RUNNING = job(
    3,
    "RENDERING",
    progress={"stage": "video_sampling", "step": 12, "steps": 25, "fraction": 0.5},
    estimate={"left_s": 80.0},
)
REFUSED = job(2, "REFUSED", reason="the price is below the floor \x1b[2J", price_wei=None)
JOBS = [RUNNING, job(4, "AGREED"), REFUSED, job(1, "PAID")]


def view(**changes):
    return View(STATUS, {each["job_id"]: each for each in JOBS}, **changes)


def shown(found, width=80, height=24, **more):
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=False)
    console.print(frame(found, width=width, height=height, now=0.0, **more))
    return out.getvalue()


def test_a_frame_shows_steps_time_left_queue_cards_money_offers_and_troubles():
    log = [
        {
            "timestamp": "2026-11-29T16:10:36Z",
            "level": "warning",
            "event": "rpc_endpoint_failed",
            "endpoint": "x",
        }
    ]
    text = shown(view(log=log))
    for expected in (
        "chain 31337 at block 99",
        "taking no jobs",
        "██████████░░░░░░░░░░  50%  video_sampling 12/25  0:01:20 left",
        "queue: j4 agreed; 2 proposals",
        "load ████████  97 %",
        "22.0/80 GiB",
        "61 °C",
        "day 3, 30 days 40, all 41 TEST, net 39",
        "j2    refused     the price is below the floor",
        "too little gas money",
        "rpc_endpoint_failed endpoint=x",
    ):
        assert expected in text
    assert "\x1b" not in text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (200, 60)])
def test_a_frame_never_is_larger_than_the_terminal(width, height):
    many = view(log=[{"level": "error", "event": "x" * 300}] * 20)
    many.jobs |= {f"j{number}": job(number, "REFUSED", reason="y" * 300) for number in range(5, 60)}
    lines = shown(many, width, height).splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    if height >= 24:
        assert any("x" * 10 in line for line in lines)


def test_a_terminal_without_unicode_gets_plain_bars():
    text = shown(view(), ascii_only=True)
    assert "##########----------" in text
    assert "█" not in text


def test_a_node_that_is_not_heard_is_told_of_and_its_last_state_stays():
    text = shown(view(trouble="no node answers at http://127.0.0.1:8470"))
    assert "not heard" in text
    assert "j3" in text


class Node(http.server.BaseHTTPRequestHandler):
    """A node whose event line breaks once, and that forgets nothing meanwhile."""

    lines = 0
    heard: threading.Event

    def do_GET(self):
        if self.path == "/api/v1/events":
            type(self).lines += 1
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"retry: 2000\n\n: still here\nevent: beat\ndata: {}\n\n")
            for kind, data in (
                ("progress", {"job_id": "j3", "progress": {"stage": "clip", "step": self.lines, "steps": 9}}),
                ("job", job(50 + self.lines, "SEEN")),
            ):
                self.wfile.write(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode())
            if self.lines > 1:
                self.heard.wait(60)
            return
        document = STATUS if self.path == "/api/v1/status" else {"jobs": JOBS}
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def config(tmp_path):
    Node.heard, Node.lines = threading.Event(), 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Node)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sections = {"http": {"port": server.server_port}, "node": {"data_dir": str(tmp_path)}}
    yield load(environment={}, overrides=sections)
    Node.heard.set()
    server.shutdown()
    server.server_close()


def test_events_are_taken_over_and_a_broken_line_is_taken_up_again(config, monkeypatch):
    monkeypatch.setattr("node.cli.top_feed.RETRY_S", 0.01)
    found = View()
    feed = Feed(config, found)
    feed.start()
    # j52 comes with the second line, after the first one broke.
    while "j52" not in found.jobs:
        assert feed.changed.wait(60)
        feed.changed.clear()
    feed.stop()
    assert found.jobs["j3"]["progress"]["step"] == 2
    assert found.jobs["j3"]["phase"] == "RENDERING"
    assert found.trouble is None


def test_beats_and_comments_are_no_events(config):
    assert [kind for kind, _ in events(config)] == ["progress", "job"]


def test_once_prints_one_frame_without_a_terminal(config, capsys, tmp_path):
    (tmp_path / "log").mkdir()
    lines = ({"timestamp": datetime.now(UTC).isoformat(), "level": each, "event": each} for each in LEVELS)
    (tmp_path / "log" / "node.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(SystemExit) as ended:
        main(["--data-dir", str(tmp_path), "--set", f"http.port={config.http.port}", "top", "--once"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "queue: j4 agreed" in printed
    told = [line.split()[-1] for line in printed[printed.index("troubles") :].splitlines()]
    assert told[2:] == ["critical", "error", "warning"]


def test_no_node_is_told_with_what_to_do(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["--data-dir", str(tmp_path), "--set", "http.port=9", "top", "--once"])
    assert ended.value.code == 3
    assert "sdv-node start" in capsys.readouterr().err


def test_a_stranger_is_told_who_may_look(config, capsys, monkeypatch):
    monkeypatch.setitem(STATUS, "view", "public")
    with pytest.raises(SystemExit) as ended:
        main(["--set", f"http.port={config.http.port}", "top", "--once"])
    assert ended.value.code == 4
    assert "run this as the user that runs the node" in capsys.readouterr().err
