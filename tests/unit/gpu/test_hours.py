"""Windows of local time: across midnight, by weekday, and right when the clock is changed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.gpu.hours import Hours
from node.gpu_settings import DAYS, parse_window

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "UTC",
    "America/St_Johns",
]


def hours(*texts: str, zone: str = "Europe/Berlin") -> Hours:
    place = ZoneInfo(zone)
    return Hours(
        [parse_window(text) for text in texts], lambda at: datetime.fromtimestamp(at, UTC).astimezone(place)
    )


def at(text: str, zone=BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def test_without_windows_the_gpus_are_always_lent():
    always = hours()
    assert always.open_at(at("2026-03-01T12:00"))
    assert always.changes_at(at("2026-03-01T12:00")) is None
    assert always.open_for(at("2026-03-01T12:00"), 10**6)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-03-03T21:59:59", False),
        ("2026-03-03T22:00:00", True),
        ("2026-03-04T00:00:00", True),
        ("2026-03-04T06:59:59", True),
        ("2026-03-04T07:00:00", False),
        ("2026-03-04T12:00:00", False),
    ],
)
def test_a_night_reaches_into_the_next_day(moment, is_open):
    assert hours("22:00-07:00").open_at(at(moment)) is is_open


def test_a_night_belongs_to_the_day_it_begins_on():
    night = hours("fri 22:00-07:00")
    assert night.open_at(at("2026-03-06T23:00"))  # a Friday
    assert night.open_at(at("2026-03-07T06:00"))
    assert not night.open_at(at("2026-03-06T06:00"))
    assert not night.open_at(at("2026-03-07T23:00"))
    assert night.changes_at(at("2026-03-07T12:00")) == at("2026-03-13T22:00")


def test_days_may_go_round_the_week():
    weekend = hours("sat-mon 00:00-24:00")
    assert [weekend.open_at(at(f"2026-03-{day:02}T12:00")) for day in range(2, 9)] == [
        True, False, False, False, False, True, True,
    ]  # fmt: skip
    assert weekend.changes_at(at("2026-03-07T12:00")) == at("2026-03-10T00:00")


def test_a_window_that_closes_soon_has_no_time_for_a_long_job():
    night = hours("22:00-07:00")
    assert night.open_for(at("2026-03-04T06:50"), 600)
    assert not night.open_for(at("2026-03-04T06:50"), 601)
    assert not night.open_for(at("2026-03-04T12:00"), 1)


def test_the_night_in_which_an_hour_is_skipped_is_an_hour_shorter():
    night = hours("22:00-07:00")
    opened = at("2026-03-28T22:00")
    assert night.changes_at(opened) - opened == 8 * 3600


def test_the_night_in_which_an_hour_comes_twice_is_an_hour_longer():
    night = hours("22:00-07:00")
    opened = at("2026-10-24T22:00")
    assert night.changes_at(opened) - opened == 10 * 3600


def test_a_window_inside_the_skipped_hour_does_not_open_that_day():
    early = hours("02:15-02:45")
    assert early.changes_at(at("2026-03-28T03:00")) == at("2026-03-30T02:15")


def test_a_window_into_the_skipped_hour_ends_when_the_clock_jumps():
    early = hours("01:30-02:30")
    assert early.changes_at(at("2026-03-29T01:30")) == at("2026-03-29T03:00")


def test_an_hour_that_comes_twice_opens_its_window_twice():
    early = hours("02:15-02:45")
    first, second = at("2026-10-25T02:15"), at("2026-10-25T02:15", fold=1)
    assert early.changes_at(at("2026-10-25T01:00")) == first
    assert early.changes_at(first) == first + 30 * 60
    assert early.changes_at(first + 30 * 60) == second


times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
days = st.one_of(
    st.just(""),
    st.sampled_from(DAYS).map("{} ".format),
    st.builds("{}-{} ".format, st.sampled_from(DAYS), st.sampled_from(DAYS)),
)
windows = st.builds(lambda day, begin, end: (day, begin, end), days, times, times).filter(
    lambda w: w[1] != w[2]
)
moments = st.integers(int(at("2026-01-01T00:00")), int(at("2027-12-31T00:00")))


def covered(parts, moment: datetime) -> bool:
    """Tell by intervals of calendar days whether a naive local time is in a window."""
    day, begin, end = parts
    first, _, last = day.strip().partition("-")
    names = list(DAYS) * 2
    start = names.index(first) if first else 0
    chosen = names[start : names.index(last or first, start) + 1] if first else DAYS
    for back in (0, 1):
        date = (moment - timedelta(days=back)).date()
        opens = datetime.fromisoformat(f"{date}T{begin}")
        closes = datetime.fromisoformat(f"{date}T{end}")
        closes += timedelta(days=1) if closes <= opens else timedelta()
        if DAYS[date.weekday()] in chosen and opens <= moment < closes:
            return True
    return False


@given(st.lists(windows, min_size=1, max_size=3), st.sampled_from(ZONES), moments)
@settings(max_examples=200, deadline=None)
def test_open_is_what_the_calendar_says_and_nothing_changes_before_the_next_change(chosen, zone, moment):
    place = ZoneInfo(zone)
    those = hours(*("{}{}-{}".format(*parts) for parts in chosen), zone=zone)

    def expected(when: float) -> bool:
        local = datetime.fromtimestamp(when, place).replace(tzinfo=None)
        return any(covered(parts, local) for parts in chosen)

    now = those.open_at(moment)
    assert now == expected(moment)
    change = those.changes_at(moment)
    end = change if change is not None else moment + 8 * 86_400
    assert end > moment
    for step in range(24):
        assert those.open_at(moment + (end - moment) * step / 24) == now
    if change is not None:
        assert those.open_at(change) != now
        assert those.open_at(change - 1) == now
        assert expected(change) != now
