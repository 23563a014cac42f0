"""Days counted from another named day: the Monday after Thanksgiving, 端午节前三天, a week before March 3."""

import random
from datetime import date, timedelta

from data_pipeline.dates.arithmetic import (
    MONTHS_EN,
    WEEKDAYS_EN,
    count_en,
    count_zh,
    next_weekday,
    ordinal,
    previous_weekday,
    weekday_of_week,
    weekday_zh,
)
from data_pipeline.dates.festivals import FESTIVALS, LONG_HOLIDAYS, upcoming
from data_pipeline.dates.grammar import Draw, Expression, Family

Anchor = Draw
"""Draws the day that is counted from, some days ahead, and its words."""


def _festival(language: str, after: bool) -> Anchor:
    """A festival; to count `after` it, none whose days off could be meant as a whole."""

    def draw(today: date, rng: random.Random) -> Expression | None:
        festival = rng.choice(FESTIVALS[language])
        day = upcoming(festival, today)
        if day is None or (after and festival.names[0] in LONG_HOLIDAYS):
            return None
        return rng.choice(festival.names), day

    return draw


def _month_day_en(today: date, rng: random.Random) -> Expression:
    day = today + timedelta(rng.randint(5, 200))
    month = MONTHS_EN[day.month - 1]
    return rng.choice((f"{month} {day.day}", f"{month} {ordinal(day.day)}", f"the {ordinal(day.day)} of {month}")), day


def _month_day_zh(today: date, rng: random.Random) -> Expression:
    day = today + timedelta(rng.randint(5, 200))
    return f"{day.month}月{day.day}{rng.choice('号号日')}", day


def _weekday_zh(today: date, rng: random.Random) -> Expression:
    weekday = rng.randrange(6)
    return f"下{weekday_zh(weekday, rng)}", weekday_of_week(today, weekday, 1)


def _shifted(anchor: Anchor, days: int, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        found = anchor(today, rng)
        return found and (rng.choice(texts).format(found[0]), found[1] + timedelta(days))

    return draw


def _counted(anchor: Anchor, unit: int, sign: int, language: str, *texts: str) -> Draw:
    """Two or more units of `unit` days before (sign -1) or after the anchor."""

    def draw(today: date, rng: random.Random) -> Expression | None:
        found, n = anchor(today, rng), rng.randint(2, 5 if unit == 1 else 3)
        if found is None:
            return None
        count = (count_en if language == "en" else count_zh)(n, rng)
        return rng.choice(texts).format(found[0], n=count), found[1] + timedelta(sign * n * unit)

    return draw


def _weekday_beside(anchor: Anchor, sign: int, language: str, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        found, weekday = anchor(today, rng), rng.randrange(7)
        if found is None:
            return None
        said = WEEKDAYS_EN[weekday] if language == "en" else weekday_zh(weekday, rng)
        day = (next_weekday if sign > 0 else previous_weekday)(found[1], weekday)
        return rng.choice(texts).format(found[0], weekday=said), day

    return draw


def _weekday_of_its_week(today: date, rng: random.Random) -> Expression | None:
    found, weekday = _FEST_ZH(today, rng), rng.randrange(6)
    return found and (f"{found[0]}那周的{weekday_zh(weekday, rng)}", weekday_of_week(found[1], weekday, 0))


def _before_month_end(language: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        n = rng.randint(2, 7)
        following = (today.replace(day=1) + timedelta(32)).replace(day=1)
        if language == "zh":
            return f"月底前{count_zh(n, rng)}天", following - timedelta(n + 1)
        return f"{count_en(n, rng)} days before the end of the month", following - timedelta(n + 1)

    return draw


_FEST_EN, _FEST_ZH, _BEFORE_FEST_ZH = _festival("en", True), _festival("zh", True), _festival("zh", False)
_AFTER_EN = ("the {weekday} after {}", "the first {weekday} after {}")
_BEFORE_EN = ("the {weekday} before {}", "the last {weekday} before {}")
_AFTER_ZH = ("{}后的第一个{weekday}", "{}之后的第一个{weekday}", "{}后第一个{weekday}")
_BEFORE_ZH = ("{}前的最后一个{weekday}", "{}之前的最后一个{weekday}", "{}前最后一个{weekday}")
ENGLISH = (
    Family("day_after_festival", 1.5, _shifted(_FEST_EN, 1, "the day after {}")),
    Family("day_before_festival", 1.5, _shifted(_FEST_EN, -1, "the day before {}")),
    Family("week_after_festival", 0.7, _shifted(_FEST_EN, 7, "a week after {}", "one week after {}")),
    Family("week_before_festival", 0.7, _shifted(_FEST_EN, -7, "a week before {}", "one week before {}")),
    Family("days_after_festival", 0.5, _counted(_FEST_EN, 1, 1, "en", "{n} days after {}")),
    Family("days_before_festival", 0.8, _counted(_FEST_EN, 1, -1, "en", "{n} days before {}")),
    Family("weeks_before_festival", 0.6, _counted(_FEST_EN, 7, -1, "en", "{n} weeks before {}")),
    Family("weekday_after_festival", 2, _weekday_beside(_FEST_EN, 1, "en", *_AFTER_EN)),
    Family("weekday_before_festival", 1, _weekday_beside(_FEST_EN, -1, "en", *_BEFORE_EN)),
    Family("day_after_date", 1, _shifted(_month_day_en, 1, "the day after {}")),
    Family("day_before_date", 1, _shifted(_month_day_en, -1, "the day before {}")),
    Family("week_from_date", 0.8, _shifted(_month_day_en, 7, "a week from {}", "a week after {}")),
    Family("days_after_date", 0.8, _counted(_month_day_en, 1, 1, "en", "{n} days after {}")),
    Family("weeks_after_date", 0.6, _counted(_month_day_en, 7, 1, "en", "{n} weeks after {}", "{n} weeks from {}")),
    Family("days_before_date", 0.6, _counted(_month_day_en, 1, -1, "en", "{n} days before {}")),
    Family("weekday_after_date", 1.2, _weekday_beside(_month_day_en, 1, "en", *_AFTER_EN)),
    Family("weekday_before_date", 0.6, _weekday_beside(_month_day_en, -1, "en", *_BEFORE_EN)),
    Family("days_before_month_end", 0.5, _before_month_end("en")),
)
CHINESE = (
    Family("节日第二天", 1, _shifted(_FEST_ZH, 1, "{}的第二天", "{}第二天", "{}后一天")),
    Family("节日前一天", 1.5, _shifted(_BEFORE_FEST_ZH, -1, "{}的前一天", "{}前一天"), counted=True),
    Family("节日前一周", 0.7, _shifted(_BEFORE_FEST_ZH, -7, "{}前一周", "{}前一个星期", "{}的前一周"), counted=True),
    Family("节日后一周", 0.6, _shifted(_FEST_ZH, 7, "{}后一周", "{}之后一周", "{}后一个星期"), counted=True),
    Family("节日前几天", 1, _counted(_BEFORE_FEST_ZH, 1, -1, "zh", "{}前{n}天", "{}之前{n}天"), counted=True),
    Family("节日后几天", 0.8, _counted(_FEST_ZH, 1, 1, "zh", "{}之后{n}天"), counted=True),
    Family("节日前几周", 0.5, _counted(_BEFORE_FEST_ZH, 7, -1, "zh", "{}前{n}周", "{}之前{n}周"), counted=True),
    Family("节日后第一个周几", 2, _weekday_beside(_FEST_ZH, 1, "zh", *_AFTER_ZH)),
    Family("节日前最后一个周几", 1, _weekday_beside(_BEFORE_FEST_ZH, -1, "zh", *_BEFORE_ZH)),
    Family("节日那周的周几", 0.5, _weekday_of_its_week),
    Family("几号的第二天", 1, _shifted(_month_day_zh, 1, "{}的第二天", "{}的后一天")),
    Family("几号的前一天", 1, _shifted(_month_day_zh, -1, "{}的前一天", "{}前一天"), counted=True),
    Family("几号后几天", 0.8, _counted(_month_day_zh, 1, 1, "zh", "{}之后{n}天"), counted=True),
    Family("几号前几天", 0.7, _counted(_month_day_zh, 1, -1, "zh", "{}前{n}天", "{}之前{n}天"), counted=True),
    Family("几号后几周", 0.5, _counted(_month_day_zh, 7, 1, "zh", "{}之后{n}周", "{}之后{n}个星期"), counted=True),
    Family("几号后第一个周几", 1.2, _weekday_beside(_month_day_zh, 1, "zh", *_AFTER_ZH)),
    Family("几号前最后一个周几", 0.7, _weekday_beside(_month_day_zh, -1, "zh", *_BEFORE_ZH)),
    Family("下周几的第二天", 0.4, _shifted(_weekday_zh, 1, "{}的第二天")),
    Family("下周几的前一天", 0.4, _shifted(_weekday_zh, -1, "{}的前一天"), counted=True),
    Family("月底前几天", 0.5, _before_month_end("zh"), counted=True),
)
