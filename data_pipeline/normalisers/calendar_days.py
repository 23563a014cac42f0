"""Arithmetic on days for the readers of dates, and the festivals they know.

Kept apart from the generator's: what one writes, the other has to find by its own way.
Sources: lunar calendar and solar terms from the `borax` library; Easter after Meeus, Astronomical Algorithms, ch. 8.
"""

import calendar
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from functools import lru_cache

from borax.calendars.lunardate import LunarDate, TermUtils

Year = Callable[[int], date]
Days = tuple[date, ...]
"""All readings of an expression; none where it means no single day."""


def make_date(year: int, month: int, day: int) -> date | None:
    """The date, or None where there is no such day."""
    if not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    return date(year, month, day)


def month_first(day: date, months: int) -> date:
    """First of the month `months` after that of `day`."""
    years, index = divmod(day.month - 1 + months, 12)
    return date(day.year + years, index + 1, 1)


def month_last(day: date) -> date:
    """Last of the month of `day`."""
    return date(day.year, day.month, calendar.monthrange(day.year, day.month)[1])


def shift_months(day: date, months: int) -> date:
    """`months` later, on the same day or the last there is."""
    first = month_first(day, months)
    return first.replace(day=min(day.day, month_last(first).day))


def quarter_first(day: date, quarters: int) -> date:
    """First of the quarter `quarters` after that of `day`."""
    return month_first(date(day.year, 1 + 3 * ((day.month - 1) // 3), 1), 3 * quarters)


def in_week(day: date, weekday: int, weeks: int) -> date:
    """Weekday (Monday 0) of the week `weeks` after that of `day`."""
    monday = day - timedelta(day.weekday())
    return monday + timedelta(7 * weeks + weekday)


def after(day: date, weekday: int) -> date:
    """First such weekday later than `day`."""
    found = day + timedelta(1)
    while found.weekday() != weekday:
        found += timedelta(1)
    return found


def before(day: date, weekday: int) -> date:
    """Last such weekday earlier than `day`."""
    return after(day - timedelta(8), weekday)


def nth_of_month(first: date, weekday: int, place: int) -> date | None:
    """`place`-th such weekday of a month; the last for -1."""
    days = [d for d in _month_days(first) if d.weekday() == weekday]
    return days[place - 1 if place > 0 else place] if place <= len(days) else None


def working_day_of_month(first: date, place: int) -> date:
    """First (0) or last (-1) day from Monday to Friday of a month."""
    return [d for d in _month_days(first) if d.weekday() < 5][place]


def _month_days(first: date) -> list[date]:
    return [first + timedelta(n) for n in range(month_last(first).day)]


def working_days(day: date, count: int) -> date:
    """`count` days from Monday to Friday later, or earlier."""
    step = 1 if count > 0 else -1
    while count:
        day += timedelta(step)
        count -= step if day.weekday() < 5 else 0
    return day


def upcoming(days: Iterable[date | None], today: date) -> date | None:
    """The first of `days`, in their order, that is not past."""
    return next((day for day in days if day is not None and day >= today), None)


def next_of_years(of_year: Callable[[int], date | None], today: date) -> date | None:
    """Its next day from today on; a lunar date of the last lunar year may still lie ahead."""
    return upcoming((of_year(year) for year in range(today.year - 1, today.year + 9)), today)


def next_written(month: int, day: int, today: date) -> date | None:
    """The next such day; None where the month has none the next time it comes (February 29, mostly)."""
    if not 1 <= month <= 12:
        return None
    year = today.year + (month < today.month)
    found = make_date(year, month, day)
    return make_date(year + 1, month, day) if found is not None and found < today else found


def easter_sunday(year: int) -> date:
    """Western Easter."""
    a, b, c = year % 19, year // 100, year % 100
    d = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    e = (32 + 2 * (b % 4) + 2 * (c // 4) - d - c % 4) % 7
    f = d + e - 7 * ((a + 11 * d + 22 * e) // 451) + 114
    return date(year, f // 31, f % 31 + 1)


@lru_cache(maxsize=2048)
def _solar(year: int, month: int, day: int) -> date:
    found: date = LunarDate(year, month, day).to_solar_date()
    return found


def lunar(year: int, month: int, day: int) -> date | None:
    """Solar day of a day of the lunar calendar, of its regular month; None where a short month has no 30th."""
    try:
        return _solar(year, month, day)
    except ValueError:
        return None


@lru_cache(maxsize=512)
def solar_term(year: int, name: str) -> date:
    """First day of one of the 24 solar terms."""
    found: date = TermUtils.day_start_from_term(year, name)
    return found


def _on(month: int, day: int) -> Year:
    return lambda year: date(year, month, day)


def _nth(month: int, weekday: int, place: int, more: int = 0) -> Year:
    def of_year(year: int) -> date:
        first = date(year, month, 1)
        found = before(month_first(first, 1), weekday) if place < 0 else after(first - timedelta(1), weekday)
        return found + timedelta(max(place - 1, 0) * 7 + more)

    return of_year


def _lunar(month: int, day: int, more: int = 0) -> Year:
    return lambda year: _solar(year, month, day) + timedelta(more)


FESTIVALS_EN: dict[str, Year] = {
    r"new year'?s day": _on(1, 1),
    r"(?:martin luther king(?:,? jr\.?)?|mlk) day": _nth(1, 0, 3),
    r"valentine'?s(?: day)?": _on(2, 14),
    r"president'?s'? day": _nth(2, 0, 3),
    r"(?:st\.?|saint) patrick'?s day": _on(3, 17),
    r"april fools'? day": _on(4, 1),
    r"good friday": lambda year: easter_sunday(year) - timedelta(2),
    r"easter monday": lambda year: easter_sunday(year) + timedelta(1),
    r"easter(?: sunday)?": easter_sunday,
    r"earth day": _on(4, 22),
    r"mother'?s'? day": _nth(5, 6, 2),
    r"memorial day": _nth(5, 0, -1),
    r"father'?s'? day": _nth(6, 6, 3),
    r"juneteenth": _on(6, 19),
    r"(?:independence day|fourth of july)": _on(7, 4),
    r"labou?r day": _nth(9, 0, 1),
    r"columbus day": _nth(10, 0, 2),
    r"halloween": _on(10, 31),
    r"veteran'?s'? day": _on(11, 11),
    r"thanksgiving(?: day)?": _nth(11, 3, 4),
    r"black friday": _nth(11, 3, 4, 1),
    r"cyber monday": _nth(11, 3, 4, 4),
    r"christmas eve": _on(12, 24),
    r"christmas(?: day)?": _on(12, 25),
    r"boxing day": _on(12, 26),
    r"new year'?s eve": _on(12, 31),
    r"(?:chinese|lunar) new year": _lunar(1, 1),
    r"lantern festival": _lunar(1, 15),
    r"dragon boat festival": _lunar(5, 5),
    r"mid-autumn festival": _lunar(8, 15),
}
FESTIVALS_ZH: dict[str, Year] = {
    "元旦节?": _on(1, 1),
    "腊八节?": _lunar(12, 8),
    "小年夜?": _lunar(12, 23),
    "除夕夜?|大?年三十": _lunar(1, 1, -1),
    "春节|大年初一": _lunar(1, 1),
    "大年初三": _lunar(1, 3),
    "大年初五": _lunar(1, 5),
    "元宵节?": _lunar(1, 15),
    "情人节": _on(2, 14),
    "(?:三八)?妇女节|三八节": _on(3, 8),
    "植树节": _on(3, 12),
    "愚人节": _on(4, 1),
    "清明节?": lambda year: solar_term(year, "清明"),
    "五一劳动节|劳动节|五一": _on(5, 1),
    "(?:五四)?青年节": _on(5, 4),
    "母亲节": _nth(5, 6, 2),
    "(?:六一)?儿童节|六一": _on(6, 1),
    "端午节?": _lunar(5, 5),
    "父亲节": _nth(6, 6, 3),
    "建党节": _on(7, 1),
    "(?:八一)?建军节": _on(8, 1),
    "七夕节?": _lunar(7, 7),
    "教师节": _on(9, 10),
    "中秋节?": _lunar(8, 15),
    "十一国庆节?|国庆节?": _on(10, 1),
    "重阳节?": _lunar(9, 9),
    "万圣节前夜": _on(10, 31),
    "双十一|双11": _on(11, 11),
    "感恩节": _nth(11, 3, 4),
    "双十二|双12": _on(12, 12),
    "平安夜": _on(12, 24),
    "圣诞节?": _on(12, 25),
    "跨年夜": _on(12, 31),
}
SOLAR_TERMS = (
    *("立春", "雨水", "惊蛰", "春分", "谷雨", "立夏", "小满", "芒种", "夏至", "小暑", "大暑"),
    *("立秋", "处暑", "白露", "秋分", "寒露", "霜降", "立冬", "小雪", "大雪", "冬至", "小寒", "大寒"),
)
