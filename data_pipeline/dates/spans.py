"""Spans of days: from March 3 to 10, from tomorrow to the end of the month, 下周一到周五."""

import random
from datetime import date, timedelta
from typing import NamedTuple

from data_pipeline.dates.arithmetic import (
    MONTHS_EN,
    SATURDAY,
    SUNDAY,
    WEEKDAYS_EN,
    WEEKDAYS_ZH,
    month_end,
    ordinal,
    weekday_of_week,
)

LATEST_START = 200
LONGEST = 14


class Span(NamedTuple):
    """First and last day with their words."""

    text: str
    first: date
    last: date
    first_words: str
    """The part of `text` that tells the first day; all of it where one day leans on the other (March 3 to 10)."""
    last_words: str


def date_span(today: date | None, language: str, rng: random.Random) -> Span:
    """Two to fifteen days from `today` on; written with their years where today is not known."""
    while True:
        if today is None:
            start = date(2025, 1, 1) + timedelta(rng.randrange(720))
            return _with_year(start, start + timedelta(rng.randint(1, LONGEST)), language, rng)
        draw = rng.choice((_written, _written, _of_week, _from_now))
        found = draw(today, language, rng)
        if found is not None and today <= found.first < found.last:
            return found


def _with_year(first: date, last: date, language: str, rng: random.Random) -> Span:
    if rng.random() < 0.3:
        words = (first.isoformat(), last.isoformat())
    elif language == "zh":
        words = (f"{first.year}年{first.month}月{first.day}日", f"{last.year}年{last.month}月{last.day}日")
    else:
        words = (_english(first, True), _english(last, True))
    return _joined(first, last, *words, language, rng)


def _written(today: date, language: str, rng: random.Random) -> Span | None:
    first = today + timedelta(rng.randint(2, LATEST_START))
    last = first + timedelta(rng.randint(1, LONGEST))
    if first.year > today.year + 1 or rng.random() < 0.15:
        return _with_year(first, last, language, rng)
    if first.month == last.month and rng.random() < 0.7:
        return _of_month(first, last, language, rng)
    if language == "zh":
        unit = rng.choice("号日")
        words = (f"{first.month}月{first.day}{unit}", f"{last.month}月{last.day}{unit}")
    else:
        words = (_english(first, False), _english(last, False))
    return _joined(first, last, *words, language, rng)


def _of_month(first: date, last: date, language: str, rng: random.Random) -> Span:
    """The month is said once."""
    if language == "zh":
        unit, to = rng.choice("号日"), rng.choice("到到至")
        text = f"{first.month}月{first.day}{unit}{to}{last.day}{unit}"
    else:
        month = MONTHS_EN[first.month - 1]
        text = rng.choice(
            (
                f"from {month} {first.day} to {last.day}",
                f"from {month} {ordinal(first.day)} to {ordinal(last.day)}",
                f"from the {ordinal(first.day)} to the {ordinal(last.day)} of {month}",
            )
        )
    return Span(text, first, last, text, text)


def _of_week(today: date, language: str, rng: random.Random) -> Span | None:
    """Two working days of next week."""
    if today.weekday() == SUNDAY and language == "en":
        return None
    start, end = sorted(rng.sample(range(SATURDAY), 2))
    first, last = weekday_of_week(today, start, 1), weekday_of_week(today, end, 1)
    if language == "en":
        return _joined(first, last, f"next {WEEKDAYS_EN[start]}", f"next {WEEKDAYS_EN[end]}", language, rng)
    begins, week = f"下周{WEEKDAYS_ZH[start]}", rng.choice(("下周", "周"))
    text = f"{begins}到{week}{WEEKDAYS_ZH[end]}"
    return Span(text, first, last, begins, text)


def _from_now(today: date, language: str, rng: random.Random) -> Span | None:
    days, end = rng.choice((0, 1)), rng.choice(("week", "month"))
    first = today + timedelta(days)
    last = month_end(today) if end == "month" else weekday_of_week(today, rng.randrange(7), 0)
    if language == "zh":
        words = (("今天", "明天")[days], "月底" if end == "month" else f"周{WEEKDAYS_ZH[last.weekday()]}")
    else:
        words = (
            ("today", "tomorrow")[days],
            "the end of the month" if end == "month" else WEEKDAYS_EN[last.weekday()],
        )
    return None if last <= first else _joined(first, last, *words, language, rng)


def _joined(first: date, last: date, begins: str, ends: str, language: str, rng: random.Random) -> Span:
    if language == "zh":
        text = rng.choice(("{}到{}", "从{}到{}", "{}至{}")).format(begins, ends)
    else:
        text = f"from {begins} {rng.choice(('to', 'to', 'until'))} {ends}"
    return Span(text, first, last, begins, ends)


def _english(day: date, with_year: bool) -> str:
    return f"{MONTHS_EN[day.month - 1]} {day.day}" + (f", {day.year}" if with_year else "")
