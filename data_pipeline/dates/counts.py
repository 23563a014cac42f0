"""Near days and counted days, weeks, months and business days: tomorrow, in three weeks, 大后天, 5个工作日后."""

import random
from datetime import date, timedelta

from data_pipeline.dates.arithmetic import SATURDAY, SMALL_EN, SMALL_ZH, add_business_days, count_en, count_zh, same_day
from data_pipeline.dates.festivals import days_off_between
from data_pipeline.dates.grammar import Expression, Family, fixed


def _in_days_en(today: date, rng: random.Random) -> Expression:
    n = rng.randint(2, 14) if rng.random() < 0.85 else rng.randrange(15, 100, 5)
    text = rng.choice(("in {} days", "in {} days", "in {} days' time", "{} days from now", "{} days from today"))
    return text.format(count_en(n, rng)), today + timedelta(n)


def _in_weeks_en(today: date, rng: random.Random) -> Expression:
    n = rng.choice((1, 1, 2, 2, 2, 3, 3, 4, 5, 6))
    if n == 1:
        text = rng.choice(("in a week", "in one week", "in a week's time", "a week from now", "a week from today"))
    else:
        text = rng.choice(("in {} weeks", "in {} weeks' time", "{} weeks from now", "{} weeks from today"))
    return text.format(count_en(n, rng)), today + timedelta(weeks=n)


def _from_tomorrow_en(today: date, rng: random.Random) -> Expression:
    n = rng.choice((1, 1, 1, 2, 3))
    texts = ("a week from tomorrow", "one week from tomorrow") if n == 1 else (f"{SMALL_EN[n]} weeks from tomorrow",)
    return rng.choice(texts), today + timedelta(days=1, weeks=n)


def _after_tomorrow_en(today: date, rng: random.Random) -> Expression:
    n = rng.randint(2, 10)
    text = rng.choice(("{} days from tomorrow", "{} days after tomorrow"))
    return text.format(count_en(n, rng)), today + timedelta(n + 1)


def _in_months_en(today: date, rng: random.Random) -> Expression | None:
    n = rng.choice((1, 1, 2, 2, 3, 3, 4, 5, 6))
    if n == 1:
        text = rng.choice(("in a month", "in one month", "a month from now", "a month from today"))
    else:
        text = rng.choice(("in {} months", "{} months from now", "{} months from today")).format(count_en(n, rng))
    return _if_there(text, same_day(today, n))


def _in_a_year_en(today: date, rng: random.Random) -> Expression | None:
    return _if_there(rng.choice(("in a year", "a year from now", "a year from today")), same_day(today, 12))


def _in_half_a_year_en(today: date, rng: random.Random) -> Expression | None:
    return _if_there(rng.choice(("in half a year", "half a year from now")), same_day(today, 6))


def _same_day_next_month_en(today: date, rng: random.Random) -> Expression | None:
    return _if_there(rng.choice(("this day next month", "the same day next month")), same_day(today, 1))


def _business_days_en(today: date, rng: random.Random) -> Expression | None:
    n = rng.randint(2, 10)
    text = rng.choice(("in {} business days", "in {} working days", "{} business days from now"))
    return _on_working_days(text.format(count_en(n, rng)), today, n, "en")


def _next_business_day_en(today: date, rng: random.Random) -> Expression | None:
    return _on_working_days(rng.choice(("the next business day", "the next working day")), today, 1, "en")


def _in_days_zh(today: date, rng: random.Random) -> Expression:
    n = rng.randint(3, 14) if rng.random() < 0.85 else rng.randrange(15, 100, 5)
    text = rng.choice(("{}天后", "{}天后", "{}天之后", "{}天以后", "再过{}天", "过{}天"))
    return text.format(count_zh(n, rng)), today + timedelta(n)


def _in_weeks_zh(today: date, rng: random.Random) -> Expression:
    n = rng.choice((1, 1, 2, 2, 3, 4, 5, 6))
    text = rng.choice(("{}周后", "{}周后", "{}个星期后", "{}个星期之后", "{}个礼拜后", "{}周以后", "再过{}周"))
    return text.format(count_zh(n, rng)), today + timedelta(weeks=n)


def _in_months_zh(today: date, rng: random.Random) -> Expression | None:
    n = rng.choice((1, 1, 2, 2, 3, 3, 4, 5, 6))
    text = rng.choice(("{}个月后", "{}个月之后", "{}个月以后", "再过{}个月"))
    return _if_there(text.format(count_zh(n, rng)), same_day(today, n))


def _in_half_a_year_zh(today: date, rng: random.Random) -> Expression | None:
    return _if_there(rng.choice(("半年后", "半年之后", "半年以后")), same_day(today, 6))


def _in_a_year_zh(today: date, rng: random.Random) -> Expression | None:
    return _if_there(rng.choice(("一年后", "一年之后", "一年后的今天")), same_day(today, 12))


def _today_next_year_zh(today: date, rng: random.Random) -> Expression | None:
    return _if_there(rng.choice(("明年的今天", "明年今天")), same_day(today, 12))


def _today_next_month_zh(today: date, rng: random.Random) -> Expression | None:
    return _if_there(rng.choice(("下个月的今天", "下个月今天", "下月今天")), same_day(today, 1))


def _weeks_after_today_zh(today: date, rng: random.Random) -> Expression:
    n = rng.randint(1, 4)
    text = rng.choice(("{}周后的今天", "{}个星期后的今天")).format(SMALL_ZH[n])
    return text, today + timedelta(weeks=n)


def _business_days_zh(today: date, rng: random.Random) -> Expression | None:
    n = rng.randint(2, 10)
    text = rng.choice(("{}个工作日后", "{}个工作日之后", "{}个工作日以后"))
    return _on_working_days(text.format(count_zh(n, rng)), today, n, "zh")


def _next_business_day_zh(today: date, rng: random.Random) -> Expression | None:
    return _on_working_days(rng.choice(("下个工作日", "下一个工作日")), today, 1, "zh")


def _if_there(text: str, day: date | None) -> Expression | None:
    return None if day is None else (text, day)


def _on_working_days(text: str, today: date, count: int, language: str) -> Expression | None:
    day = add_business_days(today, count)
    if today.weekday() >= SATURDAY or days_off_between(today, day, language):
        return None  # where counting starts, or what a holiday does to the count, would be open
    return text, day


ENGLISH = (
    Family("today", 4, fixed(0, "today"), means_today=True),
    Family("tomorrow", 15, fixed(1, "tomorrow")),
    Family("day_after_tomorrow", 4, fixed(2, "the day after tomorrow")),
    Family("in_days", 7, _in_days_en, counted=True),
    Family("in_weeks", 5, _in_weeks_en, counted=True),
    Family("weeks_from_tomorrow", 1.2, _from_tomorrow_en, counted=True),
    Family("days_from_tomorrow", 0.6, _after_tomorrow_en, counted=True),
    Family(
        "in_a_fortnight",
        0.6,
        fixed(14, "in a fortnight", "a fortnight from today", "a fortnight from now"),
        counted=True,
    ),
    Family("same_day_next_week", 0.8, fixed(7, "this day next week", "the same day next week", "a week today")),
    Family("week_tomorrow", 0.4, fixed(8, "a week tomorrow")),
    Family("in_months", 2, _in_months_en, counted=True),
    Family("in_half_a_year", 0.4, _in_half_a_year_en, counted=True),
    Family("in_a_year", 0.4, _in_a_year_en, counted=True),
    Family("same_day_next_month", 0.5, _same_day_next_month_en),
    Family("business_days", 1.5, _business_days_en, counted=True),
    Family("next_business_day", 1, _next_business_day_en),
)
CHINESE = (
    Family("今天", 4, fixed(0, *["今天"] * 7, "今日"), means_today=True),
    Family("明天", 15, fixed(1, *["明天"] * 10, "明儿", "明日")),
    Family("后天", 6, fixed(2, "后天")),
    Family("大后天", 3, fixed(3, "大后天")),
    Family("天后", 7, _in_days_zh, counted=True),
    Family("周后", 4, _in_weeks_zh, counted=True),
    Family("半个月后", 0.6, fixed(15, "半个月后", "半个月之后"), counted=True),
    Family("个月后", 1.5, _in_months_zh, counted=True),
    Family("半年后", 0.5, _in_half_a_year_zh, counted=True),
    Family("一年后", 0.5, _in_a_year_zh, counted=True),
    Family("明年今天", 0.5, _today_next_year_zh),
    Family("下周今天", 0.8, fixed(7, "下周的今天", "下周今天", "下个星期的今天")),
    Family("下月今天", 0.5, _today_next_month_zh),
    Family("几周后的今天", 0.7, _weeks_after_today_zh),
    Family("工作日后", 1.5, _business_days_zh, counted=True),
    Family("下个工作日", 1, _next_business_day_zh),
)
