"""When a GPU is used and when it is not: each reason with its words and what opens it again."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.gpu.gate import Cause, GateRules, Past, judge
from node.gpu.need import MemoryNeed
from node.gpu.readings import Fault, FaultKind, GpuProcess, GpuReport
from node.gpu.watch import NOT_READ
from node.gpu.xid import xid
from tests.fakes.gpus import GB, card

NEED = MemoryNeed(
    "sdv-1.1",
    {"still": 16 * GB, "clip": 21 * GB, "clip decode": 22 * GB},
    'set worker.residency to "swapped"',
)
PYTHON = GpuProcess(4242, 3 * GB, "python")


def judged(*gpus, rules=None, past=None, now_s=1000.0, worker_runs=False, faults=()):
    report = GpuReport(gpus, faults)
    return judge(report, NEED, rules or GateRules(), past or Past(), now_s=now_s, worker_runs=worker_runs)


def shut_words(*gpus, **options) -> str:
    judgement, _ = judged(*gpus, **options)
    assert judgement.open == ()
    return judgement.obstacle


def causes(*gpus, **options) -> list[Cause]:
    return [each.cause for each in judged(*gpus, **options)[0].shut]


def test_an_idle_healthy_card_is_open():
    judgement, _ = judged(card())
    assert judgement.open == ("GPU-0",)
    assert judgement.obstacle is None
    assert judgement.room_bytes == {"GPU-0": 24 * GB}


@pytest.mark.parametrize("kind", list(FaultKind))
def test_without_a_gpu_that_answers_the_fault_is_the_reason(kind):
    words = shut_words(faults=(Fault(kind, "the fault with its remedy"),))
    assert "the fault with its remedy" in words
    assert ("profile sdv-1.1 needs a GPU" in words) is (kind is not FaultKind.NOT_READ)


def test_before_the_first_reading_nothing_is_used():
    judgement, _ = judge(NOT_READ, NEED, GateRules(), Past(), now_s=0, worker_runs=False)
    assert judgement.obstacle == "the GPUs have not been read yet"


def test_a_lost_card_does_not_shut_the_other_one():
    lost = Fault(FaultKind.LOST, "the GPU fell off the bus: reboot", "GPU 1")
    judgement, _ = judged(card(), faults=(lost,))
    assert judgement.open == ("GPU-0",)
    assert judgement.obstacle is None
    assert [each.words for each in judgement.shut] == ["GPU 1: the GPU fell off the bus: reboot"]


@pytest.mark.parametrize(
    ("changes", "cause", "words"),
    [
        ({"mig_enabled": True}, Cause.MIG, "`nvidia-smi -i 0 -mig 0`"),
        (
            {"memory_total_bytes": 16 * GB, "memory_free_bytes": 16 * GB},
            Cause.TOO_SMALL,
            "has 16.0 GB of memory and stage 'clip' of profile sdv-1.1 needs 21.0 GB: set worker.residency",
        ),
        (
            {"recovery": "reboot the machine"},
            Cause.RECOVERY,
            "the driver's own remedy is carried out: reboot",
        ),
        ({"xid": xid(79, 0.0)}, Cause.XID, "reported Xid 79 (the GPU fell off the bus): reboot"),
        ({"ecc_uncorrected_errors": 2}, Cause.ECC, "had 2 memory errors that ECC cannot correct"),
        (
            {"temperature_c": 92},
            Cause.HOT,
            "is at 92 °C and pauses above 91 (gpu.pause_above_c) until it is at 83",
        ),
        (
            {"memory_free_bytes": 18 * GB, "other_processes": (PYTHON,)},
            Cause.MEMORY,
            "stage 'clip' of profile sdv-1.1 needs 21.0 GB: end process 4242 with 3.0 GB",
        ),
        ({"memory_free_bytes": 21 * GB}, Cause.MEMORY, "the driver does not name who holds the rest"),
    ],
)
def test_a_shut_card_says_which_card_what_and_what_to_do(changes, cause, words):
    told = shut_words(card(**changes))
    assert told.startswith("GPU 0 (NVIDIA GeForce RTX 4090) ")
    assert words in told
    assert causes(card(**changes)) == [cause]


def test_what_a_card_does_not_tell_shuts_nothing():
    silent = card(
        temperature_c=None,
        slowdown_temperature_c=None,
        ecc_enabled=None,
        ecc_uncorrected_errors=None,
        mig_enabled=None,
        own_memory_bytes=None,
    )
    assert judged(silent)[0].open == ("GPU-0",)


def test_an_error_that_ended_one_program_does_not_shut_the_card():
    assert judged(card(xid=xid(31, 0.0)))[0].open == ("GPU-0",)


def test_what_our_own_worker_holds_is_ours_to_use():
    loaded = card(memory_free_bytes=10 * GB, memory_used_bytes=14 * GB, own_memory_bytes=13 * GB)
    judgement, _ = judged(loaded)
    assert judgement.open == ("GPU-0",)
    assert judgement.room_bytes == {"GPU-0": 23 * GB}


def test_a_worker_that_the_driver_does_not_name_is_not_taken_for_somebody_else():
    loaded = card(memory_free_bytes=10 * GB, memory_used_bytes=14 * GB)
    assert causes(loaded) == [Cause.MEMORY]
    assert causes(loaded, worker_runs=True) == []
    crowded = replace(loaded, other_processes=(PYTHON,))
    assert causes(crowded, worker_runs=True) == [Cause.MEMORY]


def test_a_hot_card_pauses_until_it_is_clearly_cooler():
    rules = GateRules(pause_above_c=80, resume_below_c=70)
    past = Past()
    seen = []
    for temperature in (79, 80, 81, 75, 71, 70, 79, 81):
        judgement, past = judged(card(temperature_c=temperature), rules=rules, past=past)
        seen.append(bool(judgement.open))
    assert seen == [True, True, False, False, False, True, True, False]


def test_a_hot_card_that_falls_silent_stays_paused():
    _, past = judged(card(temperature_c=99))
    assert "does not tell its temperature" in shut_words(card(temperature_c=None), past=past)


def test_others_are_left_alone_only_if_the_operator_says_so():
    used = card(memory_free_bytes=23 * GB, other_processes=(PYTHON,))
    assert judged(used)[0].open == ("GPU-0",)
    told = shut_words(used, rules=GateRules(yield_to_others=True))
    assert "is left to process 4242 with 3.0 GB (gpu.yield_to_others)" in told
    assert "it goes on 60 s after that ended" in told


def test_a_card_left_to_others_is_used_again_a_while_after_they_ended():
    rules = GateRules(yield_to_others=True, resume_after_s=60)
    _, past = judged(card(other_processes=(PYTHON,)), rules=rules, now_s=1000)
    assert "until 60 s ago" in shut_words(card(), rules=rules, past=past, now_s=1060)
    judgement, _ = judged(card(), rules=rules, past=past, now_s=1061)
    assert judgement.open == ("GPU-0",)


def test_a_desktop_is_nobody_to_yield_to_but_its_memory_counts():
    desktop = GpuProcess(7, 4 * GB, "Xorg", computes=False)
    rules = GateRules(yield_to_others=True)
    assert causes(card(memory_free_bytes=23 * GB, other_processes=(desktop,)), rules=rules) == []
    assert causes(card(memory_free_bytes=20 * GB, other_processes=(desktop,)), rules=rules) == [Cause.MEMORY]


def test_many_processes_are_told_in_short():
    crowd = tuple(GpuProcess(pid, GB, None) for pid in range(100, 110))
    assert shut_words(card(memory_free_bytes=14 * GB, other_processes=crowd)).endswith(" and 7 more")


def test_what_lasts_hides_what_passes_and_tells_that_waiting_is_of_no_use():
    judgement, _ = judged(card(mig_enabled=True, temperature_c=120))
    assert [each.cause for each in judgement.shut] == [Cause.MIG]
    assert not judgement.passes
    assert judged(card(temperature_c=120))[0].passes


@pytest.mark.parametrize("stages", [{}, {"clip": 0}])
def test_a_need_without_memory_is_no_need(stages):
    with pytest.raises(ValueError, match="states no memory"):
        MemoryNeed("sdv-1.1", stages)


processes = st.builds(
    GpuProcess,
    st.integers(2, 9),
    st.one_of(st.none(), st.integers(0, 30 * GB)),
    st.none(),
    st.booleans(),
)
cards = st.builds(
    card,
    st.integers(0, 2),
    memory_free_bytes=st.integers(0, 24 * GB),
    own_memory_bytes=st.one_of(st.none(), st.integers(0, 24 * GB)),
    temperature_c=st.one_of(st.none(), st.integers(0, 120)),
    slowdown_temperature_c=st.one_of(st.none(), st.integers(60, 100)),
    mig_enabled=st.one_of(st.none(), st.booleans()),
    xid=st.one_of(st.none(), st.integers(1, 160).map(lambda number: xid(number, 0.0))),
    ecc_uncorrected_errors=st.one_of(st.none(), st.integers(0, 2)),
    other_processes=st.lists(processes, max_size=3).map(tuple),
)
reports = st.lists(cards, max_size=3, unique_by=lambda gpu: gpu.uuid).map(tuple)
all_rules = st.builds(
    GateRules,
    pause_above_c=st.sampled_from([0, 80]),
    yield_to_others=st.booleans(),
    resume_after_s=st.sampled_from([0.0, 60.0]),
)


@given(st.lists(st.tuples(reports, st.floats(0, 100), st.booleans()), max_size=8), all_rules)
def test_in_any_history_a_card_is_open_or_shut_with_a_reason_and_never_open_when_unsound(history, rules):
    past, now_s = Past(), 0.0
    for gpus, waited_s, worker_runs in history:
        now_s += waited_s
        judgement, past = judge(GpuReport(gpus), NEED, rules, past, now_s=now_s, worker_runs=worker_runs)
        assert judgement.room_bytes.keys() == {gpu.uuid for gpu in gpus}
        for gpu in gpus:
            reasons = judgement.reasons(gpu.uuid)
            assert (gpu.uuid in judgement.open) == (not reasons)
            assert all(each.words.startswith(gpu.label) for each in reasons)
            assert 0 <= judgement.room_bytes[gpu.uuid] <= gpu.memory_total_bytes
            if gpu.uuid in judgement.open:
                assert not gpu.mig_enabled
                assert not gpu.ecc_uncorrected_errors
                assert gpu.xid is None or not gpu.xid.fatal
                assert judgement.room_bytes[gpu.uuid] >= NEED.bytes
                assert not (rules.yield_to_others and any(each.computes for each in gpu.other_processes))
        assert (judgement.obstacle is None) == bool(judgement.open)


@given(reports, all_rules)
def test_the_same_reading_at_the_same_moment_is_judged_the_same_again(gpus, rules):
    first, past = judge(GpuReport(gpus), NEED, rules, Past(), now_s=5.0, worker_runs=True)
    second, again = judge(GpuReport(gpus), NEED, rules, past, now_s=5.0, worker_runs=True)
    assert [each.cause for each in second.shut] == [each.cause for each in first.shut]
    assert again == past
