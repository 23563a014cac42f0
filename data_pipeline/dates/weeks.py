"""Weekdays: next Friday, a week from Friday, Saturday this weekend, 下下周五, 这礼拜天."""

import random
from datetime import date, timedelta

from data_pipeline.dates.arithmetic import (
    SATURDAY,
    SUNDAY,
    WEEKDAYS_EN,
    WEEKDAYS_ZH,
    day_of_week_zh,
    next_weekday,
    weekday_of_week,
    weekday_zh,
)
from data_pipeline.dates.festivals import days_off_between
from data_pipeline.dates.grammar import Draw, Expression, Family

_THIS_ZH = ("这周", "这周", "本周", "本周", "这个星期", "这星期", "本星期", "这个礼拜", "这礼拜")
_NEXT_ZH = ("下周", "下周", "下周", "下星期", "下个星期", "下礼拜", "下个礼拜")
_AFTER_NEXT_ZH = ("下下周", "下下周", "下下个星期", "下下个礼拜")


def _this_en(weeks: int, *texts: str) -> Draw:
    """A weekday still to come in this week, and `weeks` more."""

    def draw(today: date, rng: random.Random) -> Expression | None:
        if today.weekday() == SUNDAY:
            return None
        weekday = rng.randrange(today.weekday() + 1, 7)
        return rng.choice(texts).format(WEEKDAYS_EN[weekday]), weekday_of_week(today, weekday, weeks)

    return draw


def _later_week_en(weeks: int, *texts: str) -> Draw:
    """A weekday of a later week; not said on or of a Sunday, which for many speakers begins the week."""

    def draw(today: date, rng: random.Random) -> Expression | None:
        if today.weekday() == SUNDAY:
            return None
        weekday = rng.randrange(SUNDAY)
        return rng.choice(texts).format(WEEKDAYS_EN[weekday]), weekday_of_week(today, weekday, weeks)

    return draw


def _next_en(today: date, rng: random.Random) -> Expression | None:
    if today.weekday() == SUNDAY:
        return None
    weekday = rng.randrange(7)
    return f"next {WEEKDAYS_EN[weekday]}", weekday_of_week(today, weekday, 1)


def _upcoming_en(weeks: int, *texts: str) -> Draw:
    """The first such weekday after today and `weeks` more; not today's own, which could be today."""

    def draw(today: date, rng: random.Random) -> Expression:
        weekday = (today.weekday() + rng.randint(1, 6)) % 7
        text = rng.choice(texts).format(WEEKDAYS_EN[weekday])
        return text, next_weekday(today, weekday) + timedelta(weeks=weeks)

    return draw


def _weekend_en(*texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        if today.weekday() >= SATURDAY:
            return None
        weekday = rng.choice((SATURDAY, SUNDAY))
        return rng.choice(texts).format(WEEKDAYS_EN[weekday]), weekday_of_week(today, weekday, 0)

    return draw


def _start_of_next_week_en(today: date, rng: random.Random) -> Expression | None:
    if today.weekday() == SUNDAY:
        return None
    return rng.choice(("the start of next week", "the beginning of next week")), weekday_of_week(today, 0, 1)


def _end_of_working_week_en(today: date, rng: random.Random) -> Expression | None:
    day = weekday_of_week(today, 4, 0)
    return None if day <= today else (rng.choice(("the end of the work week", "the end of the working week")), day)


def _week_zh(weeks: int, names: tuple[str, ...]) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        first = today.weekday() + 1 if weeks == 0 else 0
        last = SUNDAY if weeks == 0 or today.weekday() == SUNDAY else SATURDAY  # 下周日: week start decides, so ask
        if first > last:
            return None
        weekday, name = rng.randint(first, last), rng.choice(names)
        return name + day_of_week_zh(weekday, name.lstrip("这个本下"), rng), weekday_of_week(today, weekday, weeks)

    return draw


def _bare_zh(today: date, rng: random.Random) -> Expression | None:
    if today.weekday() == SUNDAY:
        return None
    weekday = rng.randrange(today.weekday() + 1, 7)
    return weekday_zh(weekday, rng), weekday_of_week(today, weekday, 0)


def _upcoming_zh(today: date, rng: random.Random) -> Expression:
    weekday = (today.weekday() + rng.randint(1, 6)) % 7
    text = rng.choice(("接下来的{}", "即将到来的{}", "接下来那个{}"))
    return text.format(weekday_zh(weekday, rng)), next_weekday(today, weekday)


def _weekend_zh(weeks: int, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        if today.weekday() >= SATURDAY:
            return None
        weekday = rng.choice((SATURDAY, SUNDAY))
        return rng.choice(texts).format("周" + WEEKDAYS_ZH[weekday]), weekday_of_week(today, weekday, weeks)

    return draw


def _weeks_later_zh(today: date, rng: random.Random) -> Expression:
    weeks, weekday = rng.choice((2, 2, 3)), rng.randrange(SUNDAY)
    unit = rng.choice(("周", "个星期"))
    return f"{'零一两三'[weeks]}{unit}后的{weekday_zh(weekday, rng)}", weekday_of_week(today, weekday, weeks)


def _last_working_day_zh(today: date, rng: random.Random) -> Expression | None:
    day = weekday_of_week(today, 4, 0)
    if day <= today or days_off_between(today, day, "zh"):
        return None
    return rng.choice(("本周最后一个工作日", "这周最后一个工作日")), day


def _first_working_day_zh(today: date, rng: random.Random) -> Expression | None:
    day = weekday_of_week(today, 0, 1)
    return None if days_off_between(today, day, "zh") else (rng.choice(("下周第一个工作日", "下周的第一个工作日")), day)


ENGLISH = (
    Family("this", 8, _this_en(0, "this {}")),
    Family("next", 12, _next_en),
    Family("bare", 9, _upcoming_en(0, "{}")),
    Family("coming", 4, _upcoming_en(0, "this coming {}", "the coming {}", "this upcoming {}")),
    Family("of_this_week", 1.5, _this_en(0, "{} this week", "{} of this week")),
    Family(
        "of_next_week", 4, _later_week_en(1, "{} next week", "{} next week", "{} of next week", "the {} of next week")
    ),
    Family("week_after_next", 1.5, _later_week_en(2, "{} the week after next", "{} of the week after next")),
    Family(
        "week_from",
        3,
        _upcoming_en(1, "a week from {}", "a week from {}", "one week from {}", "a week from this coming {}"),
    ),
    Family("weeks_from_this", 0.7, _this_en(1, "a week from this {}")),
    Family("two_weeks_from", 1, _upcoming_en(2, "two weeks from {}")),
    Family("three_weeks_from", 0.4, _upcoming_en(3, "three weeks from {}")),
    Family("week_behind", 0.7, _upcoming_en(1, "{} week", "a week on {}")),
    Family("weekend", 1.4, _weekend_en("{} this weekend", "the {} of this weekend")),
    Family("weekend_on", 0.7, _weekend_en("this weekend on {}"), counted=True),
    Family("start_of_next_week", 0.8, _start_of_next_week_en),
    Family("end_of_working_week", 0.6, _end_of_working_week_en),
)
CHINESE = (
    Family("这周几", 8, _week_zh(0, _THIS_ZH)),
    Family("下周几", 14, _week_zh(1, _NEXT_ZH)),
    Family("下下周几", 3, _week_zh(2, _AFTER_NEXT_ZH)),
    Family("周几", 6, _bare_zh),
    Family("接下来的周几", 1.2, _upcoming_zh),
    Family("这周末", 1.8, _weekend_zh(0, "这周末{}", "这个周末的{}", "本周末的{}", "周末{}")),
    Family("下周末", 0.8, _weekend_zh(1, "下周末的{}", "下个周末的{}")),
    Family("几周后的周几", 0.8, _weeks_later_zh),
    Family("本周最后一个工作日", 0.6, _last_working_day_zh),
    Family("下周第一个工作日", 0.6, _first_working_day_zh),
)
