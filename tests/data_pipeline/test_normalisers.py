"""Numbers, clock times, durations and other names, read as people say them. Dates: test_dates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.normalisers import chinese_number, numbers, times
from data_pipeline.normalisers.aliases import other_names
from data_pipeline.normalisers.durations import durations

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
ONES = [*ONES.split(), "eighteen", "nineteen"]
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def english(n: int) -> str:
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + (f"-{ONES[n % 10]}" if n % 10 else "")
    for scale, name in ((1_000_000, "million"), (1_000, "thousand"), (100, "hundred")):
        if n >= scale:
            rest = (
                f" and {english(n % scale)}" if 0 < n % scale < 100 else f" {english(n % scale)}" if n % scale else ""
            )
            return f"{english(n // scale)} {name}{rest}"
    raise AssertionError


def chinese(n: int) -> str:
    digits = "零一二三四五六七八九"
    if n < 10:
        return digits[n]
    for scale, name in ((100_000_000, "亿"), (10_000, "万"), (1_000, "千"), (100, "百"), (10, "十")):
        if n >= scale:
            rest = n % scale
            gap = "零" if 0 < rest < scale // 10 else ""
            return chinese(n // scale) + name + (gap + chinese(rest) if rest else "")
    raise AssertionError


@given(st.integers(0, 999_999_999))
def test_written_out_numbers_are_read_back(n):
    assert numbers(f"about {english(n)} of them") == {float(n)}
    assert chinese_number(chinese(n)) == n


@given(st.integers(0, 10**9), st.integers(0, 99))
def test_digits_are_read_with_separators_and_decimals(n, cents):
    assert float(f"{n}.{cents:02d}") in numbers(f"exactly {n:,}.{cents:02d} of it")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ten percent", {10, 0.1}),
        ("百分之五", {5, 0.05}),
        ("八折", {8, 0.8, 80, 0.2, 20}),
        ("two and a half", {2.5}),
        ("a couple of", {2}),
        ("two dozen", {24}),
        ("1万2千", {12000, 10000, 2000}),
        ("一百五", {150}),
        ("一百零五", {105}),
        ("三点五公里", {3.5}),
        ("88.6千克", {88.6}),
        ("one two three", {1, 2, 3}),
    ],
)
def test_numbers_in_words(text, expected):
    assert numbers(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("half past 12 in the afternoon", {"12:30"}),
        ("quarter to 8 in the morning", {"07:45"}),
        ("afternoon 2:45", {"14:45"}),
        ("4 o'clock in the evening", {"16:00"}),
        ("12 am", {"00:00"}),
        ("noon", {"12:00"}),
        ("from 11:00-14:00,17:00-20:00", {"11:00", "14:00", "17:00", "20:00"}),
        ("下午三点半", {"15:30"}),
        ("中午12点", {"12:00"}),
        ("中午1点", {"13:00"}),
        ("晚上12点", {"00:00"}),
        ("晚上7:30", {"19:30"}),
        ("三点一刻", {"03:15"}),
        ("the 12th for 2 people at $5.30", set()),
    ],
)
def test_clock_times(text, expected):
    assert times(text) == expected


def test_the_half_of_the_day_may_be_left_open():
    assert times("at five", loose=True) == {"05:00", "17:00"} and times("at five") == set()
    assert times("7:30", loose=True) == {"07:30", "19:30"} and times("13:20", loose=True) == {"13:20"}


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("half an hour", 30),
        ("an hour and a half", 90),
        ("two and a half hours", 150),
        ("1 hour 20 minutes", 80),
        ("90-minute", 90),
        ("半个小时", 30),
        ("一刻钟", 15),
        ("两个半小时", 150),
        ("1小时30分钟", 90),
        ("三周", 30240),
    ],
)
def test_durations(text, minutes):
    assert 60 * minutes in durations(text)


def test_other_names_go_both_ways():
    assert "nyc" in other_names("new york") and "new york" in other_names("nyc")
    assert "上海" in other_names("shanghai") and "美元" in other_names("usd") and other_names("quxville") == ()
