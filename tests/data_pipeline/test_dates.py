"""The grammar of dates: a reader that does not know it reads back what it draws; open words call for a question."""

import random
from datetime import date, timedelta

import pytest
from dateutil.easter import easter
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.dates import (
    FUTURE,
    PAST,
    adverbial,
    ambiguous_date,
    date_span,
    day_line,
    explicit_date,
    past_date,
    relative_date,
)
from data_pipeline.dates.ambiguous import CHINESE, ENGLISH
from data_pipeline.dates.festivals import days_off_between
from data_pipeline.normalisers import dates
from data_pipeline.normalisers.calendar_days import easter_sunday, lunar, solar_term

LANGUAGES = ("en", "zh")
EDGES = [
    *(date(2024, 2, 28), date(2024, 2, 29), date(2025, 2, 28), date(2024, 3, 1), date(2023, 12, 31), date(2024, 1, 1)),
    *(date(2025, 1, 31), date(2026, 4, 30), date(2026, 3, 2), date(2026, 3, 8), date(2026, 9, 30), date(2026, 12, 28)),
]
TODAYS = st.one_of(st.sampled_from(EDGES), st.dates(date(2015, 1, 1), date(2040, 12, 31)))
FRAMES = {
    "en": ("{}", "Book a room for 2 people, {}, with breakfast.", "i need it {} at 10:30"),
    "zh": ("{}", "帮我订{}的房间，两个人，谢谢。", "改到{}，上午十点半"),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("grammar", [FUTURE, PAST], ids=["future", "past"])
@given(today=TODAYS, seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_what_every_family_draws_is_read_back_as_its_day_and_nothing_else(grammar, language, today, seed):
    rng = random.Random(seed)
    for family in grammar[language].families:
        drawn = family.draw(today, rng)
        if drawn is None or not grammar[language].fits(family, drawn[1], today):
            continue
        text = rng.choice(FRAMES[language]).format(drawn[0])
        assert (family.name, text, dates(text, today)) == (family.name, text, {drawn[1].isoformat()})


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_family_can_be_drawn(language):
    rng = random.Random(0)
    todays = [date(2026, 1, 1) + timedelta(n) for n in range(0, 1100, 7)] + EDGES
    for grammar in (FUTURE[language], PAST[language]):
        for family in grammar.families:
            drawn = [(family.draw(today, rng), today) for today in todays]
            assert any(found and grammar.fits(family, found[1], today) for found, today in drawn), family.name
    for open_family in ENGLISH if language == "en" else CHINESE:
        assert any(open_family.draw(today, rng) for today in [*todays, date(2026, 3, 8)]), open_family.name


@pytest.mark.parametrize("language", LANGUAGES)
def test_families_are_many_and_common_forms_stay_common(language):
    names = [family.name for family in FUTURE[language].families]
    assert len(set(names)) == len(names) >= 80
    rng = random.Random(1)
    drawn = [relative_date(date(2026, 3, 4), language, rng)[0] for _ in range(4000)]
    common = {"en": ("tomorrow", "next "), "zh": ("明", "下")}[language]
    assert all(sum(text.startswith(word) for text in drawn) > 200 for word in common)
    assert len(set(drawn)) > 1000


@pytest.mark.parametrize("language", LANGUAGES)
@given(today=TODAYS, seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_past_and_future_days_lie_where_they_should_and_draws_repeat(language, today, seed):
    future, past = (draw(today, language, random.Random(seed)) for draw in (relative_date, past_date))
    assert future[1] >= today > past[1]
    assert future == relative_date(today, language, random.Random(seed))


@pytest.mark.parametrize("language", LANGUAGES)
@given(today=st.one_of(st.none(), TODAYS), seed=st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_both_days_of_a_span_are_read_back(language, today, seed):
    span = date_span(today, language, random.Random(seed))
    first, last = span.first.isoformat(), span.last.isoformat()
    assert (today or span.first) <= span.first < span.last
    assert (span.text, dates(f"{span.text}, thanks", today)) == (span.text, {first, last})
    assert span.first_words in span.text and first in dates(span.first_words, today)
    assert span.last_words in span.text and last in dates(span.last_words, today)


@pytest.mark.parametrize("language", LANGUAGES)
@given(today=TODAYS, seed=st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_open_words_have_a_question_and_clear_readings(language, today, seed):
    words, question, readings = ambiguous_date(today, language, random.Random(seed))
    days = {day for _, day in readings}
    assert len(days) == len(readings) >= 2 and min(days) >= today and question[-1] in "?？"
    assert all(dates(clear, today) == {day.isoformat()} for clear, day in readings)
    assert dates(words, today) <= {day.isoformat() for day in days}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("today", [date(2026, 3, 4), date(2026, 3, 8), date(2026, 10, 20), date(2024, 1, 31)])
def test_no_words_are_clear_and_open_on_the_same_day(language, today):
    rng = random.Random(2)
    clear = {relative_date(today, language, rng)[0] for _ in range(5000)}
    assert clear.isdisjoint({ambiguous_date(today, language, rng)[0] for _ in range(1500)})


@given(day=TODAYS, seed=st.integers(0, 2**32), language=st.sampled_from(LANGUAGES))
def test_written_days_need_no_today(day, seed, language):
    rng = random.Random(seed)
    for text in (explicit_date(day, language, rng), f"Hello. {day_line(day, language, rng)} next Friday 下周五"):
        assert dates(text, None) == {day.isoformat()}
    assert dates(day_line(day, language, rng), day) == {day.isoformat()}


FRAGMENTS = (
    *(
        "the ",
        "last ",
        "next ",
        "in ",
        "a ",
        "week",
        "weeks ",
        "days ",
        "month ",
        "year",
        "before ",
        "after ",
        "of ",
        " from ",
    ),
    *(
        "friday",
        "march ",
        "feb ",
        "31st ",
        "29",
        "30/",
        "0000-",
        "13",
        "00",
        "/",
        "-",
        "2027",
        "9999 ",
        "christmas ",
        "q3 ",
    ),
    *(
        "下",
        "上",
        "个",
        "月",
        "周",
        "五",
        "末",
        "底",
        "前",
        "后",
        "三",
        "十",
        "二",
        "半",
        "年",
        "号",
        "日",
        "天",
        "农历",
        "腊月",
        "三十",
        "国庆",
    ),
    *("第一个", "最后", "工作日", "明", "初", "9999年", "0000年", "春节", "季度", "的", "再过", "999"),
)


@given(parts=st.lists(st.sampled_from(FRAGMENTS), max_size=9), today=TODAYS)
@settings(max_examples=400, deadline=None)
def test_no_words_break_the_reader(parts, today):
    found = dates("".join(parts), today)
    assert found == {date.fromisoformat(day).isoformat() for day in found}
    assert dates("".join(parts), None) is not None


def test_business_days_are_counted_only_where_no_holiday_matters():
    assert days_off_between(date(2026, 12, 24), date(2026, 12, 28), "en")
    assert days_off_between(date(2026, 9, 28), date(2026, 10, 9), "zh")
    assert not days_off_between(date(2026, 8, 3), date(2026, 8, 14), "en")
    drawn = {family.name: family.draw for language in LANGUAGES for family in FUTURE[language].families}
    rng = random.Random(3)
    assert drawn["next_business_day"](date(2026, 12, 24), rng) is drawn["下个工作日"](date(2026, 9, 30), rng) is None
    assert drawn["next_business_day"](date(2026, 8, 7), rng)[1] == date(2026, 8, 10)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("tomorrow", "tomorrow"),
        ("in three days", "in three days"),
        ("next Friday", "next Friday"),
        ("Friday", "on Friday"),
        ("March 3", "on March 3"),
        ("the second Tuesday of next month", "on the second Tuesday of next month"),
        ("the end of the month", "at the end of the month"),
        ("mid-April", "in mid-April"),
        ("the middle of next month", "in the middle of next month"),
        ("Christmas", "on Christmas"),
        ("the last day of the month", "on the last day of the month"),
        ("two weeks from tomorrow", "two weeks from tomorrow"),
        ("the day after tomorrow", "the day after tomorrow"),
        ("the day after Thanksgiving", "on the day after Thanksgiving"),
        ("last Friday", "last Friday"),
        ("yesterday", "yesterday"),
        ("a week from March 28", "a week from March 28"),
        ("next week", "next week"),
        ("late August", "in late August"),
        ("early next month", "early next month"),
        ("around the middle of May", "around the middle of May"),
        ("the weekend", "on the weekend"),
        ("Monday or Tuesday", "on Monday or Tuesday"),
        ("ten days before April 3", "ten days before April 3"),
        ("the same day next week", "the same day next week"),
        ("this weekend on Saturday", "this weekend on Saturday"),
        ("this year's Labor Day", "on this year's Labor Day"),
    ],
)
def test_an_expression_after_a_verb(words, said):
    assert adverbial(words) == said


def test_easter_of_the_reader_is_that_of_dateutil():
    assert all(easter_sunday(year) == easter(year) for year in range(1900, 2100))


@pytest.mark.parametrize(
    ("found", "day"),
    [
        (lunar(2024, 1, 1), "2024-02-10"),
        (lunar(2025, 1, 1), "2025-01-29"),
        (lunar(2027, 1, 1), "2027-02-06"),
        (lunar(2024, 5, 5), "2024-06-10"),
        (lunar(2025, 5, 5), "2025-05-31"),
        (lunar(2024, 8, 15), "2024-09-17"),
        (lunar(2025, 8, 15), "2025-10-06"),
        (lunar(2025, 9, 9), "2025-10-29"),
        (lunar(2025, 7, 7), "2025-08-29"),
        (lunar(2024, 12, 8), "2025-01-07"),
        (solar_term(2024, "清明"), "2024-04-04"),
        (solar_term(2026, "清明"), "2026-04-05"),
        (solar_term(2025, "冬至"), "2025-12-21"),
    ],
)
def test_lunar_days_and_solar_terms_are_those_of_the_almanac(found, day):
    assert found == date.fromisoformat(day)


@pytest.mark.parametrize("language", LANGUAGES)
@given(today=TODAYS, seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_days_can_be_asked_to_be_near_or_named(language, today, seed):
    rng = random.Random(seed)
    for draw in (relative_date, past_date):
        assert abs(draw(today, language, rng, within=10)[1] - today).days <= 10
        named = draw(today, language, rng, named=True)[0]
        assert not named.startswith(("in ", "再过", "过")) and not named.endswith(
            (" ago", " from now", "之后", "以后", "天前")
        )
