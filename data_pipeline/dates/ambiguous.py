"""Words that leave the day open, the question they call for, and the clear readings to choose from."""

import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from data_pipeline.dates.arithmetic import (
    MONTHS_EN,
    SATURDAY,
    SUNDAY,
    WEEKDAYS_EN,
    WEEKDAYS_ZH,
    month_end,
    month_start,
    next_weekday,
    ordinal,
    weekday_of_week,
    weekday_zh,
)
from data_pipeline.dates.festivals import FESTIVALS_ZH, LONG_HOLIDAYS
from data_pipeline.dates.written import clear_dates

Reading = tuple[str, date]
_THIRDS = {"early": range(2, 10), "around the middle of": range(11, 20), "late": range(21, 29)}
_WHICH_EN = ("Which day exactly?", "Could you give me the exact date?", "Which date should I use?")
_WHICH_ZH = ("具体是哪一天？", "请问具体是几号？", "请告诉我具体日期，是哪天？")
_WHICH_WEEKDAY_EN = ("Which day next week?", "Which day of next week would you like?", "Sure, which day next week?")
_WHICH_WEEKDAY_ZH = ("下周几？", "请问是下周哪一天？", "下周的哪一天呢？")
Open = tuple[str, str, tuple[date, ...]]
"""Words, what is wrong with them or the whole question (either may be ""), and the days they may mean."""


Draw = Callable[[date, random.Random], Open | None]


class OpenFamily(NamedTuple):
    """Open expressions of one kind."""

    name: str
    weight: float
    draw: Draw


def ambiguous_date(today: date, language: str, rng: random.Random) -> tuple[str, str, tuple[Reading, ...]]:
    """Words for a day that have to be asked about.

    Returns:
        The words; the question of the assistant; at least two readings, each with clear words and its day, on or after
        today, the likeliest first.
    """
    families = CHINESE if language == "zh" else ENGLISH
    weights = [family.weight for family in families]
    while True:
        found = rng.choices(families, weights)[0].draw(today, rng)
        if found is None:
            continue
        text, reason, days = found
        options = clear_dates(days, today, language, rng)
        question = reason if reason.endswith(("?", "？")) else _question(reason, options, language, rng)
        return text, question, tuple(zip(options, days, strict=True))


def _question(reason: str, options: Sequence[str], language: str, rng: random.Random) -> str:
    if language == "zh":
        listed = "、".join(options[:-1]) + "还是" + options[-1]
        asked = rng.choice(("请问您指的是{}？", "您说的是{}？", "是{}？", "请确认一下，是{}？")).format(listed)
    else:
        listed = ", ".join(options[:-1]) + (", or " if len(options) > 2 else " or ") + options[-1]
        asked = rng.choice(("Do you mean {}?", "Would that be {}?", "Is that {}?", "Should I take {}?")).format(listed)
    return f"{reason}{'' if language == 'zh' or not reason else ' '}{asked}"


def _on_its_own_weekday_en(today: date, rng: random.Random) -> Open:
    return WEEKDAYS_EN[today.weekday()], "", (today, today + timedelta(7))


def _next_on_sunday_en(today: date, rng: random.Random) -> Open | None:
    if today.weekday() != SUNDAY:
        return None
    weekday = rng.randrange(1, SATURDAY)
    day = next_weekday(today, weekday)
    return f"next {WEEKDAYS_EN[weekday]}", "", (day, day + timedelta(7))


def _weekend(weeks: int, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Open | None:
        if today.weekday() >= SATURDAY:
            return None
        saturday = weekday_of_week(today, SATURDAY, weeks)
        return rng.choice(texts), "", (saturday, saturday + timedelta(1))

    return draw


def _next_weekend_en(today: date, rng: random.Random) -> Open | None:
    if today.weekday() >= SATURDAY:
        return None
    saturday = weekday_of_week(today, SATURDAY, 0)
    days = tuple(saturday + timedelta(n) for n in (7, 8, 0, 1))
    return "next weekend", "", days


def _end_of_week(weeks: int, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Open | None:
        friday = weekday_of_week(today, 4, weeks)
        return None if friday <= today else (rng.choice(texts), "", (friday, friday + timedelta(2)))

    return draw


def _slashed(language: str) -> Draw:
    """Month first and day first give two days."""

    def draw(today: date, rng: random.Random) -> Open | None:
        first, second = rng.sample(range(1, 13), 2)
        year = today.year + (rng.random() < 0.5)
        days = (date(year, first, second), date(year, second, first))
        if min(days) <= today:
            return None
        return f"{first:02d}/{second:02d}/{year}", "", days

    return draw


def _number_passed_en(today: date, rng: random.Random) -> Open | None:
    found = _passed(today, rng)
    if found is None:
        return None
    n, days = found
    month = MONTHS_EN[today.month - 1]
    return f"the {ordinal(n)}", f"The {ordinal(n)} of {month} has already passed.", days


def _number_passed_zh(today: date, rng: random.Random) -> Open | None:
    found = _passed(today, rng)
    if found is None:
        return None
    n, days = found
    return f"{n}号", f"这个月的{n}号已经过了。", days


def _passed(today: date, rng: random.Random) -> tuple[int, tuple[date, date]] | None:
    """A day number that has passed in this month, and that day of the next two months."""
    if today.day < 3:
        return None
    n = rng.randint(2, min(today.day - 1, 28))
    return n, (month_start(today, 1).replace(day=n), month_start(today, 2).replace(day=n))


def _two_weekdays_en(today: date, rng: random.Random) -> Open:
    first = today + timedelta(rng.randint(1, 5))
    days = (first, first + timedelta(1))
    names = [WEEKDAYS_EN[day.weekday()] for day in days]
    return rng.choice(("{} or {}", "either {} or {}", "{} or maybe {}")).format(*names), "", days


def _two_weekdays_zh(today: date, rng: random.Random) -> Open | None:
    if today.weekday() >= 4:
        return None
    first = rng.randrange(today.weekday() + 1, SATURDAY)
    text = rng.choice(("周{}或者周{}", "周{}或周{}", "要么周{}要么周{}")).format(
        WEEKDAYS_ZH[first], WEEKDAYS_ZH[first + 1]
    )
    return text, "", (weekday_of_week(today, first, 0), weekday_of_week(today, first + 1, 0))


def _vague(ahead: Sequence[int], questions: Sequence[str], *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Open:
        return rng.choice(texts), rng.choice(questions), tuple(today + timedelta(n) for n in ahead)

    return draw


def _some_day(weeks: int, questions: Sequence[str], *texts: str) -> Draw:
    """A whole week, of which three working days may be meant."""

    def draw(today: date, rng: random.Random) -> Open:
        days = rng.sample(range(5), 3)
        return rng.choice(texts), rng.choice(questions), tuple(weekday_of_week(today, day, weeks) for day in days)

    return draw


def _third_of_month_en(today: date, rng: random.Random) -> Open:
    first, (part, third) = month_start(today, 1), rng.choice(tuple(_THIRDS.items()))
    text = f"{part} {rng.choice(('next month', MONTHS_EN[first.month - 1]))}"
    return text, rng.choice(_WHICH_EN), tuple(first.replace(day=day) for day in rng.sample(third, 3))


def _third_of_month_zh(today: date, rng: random.Random) -> Open:
    first, third = month_start(today, 1), rng.randrange(3)
    days = rng.sample(tuple(_THIRDS.values())[third], 3)
    return f"下个月{'上中下'[third]}旬", rng.choice(_WHICH_ZH), tuple(first.replace(day=day) for day in days)


def _mismatch_en(today: date, rng: random.Random) -> Open:
    day = today + timedelta(rng.randint(5, 60))
    other = day + timedelta(rng.choice((-1, 1)))
    text = f"{WEEKDAYS_EN[other.weekday()]}, {MONTHS_EN[day.month - 1]} {day.day}"
    return text, f"{MONTHS_EN[day.month - 1]} {day.day} is a {WEEKDAYS_EN[day.weekday()]}.", (day, other)


def _mismatch_zh(today: date, rng: random.Random) -> Open:
    day = today + timedelta(rng.randint(5, 60))
    other = day + timedelta(rng.choice((-1, 1)))
    text = f"{day.month}月{day.day}号周{WEEKDAYS_ZH[other.weekday()]}"
    return text, f"{day.month}月{day.day}号是周{WEEKDAYS_ZH[day.weekday()]}。", (day, other)


def _no_such_day(language: str) -> Draw:
    """The day after the last one of a short month."""

    def draw(today: date, rng: random.Random) -> Open:
        starts = [month_start(today, n) for n in range(1, 12)]
        end = month_end(rng.choice([s for s in starts if month_end(s).day < 31]))
        month, n = MONTHS_EN[end.month - 1], end.day + 1
        days = (end, end + timedelta(1))
        if language == "zh":
            return f"{end.month}月{n}号", f"{end.year}年{end.month}月只有{end.day}天。", days
        return f"{month} {n}", f"{month} {end.year} has only {end.day} days.", days

    return draw


def _next_sunday_zh(today: date, rng: random.Random) -> Open | None:
    """Sunday ends the week by the calendar, and begins it for some."""
    if today.weekday() == SUNDAY:
        return None
    text = rng.choice(("下周日", "下周日", "下星期天", "下个星期天", "下礼拜天"))
    return text, "", (weekday_of_week(today, SUNDAY, 1), weekday_of_week(today, SUNDAY, 0))


def _next_one_zh(today: date, rng: random.Random) -> Open | None:
    """下个周五: the coming one, or the one of next week, while this week's lies ahead."""
    if today.weekday() >= SATURDAY:
        return None
    weekday = rng.randrange(today.weekday() + 1, SUNDAY)
    days = (weekday_of_week(today, weekday, 1), weekday_of_week(today, weekday, 0))
    return "下个周" + WEEKDAYS_ZH[weekday], "", days


def _on_its_own_weekday_zh(today: date, rng: random.Random) -> Open:
    return weekday_zh(today.weekday(), rng), "", (today, today + timedelta(7))


def _during_zh(today: date, rng: random.Random) -> Open | None:
    name = rng.choice(LONG_HOLIDAYS)
    start = next(f for f in FESTIVALS_ZH if f.names[0] == name).of_year(today.year)
    if start <= today:
        return None
    text = rng.choice(("{}期间", "{}假期")).format(name.removesuffix("节") if name == "国庆节" else name)
    return text, rng.choice(_WHICH_ZH), tuple(start + timedelta(n) for n in range(3))


def _after_holiday_zh(today: date, rng: random.Random) -> Open | None:
    """国庆后第一个周一: after the day itself, or after the days off."""
    start, weekday = date(today.year, 10, 1), rng.randrange(5)
    days = tuple(dict.fromkeys(next_weekday(start + timedelta(n), weekday) for n in (6, 0)))
    if start <= today or len(days) < 2:
        return None
    return rng.choice(("国庆后第一个周{}", "国庆节后的第一个周{}")).format(WEEKDAYS_ZH[weekday]), "", days


def _solar_or_lunar_zh(today: date, rng: random.Random) -> Open | None:
    festival = next(f for f in FESTIVALS_ZH if f.names[0] == "中秋节")
    days = (festival.of_year(today.year), date(today.year, 8, 15))
    return None if min(days) <= today else ("八月十五", "", days)


ENGLISH = (
    OpenFamily("own_weekday", 3, _on_its_own_weekday_en),
    OpenFamily("next_on_sunday", 8, _next_on_sunday_en),
    OpenFamily("weekend", 4, _weekend(0, "this weekend", "the weekend", "this coming weekend")),
    OpenFamily("next_weekend", 2, _next_weekend_en),
    OpenFamily("end_of_week", 2, _end_of_week(0, "the end of the week", "the end of this week")),
    OpenFamily("end_of_next_week", 2, _end_of_week(1, "the end of next week")),
    OpenFamily("slashed", 3, _slashed("en")),
    OpenFamily("number_passed", 3, _number_passed_en),
    OpenFamily("two_weekdays", 2, _two_weekdays_en),
    OpenFamily("few_days", 2, _vague((3, 4, 5), _WHICH_EN, "in a few days", "in three or four days")),
    OpenFamily("few_weeks", 0.5, _vague((14, 21, 28), _WHICH_EN, "in a few weeks", "in two or three weeks")),
    OpenFamily("next_week", 3, _some_day(1, _WHICH_WEEKDAY_EN, "next week")),
    OpenFamily("third_of_month", 2, _third_of_month_en),
    OpenFamily("mismatch", 2, _mismatch_en),
    OpenFamily("no_such_day", 1, _no_such_day("en")),
)
CHINESE = (
    OpenFamily("周几当天", 3, _on_its_own_weekday_zh),
    OpenFamily("下周日", 4, _next_sunday_zh),
    OpenFamily("下个周几", 2, _next_one_zh),
    OpenFamily("周末", 4, _weekend(0, "这周末", "周末", "这个周末")),
    OpenFamily("下周末", 2, _weekend(1, "下周末", "下个周末")),
    OpenFamily("斜线", 1, _slashed("zh")),
    OpenFamily("几号已过", 3, _number_passed_zh),
    OpenFamily("两个周几", 2, _two_weekdays_zh),
    OpenFamily("过几天", 2, _vague((2, 3, 4), _WHICH_ZH, "过几天", "过两三天", "这几天")),
    OpenFamily("几周后", 0.4, _vague((14, 21, 28), _WHICH_ZH, "过几周", "过几个星期")),
    OpenFamily("下周", 3, _some_day(1, _WHICH_WEEKDAY_ZH, "下周", "下个星期")),
    OpenFamily("旬", 2, _third_of_month_zh),
    OpenFamily("不符", 2, _mismatch_zh),
    OpenFamily("没有这天", 1, _no_such_day("zh")),
    OpenFamily("假期", 1.5, _during_zh),
    OpenFamily("国庆后", 1.5, _after_holiday_zh),
    OpenFamily("公历农历", 0.7, _solar_or_lunar_zh),
)
