"""Written dates in many layouts, with and without year or weekday, and the date line of the system message."""

import calendar
import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta

from data_pipeline.dates.arithmetic import (
    DIGITS_ZH,
    MONTHS_EN,
    WEEKDAYS_EN,
    WEEKDAYS_ZH,
    numeral_zh,
    ordinal,
)
from data_pipeline.dates.grammar import Draw, Expression, Family

ORDINALS_EN = (
    *("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"),
    *("twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth"),
    *("twentieth", "twenty-first", "twenty-second", "twenty-third", "twenty-fourth", "twenty-fifth", "twenty-sixth"),
    *("twenty-seventh", "twenty-eighth", "twenty-ninth", "thirtieth", "thirty-first"),
)
UNAMBIGUOUS_FROM = 13
"""From this day of the month on, 03/25 and 25/03 mean the same."""

Layout = Callable[[date], str]


def _short(day: date) -> str:
    return "Sept" if day.month == 9 else MONTHS_EN[day.month - 1][:3]


def _digits_zh(number: int) -> str:
    return "".join(DIGITS_ZH[int(digit)] for digit in str(number))


_FULL_EN: tuple[Layout, ...] = (
    lambda d: f"{MONTHS_EN[d.month - 1]} {d.day}, {d.year}",
    lambda d: f"{MONTHS_EN[d.month - 1]} {d.day}, {d.year}",
    lambda d: f"{d.day} {MONTHS_EN[d.month - 1]} {d.year}",
    lambda d: d.isoformat(),
    lambda d: d.isoformat(),
    lambda d: f"{MONTHS_EN[d.month - 1]} {ordinal(d.day)}, {d.year}",
    lambda d: f"the {ordinal(d.day)} of {MONTHS_EN[d.month - 1]} {d.year}",
    lambda d: f"{ordinal(d.day)} {MONTHS_EN[d.month - 1]} {d.year}",
    lambda d: f"{_short(d)} {d.day}, {d.year}",
    lambda d: f"{d.day} {_short(d)} {d.year}",
    lambda d: f"{d.day:02d}-{MONTHS_EN[d.month - 1][:3]}-{d.year}",
    lambda d: f"{d.year}/{d.month:02d}/{d.day:02d}",
    lambda d: f"{WEEKDAYS_EN[d.weekday()]}, {MONTHS_EN[d.month - 1]} {d.day}, {d.year}",
)
_FULL_WEEKDAY_EN = _FULL_EN[-1]
_FULL_ZH: tuple[Layout, ...] = (
    lambda d: f"{d.year}年{d.month}月{d.day}日",
    lambda d: f"{d.year}年{d.month}月{d.day}日",
    lambda d: f"{d.year}年{d.month}月{d.day}号",
    lambda d: d.isoformat(),
    lambda d: f"{d.year}/{d.month}/{d.day}",
    lambda d: f"{d.year}.{d.month:02d}.{d.day:02d}",
    lambda d: f"{_digits_zh(d.year)}年{numeral_zh(d.month)}月{numeral_zh(d.day)}日",
    lambda d: f"{d.year}年{d.month}月{d.day}日（周{WEEKDAYS_ZH[d.weekday()]}）",
)
_MONTH_DAY_EN: tuple[Layout, ...] = (
    lambda d: f"{MONTHS_EN[d.month - 1]} {d.day}",
    lambda d: f"{MONTHS_EN[d.month - 1]} {d.day}",
    lambda d: f"{MONTHS_EN[d.month - 1]} {ordinal(d.day)}",
    lambda d: f"{MONTHS_EN[d.month - 1]} {ordinal(d.day)}",
    lambda d: f"the {ordinal(d.day)} of {MONTHS_EN[d.month - 1]}",
    lambda d: f"{d.day} {MONTHS_EN[d.month - 1]}",
)
_SHORT_EN: tuple[Layout, ...] = (
    lambda d: f"{_short(d)} {d.day}",
    lambda d: f"{_short(d)} {ordinal(d.day)}",
    lambda d: f"{d.day} {_short(d)}",
)
_SPOKEN_EN: tuple[Layout, ...] = (
    lambda d: f"{MONTHS_EN[d.month - 1]} {ORDINALS_EN[d.day]}",
    lambda d: f"the {ORDINALS_EN[d.day]} of {MONTHS_EN[d.month - 1]}",
    lambda d: f"{MONTHS_EN[d.month - 1]} the {ORDINALS_EN[d.day]}",
)
_SHORT_WEEKDAY_EN: tuple[Layout, ...] = (
    lambda d: f"{WEEKDAYS_EN[d.weekday()][:3]}, {_short(d)} {d.day}",
    lambda d: f"{WEEKDAYS_EN[d.weekday()][:3]} {d.day} {_short(d)}",
)
_WEEKDAY_EN: tuple[Layout, ...] = (
    lambda d: f"{WEEKDAYS_EN[d.weekday()]}, {MONTHS_EN[d.month - 1]} {d.day}",
    lambda d: f"{WEEKDAYS_EN[d.weekday()]}, {MONTHS_EN[d.month - 1]} {ordinal(d.day)}",
    lambda d: f"{WEEKDAYS_EN[d.weekday()]} the {ordinal(d.day)} of {MONTHS_EN[d.month - 1]}",
    lambda d: f"{MONTHS_EN[d.month - 1]} {d.day} ({WEEKDAYS_EN[d.weekday()]})",
)
_MONTH_DAY_ZH: tuple[Layout, ...] = (
    lambda d: f"{d.month}月{d.day}号",
    lambda d: f"{d.month}月{d.day}号",
    lambda d: f"{d.month}月{d.day}日",
    lambda d: f"{d.month}月{d.day}日",
)
_SPOKEN_ZH: tuple[Layout, ...] = (lambda d: f"{numeral_zh(d.month)}月{numeral_zh(d.day)}号",)
_WEEKDAY_ZH: tuple[Layout, ...] = (
    lambda d: f"{d.month}月{d.day}号周{WEEKDAYS_ZH[d.weekday()]}",
    lambda d: f"{d.month}月{d.day}日（周{WEEKDAYS_ZH[d.weekday()]}）",
    lambda d: f"{d.month}月{d.day}号（星期{WEEKDAYS_ZH[d.weekday()]}）",
    lambda d: f"{d.month}月{d.day}日星期{WEEKDAYS_ZH[d.weekday()]}",
)
_SLASHED: tuple[Layout, ...] = (
    lambda d: f"{d.month}/{d.day}",
    lambda d: f"{d.month:02d}/{d.day:02d}",
)
_SLASHED_YEAR: tuple[Layout, ...] = (
    lambda d: f"{d.month}/{d.day}/{d.year}",
    lambda d: f"{d.month:02d}/{d.day:02d}/{d.year}",
    lambda d: f"{d.day:02d}/{d.month:02d}/{d.year}",
)


def explicit_date(day: date, language: str, rng: random.Random) -> str:
    """`day` written out with its year."""
    return rng.choice(_FULL_ZH if language == "zh" else _FULL_EN)(day)


def clear_dates(days: Sequence[date], today: date, language: str, rng: random.Random) -> list[str]:
    """`days` with their weekdays, which leaves nothing open, in one layout; with the year where another is nearer."""
    layouts = _WEEKDAY_ZH if language == "zh" else _WEEKDAY_EN[:2] if len(days) == 2 else _WEEKDAY_EN[3:]
    layout = rng.choice(layouts)
    if all(_is_upcoming(day, today) for day in days):
        return [layout(day) for day in days]
    return [f"{day.year}年{layout(day)}" if language == "zh" else _FULL_WEEKDAY_EN(day) for day in days]


def day_line(day: date, language: str, rng: random.Random) -> str:
    """The date with its weekday, for the system message."""
    if language == "zh":
        text, weekday = f"{day.year}年{day.month}月{day.day}日", WEEKDAYS_ZH[day.weekday()]
        return rng.choice((f"{text}，星期{weekday}", f"{text}星期{weekday}", f"{day.isoformat()}（周{weekday}）"))
    weekday = WEEKDAYS_EN[day.weekday()]
    return rng.choice(
        (
            f"{weekday}, {day.isoformat()}",
            f"{day.isoformat()} ({weekday})",
            f"{weekday}, {MONTHS_EN[day.month - 1]} {day.day}, {day.year}",
            f"{weekday}, {day.day} {MONTHS_EN[day.month - 1]} {day.year}",
        )
    )


def _is_upcoming(day: date, today: date) -> bool:
    """Whether month and day alone mean `day`: it lies within a year from today."""
    return today <= day < today + timedelta(365)


def without_year(*layouts: Layout, reach: int = 250) -> Draw:
    """A day 3 to `reach` days ahead, without year."""

    def draw(today: date, rng: random.Random) -> Expression:
        day = today + timedelta(rng.randint(3, reach))
        return rng.choice(layouts)(day), day

    return draw


def _with_year(*layouts: Layout) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        day = today + timedelta(rng.randint(1, 500))
        return rng.choice(layouts)(day), day

    return draw


def _slashed(*layouts: Layout) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        day = today + timedelta(rng.randint(2, 200))
        return None if day.day < UNAMBIGUOUS_FROM else (rng.choice(layouts)(day), day)

    return draw


def _in_year(years: int, text: str) -> Draw:
    """A day of this year or a later one, which is said in words: March 3 next year."""

    def draw(today: date, rng: random.Random) -> Expression | None:
        day = date(today.year + years, 1, 1) + timedelta(rng.randrange(365))
        if day <= today:
            return None
        return text.format(MONTHS_EN[day.month - 1], day.day, ordinal(day.day), day.month), day

    return draw


def _leap_day(text: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        year = today.year + (today.month > 2)
        if not calendar.isleap(year) or date(year, 2, 29) <= today:
            return None
        return text, date(year, 2, 29)

    return draw


def _weekday_and_day(today: date, rng: random.Random) -> Expression:
    day = today + timedelta(rng.randint(1, 27))
    return rng.choice(("{} the {}", "{}, the {}")).format(WEEKDAYS_EN[day.weekday()], ordinal(day.day)), day


def _weekday_and_day_zh(today: date, rng: random.Random) -> Expression:
    day = today + timedelta(rng.randint(1, 27))
    return rng.choice(("{}号周{}", "{}号（周{}）", "{}号星期{}")).format(day.day, WEEKDAYS_ZH[day.weekday()]), day


ENGLISH = (
    Family("month_day", 8, without_year(*_MONTH_DAY_EN)),
    Family("short_month_day", 2, without_year(*_SHORT_EN)),
    Family("spoken_day", 2, without_year(*_SPOKEN_EN)),
    Family("weekday_month_day", 4, without_year(*_WEEKDAY_EN, reach=120)),
    Family("short_weekday_month_day", 0.8, without_year(*_SHORT_WEEKDAY_EN, reach=120)),
    Family("weekday_and_day", 2, _weekday_and_day),
    Family("full", 4, _with_year(*_FULL_EN)),
    Family("slashed", 1, _slashed(*_SLASHED)),
    Family("slashed_with_year", 1, _slashed(*_SLASHED_YEAR)),
    Family("this_year", 0.8, _in_year(0, "{} {} this year")),
    Family("next_year", 1, _in_year(1, "{} {} next year")),
    Family("of_next_year", 0.5, _in_year(1, "{} {} of next year")),
    Family("leap_day", 0.3, _leap_day("February 29")),
)
CHINESE = (
    Family("几月几号", 9, without_year(*_MONTH_DAY_ZH)),
    Family("汉字几月几号", 1.5, without_year(*_SPOKEN_ZH)),
    Family("几月几号周几", 4, without_year(*_WEEKDAY_ZH, reach=120)),
    Family("几号周几", 2, _weekday_and_day_zh),
    Family("全写", 4, _with_year(*_FULL_ZH)),
    Family("斜线", 0.6, _slashed(*_SLASHED)),
    Family("今年几月几号", 1, _in_year(0, "今年{3}月{1}号")),
    Family("明年几月几号", 1.5, _in_year(1, "明年{3}月{1}号")),
    Family("明年几月几日", 0.8, _in_year(1, "明年{3}月{1}日")),
    Family("后年几月几号", 0.5, _in_year(2, "后年{3}月{1}号")),
    Family("闰日", 0.3, _leap_day("2月29号")),
)
