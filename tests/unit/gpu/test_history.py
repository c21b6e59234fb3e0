"""The charts' samples: bounded, aligned, honest about gaps."""

from node.gpu import history
from node.gpu.history import MIB, GpuHistory
from tests.fakes.clock import FakeClock
from tests.fakes.gpus import card


def busy(memory_mib, utilisation, temperature, power, index=0):
    return card(
        index,
        memory_used_bytes=memory_mib * MIB,
        utilisation_percent=utilisation,
        temperature_c=temperature,
        power_w=power,
    )


def test_a_period_keeps_the_peak_of_memory_and_heat_and_the_mean_of_work_and_power():
    clock = FakeClock(600.0)
    kept = GpuHistory(clock)
    kept.note([busy(100, 0, 40, 20.0)])
    kept.note([busy(900, 100, 70, 300.0)])
    kept.note([busy(300, 50, 60, 160.0)])
    told = kept.to_json()
    (gpu,) = told["gpus"]
    assert (told["from"], told["every_s"]) == (600, 60)
    assert gpu["memory_used_mib"] == [900]
    assert gpu["temperature_c"] == [70]
    assert gpu["utilisation_percent"] == [50]
    assert gpu["power_w"] == [160]


def test_a_time_without_readings_is_a_gap_and_a_reading_that_is_not_offered_is_none():
    clock = FakeClock(600.0)
    kept = GpuHistory(clock)
    kept.note([busy(100, None, None, None)])
    clock.time += 180
    kept.note([busy(200, 7, 50, 90.4)])
    (gpu,) = kept.to_json()["gpus"]
    assert gpu["memory_used_mib"] == [100, None, None, 200]
    assert gpu["utilisation_percent"] == [None, None, None, 7]
    assert gpu["power_w"] == [None, None, None, 90]


def test_only_the_last_hours_are_held_and_every_card_has_the_same_periods():
    clock = FakeClock(600.0)
    kept = GpuHistory(clock, held=5)
    for minute in range(9):
        kept.note([busy(minute, 0, 0, 0.0)] + ([busy(50, 0, 0, 0.0, index=1)] if minute == 8 else []))
        clock.time += 60
    told = kept.to_json()
    assert told["from"] == 600 + 5 * 60
    assert [gpu["memory_used_mib"] for gpu in told["gpus"]] == [
        [5, 6, 7, 8, None],
        [None, None, None, 50, None],
    ]


def test_cards_without_end_are_not_held():
    kept = GpuHistory(FakeClock())
    for index in range(history.MAX_CARDS + 10):
        kept.note([card(index)])
    assert len(kept.to_json()["gpus"]) == history.MAX_CARDS


def test_a_node_without_cards_tells_of_none():
    assert GpuHistory(FakeClock()).to_json()["gpus"] == []
