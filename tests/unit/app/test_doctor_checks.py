"""What doctor makes of a rendered job, a clock, a service, a port and contract code."""

import json
import socket

import pytest

from node.app.clock_check import judge_clock
from node.app.contract_code import check_code
from node.app.golden_check import RECORD, check_golden, judged, known
from node.app.owner_check import check_owner
from node.app.port_checks import check_port, check_public_url
from node.app.store_check import check_store
from node.app.unit_checks import check_unit, judge_unit
from node.chain.calls import MarketAddresses
from node.errors import NotFinite
from node.job.manifest import Manifest
from node.job.progress import Progress
from node.publisher.blockstore import BlockStore
from node.resources import data_path
from tests.fakes.jobs import make_config

GOOD_UNIT = {
    "LoadState": "loaded",
    "UnitFileState": "enabled",
    "ActiveState": "active",
    "WatchdogUSec": "3min",
    "NeedDaemonReload": "no",
}


def manifest(determinism_class):
    parts = {"torch": "2.13.0+cpu", "device": "a processor"}
    return Manifest("m", "tiny", {}, (), determinism_class, parts, {}, {}, ())


def test_the_first_result_of_an_unknown_class_is_written_down_and_the_next_is_held_against_it(tmp_path):
    first = judged("tiny", manifest("0" * 16), "bafy1", tmp_path)
    assert (first.verdict, "written down" in first.finding) == ("ok", True)
    assert json.loads((tmp_path / RECORD).read_text()) == {"tiny": {"0" * 16: "bafy1"}}
    assert judged("tiny", manifest("0" * 16), "bafy1", tmp_path).verdict == "ok"
    other = judged("tiny", manifest("0" * 16), "bafy2", tmp_path)
    assert (other.verdict, other.exit_code) == ("problem", 1)
    assert "bafy1" in other.finding
    assert "models verify" in other.remedy
    # Another class has a value of its own, and what was written down stays.
    assert judged("tiny", manifest("1" * 16), "bafy2", tmp_path).verdict == "ok"
    assert known("tiny", "0" * 16, tmp_path).cid == "bafy1"


def test_a_shipped_value_is_stronger_than_what_was_written_down(tmp_path):
    shipped = "9f94b15e06951f4d"
    (tmp_path / RECORD).write_text(json.dumps({"tiny": {shipped: "bafy1"}}))
    golden = known("tiny", shipped, tmp_path)
    assert golden.source == "golden.toml has it"
    assert judged("tiny", manifest(shipped), "bafy1", tmp_path).verdict == "problem"
    assert judged("tiny", manifest(shipped), golden.cid, tmp_path).verdict == "ok"


@pytest.mark.parametrize(
    ("offsets", "ahead", "verdict"),
    [
        ([0.4, -0.6, 200.0], 0.0, "ok"),
        ([4.0], 0.0, "warning"),
        ([-60.0], 0.0, "problem"),
        ([], 0.0, "skipped"),
        ([0.0], 45.0, "problem"),
    ],
)
def test_a_clock_is_judged_by_the_middle_of_the_others_and_by_a_head_from_the_future(offsets, ahead, verdict):
    check = judge_clock(offsets, ahead)
    assert check.verdict == verdict
    assert (check.remedy != "") is (verdict in {"warning", "problem"})


@pytest.mark.parametrize(
    ("changes", "exposure", "verdict", "told"),
    [
        ({}, 1.2, "ok", "exposure 1.2"),
        ({}, None, "ok", "active"),
        ({"LoadState": "not-found"}, None, "skipped", "not installed"),
        ({"LoadState": "bad-setting"}, None, "problem", "bad-setting"),
        ({"ActiveState": "failed"}, 1.2, "problem", "failed"),
        ({"UnitFileState": "disabled"}, 1.2, "warning", "systemctl enable"),
        ({"WatchdogUSec": "infinity"}, 1.2, "warning", "WatchdogSec"),
        ({"NeedDaemonReload": "yes"}, 1.2, "warning", "daemon-reload"),
        ({}, 6.1, "warning", "hardening"),
    ],
)
def test_a_service_is_judged_by_its_state_and_exposure(changes, exposure, verdict, told):
    check = judge_unit(GOOD_UNIT | changes, exposure)
    assert check.verdict == verdict
    assert told in check.finding + check.remedy


async def test_where_systemd_does_not_run_nothing_is_asked_of_it(tmp_path):
    assert (await check_unit(tmp_path / "none")).verdict == "skipped"


async def test_a_port_that_another_program_has_is_a_problem(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = make_config(node={"data_dir": str(tmp_path)}, http={"port": port, "public_url": "http://x"})
        check = await check_port(config)
        assert (check.verdict, "http.port" in check.remedy) == ("problem", True)
    assert (await check_port(config)).verdict == "ok"
    assert (await check_public_url(config)).verdict == "skipped"


class _Codes:
    def __init__(self, codes):
        self.codes = codes

    async def code(self, address):
        return self.codes[address]


async def test_contract_code_is_told_as_ours_as_strange_or_as_missing():
    names = {
        "controller": "Controller",
        "payments": "Payments",
        "storage": "Storage",
        "users": "Users",
        "mediation": "MediationRandom",
        "job_manager": "OnChainJobCreator",
    }
    addresses = MarketAddresses(**{name: name for name in names}, token="token")  # type: ignore[arg-type]
    codes = {
        name: bytes.fromhex(
            json.loads(data_path(f"contracts_abi/market/{file}.json").read_text())["deployedBytecode"][2:]
        )
        + bytes(32)
        for name, file in names.items()
    } | {"token": b"\x01"}
    assert "what this version ships" in (await check_code(_Codes(codes), addresses)).finding
    strange = await check_code(_Codes(codes | {"users": b"\x02"}), addresses)
    assert (strange.verdict, "users f2ee15ea639b73fa" in strange.finding) == ("ok", True)
    assert (await check_code(_Codes(codes | {"token": b""}), addresses)).verdict == "problem"


async def test_a_machine_that_does_not_compute_is_told_and_nothing_stays_behind(tmp_path, monkeypatch):
    async def fails(_config, profile, spec, job_dir, tell):
        assert (profile, spec.steps) == ("tiny", 5)
        (job_dir / "result").mkdir()
        tell(Progress("still", 1, 5, 0.1))
        raise NotFinite("the numbers became NaN")

    monkeypatch.setattr("node.app.golden_check.render_once", fails)
    said = []
    config = make_config(node={"data_dir": str(tmp_path / "new")}, worker={"profile": "tiny"})
    check = await check_golden(config, said.append)
    assert (check.verdict, "NaN" in check.finding) == ("problem", True)
    assert said[-1] == "rendering a small job: still, 10%"
    assert list((tmp_path / "new").iterdir()) == []


async def test_a_rendered_result_is_named_by_its_cid_and_class(tmp_path, monkeypatch):
    async def renders(_config, _profile, _spec, job_dir, _tell):
        (job_dir / "result").mkdir()
        (job_dir / "result" / "manifest.json").write_text(json.dumps(manifest("2" * 16).to_json()))

    monkeypatch.setattr("node.app.golden_check.render_once", renders)
    config = make_config(node={"data_dir": str(tmp_path)}, worker={"profile": "tiny"})
    check = await check_golden(config, lambda _: None)
    assert check.verdict == "ok", check.finding
    assert check.finding.startswith("bafybei")
    assert known("tiny", "2" * 16, tmp_path).cid == check.finding.split()[0]


async def test_in_another_users_directory_nothing_is_written(tmp_path, monkeypatch):
    (tmp_path / "jobs").mkdir()
    BlockStore(tmp_path / "ipfs")
    config = make_config(node={"data_dir": str(tmp_path)}, worker={"profile": "tiny"})
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    (check,) = check_owner(tmp_path)
    assert (check.verdict, check.remedy.startswith("sudo -u ")) == ("warning", True)
    assert [check.verdict for check in await check_store(config)] == ["ok"]
    assert sorted(tmp_path.rglob("*")) == before
