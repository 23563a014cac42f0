"""Festivals and holidays: fixed and moving days of the year, and the days off around them.

English names follow the United States (Thanksgiving, Labor Day, Memorial Day), Chinese ones the People's Republic.
Source of the lunar calendar and the solar terms: the `borax` library; of Easter: `dateutil`.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple

from borax.calendars.lunardate import LunarDate, TermUtils
from dateutil.easter import easter

from data_pipeline.dates.arithmetic import nth_weekday
from data_pipeline.dates.grammar import Draw, Expression, Family

Year = Callable[[int], date]
RECENT = timedelta(60)
"""After a festival its bare name may still mean the one that has passed; for so long it is not said."""


class Festival(NamedTuple):
    """A day of every year."""

    names: tuple[str, ...]
    of_year: Year
    """Its day in a solar year; the one of a lunar year where that ends in another solar year."""
    days_off: tuple[int, int] | None = None
    """First and last day without work, counted from the festival; None where people work."""
    lunar_year: bool = False
    """Belongs to the end of a lunar year, so that "this year's" is open."""


def _fixed(month: int, day: int) -> Year:
    return lambda year: date(year, month, day)


def _nth(month: int, weekday: int, n: int, days: int = 0) -> Year:
    return lambda year: nth_weekday(date(year, month, 1), weekday, n) + timedelta(days)


def _easter(days: int) -> Year:
    return lambda year: easter(year) + timedelta(days)


def _lunar(month: int, day: int, days: int = 0) -> Year:
    return lambda year: _solar(year, month, day) + timedelta(days)


@lru_cache(maxsize=4096)
def _solar(year: int, month: int, day: int) -> date:
    found: date = LunarDate(year, month, day).to_solar_date()
    return found


@lru_cache(maxsize=1024)
def _start_of_term(year: int, name: str) -> date:
    found: date = TermUtils.day_start_from_term(year, name)
    return found


def _term(name: str) -> Year:
    return lambda year: _start_of_term(year, name)


_OFF = (0, 0)
FESTIVALS_EN = (
    Festival(("New Year's Day",), _fixed(1, 1), (-1, 1)),
    Festival(("Martin Luther King Day", "MLK Day"), _nth(1, 0, 3), _OFF),
    Festival(("Valentine's Day",), _fixed(2, 14)),
    Festival(("Presidents' Day",), _nth(2, 0, 3), _OFF),
    Festival(("St. Patrick's Day", "St Patrick's Day"), _fixed(3, 17)),
    Festival(("Good Friday",), _easter(-2)),
    Festival(("Easter", "Easter Sunday"), _easter(0)),
    Festival(("Easter Monday",), _easter(1)),
    Festival(("Earth Day",), _fixed(4, 22)),
    Festival(("Mother's Day",), _nth(5, 6, 2)),
    Festival(("Memorial Day",), _nth(5, 0, -1), _OFF),
    Festival(("Father's Day",), _nth(6, 6, 3)),
    Festival(("Juneteenth",), _fixed(6, 19), (-1, 1)),
    Festival(("the Fourth of July", "Independence Day"), _fixed(7, 4), (-1, 1)),
    Festival(("Labor Day",), _nth(9, 0, 1), _OFF),
    Festival(("Columbus Day",), _nth(10, 0, 2), _OFF),
    Festival(("Halloween",), _fixed(10, 31)),
    Festival(("Veterans Day",), _fixed(11, 11), (-1, 1)),
    Festival(("Thanksgiving", "Thanksgiving", "Thanksgiving Day"), _nth(11, 3, 4), (0, 1)),
    Festival(("Black Friday",), _nth(11, 3, 4, 1)),
    Festival(("Cyber Monday",), _nth(11, 3, 4, 4)),
    Festival(("Christmas Eve",), _fixed(12, 24)),
    Festival(("Christmas", "Christmas Day", "Christmas Day"), _fixed(12, 25), (-1, 1)),
    Festival(("Boxing Day",), _fixed(12, 26)),
    Festival(("New Year's Eve",), _fixed(12, 31)),
    Festival(("Chinese New Year", "Lunar New Year"), _lunar(1, 1)),
    Festival(("the Dragon Boat Festival",), _lunar(5, 5)),
    Festival(("the Mid-Autumn Festival",), _lunar(8, 15)),
)
FESTIVALS_ZH = (
    Festival(("元旦", "元旦", "元旦节"), _fixed(1, 1), (-3, 3)),
    Festival(("腊八节",), _lunar(12, 8), lunar_year=True),
    Festival(("除夕", "大年三十", "除夕夜"), _lunar(1, 1, -1), lunar_year=True),
    Festival(("春节", "大年初一", "正月初一"), _lunar(1, 1), (-4, 12)),
    Festival(("大年初三", "正月初三"), _lunar(1, 3)),
    Festival(("大年初五", "正月初五"), _lunar(1, 5)),
    Festival(("元宵节", "正月十五"), _lunar(1, 15)),
    Festival(("情人节",), _fixed(2, 14)),
    Festival(("三八妇女节", "妇女节"), _fixed(3, 8)),
    Festival(("植树节",), _fixed(3, 12)),
    Festival(("愚人节",), _fixed(4, 1)),
    Festival(("清明节", "清明节", "清明"), _term("清明"), (-4, 4)),
    Festival(("五一", "劳动节", "五一劳动节"), _fixed(5, 1), (-7, 12)),
    Festival(("五四青年节", "青年节"), _fixed(5, 4)),
    Festival(("母亲节",), _nth(5, 6, 2)),
    Festival(("儿童节", "六一儿童节"), _fixed(6, 1)),
    Festival(("端午节", "端午节", "端午"), _lunar(5, 5), (-4, 4)),
    Festival(("父亲节",), _nth(6, 6, 3)),
    Festival(("建党节",), _fixed(7, 1)),
    Festival(("建军节", "八一建军节"), _fixed(8, 1)),
    Festival(("七夕", "七夕节"), _lunar(7, 7)),
    Festival(("教师节",), _fixed(9, 10)),
    Festival(("中秋节", "中秋节", "中秋"), _lunar(8, 15), (-4, 4)),
    Festival(("国庆节", "国庆节", "国庆"), _fixed(10, 1), (-7, 14)),
    Festival(("重阳节",), _lunar(9, 9)),
    Festival(("双十一", "双11"), _fixed(11, 11)),
    Festival(("感恩节",), _nth(11, 3, 4)),
    Festival(("双十二", "双12"), _fixed(12, 12)),
    Festival(("冬至",), _term("冬至")),
    Festival(("平安夜",), _fixed(12, 24)),
    Festival(("圣诞节", "圣诞节", "圣诞"), _fixed(12, 25)),
    Festival(("跨年夜",), _fixed(12, 31)),
)
LONG_HOLIDAYS = ("春节", "五一", "国庆节")
FESTIVALS: Mapping[str, tuple[Festival, ...]] = {"en": FESTIVALS_EN, "zh": FESTIVALS_ZH}
_TERMS_ZH = ("立春", "春分", "立夏", "夏至", "立秋", "秋分", "立冬", "霜降", "小满", "谷雨")


def upcoming(festival: Festival, today: date) -> date | None:
    """Its next day after today; None on the day and for some time after it, when the name could mean that day."""
    days = [festival.of_year(year) for year in range(today.year - 2, today.year + 2)]
    last = max(day for day in days if day <= today)
    return None if today - last <= RECENT else min(day for day in days if day > today)


def days_off_between(first: date, last: date, language: str) -> bool:
    """Whether a public holiday, or a working weekend swapped for one, may lie within `first` to `last`."""
    for festival in FESTIVALS[language]:
        if festival.days_off is None:
            continue
        for year in range(first.year - 1, last.year + 2):
            day = festival.of_year(year)
            if first <= day + timedelta(festival.days_off[1]) and day + timedelta(festival.days_off[0]) <= last:
                return True
    return False


def _named(language: str, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        festival = rng.choice(FESTIVALS[language])
        day = upcoming(festival, today)
        return None if day is None else (rng.choice(texts).format(rng.choice(festival.names)), day)

    return draw


def _this_year(language: str, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        festival = rng.choice(FESTIVALS[language])
        day = festival.of_year(today.year)
        if day <= today or festival.lunar_year:
            return None
        return _qualified(texts, festival, rng), day

    return draw


def _next_year(language: str, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        festival = rng.choice(FESTIVALS[language])
        day = festival.of_year(today.year + 1)
        return None if festival.lunar_year else (_qualified(texts, festival, rng), day)

    return draw


def _with_year(language: str, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        festival, year = rng.choice(FESTIVALS[language]), today.year + rng.choice((0, 1, 1, 2))
        if festival.lunar_year:
            return None
        return _qualified(texts, festival, rng, year), festival.of_year(year)

    return draw


def _qualified(texts: Sequence[str], festival: Festival, rng: random.Random, year: int = 0) -> str:
    name = rng.choice(festival.names)
    if "New Year" in name:
        texts = texts[:1]  # nobody says next year's New Year's Day
    return rng.choice(texts).format(name=name, bare=name.removeprefix("the "), year=year)


def _solar_term_zh(today: date, rng: random.Random) -> Expression | None:
    name = rng.choice(_TERMS_ZH)
    day = upcoming(Festival((name,), _term(name)), today)
    return None if day is None else (rng.choice(("{}", "{}那天", "{}当天")).format(name), day)


def _lunar_day_zh(today: date, rng: random.Random) -> Expression | None:
    month, day = rng.randint(1, 12), rng.randint(1, 29)
    found = upcoming(Festival(("",), _lunar(month, day)), today)
    if found is None:
        return None
    names = ("正", "二", "三", "四", "五", "六", "七", "八", "九", "十", "冬", "腊")
    tens = "初" if day <= 10 else "十" if day < 20 else "二十" if day == 20 else "廿"
    ones = "" if day == 20 else "一二三四五六七八九十"[(day - 1) % 10]
    prefix = rng.choice(("农历", "阴历")) if 1 < month < 11 else rng.choice(("农历", "阴历", ""))
    return f"{prefix}{names[month - 1]}月{tens}{ones}", found


ENGLISH = (
    Family("festival", 5, _named("en", "{}")),
    Family("festival_this_year", 1, _this_year("en", "{name} this year", "this year's {bare}")),
    Family("festival_next_year", 1, _next_year("en", "{name} next year", "next year's {bare}")),
    Family("festival_of_year", 0.8, _with_year("en", "{bare} {year}", "{name} in {year}", "{name} of {year}")),
)
CHINESE = (
    Family("节日", 5, _named("zh", "{}", "{}", "{}那天", "{}当天")),
    Family("今年的节日", 1, _this_year("zh", "今年{name}", "今年的{name}")),
    Family("明年的节日", 1, _next_year("zh", "明年{name}", "明年的{name}")),
    Family("某年的节日", 0.7, _with_year("zh", "{year}年{name}", "{year}年的{name}")),
    Family("节气", 0.6, _solar_term_zh),
    Family("农历", 0.8, _lunar_day_zh),
)
